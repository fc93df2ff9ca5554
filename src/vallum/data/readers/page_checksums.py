"""Checksums of a Parquet file's pages, verified where its writer wrote any; the engines that read tables do not.

Against accident: a bit that turned over on a disk or on its way. Nothing here answers somebody who alters a file and
writes its checksums anew, and most writers write none (Polars, DuckDB, and Arrow unless it is asked to). Source:
apache/parquet-format, `parquet.thrift` (PageHeader.crc: CRC-32 of the bytes after the header).
"""

import mmap
from pathlib import Path
from typing import Any
from zlib import crc32

from vallum.data.readers.compact import parse_struct
from vallum.data.table import BadData

__all__ = ["verify_page_checksums"]

_MAX_FOOTER = 4 << 20  # bytes: some 40,000 column chunks; it is read in Python, a byte of it costs up to 70 of memory
_MAX_HEADER = 1 << 20  # bytes of one page's
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
            footer, _ = parse_struct(raw[len(raw) - 8 - length :])
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
            header, length = parse_struct(raw[at : at + _MAX_HEADER])
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
