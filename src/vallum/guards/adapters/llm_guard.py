"""One input scanner of llm-guard as a guard. Needs the extra `llm-guard`, whose project is no longer developed.

A scanner says of a whole text that it is not valid, and how sure it is; so the finding is the whole text, and answers
that come in pieces cannot be read by it.
"""

import re
from collections.abc import Sequence
from typing import Any

from vallum.guards.port import Finding
from vallum.guards.segment import Segment

__all__ = ["LlmGuardScanner"]

_WORD_END = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class LlmGuardScanner:
    """A `SegmentGuard`. `scanner` has `scan(prompt) -> (sanitized, is_valid, risk_score)`."""

    def __init__(self, name: str, scanner: Any) -> None:
        """`name` is that of the entry point which returns this."""
        self.name = name
        self.version = "1"
        self._scanner = scanner
        self._kind = _WORD_END.sub("_", type(scanner).__name__).lower()

    def find_in(self, segments: Sequence[Segment]) -> Sequence[Sequence[Finding]]:
        return [() if segment.trusted else self.find(segment.text) for segment in segments]

    def find(self, text: str) -> Sequence[Finding]:
        _, is_valid, risk = self._scanner.scan(text)
        if is_valid:
            return ()
        score = min(1.0, max(0.0, float(risk)))
        return [Finding(self.name, self.version, self._kind, 0, len(text), score, f"llm-guard's {self._kind} says so")]
