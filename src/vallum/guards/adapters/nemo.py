"""Input rails of NeMo Guardrails as a guard. Needs the extra `nemo`.

Rails that stop a message become a finding over all of it, named after the rail. Only input rails are run: no model is
asked for an answer, though a rail may ask one of its own.
"""

import re
from collections.abc import Sequence
from typing import Any

from vallum.guards.port import Finding
from vallum.guards.segment import Segment

__all__ = ["NemoRails"]

_NOT_A_NAME = re.compile(r"[^a-z0-9]+")
_OPTIONS = {"rails": ["input"], "log": {"activated_rails": True}}


class NemoRails:
    """A `SegmentGuard`. `rails` is a `nemoguardrails.LLMRails`."""

    def __init__(self, name: str, rails: Any) -> None:
        """`name` is that of the entry point which returns this."""
        self.name = name
        self.version = "1"
        self._rails = rails

    def find_in(self, segments: Sequence[Segment]) -> Sequence[Sequence[Finding]]:
        return [() if segment.trusted else self.find(segment.text) for segment in segments]

    def find(self, text: str) -> Sequence[Finding]:
        answer = self._rails.generate(messages=[{"role": "user", "content": text}], options=_OPTIONS)
        stopped = [rail.name for rail in answer.log.activated_rails if rail.stop]
        return [
            Finding(self.name, self.version, _kind(rail), 0, len(text), explanation=f"the rail {rail} stops it")
            for rail in dict.fromkeys(stopped)
        ]


def _kind(rail: str) -> str:
    return _NOT_A_NAME.sub("_", rail.lower()).strip("_")[:64] or "rail"
