"""An Arrow IPC stream as it arrives, one Polars frame a record batch: memory stays at one batch, however long it is.

Source: Arrow columnar format 1.5, "Encapsulated message format": a mark, the metadata's size, the metadata (a
FlatBuffer, of which only the header's type and the body's length are read here), the body. What each batch holds is
for Polars to read; here it is only cut apart. Vallum's streams hold no dictionaries.
"""

import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

__all__ = ["frames_of"]

_MARK = b"\xff\xff\xff\xff"
_END = _MARK + bytes(4)
_PREFIX = struct.Struct("<4sI")
_MOST_METADATA, _MOST_BODY = 64 << 20, 1 << 32  # 20,000 columns' names; more than any part that is ever stored
_SCHEMA, _BATCH = 1, 3  # MessageHeader


def frames_of(chunks: Iterator[bytes]) -> "Iterator[pl.DataFrame]":
    """Raises Invalid for what is no such stream, and for one that ends before its end: the last frames are missing."""
    import polars as pl

    source, schema = _Source(chunks), b""
    while True:
        prefix = source.take(_PREFIX.size)
        mark, size = _PREFIX.unpack(prefix)
        if prefix == _END:
            return
        if mark != _MARK or size > _MOST_METADATA:
            raise Invalid("the rows are no Arrow stream")
        metadata = source.take(size)
        kind, body = _header(metadata)
        whole = prefix + metadata + source.take(body)
        if kind == _SCHEMA and not schema:
            schema = whole
        elif kind == _BATCH and schema:
            yield pl.read_ipc_stream(io.BytesIO(b"".join((schema, whole, _END))))
        else:
            raise Invalid("the rows are an Arrow stream of another form")


def _header(metadata: bytes) -> tuple[int, int]:
    """The message's kind and its body's length. Offsets come from outside: any that lead out of it are refused."""
    try:
        (root,) = struct.unpack_from("<I", metadata, 0)
        (back,) = struct.unpack_from("<i", metadata, root)
        table = root - back
        if table < 0:
            raise Invalid("the rows are no Arrow stream")
        (entries,) = struct.unpack_from("<H", metadata, table)
        kind_at, body_at = (
            struct.unpack_from("<H", metadata, table + at)[0] if at < entries else 0 for at in (6, 10)
        )  # fmt: skip
        kind = metadata[root + kind_at] if kind_at else 0
        body = struct.unpack_from("<q", metadata, root + body_at)[0] if body_at else 0
    except (struct.error, IndexError) as e:
        raise Invalid("the rows are no Arrow stream") from e
    if not 0 <= body <= _MOST_BODY:
        raise Invalid("the rows are no Arrow stream")
    return kind, body


class _Source:
    """Bytes by number, of chunks as they come."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Invalid("the rows came without their end: read them again")
            self._held += chunk
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken
