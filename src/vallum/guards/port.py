"""What a guard is: a name, a version, and text in, findings out; and its place in a text that arrives in pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vallum.guards.segment import Segment

__all__ = ["WINDOW_CHARS", "Counted", "Cursor", "Finding", "Guard", "Mode", "SegmentGuard"]

WINDOW_CHARS = 64  # the most that a guard may hold back of text in which nothing recognisable has begun


class Mode(StrEnum):
    """What happens when a guard finds something."""

    OFF = "off"
    DETECT = "detect"
    TOKENIZE = "tokenize"  # a stand-in leaves, and becomes the value again in the answer to the same caller
    MASK = "mask"  # all but its last four characters
    REDACT = "redact"  # its kind alone
    BLOCK = "block"

    @property
    def changes(self) -> bool:
        """Whether the text goes on with something else in the finding's place."""
        return self in (Mode.TOKENIZE, Mode.MASK, Mode.REDACT)


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


class SegmentGuard(Protocol):
    """A guard that must know where each text came from, or what stands beside it. Pure and thread-safe."""

    name: str
    version: str

    def find_in(self, segments: Sequence[Segment]) -> Sequence[Sequence[Finding]]:
        """The findings in each segment, in order."""
        ...
