"""Secrets made here, and the one way each is kept: hashed.

A key carries a checksum, so that secret scanners report no look-alikes and noise is refused without asking the
database. Random secrets of 190 bits and more need no slow hash; passwords do (`passwords`).
"""

import os
from hashlib import sha256
from zlib import crc32

__all__ = [
    "API_KEY_PREFIX",
    "DELEGATION_PREFIX",
    "ENROLMENT_PREFIX",
    "SERVICE_PREFIX",
    "SESSION_PREFIX",
    "hash_secret",
    "is_well_formed",
    "new_secret",
]

API_KEY_PREFIX = "vlm_"
SESSION_PREFIX = "vls_"
SERVICE_PREFIX = "vlc_"
ENROLMENT_PREFIX = "vle_"
DELEGATION_PREFIX = "vld_"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_CHARS = 36  # 214 bits
_CHECK_CHARS = 6  # 32 bits of CRC


def new_secret(prefix: str) -> str:
    """`prefix`, 36 random base62 characters, and 6 of checksum."""
    number = int.from_bytes(os.urandom(28), "big")
    stem = prefix + _base62(number, _BODY_CHARS)
    return stem + _checksum(stem)


def is_well_formed(secret: str, prefix: str) -> bool:
    """Whether `new_secret` could have made it. Says nothing of whether it is known."""
    stem = secret[:-_CHECK_CHARS]
    return (
        len(secret) == len(prefix) + _BODY_CHARS + _CHECK_CHARS
        and secret.startswith(prefix)
        and secret.isascii()
        and _checksum(stem) == secret[-_CHECK_CHARS:]
    )


def hash_secret(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _checksum(stem: str) -> str:
    return _base62(crc32(stem.encode()), _CHECK_CHARS)


def _base62(number: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
