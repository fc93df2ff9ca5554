"""7z's own header: which streams are packed how, into which folders, and what the members in them are called.

A folder is one chain of coders over one run of bytes, with one or more members in it. Every count is held against the
bytes that are left before it is used. Source: 7-Zip's DOC/7zFormat.txt and CPP/7zip/Archive/7z/7zIn.cpp.
"""

from dataclasses import dataclass, field
from itertools import accumulate

__all__ = ["END", "Coder", "Folder", "Malformed", "Member", "Streams", "read_members", "read_streams"]

END, HEADER, ARCHIVE_PROPERTIES, ADDITIONAL, MAIN, FILES, PACK, UNPACK, SUBSTREAMS, SIZES, CRC = range(11)
_FOLDERS, _CODER_SIZES, _COUNTS = 11, 12, 13
_EMPTY_STREAM, _EMPTY_FILE, _ANTI, _NAMES, _ATTRIBUTES = 14, 15, 16, 17, 21
MAX_MEMBERS = 20_000
_MAX_FOLDERS = 20_000
_MAX_CODERS, _MAX_STREAMS = 8, 8


class Malformed(Exception):
    """What is wrong with the header; nothing more can be read from it."""


@dataclass(frozen=True, slots=True)
class Coder:
    method: bytes
    properties: bytes
    inputs: int
    outputs: int


@dataclass(slots=True)
class Folder:
    """`chain` is in the order of unpacking, None when the coders do not form one chain; `sizes` are its outputs'."""

    coders: list[Coder]
    chain: list[int] | None
    packed_streams: int
    sizes: list[int] = field(default_factory=list)
    size: int = 0
    crc: int | None = None


@dataclass(slots=True)
class Streams:
    """`packed`: offset and size of each packed stream; `parts`: of each folder its members' sizes and checksums."""

    packed: list[tuple[int, int]] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    parts: list[list[tuple[int, int | None]]] = field(default_factory=list)


@dataclass(slots=True)
class Member:
    name: str
    has_stream: bool = True
    is_folder: bool = False
    is_anti: bool = False
    attributes: int = 0


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise Malformed("it ends in the middle")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self) -> int:
        """The first byte's leading ones say how many follow."""
        first = self.byte()
        extra = 8 if first == 0xFF else 7 - (first ^ 0xFF).bit_length() + 1
        low = int.from_bytes(self.take(extra), "little")
        return low if extra >= 7 else low | (first & (0x7F >> extra)) << 8 * extra

    def count(self, most: int) -> int:
        """Of things that take a byte each at least, or are bounded by `most`."""
        number = self.number()
        if number > most:
            raise Malformed(f"{number} of what a file of this kind has few of")
        return number

    def bits(self, count: int) -> list[bool]:
        packed = self.take((count + 7) // 8)
        return [bool(packed[index >> 3] & 0x80 >> (index & 7)) for index in range(count)]

    def some(self, count: int) -> list[bool]:
        return [True] * count if self.byte() else self.bits(count)

    def checksums(self, count: int) -> list[int | None]:
        return [int.from_bytes(self.take(4), "little") if has else None for has in self.some(count)]

    def expect(self, kind: int) -> None:
        if self.byte() != kind:
            raise Malformed("a part that is not where it belongs")


def read_streams(header: bytes, at: int) -> tuple[Streams, int]:
    """The streams' description from `at`, behind its own kind; and where it ends. Raises Malformed."""
    reader = _Reader(header)
    reader.at = at
    streams = _streams(reader)
    return streams, reader.at


def read_members(header: bytes) -> tuple[Streams, list[Member]]:
    """A whole header that is not packed. Raises Malformed."""
    reader = _Reader(header)
    reader.expect(HEADER)
    kind = reader.byte()
    if kind == ARCHIVE_PROPERTIES:
        while reader.byte() != END:
            reader.take(reader.number())
        kind = reader.byte()
    if kind == ADDITIONAL:
        _streams(reader)
        kind = reader.byte()
    streams = Streams()
    if kind == MAIN:
        streams = _streams(reader)
        kind = reader.byte()
    members = _files(reader) if kind == FILES else []
    return streams, members


def _streams(reader: _Reader) -> Streams:
    streams = Streams()
    kind = reader.byte()
    if kind == PACK:
        _packed(reader, streams)
        kind = reader.byte()
    if kind == UNPACK:
        _folders(reader, streams)
        kind = reader.byte()
    streams.parts = [[(folder.size, folder.crc)] for folder in streams.folders]
    if kind == SUBSTREAMS:
        _parts(reader, streams)
        kind = reader.byte()
    if kind != END:
        raise Malformed("a part that no reader knows")
    return streams


def _packed(reader: _Reader, streams: Streams) -> None:
    start, count = reader.number(), reader.count(_MAX_FOLDERS * _MAX_STREAMS)
    sizes: list[int] = []
    while (kind := reader.byte()) != END:
        if kind == SIZES:
            sizes = [reader.number() for _ in range(count)]
        elif kind == CRC:
            reader.checksums(count)
        else:
            raise Malformed("a property of packed streams that no reader knows")
    ends = list(accumulate(sizes, initial=start))
    streams.packed = list(zip(ends, sizes, strict=False))


def _folders(reader: _Reader, streams: Streams) -> None:
    reader.expect(_FOLDERS)
    count = reader.count(min(_MAX_FOLDERS, reader.left))
    if reader.byte():
        raise Malformed("a header that goes on elsewhere")
    streams.folders = [_folder(reader) for _ in range(count)]
    reader.expect(_CODER_SIZES)
    for folder in streams.folders:
        folder.sizes = [reader.number() for coder in folder.coders for _ in range(coder.outputs)]
        if folder.chain:
            folder.size = folder.sizes[folder.chain[-1]]
        else:
            folder.size = max(folder.sizes, default=0)
    while (kind := reader.byte()) != END:
        if kind != CRC:
            raise Malformed("a property of folders that no reader knows")
        for folder, crc in zip(streams.folders, reader.checksums(count), strict=True):
            folder.crc = crc


def _folder(reader: _Reader) -> Folder:
    coders = []
    for _ in range(reader.count(_MAX_CODERS)):
        flags = reader.byte()
        if flags & 0xC0:
            raise Malformed("a coder with alternatives, which no writer makes")
        method = reader.take(flags & 15)
        inputs, outputs = (reader.count(_MAX_STREAMS), reader.count(_MAX_STREAMS)) if flags & 16 else (1, 1)
        coders.append(Coder(method, reader.take(reader.number()) if flags & 32 else b"", inputs, outputs))
    inputs, outputs = sum(coder.inputs for coder in coders), sum(coder.outputs for coder in coders)
    if not outputs or inputs < outputs - 1:
        raise Malformed("a folder whose coders do not fit together")
    bound = [(reader.number(), reader.number()) for _ in range(outputs - 1)]
    packed = inputs - len(bound)
    first = [reader.number() for _ in range(packed)] if packed > 1 else []
    if packed == 1:
        first = [index for index in range(inputs) if index not in {into for into, _ in bound}]
    simple = all(coder.inputs == coder.outputs == 1 for coder in coders) and packed == 1
    return Folder(coders, _chain(len(coders), bound, first) if simple else None, max(packed, 1))


def _chain(count: int, bound: list[tuple[int, int]], first: list[int]) -> list[int] | None:
    """The coder that the packed stream goes into, and then each that what it yields goes into."""
    after = {out: into for into, out in bound}
    order = first[:1]
    while order and order[-1] in after and len(order) <= count:
        order.append(after[order[-1]])
    return order if len(order) == len(set(order)) == count and max(order, default=0) < count else None


def _parts(reader: _Reader, streams: Streams) -> None:
    kind = reader.byte()
    counts = [1] * len(streams.folders)
    if kind == _COUNTS:
        counts = [reader.count(MAX_MEMBERS) for _ in streams.folders]
        kind = reader.byte()
    if sum(counts) > MAX_MEMBERS:
        raise Malformed(f"more than {MAX_MEMBERS} members")
    sized = kind == SIZES
    sizes: list[list[int]] = []
    for folder, count in zip(streams.folders, counts, strict=True):
        own = [reader.number() for _ in range(count - 1)] if sized else [0] * (count - 1)
        if sum(own) > folder.size:
            raise Malformed("members that are together longer than what they lie in")
        sizes.append([*own, folder.size - sum(own)] if count else [])
    if sized:
        kind = reader.byte()
    known = [count == 1 and folder.crc is not None for folder, count in zip(streams.folders, counts, strict=True)]
    crcs: list[int | None] = []
    while kind != END:
        if kind == CRC:
            crcs = reader.checksums(sum(count for count, has in zip(counts, known, strict=True) if not has))
        else:
            reader.take(reader.number())
        kind = reader.byte()
    rest = iter(crcs)
    streams.parts = [
        [(own[0], folder.crc)] if has else [(size, next(rest, None)) for size in own]
        for folder, own, has in zip(streams.folders, sizes, known, strict=True)
    ]


def _files(reader: _Reader) -> list[Member]:
    count = reader.count(MAX_MEMBERS)
    members = [Member("") for _ in range(count)]
    empty = [False] * count
    hollow: list[bool] = []
    anti: list[bool] = []
    while (kind := reader.number()) != END:
        part = _Reader(reader.take(reader.number()))
        if kind == _EMPTY_STREAM:
            empty = part.bits(count)
        elif kind == _EMPTY_FILE:
            hollow = part.bits(sum(empty))
        elif kind == _ANTI:
            anti = part.bits(sum(empty))
        elif kind in (_NAMES, _ATTRIBUTES) and _elsewhere(part, kind):
            raise Malformed("a header that goes on elsewhere")
        elif kind == _NAMES:
            _names(part, members)
        elif kind == _ATTRIBUTES:
            part.at = 0
            defined = part.some(count)
            part.byte()
            for member, has in zip(members, defined, strict=True):
                member.attributes = int.from_bytes(part.take(4), "little") if has else 0
    at = 0
    for member, is_empty in zip(members, empty, strict=True):
        member.has_stream = not is_empty
        if is_empty:
            member.is_folder = not (at < len(hollow) and hollow[at])
            member.is_anti = at < len(anti) and anti[at]
            at += 1
    return members


def _elsewhere(part: _Reader, kind: int) -> bool:
    """Names and attributes may be in a packed stream of their own, by the format; no writer does it."""
    if kind == _ATTRIBUTES:
        return False
    return part.byte() != 0


def _names(part: _Reader, members: list[Member]) -> None:
    raw = part.take(part.left)
    if len(raw) % 2:
        raise Malformed("names of an odd length")
    names = raw.decode("utf-16-le", "replace").split("\0")
    if len(names) < len(members):
        raise Malformed("fewer names than members")
    for member, name in zip(members, names, strict=False):
        member.name = name
