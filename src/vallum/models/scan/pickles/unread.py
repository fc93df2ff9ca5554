"""Names in the rest of a pickle that was too long to read: by their spelling, without following the machine.

Answers a payload behind millions of opcodes that do nothing. What is found this way would be reached by whoever reads
on; only names that could not be meant by accident count, since in the middle of numbers any short name may stand.
"""

import re

from vallum.models.scan.pickles.policy import Standing, decide_global
from vallum.models.scan.port import Blob

__all__ = ["find_capable_name"]

_NAME = rb"([A-Za-z_][\w.]{1,80})"
_MEMO = rb"(?:\x94|q.|r.{4}|p\d{1,9}\n)?"
_GLOBAL = re.compile(rb"[ci]" + _NAME + rb"\n" + _NAME + rb"\n")
_STACK_GLOBAL = re.compile(
    rb"(?:\x8c.|X.{3}\0)" + _NAME + _MEMO + rb"(?:\x8c.|X.{3}\0)" + _NAME + _MEMO + rb"\x93", re.DOTALL
)
_MAX_NAMES = 5_000
_WINDOW = 1 << 20
_OVERLAP = 512


def find_capable_name(blob: Blob, start: int) -> tuple[int, str] | None:
    """Offset and name of the first global from `start` that runs, opens, imports or fetches. Linear."""
    left = _MAX_NAMES
    for at in range(start, len(blob), _WINDOW):
        window = bytes(blob.data[at : at + _WINDOW + _OVERLAP])
        for pattern in (_GLOBAL, _STACK_GLOBAL):
            for found in pattern.finditer(window):
                left -= 1
                module, name = found[1].decode("ascii"), found[2].decode("ascii")
                if decide_global(module, name).standing is Standing.CAPABLE:
                    return at + found.start(), f"{module}.{name}"
                if left < 0:
                    return None
    return None
