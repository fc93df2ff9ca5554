"""The records of a zip archive as they are written, one by one: nothing is inferred and nothing is repaired.

Libraries differ in which of a zip's two directories they believe, which end record they find and where they count from.
This reads them all, so that `zip_archive` can compare. Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.6.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from vallum.models.scan.formats.decompression import Unpacked, decompress

__all__ = [
    "END_WINDOW",
    "MAX_ENTRIES",
    "METHODS",
    "Descriptor",
    "End",
    "Entry",
    "find_end",
    "parse_central",
    "parse_descriptors",
    "parse_end",
    "parse_extra",
    "parse_local",
    "unpack_member",
]

END_WINDOW = 22 + 0xFFFF + 76  # an end record, the longest comment, and the two zip64 records before it
MAX_ENTRIES = 20_000  # as many members as the engine looks at
METHODS = {0: "stored", 8: "deflate", 12: "bzip2", 14: "lzma"}
_MAX_DICTIONARY = 64 << 20  # it is allocated whole; the highest preset has this much
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR64 = struct.Struct("<4sLQL")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


class End(NamedTuple):
    """What the end says; `at` is where the first of its records starts, and `stop` is behind the last."""

    at: int
    stop: int
    entries: int
    directory_size: int
    directory_offset: int
    comment: bytes
    lies: tuple[str, ...]


class Entry(NamedTuple):
    """One member as one of the two directories describes it. `at` to `stop` is the header itself."""

    at: int
    stop: int
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    extra: bytes
    offset: int = 0
    attributes: int = 0
    comment: bytes = b""
    disk: int = 0

    def with_zip64(self) -> Self:
        """The sizes that the zip64 extra field gives for those that are full (4.5.3: only those, in this order)."""
        field = dict(parse_extra(self.extra)[0]).get(1)
        if field is None:
            return self
        values: dict[str, Any] = {}
        at = 0
        for key in ("size", "packed", "offset"):
            if getattr(self, key) == _FULL32 and at + 8 <= len(field):
                values[key] = int.from_bytes(field[at : at + 8], "little")
                at += 8
        return self._replace(**values)


class Descriptor(NamedTuple):
    stop: int
    crc: int
    packed: int
    size: int


def find_end(data: memoryview) -> int:
    """Where the last end record starts, as most libraries look for it; -1 for none."""
    start = max(0, len(data) - END_WINDOW)
    tail = bytes(data[start:])
    at = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - 18))
    return start + at if at >= 0 else -1


def parse_end(data: memoryview, at: int) -> End:
    """The end record at `at`, with the zip64 records before it. Both are read; what they disagree on is in `lies`."""
    _, disk, first_disk, here, entries, size, offset, comment = _END.unpack_from(data, at)
    stop = at + _END.size + comment
    lies = []
    if disk or first_disk:
        lies.append("it counts several disks")
    if here != entries:
        lies.append("its two numbers of members differ")
    if stop > len(data):
        lies.append("its comment is longer than the file")
    text = bytes(data[at + _END.size : stop])
    plain = (entries, size, offset)
    if at >= _LOCATOR64.size and bytes(data[at - _LOCATOR64.size : at - 16]) == b"PK\x06\x07":
        where = _find_end64(data, at)
        if where is None:
            lies.append("its zip64 locator leads nowhere")
        else:
            _, length, _, _, disk64, first64, here, entries, size, offset = _END64.unpack_from(data, where)
            if where + 12 + length != at - _LOCATOR64.size or disk64 or first64 or here != entries:
                lies.append("its zip64 record does not fit")
            if _LOCATOR64.unpack_from(data, at - _LOCATOR64.size)[2] != where:
                lies.append("its zip64 locator points elsewhere")
            for old, new, full in zip(plain, (entries, size, offset), (_FULL16, _FULL32, _FULL32), strict=True):
                if old != full and old != new:
                    lies.append("its zip64 record says otherwise than its end record")
                    break
            at = where
    elif plain[0] == _FULL16 or _FULL32 in plain[1:]:
        lies.append("it refers to a zip64 record that is not there")
    return End(at, min(stop, len(data)), entries, size, offset, text, tuple(lies))


def _find_end64(data: memoryview, end: int) -> int | None:
    """Where the locator points, or just before the locator."""
    pointed = _LOCATOR64.unpack_from(data, end - _LOCATOR64.size)[2]
    for where in (end - _LOCATOR64.size - _END64.size, pointed):
        if 0 <= where <= end - _LOCATOR64.size - _END64.size and bytes(data[where : where + 4]) == b"PK\x06\x06":
            return int(where)
    return None


def parse_central(data: memoryview, at: int, stop: int) -> tuple[list[Entry], int]:
    """The central directory's entries from `at`, and where they end: before `stop` when something else follows."""
    entries: list[Entry] = []
    while at + _CENTRAL.size <= stop and len(entries) <= MAX_ENTRIES and bytes(data[at : at + 4]) == b"PK\x01\x02":
        (_, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, disk, _, attributes, offset) = (
            _CENTRAL.unpack_from(data, at)
        )
        named = at + _CENTRAL.size
        end = named + name + extra + comment
        if end > stop:
            break
        entries.append(
            Entry(
                at, end, bytes(data[named : named + name]), flags, method, crc, packed, size,
                bytes(data[named + name : named + name + extra]), offset, attributes,
                bytes(data[named + name + extra : end]), disk,
            ).with_zip64()
        )  # fmt: skip
        at = end
    return entries, at


def parse_local(data: memoryview, at: int) -> Entry | None:
    """The local header at `at`; None when there is none."""
    if not 0 <= at <= len(data) - _LOCAL.size or bytes(data[at : at + 4]) != b"PK\x03\x04":
        return None
    _, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack_from(data, at)
    named = at + _LOCAL.size
    if named + name + extra > len(data):
        return None
    fields = bytes(data[named + name : named + name + extra])
    return Entry(
        at, named + name + extra, bytes(data[named : named + name]), flags, method, crc, packed, size, fields
    ).with_zip64()


def parse_descriptors(data: memoryview, at: int) -> Iterator[Descriptor]:
    """Every way to read a data descriptor at `at` (4.3.9: with or without a mark, 4 or 8 bytes a size)."""
    if bytes(data[at : at + 4]) == b"PK\x07\x08":
        at += 4
    for form in ("<LQQ", "<LLL"):
        if at + struct.calcsize(form) <= len(data):
            yield Descriptor(at + struct.calcsize(form), *struct.unpack_from(form, data, at))


def parse_extra(extra: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The extra field's parts, and what is left over."""
    fields, at = [], 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if at + 4 + length > len(extra):
            break
        fields.append((kind, extra[at + 4 : at + 4 + length]))
        at += 4 + length
    return fields, extra[at:]


def unpack_member(packed: memoryview, method: int, most: int) -> Unpacked:
    """Decompress up to one byte more than `most`, so that a longer one shows. Stored data is not copied."""
    if method == 0:
        return Unpacked(packed, len(packed))
    decoder: Any
    try:
        skip = 0
        if method == 8:
            decoder = zlib.decompressobj(-15)
        elif method == 12:
            decoder = bz2.BZ2Decompressor()
        else:
            decoder, skip = _lzma_decoder(packed)
        return decompress(decoder, packed, skip, most)
    except (ValueError, lzma.LZMAError, struct.error) as e:
        return Unpacked(b"", 0, f"it does not decompress ({type(e).__name__})")


def _lzma_decoder(packed: memoryview) -> tuple[lzma.LZMADecompressor, int]:
    """5.8.8: version, the length of the properties, the properties."""
    length = struct.unpack_from("<H", packed, 2)[0]
    first, dictionary = struct.unpack_from("<BL", packed, 4)
    if length != 5 or dictionary > _MAX_DICTIONARY:
        raise ValueError("properties")
    lc, rest = first % 9, first // 9
    chain = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": rest % 5, "pb": rest // 5, "dict_size": dictionary}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain]), 9
