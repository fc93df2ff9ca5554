"""What the Open Inference Protocol asks besides inference: health, what this server is, and what each model takes.

Health and the server's own name are for anybody, as `/healthz` is. A model's metadata is for who may ask the model, and
recorded as a look at the list of models is; it says nothing of outputs that are withheld.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import vallum
from vallum.gateway.document import encode_document
from vallum.gateway.exchange import Exchange
from vallum.gateway.models import ModelList
from vallum.gateway.protocols import OpenInference
from vallum.gateway.refusals import Refused, refusal_of
from vallum.gateway.release import Reply, Send
from vallum.inventory import Inventory
from vallum.kernel.errors import VallumError
from vallum.models.runtime.model import ServingConfiguration
from vallum.models.runtime.obfuscation import given_outputs
from vallum.models.runtime.ports import Deployment
from vallum.models.runtime.servers import ModelServers

__all__ = ["Asked", "OpenInferenceFace", "read_path"]

_MODELS = "/v2/models/"
_MAX_PATH_CHARS = 512
_VERSION = re.compile(r"(.+)/versions/([1-9][0-9]{0,8})", re.ASCII)
_PLAIN = {"/v2": "server", "/v2/": "server", "/v2/health/live": "live", "/v2/health/ready": "ready"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A path. `model` may hold slashes, as names of models do; it is looked up, and never a path of anything."""

    what: Literal["server", "live", "ready", "metadata", "model_ready", "infer"]
    model: str = ""
    version: int | None = None


def read_path(path: str) -> Asked | None:
    """None for what is no path of the protocol's."""
    if path in _PLAIN:
        return Asked(_PLAIN[path])  # type: ignore[arg-type]  # the table above
    if not path.startswith(_MODELS) or len(path) > _MAX_PATH_CHARS:
        return None
    rest = path[len(_MODELS) :]
    what: Literal["metadata", "model_ready", "infer"] = "metadata"
    if rest.endswith("/infer"):
        what, rest = "infer", rest[: -len("/infer")]
    elif rest.endswith("/ready"):
        what, rest = "model_ready", rest[: -len("/ready")]
    matched = _VERSION.fullmatch(rest)
    if matched is not None:
        return Asked(what, matched[1], int(matched[2]))
    return Asked(what, rest) if rest else None


class OpenInferenceFace:
    def __init__(self, models: ModelList, inventory: Inventory, servers: ModelServers | None) -> None:
        """`servers` is None where nothing deploys predictive models."""
        self._models = models
        self._inventory = inventory
        self._servers = servers

    async def handle(self, asked: Asked, raw_headers: list[tuple[bytes, bytes]], send: Send) -> None:
        exchange = Exchange(OpenInference(asked.model), {}, has_entry=asked.model != "")
        reply = Reply(exchange, send)
        if asked.what in ("live", "ready"):
            await reply.json(200, encode_document({asked.what: True}))
        elif asked.what == "server":
            about = {"name": "vallum", "version": vallum.__version__, "extensions": ["binary_tensor_data"]}
            await reply.json(200, encode_document(about))
        elif await self._models.listed(exchange, reply, raw_headers, asked.model) is not None:
            try:
                status, document = self._model(asked, exchange)
            except VallumError as e:
                await reply.error(refusal_of(e))
                return
            await reply.json(status, encode_document(document))

    def _model(self, asked: Asked, exchange: Exchange) -> tuple[int, dict[str, Any]]:
        deployment = self._deployment(asked.model)
        if deployment is None or (asked.version not in (None, deployment.version)) or self._servers is None:
            raise Refused(404, "model_not_deployed", "no release of this environment deploys that model or version")
        if asked.what == "metadata":
            return 200, _metadata(asked.model, deployment)
        ready = self._servers.server(deployment).is_ready
        return (200 if ready else 503), {"name": asked.model, "ready": ready}

    def _deployment(self, name: str) -> Deployment | None:
        """The one that runs; what is on trial beside it has to take what that takes."""
        model = self._inventory.model(name)
        provider = self._inventory.provider(model.provider) if model is not None else None
        if model is None or provider is None or provider.kind != "releases" or self._servers is None:
            return None
        return self._servers.current(model.upstream_name or name, "")


def _metadata(name: str, deployment: Deployment) -> dict[str, Any]:
    serving: ServingConfiguration = deployment.serving
    return {
        "name": name,
        "versions": [str(deployment.version)],
        "platform": f"{serving.format}_{serving.format}" if serving.format != "onnx" else "onnx_onnxv1",
        "inputs": [
            {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in serving.inputs
        ],
        "outputs": [
            {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
            for one in given_outputs(serving.outputs, serving.output_policy)
        ],
    }  # fmt: skip
