"""Pictures and tables beside a model: recognised by structure from start to end, so that they need no person.

Only what ends where the format ends passes; whatever follows is judged as a file of its own.
"""

import zlib

from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["PlainDataInspector"]

_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 100_000
_MAX_JPEG_BYTES = 64 << 20  # it is searched as a copy


class PlainDataInspector:
    name = "plain-data"

    def recognises(self, blob: Blob) -> bool:
        head = blob.head(12)
        return (
            head.startswith((_PNG, b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"PAR1", b"ARROW1\0\0"))
            or head[:4] + head[8:] == b"RIFFWEBP"
        )

    def inspect(self, blob: Blob, scan: Scan) -> None:
        end = _end(blob.data)
        if end is None or end > len(blob):
            text = "starts like a picture or table, and does not go on as one"
            scan.report(Verdict.REVIEW, "malformed", blob.place, text)
        elif end < len(blob):
            text = f"{len(blob) - end} bytes behind its end"
            scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{end}", text)
            scan.descend(blob, f"@{end}", blob.data[end:])


def _end(data: memoryview) -> int | None:
    head = bytes(data[:12])
    if head.startswith(_PNG):
        return _png_end(data)
    if head.startswith(b"RIFF"):
        size = int.from_bytes(head[4:8], "little")
        return 8 + size + size % 2
    if head.startswith(b"\xff\xd8"):
        return _jpeg_end(data)
    if head.startswith(b"GIF"):
        return _gif_end(data)
    mark = b"PAR1" if head.startswith(b"PAR1") else b"ARROW1"
    if bytes(data[-len(mark) :]) != mark or len(data) < 2 * len(mark) + 8:
        return None
    footer = int.from_bytes(data[-len(mark) - 4 : -len(mark)], "little")
    return len(data) if 0 < footer <= len(data) - 2 * len(mark) - 4 else None


def _png_end(data: memoryview) -> int | None:
    """Behind `IEND`, when every chunk's checksum fits."""
    at = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        size = int.from_bytes(data[at : at + 4], "big")
        stop = at + 12 + size
        if stop > len(data) or zlib.crc32(data[at + 4 : stop - 4]) != int.from_bytes(data[stop - 4 : stop], "big"):
            return None
        if bytes(data[at + 4 : at + 8]) == b"IEND":
            return stop
        at = stop
    return None


def _jpeg_end(data: memoryview) -> int | None:
    """Segment by segment, and through the scans, in which only stuffed and restart marks stand."""
    if len(data) > _MAX_JPEG_BYTES:
        return None
    whole = bytes(data)
    at = 2
    for _ in range(_MAX_CHUNKS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return at + 2 if bytes(data[at : at + 2]) == b"\xff\xd9" else None
        mark = data[at + 1]
        if mark == 0xD9:
            return at + 2
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if mark != 0xDA:
            continue
        at = whole.find(b"\xff", at)
        while 0 <= at < len(whole) - 1 and (whole[at + 1] == 0 or 0xD0 <= whole[at + 1] <= 0xD7):
            at = whole.find(b"\xff", at + 2)
        if at < 0:
            return None
    return None


def _gif_end(data: memoryview) -> int | None:
    if len(data) < 14:
        return None
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at < len(data):
        kind = data[at]
        if kind == 0x3B:
            return at + 1
        if kind == 0x2C and at + 10 < len(data):
            flags = data[at + 9]
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        elif kind == 0x21:
            at += 2
        else:
            return None
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return None
