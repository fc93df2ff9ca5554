"""How unlikely it is that bytes drawn at random read as what was found: a bound, in bits, that holds for each offset.

Weights are close to random bytes, and there are many of them: whatever may stand in 2^30 bytes by chance will, in one
file of a few. An opcode is one of 68 of 256 whatever was read before it, so that n of them are 1.91 n bits. A name adds
the bits of its letters, which are no opcodes: eight for each letter of the part that makes it known (less three, since
there are some of that length), two for any other letter that a name may have, eight for where each half ends. With 52
bits one in four million gigabytes of random bytes is called a pickle, before it also has to call something.
"""

from functools import lru_cache
from math import log2

from vallum.models.scan.pickles.policy import is_standard, is_tool

__all__ = ["HEADER_BITS", "OLD_HEADER_BITS", "is_meant", "name_bits"]

_OPCODE_BITS = log2(256 / 68)
HEADER_BITS = 11.5  # 0x80 and one of six protocols, less what the opcode counts for
OLD_HEADER_BITS = 6.0  # one opcode, GLOBAL, and no other
_ENOUGH_BITS = 52.0
_LETTER_BITS = log2(256 / 64)
_END_BITS = 8.0


@lru_cache(maxsize=4096)
def name_bits(module: str, name: str) -> float:
    """Of a name that a pickler could have written; 0 for any other."""
    parts = f"{module}.{name}".split(".")
    if not (module and name and all(part.isidentifier() and part.isascii() for part in parts)):
        return 0.0
    known = len(parts[0]) if is_standard(module) or is_tool(module) else 0
    others = len(module) + len(name) - known
    return max(8.0 * known - 3.0, 0.0) + _LETTER_BITS * others + 2 * _END_BITS


def is_meant(header: float, opcodes: int, name: float, complete: bool) -> bool:
    """Whether somebody wrote it. Without any name, it also has to be a pickle to its end."""
    return header + _OPCODE_BITS * opcodes + name >= _ENOUGH_BITS and (name > 0 or complete)
