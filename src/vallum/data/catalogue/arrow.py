"""Frames as one Arrow IPC stream, a frame at a time.

Polars writes a stream whole: schema, batches, end. All frames of a version have one schema, so the first one's schema
stands for all, and the end of each but the last is left out. Source: Arrow columnar format 1.5, "IPC streaming".
"""

import io
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MEDIA_TYPE", "ipc_stream"]

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_PREFIX = struct.Struct("<4sI")


def ipc_stream(frames: "Iterable[pl.DataFrame]") -> Iterator[bytes]:
    """Ends without its end mark when `frames` raises: whoever reads knows that it is not all."""
    started = False
    for frame in frames:
        buffer = io.BytesIO()
        frame.rechunk().write_ipc_stream(buffer, compression="zstd")
        raw = buffer.getvalue()
        if not raw.endswith(_END):
            raise AssertionError("a stream without its end mark")
        body = raw[: -len(_END)]
        yield body[_schema_bytes(body) :] if started else body
        started = True
    yield _END


def _schema_bytes(raw: bytes) -> int:
    mark, size = _PREFIX.unpack_from(raw)
    if mark != b"\xff\xff\xff\xff":
        raise AssertionError("a stream that does not begin with its schema")
    return _PREFIX.size + int(size)
