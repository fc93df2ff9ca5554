"""Identifiers that carry their kind: `ent_01JC…`, `key_01JC…`.

The body is a ULID (48-bit milliseconds, 80 random bits, Crockford base32), so ids sort by creation time and
cannot be guessed. Source: the ULID specification.
"""

import os
import time

__all__ = ["new_id"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BODY_CHARS = 26  # 128 bits in groups of five


def new_id(kind: str) -> str:
    """A fresh id: `kind`, an underscore, 26 characters. `kind` is two to eight lower-case letters."""
    if not (2 <= len(kind) <= 8 and kind.isascii() and kind.islower() and kind.isalpha()):
        raise ValueError(f"an id kind is two to eight lower-case letters, not {kind!r}")
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    body = "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_BODY_CHARS)))
    return f"{kind}_{body}"
