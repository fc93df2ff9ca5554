"""A Parquet file's own column chunks, cut into smaller files of the same rows: copied as they lie, none decoded.

To decode and encode a large table costs three times what judging it does. What is copied is the chunks of the wanted
columns and nothing between them, under a footer made anew without statistics, metadata or names of other columns. A
chunk is copied only where its pages, walked by their headers, fill it to the byte and hold the rows of its group: what
is cut is then whole. A file of anything unusual (nested, encrypted, chunks that lie over each other, too many rows a
group) is none to cut, and that is known before a byte is copied. Source: apache/parquet-format, `parquet.thrift`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vallum.data.readers.compact import I32, I64, LIST, STRUCT, Items, Struct, parse_struct, render_struct

__all__ = ["MAX_PART_BYTES", "MAX_PART_CELLS", "ChunkFile", "cut_into_files"]

MAX_PART_CELLS = 8_000_000  # whoever reads a part holds it whole: a million rows of eight columns
MAX_PART_BYTES = 128 << 20  # of its pages uncompressed, as their writer says
_MAX_FOOTER = 4 << 20
_PIECE_BYTES = 1 << 20
_HEADER_BYTES, _MAX_HEADER = 1 << 10, 1 << 20  # what a page's header mostly needs, and the most that is read of one
_MAGIC = b"PAR1"
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3  # kinds of pages
_DESCRIBED = (1, 2, 3, 4, 5, 6, 7)  # of a chunk's metadata: type, encodings, path, codec, values and sizes
_NOT_UNDERSTOOD = (ValueError, IndexError, AttributeError, TypeError, KeyError)


@dataclass(frozen=True, slots=True)
class _Chunk:
    start: int
    end: int
    dictionary: int | None  # where it begins, within the chunk
    data: int
    told: Struct


@dataclass(frozen=True, slots=True)
class _Group:
    rows: int
    plain_bytes: int
    chunks: tuple[_Chunk, ...]


class _Source:
    """A file's bytes by their places. Read, not mapped: pages that are mapped count as memory of the process."""

    def __init__(self, number: int, size: int) -> None:
        self._number = number
        self.size = size

    def __call__(self, start: int, end: int) -> bytes:
        return os.pread(self._number, end - start, start)


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """Rows of a file as a Parquet file of their own. `pieces` are read while what they are cut from is open."""

    rows: int
    spans: tuple[tuple[int, int], ...]
    footer: bytes
    source: _Source

    @property
    def size(self) -> int:
        return sum(end - start for start, end in self.spans) + len(self.footer) + 3 * len(_MAGIC)

    def pieces(self) -> Iterator[bytes]:
        """Raises OSError for a file that became shorter meanwhile."""
        yield _MAGIC
        for start, end in self.spans:
            for at in range(start, end, _PIECE_BYTES):
                piece = self.source(at, min(at + _PIECE_BYTES, end))
                if len(piece) != min(_PIECE_BYTES, end - at):
                    raise OSError("the file was cut off while it was read")
                yield piece
        yield self.footer + len(self.footer).to_bytes(4, "little") + _MAGIC


@contextmanager
def cut_into_files(path: Path, columns: Sequence[str], least_rows: int) -> Iterator[tuple[ChunkFile, ...] | None]:
    """Files of `columns`, in their order, together all rows of `path` in order: each of whole row groups, as many as it
    takes for `least_rows` rows. None for a file that is not to be cut."""
    with path.open("rb") as opened:
        source = _Source(opened.fileno(), os.fstat(opened.fileno()).st_size)
        files: tuple[ChunkFile, ...] | None
        try:
            files = _cut(source, columns, least_rows)
        except _NOT_UNDERSTOOD:
            files = None
        yield files


def _cut(source: _Source, columns: Sequence[str], least_rows: int) -> tuple[ChunkFile, ...] | None:
    tail = source(max(0, source.size - 8), source.size)
    length = int.from_bytes(tail[:4], "little")
    end = source.size - 8 - length
    if length > _MAX_FOOTER or end < len(_MAGIC) or tail[4:] != _MAGIC:
        return None
    footer, _ = parse_struct(source(end, source.size - 8))
    if 8 in footer or 9 in footer:  # encrypted, or signed by whoever encrypts
        return None
    root, *leaves = footer[2]
    names = [leaf[4].decode() for leaf in leaves]
    if root[5] != len(leaves) or len(set(names)) != len(names) or any(not _is_flat(leaf) for leaf in leaves):
        return None
    places = [names.index(column) for column in columns]
    groups = [_group(source, group, names, places, end) for group in footer[4] if group[3]]
    if None in groups or sum(group[3] for group in footer[4]) != footer[3]:
        return None
    known = [group for group in groups if group is not None]
    if sum(chunk.end - chunk.start for group in known for chunk in group.chunks) > source.size:
        return None  # chunks that lie over each other would make a small file a large one
    schema = Items(STRUCT, [_root(root, len(places)), *(leaves[place] for place in places)])
    packed = _packed(known, least_rows, len(places))
    if packed is None:
        return None
    return tuple(_file(source, schema, footer[1], groups) for groups in packed)


def _is_flat(leaf: Struct) -> bool:
    return not leaf.get(5) and leaf.get(3) in (0, 1)


def _root(root: Struct, children: int) -> Struct:
    made = root.only(4)
    made.put(5, I32, children)
    return made


def _group(source: _Source, group: Struct, names: Sequence[str], places: Sequence[int], most: int) -> _Group | None:
    rows, chunks = group[3], group[1]
    if rows < 0 or len(chunks) != len(names):
        return None
    made = [_chunk(source, chunks[place], names[place], rows, most) for place in places]
    if None in made:
        return None
    known = tuple(chunk for chunk in made if chunk is not None)
    return _Group(rows, sum(chunk.told[6] for chunk in known), known)


def _chunk(source: _Source, chunk: Struct, name: str, rows: int, most: int) -> _Chunk | None:
    told = chunk[3]
    if any(number in chunk for number in (1, 8, 9)) or told[3] != [name.encode()] or told[5] != rows:
        return None  # of another file, encrypted, or of another column
    dictionary, data = told.get(11) or None, told[9]
    start = data if dictionary is None else min(dictionary, data)
    end = start + told[7]
    if not len(_MAGIC) <= start < end <= most or told[6] < 0 or not _is_whole(source, start, end, rows):
        return None
    return _Chunk(start, end, None if dictionary is None else dictionary - start, data - start, told)


def _is_whole(source: _Source, start: int, end: int, rows: int) -> bool:
    """Whether pages of `rows` values fill it to the byte, a dictionary only first."""
    at, values = start, 0
    while at < end:
        header, length = _header(source, at, end)
        kind, size = header[1], header[3]
        if kind == _DATA:
            values += header[5][1]
        elif kind == _DATA_2:
            values += header[8][1]
        elif kind != _DICTIONARY or at != start:
            return False
        if size < 0:
            return False
        at += length + size
    return at == end and values == rows


def _header(source: _Source, at: int, end: int) -> tuple[Struct, int]:
    try:
        return parse_struct(source(at, min(end, at + _HEADER_BYTES)))
    except IndexError:
        return parse_struct(source(at, min(end, at + _MAX_HEADER)))


def _packed(groups: Sequence[_Group], least_rows: int, columns: int) -> list[list[_Group]] | None:
    """Which groups go together; None when one alone is too much for whoever will read it."""
    packed: list[list[_Group]] = []
    rows = size = 0
    for group in groups:
        if group.rows * columns > MAX_PART_CELLS or group.plain_bytes > MAX_PART_BYTES:
            return None
        is_full = rows >= least_rows or (rows + group.rows) * columns > MAX_PART_CELLS
        if not packed or is_full or size + group.plain_bytes > MAX_PART_BYTES:
            packed.append([])
            rows = size = 0
        packed[-1].append(group)
        rows, size = rows + group.rows, size + group.plain_bytes
    return packed


def _file(source: _Source, schema: Items, version: int, groups: Sequence[_Group]) -> ChunkFile:
    at, spans, described = len(_MAGIC), list[tuple[int, int]](), Items(STRUCT)
    for group in groups:
        columns = Items(STRUCT)
        for chunk in group.chunks:
            columns.append(_placed(chunk, at))
            spans.append((chunk.start, chunk.end))
            at += chunk.end - chunk.start
        made = Struct()
        made.put(1, LIST, columns)
        made.put(2, I64, group.plain_bytes)
        made.put(3, I64, group.rows)
        described.append(made)
    rows, footer = sum(group.rows for group in groups), Struct()
    parts: tuple[tuple[int, int, Any], ...] = (1, I32, version), (2, LIST, schema), (3, I64, rows), (4, LIST, described)
    for number, kind, value in parts:
        footer.put(number, kind, value)
    return ChunkFile(rows, tuple(spans), render_struct(footer), source)


def _placed(chunk: _Chunk, at: int) -> Struct:
    told = chunk.told.only(*_DESCRIBED)
    told.put(9, I64, at + chunk.data)
    if chunk.dictionary is not None:
        told.put(11, I64, at + chunk.dictionary)
    made = Struct()
    made.put(2, I64, 0)  # a field that is due, and that nobody reads any more
    made.put(3, STRUCT, told)
    return made
