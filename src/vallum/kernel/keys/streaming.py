"""Streaming authenticated encryption for what is too large to hold: the STREAM construction over AES-256-GCM.

    magic "VLMS" (4) | format (1) = 1 | log2 of the chunk size (1) | salt (32)
    then per chunk: ciphertext | tag (16); all chunks are full but the last, which may be shorter

Every stream has a key of its own: HKDF-SHA-256 of the caller's key with the random salt, over the header and the
associated data. A chunk's nonce is its number (11 bytes, big endian) and a byte that is 1 for the last chunk
alone. So chunks cannot be changed, dropped, repeated, swapped, carried into another stream, or cut off at the
end. Source: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance" (2015), section 7; the nonce layout is that of age. Documented with vectors in docs/keys.md.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vallum.kernel.keys.errors import SealBroken

__all__ = ["CHUNK_BYTES", "STREAM_KEY_BYTES", "StreamBroken", "decrypt_stream", "encrypt_stream"]

STREAM_KEY_BYTES = 32
CHUNK_BYTES = 64 * 1024

_MAGIC = b"VLMS\x01"
_SALT_BYTES = 32
_PREFIX_BYTES = len(_MAGIC) + 1
_HEADER_BYTES = _PREFIX_BYTES + _SALT_BYTES
_TAG_BYTES = 16
_LABEL = b"vallum/stream/1"
_MIN_CHUNK_LOG2 = 10  # smaller chunks are mostly tags
_MAX_CHUNK_LOG2 = 22  # a reader holds one chunk: a hostile header may cost it 4 MiB and no more
_MAX_CHUNKS = 1 << 32  # GCM's limit on invocations with one key; 256 TiB of the usual chunks


class StreamBroken(SealBroken):
    """The stream was altered, cut short or joined together from others; nothing after this point is authentic."""

    code = "stream_broken"


def encrypt_stream(
    key: bytes,
    chunks: Iterable[bytes | memoryview],
    aad: bytes,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Iterator[bytes]:
    """Encrypt `chunks`, of any sizes, under a 32-byte key; yields the header, then one piece per chunk.

    `chunk_bytes` is a power of two from 1 KiB to 4 MiB. `key` may serve many streams.
    """
    log2 = chunk_bytes.bit_length() - 1
    if chunk_bytes != 1 << log2 or not _MIN_CHUNK_LOG2 <= log2 <= _MAX_CHUNK_LOG2:
        raise ValueError(f"a chunk is a power of two from {1 << _MIN_CHUNK_LOG2} to {1 << _MAX_CHUNK_LOG2} bytes")
    header = _MAGIC + bytes([log2]) + entropy(_SALT_BYTES)
    return _encrypted(_stream_key(key, header, aad), header, _rechunked(chunks, chunk_bytes))


def decrypt_stream(key: bytes, chunks: Iterable[bytes], aad: bytes) -> Iterator[bytes]:
    """What `encrypt_stream` was given, in whole chunks; `chunks` may be cut anywhere.

    What was yielded is authentic and in its place, but only a stream that ended without StreamBroken is whole:
    act on nothing before the end.
    """
    _check_key(key)
    return _decrypted(key, iter(chunks), aad)


def _encrypted(
    cipher: AESGCM, header: bytes, chunks: Iterator[tuple[bytes | bytearray | memoryview, bool]]
) -> Iterator[bytes]:
    yield header
    for number, (chunk, last) in enumerate(chunks):
        yield cipher.encrypt(_nonce(number, last=last), chunk, None)


def _decrypted(key: bytes, pieces: Iterator[bytes], aad: bytes) -> Iterator[bytes]:
    buffered = b""
    while len(buffered) < _HEADER_BYTES:
        piece = next(pieces, None)
        if piece is None:
            raise StreamBroken("the stream ends inside its header")
        buffered += piece
    header, rest = buffered[:_HEADER_BYTES], buffered[_HEADER_BYTES:]
    log2 = header[len(_MAGIC)]
    if not header.startswith(_MAGIC) or not _MIN_CHUNK_LOG2 <= log2 <= _MAX_CHUNK_LOG2:
        raise StreamBroken("these bytes are not an encrypted stream of a known format")
    cipher = _stream_key(key, header, aad)
    for number, (sealed, last) in enumerate(_rechunked(chain([rest], pieces), (1 << log2) + _TAG_BYTES)):
        try:
            chunk = cipher.decrypt(_nonce(number, last=last), sealed, None)
        except InvalidTag:
            raise StreamBroken(f"chunk {number} was altered, is out of place, or the stream was cut short") from None
        if chunk:
            yield chunk
        elif number:  # one stream has one encoding: `encrypt_stream` ends with an empty chunk only when all is empty
            raise StreamBroken("an empty last chunk belongs to an empty stream alone")


def _rechunked(
    pieces: Iterable[bytes | memoryview], size: int
) -> Iterator[tuple[bytes | bytearray | memoryview, bool]]:
    """Full chunks of `size` bytes with False, then the last one, which may be short or empty, with True.

    What lies whole in a piece is given as a view of it: copying every byte once more would take as long as encrypting.
    """
    held = bytearray()  # not full, or full and perhaps the last
    for piece in pieces:
        view = memoryview(piece)
        begin = min(size - len(held), len(view)) if held else 0
        held += view[:begin]
        if begin == len(view):
            continue
        if held:
            yield held, False
        while len(view) - begin > size:  # not >=: what may be the last chunk waits for proof that it is not
            yield view[begin : begin + size], False
            begin += size
        held = bytearray(view[begin:])
    yield held, True


def _stream_key(key: bytes, header: bytes, aad: bytes) -> AESGCM:
    """The header's length is fixed, so header and `aad` need no separator."""
    _check_key(key)
    prefix, salt = header[:_PREFIX_BYTES], header[_PREFIX_BYTES:]
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=_LABEL + prefix + aad).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    if number >= _MAX_CHUNKS:
        raise StreamBroken(f"a stream has at most {_MAX_CHUNKS} chunks")
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _check_key(key: bytes) -> None:
    if len(key) != STREAM_KEY_BYTES:
        raise ValueError(f"a stream's key is {STREAM_KEY_BYTES} bytes")
