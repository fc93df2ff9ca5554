"""Unpacks one folder of a 7z archive: a chain of coders, each of which the standard library knows, to a bound.

Branch filters are applied by handing what they filter to LZMA2 as chunks that are not compressed: a raw LZMA stream
does not say where it ends, and liblzma would keep the last bytes of what a filter has.
"""

import bz2
import lzma
import zlib
from collections.abc import Sequence
from typing import Any

from vallum.models.scan.formats.decompression import Unpacked, decompress
from vallum.models.scan.formats.seven_zip_records import Coder
from vallum.models.scan.formats.zstandard import unpack_zstandard

__all__ = ["ENCRYPTED", "is_known", "unpack_folder"]

ENCRYPTED = b"\x06\xf1\x07\x01"
_MAX_DICTIONARY = 128 << 20
_MIN_DICTIONARY = 1 << 12
_FILTERS = {
    b"\x03\x03\x01\x03": lzma.FILTER_X86, b"\x04": lzma.FILTER_X86,
    b"\x03\x03\x02\x05": lzma.FILTER_POWERPC, b"\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64, b"\x06": lzma.FILTER_IA64,
    b"\x03\x03\x05\x01": lzma.FILTER_ARM, b"\x07": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB, b"\x08": lzma.FILTER_ARMTHUMB,
    b"\x03\x03\x08\x05": lzma.FILTER_SPARC, b"\x09": lzma.FILTER_SPARC,
    b"\x03": lzma.FILTER_DELTA,
}  # fmt: skip
_COPY, _LZMA, _LZMA2, _BZIP2, _DEFLATE, _ZSTANDARD = (
    b"\0", b"\x03\x01\x01", b"\x21", b"\x04\x02\x02", b"\x04\x01\x08", b"\x04\xf7\x11\x01",
)  # fmt: skip
_PACKERS = frozenset((_COPY, _LZMA, _LZMA2, _BZIP2, _DEFLATE, _ZSTANDARD))
_CHUNK = 1 << 16


def is_known(coders: Sequence[Coder]) -> bool:
    return all(coder.method in _FILTERS or coder.method in _PACKERS for coder in coders)


def unpack_folder(packed: memoryview, chain: Sequence[tuple[Coder, int]]) -> Unpacked:
    """`chain`: coders in the order of unpacking, with the size that each yields. What comes before an error, too."""
    data: bytes | bytearray | memoryview = packed
    for coder, size in chain:
        unpacked = _unpack(coder, memoryview(data), size)
        if unpacked.error:
            return unpacked
        data = unpacked.data
    return Unpacked(data, len(packed))


def _unpack(coder: Coder, packed: memoryview, size: int) -> Unpacked:
    if coder.method == _COPY:
        return Unpacked(packed[:size], size, "" if size == len(packed) else "it is not as long as it says")
    if coder.method in _FILTERS:
        return _filtered(coder, packed)
    if coder.method == _ZSTANDARD:
        return unpack_zstandard(packed, 0, size)
    try:
        decoder, ahead = _decoder(coder, size)
    except (ValueError, lzma.LZMAError, IndexError):
        return Unpacked(b"", 0, "a coder whose properties do not fit")
    if ahead:
        packed = memoryview(ahead + bytes(packed))
    unpacked = decompress(decoder, packed, 0, size)
    # A raw stream need not say that it ends: its size does.
    ends = len(unpacked.data) == size
    return Unpacked(unpacked.data, unpacked.used - len(ahead), "" if ends else unpacked.error or "it is too short")


def _decoder(coder: Coder, size: int) -> tuple[Any, bytes]:
    """And what its stream lacks at the start. A dictionary is never longer than what is unpacked with it."""
    match coder.method:
        case method if method == _LZMA:
            said = int.from_bytes(coder.properties[1:5], "little")
            head = coder.properties[:1] + _dictionary(said, size).to_bytes(4, "little") + size.to_bytes(8, "little")
            if len(head) != 13:
                raise ValueError("properties of LZMA")
            return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2 * _MAX_DICTIONARY), head
        case method if method == _LZMA2:
            bits = coder.properties[0]
            said = (2 | bits & 1) << bits // 2 + 11 if bits < 40 else 0xFFFFFFFF
            chain = [{"id": lzma.FILTER_LZMA2, "dict_size": _dictionary(said, size)}]
            return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), b""
        case method if method == _BZIP2:
            return bz2.BZ2Decompressor(), b""
        case _:
            return zlib.decompressobj(-15), b""


def _dictionary(said: int, size: int) -> int:
    return max(_MIN_DICTIONARY, min(said, size, _MAX_DICTIONARY))


def _filtered(coder: Coder, data: memoryview) -> Unpacked:
    kind = _FILTERS[coder.method]
    own: dict[str, int] = {"id": kind}
    if kind == lzma.FILTER_DELTA:
        own["dist"] = (coder.properties[0] if coder.properties else 0) + 1
    plain = bytearray()
    for at in range(0, len(data), _CHUNK):
        part = data[at : at + _CHUNK]
        plain += (b"\x02" if at else b"\x01") + (len(part) - 1).to_bytes(2, "big")
        plain += part
    plain += b"\0"
    chain = [own, {"id": lzma.FILTER_LZMA2, "dict_size": _CHUNK}]
    unpacked = decompress(lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), memoryview(plain), 0, len(data))
    return Unpacked(unpacked.data, len(data), unpacked.error)
