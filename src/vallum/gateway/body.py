"""Reading a request's body: JSON only, as large as allowed, and not slower than a client has any reason to be."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from vallum.gateway.refusals import Refused

__all__ = ["ClientGone", "read_body", "read_headers"]

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_BINARY_KINDS = ("application/octet-stream", "")  # Triton's client says nothing of it, and names the length of the JSON


class ClientGone(Exception):
    """The client closed its connection before the answer was there."""


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name; of a name given twice the last counts, and for credentials neither does."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in headers and key in ("authorization", "x-api-key"):
            raise Refused(400, "invalid_header", f"{key}: give it once", outcome="invalid")
        headers[key] = value.decode("latin-1")
    return headers


async def read_body(
    receive: Receive, headers: Mapping[str, str], max_bytes: int, timeout_seconds: float, *, binary: bool = False
) -> bytes:
    """The whole body: JSON, or with `binary` any bytes. Raises Refused with 400, 408, 413 or 415, and ClientGone."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (binary and kind in _BINARY_KINDS):
        raise Refused(415, "unsupported_media_type", "send the body as application/json", outcome="invalid")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "unsupported_encoding", "send the body uncompressed", outcome="invalid")
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _read(receive, max_bytes)
    except TimeoutError:
        message = f"the body did not arrive within {timeout_seconds:g} seconds"
        raise Refused(408, "body_timeout", message, outcome="timeout") from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    pieces: bytearray | None = None
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = bytes(message.get("body", b""))
        if not message.get("more_body", False) and pieces is None:
            if len(body) > max_bytes:
                raise _too_large(max_bytes)
            return body
        pieces = bytearray() if pieces is None else pieces
        pieces += body
        if len(pieces) > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return bytes(pieces)


def _too_large(max_bytes: int) -> Refused:
    return Refused(413, "body_too_large", f"the body is larger than {max_bytes} bytes", outcome="invalid")
