"""Zstandard frames, unpacked to a bound. The standard library has no decoder before Python 3.14.

Small frames are read here, so that a payload in one is found on every machine; more than that is left to a library
when one of those in use is installed, and is otherwise said to be unread. Checksums are not verified: what unpacks is
judged. Source: RFC 8878.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from vallum.models.scan.formats.decompression import ENDS_EARLY, TOO_LONG, Unpacked, decompress
from vallum.models.scan.formats.zstandard_entropy import (
    Backward,
    Corrupt,
    Table,
    fse_table,
    read_distribution,
    read_huffman,
    running,
    table_of_one,
)

__all__ = ["LEGACY_MARKS", "MARK", "NO_TIME", "frame_end", "unpack_zstandard"]

MARK = b"\x28\xb5\x2f\xfd"
LEGACY_MARKS = tuple(bytes([low]) + MARK[1:] for low in (0x1E, *range(0x22, 0x28)))
NO_TIME = "more of it than is unpacked without a library for Zstandard"
_MAX_BLOCK = 128 << 10
_MAX_STEPS = 600_000  # literals and sequences: under a second
_MAX_WINDOW_LOG = 27
_LENGTHS = list(range(16)) + running(16, [1, 1, 1, 1, 2, 2, 3, 3, 4]) + [64, *running(128, list(range(7, 17)))]
_LENGTH_BITS = [0] * 16 + [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, *range(7, 17)]
_MATCHES = list(range(3, 35)) + running(35, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5]) + running(131, [7, *range(8, 17)])
_MATCH_BITS = [0] * 32 + [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, *range(7, 17)]
_PREDEFINED = (
    (6, [4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4]),
    (5, [*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5]),
    (6, [1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7]),
)  # of lengths, offsets and matches
_MOST = ((9, 36), (8, 32), (9, 53))  # log of the table and count of symbols


def frame_end(packed: memoryview, at: int) -> int | None:
    """Where the frame at `at` ends, by its blocks' own lengths; None when it is cut short."""
    head = _head(packed, at)
    if head is None:
        return None
    at = head.start
    for last, kind, size, start in _blocks(packed, at):
        at = start + (1 if kind == 1 else size)
        if last:
            at += 4 if head.has_checksum else 0
            return at if at <= len(packed) else None
    return None


def unpack_zstandard(packed: memoryview, at: int, most: int) -> Unpacked:
    """One frame from `at`, for up to `most` bytes and those of one block more."""
    end = frame_end(packed, at)
    used = len(packed) if end is None else end
    error, out = "", bytearray()
    try:
        _Frame(packed, at, most, out).unpack()
    except Corrupt as e:
        error = str(e)
    except IndexError:
        error = ENDS_EARLY
    if error == NO_TIME and end is not None and (found := _by_library(packed[at:end], most)) is not None:
        return Unpacked(found.data, used, found.error)
    return Unpacked(out, used, error)


class _Head(NamedTuple):
    start: int
    has_checksum: bool
    dictionary: int


def _head(packed: memoryview, at: int) -> _Head | None:
    if at + 6 > len(packed):
        return None
    flags = packed[at + 4]
    single = flags >> 5 & 1
    size_bytes = (single, 2, 4, 8)[flags >> 6]
    id_bytes = (0, 1, 2, 4)[flags & 3]
    start = at + 5 + (not single)
    dictionary = int.from_bytes(packed[start : start + id_bytes], "little")
    return _Head(start + id_bytes + size_bytes, bool(flags & 4), dictionary)


def _blocks(packed: memoryview, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Whether it is the last, its kind and size, and where its content is."""
    while at + 3 <= len(packed):
        head = int.from_bytes(packed[at : at + 3], "little")
        last, kind, size = head & 1, head >> 1 & 3, head >> 3
        yield last, kind, size, at + 3
        if last:
            return
        at += 3 + (1 if kind == 1 else size)


class _Frame:
    """What blocks of one frame share: the tables, the last offsets, and what is unpacked already."""

    def __init__(self, packed: memoryview, at: int, most: int, out: bytearray) -> None:
        self._packed, self._at, self._most, self._out = packed, at, most, out
        self._left = _MAX_STEPS
        self._huffman: tuple[int, bytes, bytes] | None = None
        self._tables: list[Table | None] = [None, None, None]
        self._offsets = [1, 4, 8]

    def unpack(self) -> None:
        """Raises Corrupt, and IndexError where a block ends too early."""
        head = _head(self._packed, self._at)
        if head is None:
            raise Corrupt(ENDS_EARLY)
        if head.dictionary:
            raise Corrupt("it needs a dictionary that is not in it")
        ended = 0
        for last, kind, size, start in _blocks(self._packed, head.start):
            ended = last
            if size > _MAX_BLOCK or kind == 3:
                raise Corrupt("a block that the format does not have")
            if kind == 1:
                self._out += bytes([self._packed[start]]) * size
            else:
                content = bytes(self._packed[start : start + size])
                if len(content) < size:
                    raise Corrupt(ENDS_EARLY)
                if kind:
                    self._block(content)
                else:
                    self._out += content
            if len(self._out) > self._most:
                raise Corrupt(TOO_LONG)
        if not ended:
            raise Corrupt(ENDS_EARLY)

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise Corrupt(NO_TIME)

    def _block(self, block: bytes) -> None:
        literals, at = self._literals(block)
        count = block[at]
        if count == 255:
            count, at = 0x7F00 + int.from_bytes(block[at + 1 : at + 3], "little"), at + 3
        elif count > 127:
            count, at = (count - 128 << 8) + block[at + 1], at + 2
        else:
            at += 1
        if not count:
            self._out += literals
            return
        modes, at = block[at], at + 1
        for number, shift in enumerate((6, 4, 2)):
            at = self._table(number, modes >> shift & 3, block, at)
        self._spend(8 * count)
        self._sequences(Backward(block[at:]), count, literals)

    def _literals(self, block: bytes) -> tuple[bytes | bytearray, int]:
        kind, form = block[0] & 3, block[0] >> 2 & 3
        if kind < 2:
            size_bytes, shift = {0: (1, 3), 2: (1, 3), 1: (2, 4), 3: (3, 4)}[form]
            size, at = int.from_bytes(block[:size_bytes], "little") >> shift, size_bytes
            if size > _MAX_BLOCK:
                raise Corrupt("more literals than a block has")
            plain = block[at : at + size] if not kind else block[at : at + 1] * size
            if len(plain) < size:
                raise Corrupt(ENDS_EARLY)
            return plain, at + (1 if kind else size)
        head_bytes, bits = ((3, 10), (3, 10), (4, 14), (5, 18))[form]
        head = int.from_bytes(block[:head_bytes], "little") >> 4
        size, packed = head & (1 << bits) - 1, head >> bits
        at, end = head_bytes, head_bytes + packed
        if end > len(block) or size > _MAX_BLOCK:
            raise Corrupt("more literals than a block has")
        if kind == 2:
            self._huffman, at = read_huffman(block, at)
        if self._huffman is None:
            raise Corrupt("literals by a table that was not given")
        self._spend(size)
        if not form:
            return Backward(block[at:end]).symbols(self._huffman, size), end
        ends = [int.from_bytes(block[at + i : at + i + 2], "little") for i in (0, 2, 4)]
        each, out, at = (size + 3) // 4, bytearray(), at + 6
        for number, part in enumerate([*ends, end - at - sum(ends)]):
            if part < 1 or size < 3 * each:
                raise Corrupt("literals whose streams do not fit")
            out += Backward(block[at : at + part]).symbols(self._huffman, each if number < 3 else size - 3 * each)
            at += part
        return out, end

    def _table(self, number: int, mode: int, block: bytes, at: int) -> int:
        most_log, most_symbols = _MOST[number]
        if mode == 0:
            self._tables[number] = fse_table(*_PREDEFINED[number])
        elif mode == 1:
            if block[at] >= most_symbols:
                raise Corrupt("a code that the format does not have")
            self._tables[number], at = table_of_one(block[at]), at + 1
        elif mode == 2:
            log, counts, at = read_distribution(block, at, most_log, most_symbols)
            self._tables[number] = fse_table(log, counts)
        elif self._tables[number] is None:
            raise Corrupt("a table that was not given before")
        return at

    def _sequences(self, stream: Backward, count: int, literals: bytes | bytearray) -> None:
        lengths, offsets, matches = (table for table in self._tables if table is not None)
        read, out, used = stream.read, self._out, 0
        length_state, offset_state, match_state = read(lengths.log), read(offsets.log), read(matches.log)
        for number in range(count):
            code = offsets.symbols[offset_state]
            offset = (1 << code) + read(code)
            code = matches.symbols[match_state]
            size = _MATCHES[code] + read(_MATCH_BITS[code])
            code = lengths.symbols[length_state]
            before = _LENGTHS[code] + read(_LENGTH_BITS[code])
            if number < count - 1:
                length_state = lengths.bases[length_state] + read(lengths.bits[length_state])
                match_state = matches.bases[match_state] + read(matches.bits[match_state])
                offset_state = offsets.bases[offset_state] + read(offsets.bits[offset_state])
            if stream.left < 0 or used + before > len(literals):
                raise Corrupt("sequences that are longer than their block")
            out += literals[used : used + before]
            used += before
            self._copy(self._distance(offset, before), size)
            if len(out) > self._most + _MAX_BLOCK:
                raise Corrupt(TOO_LONG)
        out += literals[used:]

    def _distance(self, offset: int, before: int) -> int:
        """The last three distances have numbers of their own (section 3.1.1.5)."""
        last = self._offsets
        if offset > 3:
            last.insert(0, offset - 3)
        elif offset == 3 and not before:
            last.insert(0, last[0] - 1)
        else:
            last.insert(0, last.pop(offset - (1 if before else 0)))
        del last[3:]
        return last[0]

    def _copy(self, distance: int, size: int) -> None:
        out = self._out
        start = len(out) - distance
        if distance < 1 or start < 0:
            raise Corrupt("a distance that leads before the start")
        if distance >= size:
            out += out[start : start + size]
        else:
            out += (out[start:] * (size // distance + 1))[:size]


def _by_library(frame: memoryview, most: int) -> Unpacked | None:
    """None when none is installed. Each is held to the bound and to a window of 128 MB."""
    for name in ("compression.zstd", "backports.zstd", "pyzstd"):
        if (library := _imported(name)) is not None:
            options = {library.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG} if "pyzstd" not in name else {}
            return decompress(library.ZstdDecompressor(None, options), frame, 0, most)
    library = _imported("zstandard")
    if library is None:
        return None
    try:
        with library.ZstdDecompressor(max_window_size=1 << _MAX_WINDOW_LOG).stream_reader(frame) as reader:
            data = reader.read(most + 1)
    except library.ZstdError:
        return Unpacked(b"", 0, "it does not decompress (ZstdError)")
    return Unpacked(data, len(frame), TOO_LONG if len(data) > most else "")


def _imported(name: str) -> Any:
    try:
        return import_module(name) if find_spec(name) else None
    except ImportError:
        return None
