"""The gateway as an ASGI application: a dictionary of endpoints, and the pipeline behind each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from vallum.gateway.body import read_headers
from vallum.gateway.exchange import Exchange
from vallum.gateway.models import ModelList
from vallum.gateway.open_inference import OpenInferenceFace, read_path
from vallum.gateway.pipeline import Pipeline, Receive, Send
from vallum.gateway.protocols import (
    AnthropicMessages,
    OpenAiChat,
    OpenAiEmbeddings,
    OpenAiPredictions,
    OpenAiResponses,
    OpenInference,
    WireProtocol,
)
from vallum.gateway.refusals import Refused, refusal_of
from vallum.gateway.release import Reply
from vallum.gateway.telemetry import Telemetry
from vallum.kernel.errors import VallumError

__all__ = ["ENDPOINTS", "GatewayApp"]

_PREFIX = "/v1"
_MODELS = "/v1/models"

ENDPOINTS: Mapping[str, WireProtocol] = {
    _PREFIX + protocol.path: protocol
    for protocol in (OpenAiChat(), OpenAiResponses(), OpenAiEmbeddings(), AnthropicMessages(), OpenAiPredictions())
}


class GatewayApp:
    """Answers every path below `/v1` and `/v2`."""

    def __init__(
        self, pipeline: Pipeline, models: ModelList, open_inference: OpenInferenceFace, telemetry: Telemetry,
        closing: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:  # fmt: skip
        """`closing` lets go of what the pipeline holds."""
        self._pipeline = pipeline
        self._models = models
        self._open_inference = open_inference
        self._closing = closing
        self.telemetry = telemetry

    async def close(self) -> None:
        for close in self._closing:
            await close()
        self.telemetry.close()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        protocol = ENDPOINTS.get(path)
        if protocol is not None and method == "POST":
            await self._pipeline.handle(protocol, scope, receive, send)
        elif path.startswith("/v2"):
            await self._predict(path, scope, receive, send)
        elif path == _MODELS and method == "GET":
            await self._models.handle(scope["headers"], None, send)
        elif path.startswith(_MODELS + "/") and method == "GET":
            await self._models.handle(scope["headers"], unquote(path[len(_MODELS) + 1 :]), send)
        else:
            known = protocol is not None or path == _MODELS
            await _turn_away(scope, protocol or OpenAiChat(), send, known=known)

    async def _predict(self, path: str, scope: Any, receive: Receive, send: Send) -> None:
        asked = read_path(path)
        if asked is None:
            await _turn_away(scope, OpenInference(""), send, known=False)
        elif asked.what == "infer" and scope["method"] == "POST":
            await self._pipeline.handle(OpenInference(asked.model, asked.version), scope, receive, send)
        elif asked.what != "infer" and scope["method"] == "GET":
            await self._open_inference.handle(asked, scope["headers"], send)
        else:
            await _turn_away(scope, OpenInference(asked.model), send, known=True)


async def _turn_away(scope: Any, protocol: WireProtocol, send: Send, *, known: bool) -> None:
    """No such endpoint: nothing was asked of anything, so there is nothing to record."""
    try:
        read_headers(scope["headers"])
        refused = (
            Refused(405, "method_not_allowed", "use POST for inference and GET for models")
            if known
            else Refused(404, "unknown_endpoint", "there is no such endpoint; see /v1/models and the documentation")
        )
    except VallumError as e:
        refused = refusal_of(e)
    exchange = Exchange(protocol, {}, has_entry=False)
    await Reply(exchange, send).error(refused)
