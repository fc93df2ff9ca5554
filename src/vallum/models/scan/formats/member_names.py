"""What an archive's member may be called: inside of the folder it is unpacked to, and showing what it is."""

import re

__all__ = ["is_outside", "shown"]

_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_SHOWN = 512
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_outside(name: str) -> bool:
    """Absolute on any system, going up, or cut short by a NUL. A backslash is a separator on some systems."""
    return (
        name.startswith(("/", "~/"))
        or "\\" in name
        or "\0" in name
        or _DRIVE.match(name) is not None
        or ".." in name.split("/")
    )


def shown(name: str) -> str:
    """The name for a place or message: one line, no characters that hide or turn others, not endless."""
    clean = "".join(c if c.isprintable() and c not in _DIRECTIONS else f"\\x{ord(c):02x}" for c in name[:_MAX_SHOWN])
    return clean if len(name) <= _MAX_SHOWN else clean + "…"
