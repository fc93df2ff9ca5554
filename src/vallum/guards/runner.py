"""Running guards over segments: one fast pass that clean text takes, and a verdict that fails closed.

A guard that raises blocks, with the finding `guard_failed`; with the outermost request and worker loops, this is
the only place that catches broadly.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vallum.guards.patterns import RuleGuard, RuleSet
from vallum.guards.plain import plain
from vallum.guards.port import Counted, Cursor, Finding, Guard, Mode
from vallum.guards.segment import Segment
from vallum.guards.size import Size

__all__ = ["FAILED", "GuardRunner", "Inspection"]

FAILED = "guard_failed"
_SEPARATOR = "\n\x1e\n"  # between segments in the fast pass; what it joins that is not there is looked at again


@dataclass(frozen=True, slots=True)
class Inspection:
    """`texts` are the segments' texts with what was to be redacted replaced; the same as given when nothing was."""

    action: Literal["allow", "redact", "block"]
    findings: tuple[Counted, ...]
    texts: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Inspection({self.action}, {self.findings})"


class GuardRunner:
    """Guards with their modes; those that are off are not run at all. Thread-safe."""

    def __init__(self, guards: Sequence[tuple[Guard, Mode]]) -> None:
        running = [(guard, mode) for guard, mode in guards if mode is not Mode.OFF]
        self.modes: Mapping[str, Mode] = {guard.name: mode for guard, mode in running}
        owned = tuple(rule for guard, _ in running if isinstance(guard, RuleGuard) for rule in guard.owned)
        self._rules = RuleSet(owned) if owned else None
        others = [guard for guard, _ in running if not isinstance(guard, RuleGuard)]
        self._size = next((guard for guard in others if isinstance(guard, Size)), None)
        self._others = tuple(guard for guard in others if guard is not self._size)

    def inspect(self, segments: Sequence[Segment]) -> Inspection:
        """Look at every segment. Never raises: what cannot be inspected is blocked."""
        texts = tuple(segment.text for segment in segments)
        oversized = self._oversized(texts)
        if oversized and self.worst(oversized) == "block":
            return Inspection("block", self.count(oversized), texts)  # before anything else takes time
        with_rules = self._rules is not None and self._may_match(self._rules, texts)
        found = [self._find(text, with_rules=with_rules) for text in texts]
        every = [*oversized, *(finding for findings in found for finding in findings)]
        if not every:
            return Inspection("allow", (), texts)
        redacted = tuple(self.redact(text, findings) for text, findings in zip(texts, found, strict=True))
        return Inspection(self.worst(every), self.count(every), redacted)

    def cursors(self) -> list[tuple[str, Cursor]]:
        """One cursor for all rules and one for each other guard, for one text that arrives in pieces."""
        rules: list[tuple[str, Cursor]] = [] if self._rules is None else [("rules", self._rules.cursor())]
        others = (*self._others, *(() if self._size is None else (self._size,)))
        return rules + [(guard.name, guard.cursor()) for guard in others]

    def mode_of(self, finding: Finding) -> Mode:
        return Mode.BLOCK if finding.kind == FAILED else self.modes[finding.guard]

    def worst(self, findings: Sequence[Finding]) -> Literal["allow", "redact", "block"]:
        modes = {self.mode_of(finding) for finding in findings}
        if Mode.BLOCK in modes:
            return "block"
        return "redact" if Mode.REDACT in modes else "allow"

    def count(self, findings: Sequence[Finding]) -> tuple[Counted, ...]:
        found = Counter((f.guard, f.version, f.kind, str(self.mode_of(f))) for f in findings)
        return tuple(Counted(*key, count=number) for key, number in sorted(found.items()))

    def redact(self, text: str, findings: Sequence[Finding], origin: int = 0) -> str:
        """Replace what mode `redact` found; where two overlap, the first names what stood there."""
        spans = sorted((f.start, -f.end, f.kind) for f in findings if self.mode_of(f) is Mode.REDACT)
        if not spans:
            return text
        pieces: list[str] = []
        done = origin
        for start, negative_end, kind in spans:
            if start >= done:
                pieces += [text[done - origin : start - origin], f"[redacted:{kind}]"]
            done = max(done, -negative_end)
        pieces.append(text[done - origin :])
        return "".join(pieces)

    def _oversized(self, texts: Sequence[str]) -> list[Finding]:
        """The size of all texts together: many small ones are as much work as one large one."""
        if self._size is None:
            return []
        return self._size.find_total(sum(map(len, texts)))

    def _find(self, text: str, *, with_rules: bool) -> list[Finding]:
        """Every finding in one text. A guard that raises gives one over the whole of it, which blocks."""
        found: list[Finding] = []
        if with_rules and self._rules is not None:
            try:
                found += self._rules.find(text)
            except Exception:  # noqa: BLE001  what cannot be judged is not let through
                found.append(Finding("rules", "", FAILED, 0, len(text)))
        for guard in self._others:
            try:
                found += guard.find(text)
            except Exception:  # noqa: BLE001  as above
                found.append(Finding(guard.name, guard.version, FAILED, 0, len(text)))
        return found

    def _may_match(self, rules: RuleSet, texts: Sequence[str]) -> bool:
        try:
            joined = texts[0] if len(texts) == 1 else _SEPARATOR.join(texts)
            return bool(rules.present(plain(joined)))
        except Exception:  # noqa: BLE001  what the fast pass cannot read goes to the rules themselves, which then fail
            return True
