"""LZ4 frames, unpacked to a bound. The standard library has no decoder, and a block's is a dozen lines.

Every length and distance is held against what there is. Checksums are not verified: what unpacks is judged, and
a reader that refuses the frame loads less, not more. Source: lz4's doc/lz4_Frame_format.md and lz4_Block_format.md.
"""

from vallum.models.scan.formats.decompression import ENDS_EARLY, TOO_LONG, Unpacked

__all__ = ["LEGACY_MARK", "MARK", "unpack_lz4"]

MARK = b"\x04\x22\x4d\x18"
LEGACY_MARK = b"\x02\x21\x4c\x18"
_MAX_SEQUENCES = 1_500_000  # about a second
_SKIPPED = range(0x184D2A50, 0x184D2A60)


class _Stop(Exception):
    pass


def unpack_lz4(packed: memoryview, at: int, most: int) -> Unpacked:
    """One frame from `at`, for up to `most` bytes and those of one block more."""
    out, budget = bytearray(), [_MAX_SEQUENCES]
    start = at
    try:
        if bytes(packed[at : at + 4]) == LEGACY_MARK:
            at = _legacy(packed, at + 4, most, out, budget)
        else:
            at = _frame(packed, at, most, out, budget)
    except _Stop as e:
        return Unpacked(out, min(max(at, start + 1), len(packed)), str(e))
    except IndexError:
        return Unpacked(out, len(packed), ENDS_EARLY)
    return Unpacked(out, at, "")


def _frame(packed: memoryview, at: int, most: int, out: bytearray, budget: list[int]) -> int:
    flags = packed[at + 4]
    if flags >> 6 != 1:
        raise _Stop("a version of the format that is not known")
    at += 6 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0) + 1
    linked = not flags & 0x20
    while True:
        size, at = _number(packed, at)
        if not size:
            return at + (4 if flags & 4 else 0)
        block = packed[at : at + (size & 0x7FFFFFFF)]
        at += size & 0x7FFFFFFF
        if at > len(packed):
            _block(block, out, 0 if linked else len(out), most, budget)
            raise _Stop(ENDS_EARLY)
        if size >> 31:
            out += block
        else:
            _block(block, out, 0 if linked else len(out), most, budget)
        if len(out) > most:
            raise _Stop(TOO_LONG)
        at += 4 if flags & 16 else 0


def _legacy(packed: memoryview, at: int, most: int, out: bytearray, budget: list[int]) -> int:
    """Blocks until the file or another frame: this format has no end of its own."""
    while at + 4 <= len(packed):
        size, after = _number(packed, at)
        if size == int.from_bytes(MARK, "little") or size in _SKIPPED or after + size > len(packed):
            return at
        _block(packed[after : after + size], out, len(out), most, budget)
        at = after + size
        if len(out) > most:
            raise _Stop(TOO_LONG)
    return at


def _number(packed: memoryview, at: int) -> tuple[int, int]:
    if at + 4 > len(packed):
        raise _Stop(ENDS_EARLY)
    return int.from_bytes(packed[at : at + 4], "little"), at + 4


def _block(view: memoryview, out: bytearray, first: int, most: int, budget: list[int]) -> None:
    """Literals, then a copy of what was unpacked before; distances reach back to `first`, no further."""
    data, at, size = bytes(view), 0, len(view)
    while at < size:
        budget[0] -= 1
        if budget[0] < 0:
            raise _Stop("more sequences than are unpacked")
        token = data[at]
        at += 1
        length = token >> 4
        if length == 15:
            length, at = _longer(data, at, length)
        out += data[at : at + length]
        at += length
        if at >= size:
            return
        distance = data[at] | data[at + 1] << 8
        at += 2
        length = token & 15
        if length == 15:
            length, at = _longer(data, at, length)
        length += 4
        start = len(out) - distance
        if not distance or start < first:
            raise _Stop("a distance that leads before the start")
        if len(out) + length > most + 1:
            length = most + 1 - len(out)
        if distance >= length:
            out += out[start : start + length]
        else:
            out += (out[start:] * (length // distance + 1))[:length]
        if len(out) > most:
            raise _Stop(TOO_LONG)


def _longer(data: bytes, at: int, length: int) -> tuple[int, int]:
    while True:
        more = data[at]
        at += 1
        length += more
        if more != 255:
            return length, at
