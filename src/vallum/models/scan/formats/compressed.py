"""Compressed files: gzip, zlib, bzip2, xz and lzma are unpacked to a bound and followed; others are recognised.

Answers payloads behind the end of a stream, which decompressors differ in reading, and bombs (CWE-409).
"""

import bz2
import lzma
import zlib
from typing import Any

from vallum.models.scan.formats.decompression import ENDS_EARLY, MAX_UNPACKED_BYTES, TOO_LONG, decompress, is_bomb
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["CompressedInspector"]

_MAX_STREAMS = 64
_MAX_MEMORY = 128 << 20  # of a dictionary: the highest xz preset needs 65 MB
_PROBE = 512
_UNREAD = {
    b"\x04\x22\x4d\x18": "lz4", b"\x02\x21\x4c\x18": "lz4 (legacy)", b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "rar", b"MSCF\0\0\0\0": "cabinet", b"\x1f\x9d": "compress",
    b"LZIP": "lzip", b"\x89LZO\0": "lzop",
}  # fmt: skip


class CompressedInspector:
    name = "compressed"

    def recognises(self, blob: Blob) -> bool:
        return _kind(blob.data) is not None or _unread(blob.data) is not None

    def inspect(self, blob: Blob, scan: Scan) -> None:
        unread = _unread(blob.data)
        if unread is not None:
            text = f"{unread}: recognised, and not unpacked here, so that what is in it is not known"
            scan.report(Verdict.REVIEW, "unknown-format", blob.place, text)
            return
        at = 0
        for number in range(_MAX_STREAMS):
            kind = _kind(blob.data[at:])
            if kind is None:
                break
            used = _stream(kind, blob, at, number, scan)
            if used is None:
                return
            at += used
        if at < len(blob):
            rest = blob.data[at:]
            empty = not bytes(rest[:65536]).strip(b"\0") and len(rest) <= 65536
            text = f"{len(rest)} bytes behind the compressed stream"
            scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{at}", text)
            if not empty:
                scan.descend(blob, f"@{at}", rest)


def _stream(kind: str, blob: Blob, at: int, number: int, scan: Scan) -> int | None:
    """Unpack and descend to one stream; how long it is, or None when it does not end."""
    place = f"{blob.place}@{at}" if at else blob.place
    most = min(MAX_UNPACKED_BYTES, max(9 << 20, 500 * (len(blob) - at)))  # what is more is a bomb
    unpacked = decompress(_decoder(kind), blob.data, at, most)
    used = unpacked.used - at
    if is_bomb(used, len(unpacked.data)):
        scan.report(Verdict.BLOCK, "archive-bomb", place, f"{used} bytes that unpack to {len(unpacked.data)} or more")
        return None
    if not scan.may_unpack(len(unpacked.data)):
        return None
    if unpacked.error == TOO_LONG:
        text = f"it unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB"
        scan.report(Verdict.REVIEW, "limit", place, text)
    elif unpacked.error:
        text = f"a {kind} stream that cannot be unpacked to its end: {unpacked.error}"
        scan.report(Verdict.REVIEW, "malformed", place, text)
    if number:
        text = "a second stream: some readers stop before it, others take both for one"
        scan.report(Verdict.REVIEW, "hidden-payload", place, text)
    if len(unpacked.data):
        name = blob.name.rsplit(".", 1)[0] if "." in blob.name.strip(".") else kind
        scan.descend(blob, f"{name}@{number}" if number else name, memoryview(unpacked.data))
    return None if unpacked.error else used


def _unread(data: memoryview) -> str | None:
    head = bytes(data[:8])
    return next((name for mark, name in _UNREAD.items() if head.startswith(mark)), None)


def _kind(data: memoryview) -> str | None:
    head = bytes(data[:18])
    if head[:3] == b"\x1f\x8b\x08" and len(head) > 3 and head[3] < 0x20:
        return "gzip"
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
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
    return tried.error in ("", TOO_LONG) or (tried.error == ENDS_EARLY and (len(data) > _PROBE or len(tried.data) > 8))


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
