"""Compressed files: gzip, zlib, bzip2, xz, lzma, lz4 and Zstandard are unpacked to a bound and followed; others are
recognised.

Answers payloads behind the end of a stream, which decompressors differ in reading, and bombs (CWE-409).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from vallum.models.scan.formats.decompression import ENDS_EARLY, MAX_UNPACKED_BYTES, TOO_LONG, decompress, is_bomb
from vallum.models.scan.formats.lz4 import LEGACY_MARK, MARK, unpack_lz4
from vallum.models.scan.formats.zstandard import LEGACY_MARKS, NO_TIME, unpack_zstandard
from vallum.models.scan.formats.zstandard import MARK as ZSTANDARD_MARK
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["CompressedInspector"]

_MAX_STREAMS = 256
_MAX_HEADER_BYTES = 1 << 18
_Data = bytes | bytearray | memoryview
_MAX_MEMORY = 128 << 20  # of a dictionary: the highest xz preset needs 65 MB
_PROBE = 512
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # frames of LZ4 and Zstandard that decompressors pass over
_MAX_NOTE_BYTES = 16  # parallel compressors keep a frame's size in one
_UNREAD = {
    **dict.fromkeys(LEGACY_MARKS, "Zstandard of before its first release"),
    b"Rar!\x1a\x07": "rar", b"MSCF\0\0\0\0": "cabinet", b"\x1f\x9d": "compress",
    b"LZIP": "lzip", b"\x89LZO\0": "lzop",
}  # fmt: skip


class CompressedInspector:
    name = "compressed"

    def recognises(self, blob: Blob) -> bool:
        return _kind(blob.data) is not None or _zfile(blob.data) is not None or _unread(blob.data) is not None

    def inspect(self, blob: Blob, scan: Scan) -> None:
        unread = _unread(blob.data)
        if unread is not None:
            text = f"{unread}: recognised, and not unpacked here, so that what is in it is not known"
            scan.report(Verdict.REVIEW, "unknown-format", blob.place, text)
            return
        if (start := _zfile(blob.data)) is not None:
            scan.descend(blob, "zfile", blob.data[start:])
            return
        whole: list[_Data] = []
        at, ends = self._streams(blob, scan, whole)
        if len(whole) > 1 and scan.may_unpack(sum(map(len, whole))):
            # Python's own readers take streams of one kind for one; what is cut over two is whole only so.
            scan.descend(blob, "joined", b"".join(whole))
        if not ends:
            return
        if at < len(blob):
            rest = blob.data[at:]
            empty = not bytes(rest[:65536]).strip(b"\0") and len(rest) <= 65536
            text = f"{len(rest)} bytes behind the compressed stream"
            scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{at}", text)
            if not empty:
                scan.descend(blob, f"@{at}", rest)

    def _streams(self, blob: Blob, scan: Scan, whole: list[_Data]) -> tuple[int, bool]:
        """Where the last of them ends, and whether it does."""
        at = 0
        for number in range(_MAX_STREAMS + 1):
            kind = _kind(blob.data[at:])
            if kind is None:
                break
            if number == _MAX_STREAMS or not scan.may_go_on():
                scan.report(Verdict.REVIEW, "limit", f"{blob.place}@{at}", "more streams than are looked at")
                return at, False
            used = _skip(blob, at, scan) if kind == "skippable" else _stream(kind, blob, at, whole, scan)
            if used is None:
                return at, False
            at += used
        return at, True


def _zfile(data: memoryview) -> int | None:
    """Where the zlib stream begins in joblib's own wrapping of before version 0.10: behind a length."""
    if bytes(data[:4]) != b"ZF0x":
        return None
    return next((at for at in (21, 22) if bytes(data[at : at + 1]) == b"\x78"), None)


def _stream(kind: str, blob: Blob, at: int, whole: list[_Data], scan: Scan) -> int | None:
    """Unpack and descend to one stream; how long it is, or None when it does not end."""
    place = f"{blob.place}@{at}" if at else blob.place
    most = min(MAX_UNPACKED_BYTES, max(9 << 20, 500 * (len(blob) - at)))  # what is more is a bomb
    if kind in ("lz4", "zstandard"):
        unpacked = (unpack_lz4 if kind == "lz4" else unpack_zstandard)(blob.data, at, most)
    else:
        unpacked = decompress(_decoder(kind), blob.data, at, most, *_unchecked(kind, blob.data, at))
    used = unpacked.used - at
    if is_bomb(used, len(unpacked.data)):
        scan.report(Verdict.BLOCK, "archive-bomb", place, f"{used} bytes that unpack to {len(unpacked.data)} or more")
        return None
    if not scan.may_unpack(len(unpacked.data)):
        return None
    if unpacked.error == TOO_LONG:
        text = f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB"
        scan.report(Verdict.REVIEW, "limit", place, text)
    elif unpacked.error == NO_TIME:
        scan.report(Verdict.REVIEW, "limit", place, NO_TIME)
    elif unpacked.error:
        text = f"a {kind} stream that cannot be unpacked to its end: {unpacked.error}"
        scan.report(Verdict.REVIEW, "malformed", place, text)
    number = len(whole)
    if number:
        text = "a second stream: some readers stop before it, others take both for one"
        scan.report(Verdict.REVIEW, "hidden-payload", place, text)
    whole.append(unpacked.data)
    if len(unpacked.data):
        name = blob.name.rsplit(".", 1)[0] if "." in blob.name.strip(".") else kind
        scan.descend(blob, f"{name}@{number}" if number else name, memoryview(unpacked.data))
    return None if unpacked.error else used


def _skip(blob: Blob, at: int, scan: Scan) -> int | None:
    """What decompressors pass over is looked at: it may hold anything."""
    size = int.from_bytes(blob.data[at + 4 : at + 8], "little")
    content = blob.data[at + 8 : at + 8 + size]
    if len(content) < size or at + 8 > len(blob):
        scan.report(Verdict.REVIEW, "malformed", f"{blob.place}@{at}", "a frame that is longer than the file")
    if size > _MAX_NOTE_BYTES:
        text = f"{size} bytes that decompressors pass over"
        scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{at}", text)
        scan.descend(blob, f"@{at + 8}", content)
    return 8 + size if len(content) == size else None


def _unread(data: memoryview) -> str | None:
    head = bytes(data[:8])
    return next((name for mark, name in _UNREAD.items() if head.startswith(mark)), None)


def _kind(data: memoryview) -> str | None:
    head = bytes(data[:18])
    if head[:3] == b"\x1f\x8b\x08" and len(head) > 3 and head[3] < 0x20:
        return "gzip"
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if head[:4] in (MARK, LEGACY_MARK):
        return "lz4"
    if head[:4] == ZSTANDARD_MARK:
        return "zstandard"
    if len(head) >= 8 and int.from_bytes(head[:4], "little") in _SKIPPABLE:
        return "skippable"
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    if len(head) >= 2 and head[0] & 0x0F == 8 and head[0] >> 4 <= 7 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib" if not head[1] & 0x20 and _starts("zlib", data) else None
    if head[:1] == b"\x5d" and len(head) == 18 and head[1:5] in _DICTIONARIES and head[12:14] in (b"\0\0", b"\xff\0"):
        return "lzma" if _starts("lzma", data) else None
    return None


_DICTIONARIES = frozenset((1 << bits).to_bytes(4, "little") for bits in range(12, 28))


def _starts(kind: str, data: memoryview) -> bool:
    """Whether the first bytes unpack at all: the marks of these two are so short that numbers may look like them."""
    if len(data) < 8:
        return False
    tried = decompress(_decoder(kind), data[:_PROBE], 0, 1 << 16)
    if kind == "zlib" and tried.error not in ("", TOO_LONG, ENDS_EARLY):  # whole, perhaps, but for its checksum
        plain = decompress(zlib.decompressobj(-15), data, 2, 1 << 16)
        return not plain.error and len(plain.data) > 8
    return tried.error in ("", TOO_LONG) or (tried.error == ENDS_EARLY and (len(data) > _PROBE or len(tried.data) > 8))


def _unchecked(kind: str, data: memoryview, at: int) -> tuple[Callable[[], Any], int]:
    """What decompresses without looking at the checksum behind, where there is such, and where that begins."""
    if kind == "gzip":
        return partial(zlib.decompressobj, -15), at + _gzip_header(data, at)
    return (partial(zlib.decompressobj, -15), at + 2) if kind == "zlib" else (partial(_decoder, kind), at)


def _gzip_header(data: memoryview, at: int) -> int:
    """RFC 1952, section 2.3."""
    head = bytes(data[at : at + _MAX_HEADER_BYTES])
    flags, size = head[3], 10
    if flags & 4:
        size += 2 + int.from_bytes(head[size : size + 2], "little")
    for flag in (8, 16):
        if flags & flag:
            size = head.find(b"\0", size) + 1 or len(head)
    return size + (2 if flags & 2 else 0)


def _decoder(kind: str) -> Any:
    match kind:
        case "gzip":
            return zlib.decompressobj(31)
        case "zlib":
            return zlib.decompressobj(15)
        case "bzip2":
            return bz2.BZ2Decompressor()
        case "xz":
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)
        case _:
            return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MAX_MEMORY)
