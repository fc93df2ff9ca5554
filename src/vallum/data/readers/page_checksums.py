"""Checksums of a Parquet file's pages, verified where its writer wrote any; the engines that read tables do not.

Against accident: a bit that turned over on a disk or on its way. Nothing here answers somebody who alters a file and
writes its checksums anew, and most writers write none (Polars, DuckDB, and Arrow unless it is asked to). Source:
apache/parquet-format, `parquet.thrift` (PageHeader.crc: CRC-32 of the bytes after the header) and the compact protocol
of Apache Thrift.
"""

import mmap
from pathlib import Path
from typing import Any
from zlib import crc32

from vallum.data.table import BadData

__all__ = ["verify_page_checksums"]

_MAX_FOOTER = 4 << 20  # bytes: some 40,000 column chunks; it is read in Python, a byte of it costs up to 70 of memory
_MAX_HEADER = 1 << 20  # bytes of one page's
_MAX_DEPTH = 16  # the format's own structures nest to eight
_TRUE, _FALSE = 1, 2
_NOT_UNDERSTOOD = (ValueError, IndexError, AttributeError, TypeError, KeyError)
_DAMAGED = "the file was damaged, send it again"


def verify_page_checksums(file: Path) -> int:
    """How many pages carried a checksum, which was right. Raises BadData for one that was not.

    Zero for a file without, and for one whose footer is longer than 4 MiB or says what nothing here understands: such
    a file is for its reader to judge.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        length = int.from_bytes(raw[-8:-4], "little")
        if length > min(_MAX_FOOTER, len(raw) - 8):
            return 0
        try:
            footer, _ = _struct(raw[len(raw) - 8 - length :], 0, 0)
            chunks = [_where(chunk) for group in footer[4] for chunk in group[1]]
        except _NOT_UNDERSTOOD:
            return 0
        # Chunks that lie over each other are nobody's: each byte is read once.
        if any(start <= 0 or end < start for start, end in chunks) or sum(b - a for a, b in chunks) > len(raw):
            return 0
        verified = 0
        for number, (start, end) in enumerate(chunks):
            if number and not verified:
                break  # a writer writes all or none
            verified = _verified(raw, start, min(end, len(raw)), file.name, verified)
        return verified


def _where(chunk: dict[int, Any]) -> tuple[int, int]:
    told = chunk[3]
    start = min(at for at in (told.get(11), told[9]) if at)
    return start, start + told[7]


def _verified(raw: mmap.mmap, start: int, end: int, name: str, verified: int) -> int:
    at = start
    while at < end:
        try:
            header, length = _struct(raw[at : at + _MAX_HEADER], 0, 0)
            size, crc = header[3], header.get(4)
            body = at + length
            if size < 0 or body + size > len(raw):
                raise ValueError("a page that is not in the file")
        except _NOT_UNDERSTOOD:
            if verified:
                raise BadData(f"{name}: a page cannot be found: {_DAMAGED}") from None
            return verified
        if crc is not None:
            with memoryview(raw) as whole, whole[body : body + size] as page:
                if crc32(page) != crc & 0xFFFFFFFF:
                    raise BadData(f"{name}: a page is not what its checksum says: {_DAMAGED}")
            verified += 1
        at = body + size
    return verified


def _struct(raw: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Its fields by number, and where it ends. Binary is left out: nothing here needs any."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head, at = raw[at], at + 1
        if head == 0:
            return fields, at
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(raw, at)
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(raw, at, kind, depth)


def _value(raw: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    match kind:
        case 1 | 2 | 3:  # a byte, and so is a boolean in a list
            return raw[at], at + 1
        case 4 | 5 | 6:  # integers
            return _signed(raw, at)
        case 7:  # a double
            return None, _within(raw, at + 8)
        case 8:  # binary
            length, at = _number(raw, at)
            return None, _within(raw, at + length)
        case 9 | 10:  # a list, a set
            head, at = raw[at], at + 1
            count, of = head >> 4, head & 15
            if count == 15:
                count, at = _number(raw, at)
            items = []
            for _ in range(count):
                item, at = _value(raw, at, of, depth + 1)
                items.append(item)
            return items, at
        case 12:
            return _struct(raw, at, depth + 1)
    raise ValueError("a map, or a kind that there is not: Parquet has neither")


def _within(raw: bytes, at: int) -> int:
    """Without it, a list of a billion numbers that are not there would be counted through."""
    if at > len(raw):
        raise IndexError("beyond the end")
    return at


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, at = raw[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _signed(raw: bytes, at: int) -> tuple[int, int]:
    value, at = _number(raw, at)
    return (value >> 1) ^ -(value & 1), at
