"""Oversized input: a text longer than its application ever needs is refused before anything else looks at it."""

from collections.abc import Sequence

from vallum.guards.port import Finding

__all__ = ["Size"]

NAME = "size"
VERSION = "1"


class Size:
    name = NAME
    version = VERSION

    def __init__(self, max_chars: int) -> None:
        self.max_chars = max_chars

    def find(self, text: str) -> Sequence[Finding]:
        return self.find_total(len(text))

    def find_total(self, chars: int) -> list[Finding]:
        """Of so many characters, in however many texts."""
        if chars <= self.max_chars:
            return []
        return [Finding(NAME, VERSION, "oversized", self.max_chars, chars)]

    def cursor(self) -> "SizeCursor":
        return SizeCursor(self.max_chars)


class SizeCursor:
    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._found = False

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        end = origin + len(text)
        if end <= self._max_chars or self._found:
            return (), end
        self._found = True
        return [Finding(NAME, VERSION, "oversized", self._max_chars, end)], end
