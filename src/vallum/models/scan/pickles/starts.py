"""Where a pickle may begin in bytes that are something else: all that a search of gigabytes looks at.

RE2 leaps from one first letter of a pattern to the next, which makes it five times faster here than `re` is. It is no
part of the standard library, and is asked for only where there is much to search; without it `re` finds the same.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from vallum.models.scan.pickles.machine import OPCODES

__all__ = ["CANDIDATE", "OLD_CANDIDATE", "starts_of"]

_MUCH_BYTES = 1 << 20
# What could be told apart by its next byte is: each candidate costs as much as to search a tenth of a megabyte.
_OPCODE = b"[" + b"".join(b"\\x%02x" % op for op in sorted(OPCODES)) + b"]"
CANDIDATE = (
    rb"\x80[\x02-\x05](?:\x95.{6}\x00\x00|[(\x7d\x5d\x8f)N\x88\x89]" + _OPCODE + rb"|K." + _OPCODE + rb"|M.." + _OPCODE
    + rb"|J.{4}" + _OPCODE + rb"|[XB].{3}[\x00-\x3f]|\x8e.{4}\x00{4}|c[A-Za-z_]|I[\x09-\x0d -9_]|S[ '\"]|[\x8cCV])"
)  # fmt: skip
OLD_CANDIDATE = (
    rb"c(?:os|posix|nt|subprocess|builtins|__builtin__|sys|shutil|importlib|runpy|socket|pty|commands|webbrowser)"
    rb"\n[0-9A-Za-z_.]{2,60}\n"
)


def starts_of(pattern: bytes, data: memoryview, start: int) -> Iterator[int]:
    """Offsets from `start`, in order."""
    compiled = _compiled(pattern, len(data) - start >= _MUCH_BYTES)
    return (found.start() for found in compiled.finditer(data, start))


@cache
def _compiled(pattern: bytes, much: bool) -> Any:
    if much:
        try:
            import re2  # takes as long to load as a megabyte to search
        except ImportError:
            return _compiled(pattern, much=False)
        options = re2.Options()
        options.encoding, options.dot_nl, options.never_capture = re2.Options.Encoding.LATIN1, True, True
        return re2.compile(pattern, options)
    return re.compile(pattern, re.DOTALL)
