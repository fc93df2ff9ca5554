"""Identifiers that carry their kind: `ent_01JC…`, `key_01JC…`.

The body is a ULID (48-bit milliseconds, 80 random bits, Crockford base32), so ids sort by creation time and
cannot be guessed. Source: the ULID specification.
"""

import os
import time
from functools import lru_cache

__all__ = ["new_id"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_STAMP_PLACES = tuple(range(45, -1, -5))  # 48 bits in ten groups of five
_RANDOM_CHARS = 16
_DRAW = 256
_TO_ALPHABET = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))
_drawn: list[str] = []


def new_id(kind: str) -> str:
    """A fresh id: `kind`, an underscore, 26 characters. `kind` is two to eight lower-case letters."""
    if not (2 <= len(kind) <= 8 and kind.isascii() and kind.islower() and kind.isalpha()):
        raise ValueError(f"an id kind is two to eight lower-case letters, not {kind!r}")
    return f"{kind}_{_stamp(time.time_ns() // 1_000_000)}{_random_chars()}"


@lru_cache(maxsize=2)  # ids come in bursts: most share their millisecond with the one before
def _stamp(milliseconds: int) -> str:
    return "".join([_ALPHABET[milliseconds >> place & 31] for place in _STAMP_PLACES])


def _random_chars() -> str:
    """Sixteen characters, 80 bits; drawn many at a time, since each draw gives up the interpreter's lock."""
    while True:
        try:
            return _drawn.pop()  # atomic, so that no two threads get the same
        except IndexError:
            text = os.urandom(_DRAW * _RANDOM_CHARS).translate(_TO_ALPHABET).decode()
            _drawn.extend(text[at : at + _RANDOM_CHARS] for at in range(0, len(text), _RANDOM_CHARS))
