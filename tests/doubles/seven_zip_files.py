"""Writes 7z archives, honest and otherwise, by the format's description. Every part can be replaced by a lie."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping

__all__ = ["CODERS", "number", "seven_zip"]

_FILTER = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}


def _raw(*filters: Mapping[str, int]) -> Callable[[bytes], bytes]:
    return lambda data: lzma.compress(data, lzma.FORMAT_RAW, filters=list(filters))


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _lzma(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}])[13:]


_LZMA_COMMON = b"\x5d" + struct.pack("<L", 1 << 16)
# Coders as the header lists them (method, properties), in the order in which each yields what the one before takes.
CODERS: dict[str, tuple[list[tuple[bytes, bytes]], Callable[[bytes], bytes]]] = {
    "copy": ([(b"\0", b"")], lambda data: data),
    "lzma": ([(b"\x03\x01\x01", _LZMA_COMMON)], _lzma),
    "lzma2": ([(b"\x21", b"\x08")], _raw(_FILTER)),
    "bzip2": ([(b"\x04\x02\x02", b"")], bz2.compress),
    "deflate": ([(b"\x04\x01\x08", b"")], _deflate),
    "x86": ([(b"\x03\x03\x01\x03", b""), (b"\x21", b"\x08")], _raw({"id": lzma.FILTER_X86}, _FILTER)),
    "delta": ([(b"\x03", b"\x03"), (b"\x21", b"\x08")], _raw({"id": lzma.FILTER_DELTA, "dist": 4}, _FILTER)),
}


def number(value: int) -> bytes:
    for extra in range(8):
        if value < 1 << (7 * (extra + 1)):
            first = (0xFF00 >> extra & 0xFF) | value >> 8 * extra
            return bytes([first]) + (value & (1 << 8 * extra) - 1).to_bytes(extra, "little")
    return b"\xff" + value.to_bytes(8, "little")


def _folder(coders: list[tuple[bytes, bytes]]) -> bytes:
    out = number(len(coders))
    for method, properties in coders:
        out += bytes([len(method) | (32 if properties else 0)]) + method
        out += number(len(properties)) + properties if properties else b""
    return out + b"".join(number(index) + number(index + 1) for index in range(len(coders) - 1))


def _streams(packed: list[int], coders: list[tuple[bytes, bytes]], size: int, at: int, crc: int, rest: bytes) -> bytes:
    pack = b"\x06" + number(at) + number(len(packed)) + b"\x09" + b"".join(map(number, packed)) + b"\0"
    unpack = b"\x07\x0b\x01\0" + _folder(coders) + b"\x0c" + number(size) * len(coders)
    return pack + unpack + b"\x0a\x01" + struct.pack("<L", crc) + b"\0" + rest + b"\0"


def seven_zip(
    members: list[tuple[str, bytes]], method: str = "lzma2", *, packed_header: bool = False, crc: int | None = None,
    size: int | None = None, modes: Mapping[str, int] | None = None, coders: list[tuple[bytes, bytes]] | None = None,
    between: bytes = b"", behind: bytes = b"",
) -> bytes:  # fmt: skip
    """One solid folder of all members with content; the others are folders. `crc` and `size` replace the true ones."""
    full = [content for _, content in members if content]
    plain = b"".join(full)
    own, pack = CODERS[method]
    packed = pack(plain)
    said = len(plain) if size is None else size
    crcs = b"".join(struct.pack("<L", zlib.crc32(one) if crc is None else crc) for one in full)
    parts = b"\x08\x0d" + number(len(full)) + b"\x09" + b"".join(number(len(one)) for one in full[:-1])
    parts += (b"\x0a\x01" + crcs if len(full) > 1 else b"") + b"\0"
    whole = zlib.crc32(plain) if crc is None or len(full) > 1 else crc
    streams = b"\x04" + _streams([len(packed)], coders or own, said, 0, whole, parts) if full else b""
    names = b"\0" + "".join(f"{name}\0" for name, _ in members).encode("utf-16-le")
    files = b"\x05" + number(len(members))
    if len(full) < len(members):
        files += b"\x0e" + _sized(_bits([not content for _, content in members]))
    files += b"\x11" + _sized(names)
    if modes:
        attributes = b"".join(struct.pack("<L", modes.get(name, 0o100644) << 16 | 0x8000) for name, _ in members)
        files += b"\x15" + _sized(b"\x01\0" + attributes)
    header = b"\x01" + streams + files + b"\0\0"
    body = packed + between
    if packed_header:
        small = CODERS["lzma"][1](header)
        lengths = _streams([len(small)], CODERS["lzma"][0], len(header), len(body), zlib.crc32(header), b"")
        body, header = body + small, b"\x17" + lengths
    first = struct.pack("<QQL", len(body), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\0\x04" + struct.pack("<L", zlib.crc32(first)) + first + body + header + behind


def _sized(content: bytes) -> bytes:
    return number(len(content)) + content


def _bits(flags: list[bool]) -> bytes:
    padded = flags + [False] * (-len(flags) % 8)
    return bytes(sum(bit << 7 - i for i, bit in enumerate(padded[at : at + 8])) for at in range(0, len(padded), 8))
