"""Letting an answer go: one JSON document, or a stream of events and its proper end."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from vallum.gateway.document import encode_document
from vallum.gateway.exchange import Exchange
from vallum.gateway.refusals import Refused

__all__ = ["Reply"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_ENTRY_HEADER = b"x-vallum-entry"


class Reply:
    """One response. `error` may come at any time before the end: as a document, or as a stream's last event."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self._begun = False

    async def json(self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        await self._start(status, b"application/json", [(b"content-length", b"%d" % len(body)), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def tensors(self, body: bytes, json_length: bytes) -> None:
        """The Open Inference Protocol's binary answer: JSON that is so long, and tensors."""
        headers = [(b"content-length", b"%d" % len(body)), (b"inference-header-content-length", json_length)]
        await self._start(200, b"application/octet-stream", headers)
        await self._send({"type": "http.response.body", "body": body})

    async def events(self, frames: Sequence[bytes]) -> None:
        await self._begin_stream()
        body = frames[0] if len(frames) == 1 else b"".join(frames)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def last_events(self, frames: Sequence[bytes]) -> None:
        await self._begin_stream()
        await self._send({"type": "http.response.body", "body": b"".join(frames)})

    async def error(self, refused: Refused) -> None:
        exchange = self._exchange
        if self._begun:
            frame = exchange.protocol.render_error_event(refused, exchange.entry_id)
            await self._send({"type": "http.response.body", "body": frame})
            return
        headers: list[tuple[bytes, bytes]] = []
        if refused.retry_after_seconds is not None:
            headers.append((b"retry-after", b"%d" % refused.retry_after_seconds))
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        entry_id = exchange.entry_id if exchange.has_entry else None
        body = encode_document(exchange.protocol.render_error(refused, entry_id))
        await self.json(refused.status, body, headers)

    async def _begin_stream(self) -> None:
        if not self._begun:
            await self._start(200, b"text/event-stream; charset=utf-8", [])

    async def _start(self, status: int, kind: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._begun = True
        fixed = [(b"content-type", kind), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
        if self._exchange.has_entry:
            # The second name is that under which each SDK shows an id to its users.
            shown = b"request-id" if self._exchange.protocol.name == "messages" else b"x-request-id"
            entry_id = self._exchange.entry_id.encode()
            fixed += [(_ENTRY_HEADER, entry_id), (shown, entry_id)]
        await self._send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
