"""Providers over HTTP: any server that speaks OpenAI's protocol, and Anthropic.

One pooled client a provider. Redirects are not followed, proxies of the environment not used, compression not
asked for (a small answer must not unpack into a large one), and cookies not kept.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError, RequestTimeoutError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from vallum.gateway.document import encode_document
from vallum.gateway.providers.failures import UpstreamFailed
from vallum.gateway.providers.port import Call, UpstreamAnswer, UpstreamStream
from vallum.inventory import Provider

__all__ = ["HttpUpstream"]

MAX_ANSWER_BYTES = 67_108_864  # a batch of embeddings is some megabytes; refuse what would fill the memory
_MAX_STREAM_SECONDS = 3600
_ANTHROPIC_VERSION = "2023-06-01"
_USER_AGENT = "vallum"


class HttpUpstream:
    def __init__(self, provider: Provider, secret: str) -> None:
        self._provider = provider
        self._base = provider.url.rstrip("/")
        self._credentials = _credentials(provider, secret)
        self._answer_timeout = timedelta(seconds=provider.timeout_seconds)
        self._stream_timeout = timedelta(seconds=_MAX_STREAM_SECONDS)
        self._client: Client = (
            ClientBuilder()
            .user_agent(_USER_AGENT)
            .max_connections(provider.max_connections)
            .connect_timeout(timedelta(seconds=provider.connect_timeout_seconds))
            .read_timeout(timedelta(seconds=provider.timeout_seconds))
            .pool_timeout(timedelta(seconds=provider.connect_timeout_seconds))
            .follow_redirects(False)
            .default_cookie_store(False)
            .gzip(False)
            .brotli(False)
            .deflate(False)
            .zstd(False)
            .no_proxy()
            .build()
        )

    async def call(self, call: Call) -> UpstreamAnswer:
        try:
            request = self._request(call).timeout(self._answer_timeout).build_streamed()
            async with request as response:
                return UpstreamAnswer(response.status, await _bounded(response), response.get_header("retry-after"))
        except PyreqwestError as e:
            raise _failed(e) from e

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[UpstreamStream]:
        try:
            async with self._request(call).timeout(self._stream_timeout).build_streamed() as response:
                if response.status != 200:
                    body = await _bounded(response)
                    refused = UpstreamAnswer(response.status, body, response.get_header("retry-after"))
                    yield UpstreamStream(_nothing(), refused)
                else:
                    yield UpstreamStream(_chunks(response))
        except PyreqwestError as e:
            raise _failed(e) from e

    async def close(self) -> None:
        await self._client.close()

    def _request(self, call: Call) -> RequestBuilder:
        document = {**call.document, "model": call.model_name}
        request = self._client.post(self._base + call.protocol.path).body_bytes(encode_document(document))
        return request.headers({"content-type": "application/json", **call.headers, **self._credentials})


def _credentials(provider: Provider, secret: str) -> dict[str, str]:
    if provider.kind == "anthropic":
        return {"anthropic-version": _ANTHROPIC_VERSION, **({"x-api-key": secret} if secret else {})}
    if not secret:
        return {}
    # Azure's OpenAI endpoints take a key in a header of their own; others ignore it, so only they are told.
    azure = {"api-key": secret} if ".azure.com" in provider.url else {}
    return {"authorization": f"Bearer {secret}", **azure}


async def _bounded(response: Response) -> bytes:
    pieces: list[bytes] = []
    size = 0
    reader = response.body_reader
    while (chunk := await reader.read_chunk()) is not None:
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise UpstreamFailed(502, "upstream_garbage", "the provider's answer is too large", retryable=False)
        pieces.append(bytes(chunk))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _chunks(response: Response) -> AsyncIterator[bytes]:
    reader = response.body_reader
    try:
        while (chunk := await reader.read_chunk()) is not None:
            yield bytes(chunk)
    except PyreqwestError as e:
        raise _failed(e) from e


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _failed(error: PyreqwestError) -> UpstreamFailed:
    if isinstance(error, RequestTimeoutError) and not isinstance(error, ConnectError):
        return UpstreamFailed(504, "upstream_timeout", "the provider did not answer in time", retryable=False)
    return UpstreamFailed(502, "upstream_unreachable", "the provider cannot be reached", retryable=True)
