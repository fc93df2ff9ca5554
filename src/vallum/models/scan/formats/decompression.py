"""Decompressing one stream with a bound, for zip members and for compressed files alike."""

import lzma
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["ENDS_EARLY", "MAX_UNPACKED_BYTES", "TOO_LONG", "Unpacked", "decompress", "is_bomb"]

MAX_UNPACKED_BYTES = 192 << 20  # of one stream, in memory: a scan has 512 MB, and what is nested needs room, too
ENDS_EARLY = "it ends in the middle"
TOO_LONG = "it is longer than it says"
_CHUNK = 1 << 18
_STEP = 1 << 12
_MAX_SALVAGED = 16 << 20
_MAX_EXACT = 1 << 20  # of what is packed: of more the last step is missing, and not read a third time


class Unpacked(NamedTuple):
    """`used`: packed bytes that the stream took; `error` when it ended otherwise than by its own end."""

    data: bytes | bytearray | memoryview
    used: int
    error: str = ""


def decompress(
    decoder: Any, packed: memoryview, at: int, most: int, again: Callable[[], Any] | None = None, start: int = 0
) -> Unpacked:
    """Feed `packed` from `at` to one of the library's decompressors, for up to `most` bytes and one more to show it.

    `again` makes another decompressor, for what begins at `start`. Given that, what comes before an error is there to
    the last byte: readers have used it by the time that they find a wrong checksum.
    """
    out = bytearray()
    pending = b""
    try:
        while not decoder.eof and len(out) <= most:
            if not pending and getattr(decoder, "needs_input", True):
                pending = bytes(packed[at : at + _CHUNK])
                at += len(pending)
                if not pending:
                    return Unpacked(out, at, ENDS_EARLY)
            out += decoder.decompress(pending, most + 1 - len(out))
            pending = getattr(decoder, "unconsumed_tail", b"")
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError) as e:
        if again is not None:
            out = _before_error(again, packed, start, min(most, _MAX_SALVAGED))
        return Unpacked(out, at, f"it does not decompress ({type(e).__name__})")
    left = len(getattr(decoder, "unused_data", b"")) + len(pending)
    return Unpacked(out, at - left, "" if decoder.eof and len(out) <= most else TOO_LONG)


def _before_error(again: Callable[[], Any], packed: memoryview, at: int, most: int) -> bytearray:
    """In steps that become as short as a byte: a step that meets the error gives nothing of what it had."""
    out = bytearray()
    for step in (_STEP, 1) if len(packed) - at <= _MAX_EXACT else (_STEP,):
        decoder, out, known = again(), bytearray(), len(out)
        pending, next_at = b"", at
        try:
            while not decoder.eof and len(out) < most:
                if not pending and getattr(decoder, "needs_input", True):
                    pending = bytes(packed[next_at : next_at + _CHUNK])
                    next_at += len(pending)
                    if not pending:
                        break
                out += decoder.decompress(pending, max(step, known - len(out)) if step == 1 else step)
                pending = getattr(decoder, "unconsumed_tail", b"")
        except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError):
            pass
    return out


def is_bomb(packed: int, size: int) -> bool:
    """Weights never pack this well; a file of equal bytes reaches 1000 to 1 with deflate."""
    ratio = size / max(1, packed)
    return (size >= 8 << 20 and ratio >= 500) or (size >= 64 << 20 and ratio >= 100)
