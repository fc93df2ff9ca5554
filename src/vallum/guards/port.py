"""What a guard is: a name, a version, and text in, findings out; and its place in a text that arrives in pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["WINDOW_CHARS", "Counted", "Cursor", "Finding", "Guard", "Mode"]

WINDOW_CHARS = 64  # the most that a guard may hold back of text in which nothing recognisable has begun


class Mode(StrEnum):
    """What happens when a guard finds something."""

    OFF = "off"
    DETECT = "detect"
    REDACT = "redact"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Finding:
    """Which guard found what kind, and where; never the text itself.

    `score` (0 to 1) is how sure a guard is that weighs; rules are sure. `explanation` says why in words of ours.
    """

    guard: str
    version: str
    kind: str
    start: int
    end: int
    score: float = 1.0
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """How often a guard found one kind, and what was done about it. This is all that leaves the guards."""

    guard: str
    version: str
    kind: str
    action: str
    count: int


class Cursor(Protocol):
    """A guard's place in one text that arrives in pieces."""

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        """Judge what can be judged.

        `text` is what is held, with a few characters of what has left before it; its first character is number
        `origin` of the whole. Returns the findings decided by this call, and the first position that may still
        become part of one: the end of `text` when it is `final`. Positions count from the start of the whole.
        """
        ...


class Guard(Protocol):
    """Pure and thread-safe. For every split of a text its cursor decides what `find` does of the whole."""

    name: str
    version: str

    def find(self, text: str) -> Sequence[Finding]:
        """Every finding, in order of its start."""
        ...

    def cursor(self) -> Cursor: ...
