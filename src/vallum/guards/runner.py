"""Running guards over segments: one fast pass that clean text takes, and a verdict that fails closed.

A guard that raises blocks, with the finding `guard_failed`; with the outermost request and worker loops, this is
the only place that catches broadly.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, cast

from vallum.guards.exceptions import Exceptions, Exempt
from vallum.guards.patterns import RuleGuard, RuleSet
from vallum.guards.plain import plain, without_unseen
from vallum.guards.port import Counted, Cursor, Finding, Guard, Mode, SegmentGuard
from vallum.guards.replacement import Tokens
from vallum.guards.segment import Channel, Segment
from vallum.guards.size import Size

__all__ = ["DEFAULT_BUDGET_SECONDS", "FAILED", "GuardRunner", "Inspection", "Judged"]

FAILED = "guard_failed"
DEFAULT_BUDGET_SECONDS = 10.0
_SEPARATOR = "\n\x1e\n"  # between segments in the fast pass; what it joins that is not there is looked at again


@dataclass(frozen=True, slots=True)
class Inspection:
    """`texts` are the segments' texts with what was to be replaced replaced; the same as given when nothing was."""

    action: Literal["allow", "redact", "block"]
    findings: tuple[Counted, ...]
    texts: tuple[str, ...]
    tokens: Tokens = field(default_factory=Tokens)

    def __repr__(self) -> str:
        return f"Inspection({self.action}, {self.findings})"


Judged = tuple[Finding, Mode]


_NOTHING_TO_TAKE_OUT = ("size", "repetition", "topics", "structure")


def _for(answer: bool, mode: Mode) -> Mode:
    return Mode.REDACT if answer and mode is Mode.TOKENIZE else mode


class _Whole:
    """The cursor of a guard that cannot read a text in pieces: it holds all of it, and judges the whole."""

    def __init__(self, guard: SegmentGuard) -> None:
        self._guard = guard

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        if not final:
            return (), 0
        (found,) = self._guard.find_in([Segment(text, Channel.MODEL, "stream")])
        return found, origin + len(text)


class GuardRunner:
    """Guards with their modes; those that are off are not run at all. Thread-safe."""

    def __init__(
        self,
        guards: Sequence[tuple[Guard, Mode]],
        segment_guards: Sequence[tuple[SegmentGuard, Mode]] = (),
        exceptions: Sequence[Exempt] = (),
        *,
        budget_seconds: float = DEFAULT_BUDGET_SECONDS,
        waits: bool = False,
    ) -> None:
        """After `budget_seconds` of one inspection, of however many texts, every guard has failed, whatever it says.

        `waits` says that one may wait for somebody else: such a runner is no work for an event loop's thread.
        """
        self.budget_seconds = budget_seconds
        self.waits = waits
        self._exceptions = Exceptions(exceptions)
        running = [(guard, mode) for guard, mode in guards if self.runs(guard.name, mode)]
        readers = [(guard, mode) for guard, mode in segment_guards if self.runs(guard.name, mode)]
        self.modes: Mapping[str, Mode] = {g.name: mode for g, mode in running} | {g.name: mode for g, mode in readers}
        owned = tuple(rule for guard, _ in running if isinstance(guard, RuleGuard) for rule in guard.owned)
        self._rules = RuleSet(owned) if owned else None
        others = [guard for guard, _ in running if not isinstance(guard, RuleGuard)]
        self._size = next((guard for guard in others if isinstance(guard, Size)), None)
        self._others = tuple(guard for guard in others if guard is not self._size)
        self._blind = tuple(guard for guard, _ in readers)  # of texts that arrive in pieces
        self._sort()

    def _sort(self) -> None:
        """Those that read each text by itself, and those that read all together; some of these also read pieces."""
        self._finders = tuple(guard for guard in self._others if not hasattr(guard, "find_in"))
        together = (cast(SegmentGuard, guard) for guard in self._others if hasattr(guard, "find_in"))
        self._readers = (*together, *self._blind)

    def runs(self, name: str, mode: Mode) -> bool:
        """Whether a guard of that mode runs here: one that is off does, where an exception turns a part of it on."""
        return mode is not Mode.OFF or self._exceptions.run(name)

    def with_guard(self, guard: Guard, mode: Mode) -> "GuardRunner":
        """The same with one more: for a guard that is made for one exchange."""
        if not self.runs(guard.name, mode):
            return self
        extended = copy(self)
        extended.modes = {**self.modes, guard.name: mode}
        extended._others = (*self._others, guard)
        extended._sort()
        return extended

    def unfinished(self) -> Inspection:
        """What a caller that would not wait any longer goes by."""
        return Inspection("block", (Counted("runner", "", FAILED, str(Mode.BLOCK), 1),), ())

    def inspect(self, segments: Sequence[Segment], *, answer: bool = False) -> Inspection:
        """Look at every segment. Never raises: what cannot be inspected is blocked.

        In an `answer` there is nobody to give a value back to: what would get a stand-in is redacted.
        """
        if not segments:
            return Inspection("allow", (), ())
        texts = tuple(segment.text for segment in segments)
        oversized = [(finding, self.mode_of(finding, Channel.USER)) for finding in self._oversized(texts)]
        if oversized and self.worst(oversized) == "block":
            return Inspection("block", self.count(oversized), texts)  # before anything else takes time
        with_rules = self._rules is not None and self._may_match(self._rules, texts)
        started = monotonic()
        found = [self._find(text, started, with_rules=with_rules) for text in texts]
        for guard in self._readers:
            self._read(guard, segments, found, started)
        if not oversized and not any(found):
            return Inspection("allow", (), texts)
        judged = [
            [(finding, _for(answer, self.mode_of(finding, segment.channel))) for finding in findings]
            for segment, findings in zip(segments, found, strict=True)
        ]
        every = [*oversized, *(one for each in judged for one in each if one[1] is not Mode.OFF)]
        tokens = Tokens(avoid=[text for text in texts if "[" in text])
        replaced = tuple(self.replace(text, each, tokens) for text, each in zip(texts, judged, strict=True))
        return Inspection(self.worst(every), self.count(every), replaced, tokens)

    def too_much(self, chars: int) -> Inspection | None:
        """What so many characters, in however many texts of one answer, lead to; None where they are few enough."""
        judged = [(finding, self.mode_of(finding, Channel.MODEL)) for finding in self._oversized_total(chars)]
        return Inspection(self.worst(judged), self.count(judged), ()) if judged else None

    def cursors(self) -> list[tuple[str, Cursor]]:
        """One cursor for all rules and one for each other guard, for one text that arrives in pieces."""
        rules: list[tuple[str, Cursor]] = [] if self._rules is None else [("rules", self._rules.cursor())]
        others = (*self._others, *(() if self._size is None else (self._size,)))
        blind: list[tuple[str, Cursor]] = [(guard.name, _Whole(guard)) for guard in self._blind]
        return rules + [(guard.name, guard.cursor()) for guard in others] + blind

    def mode_of(self, finding: Finding, channel: Channel) -> Mode:
        """What is done about a finding there.

        A failed guard blocks, whatever exceptions say, and so does one that gives another's name. Where there is
        nothing to take out, what would change the text blocks.
        """
        if finding.kind == FAILED:
            return Mode.BLOCK
        mode = self._exceptions.mode(finding, channel) or self.modes.get(finding.guard, Mode.BLOCK)
        nothing_to_take_out = finding.start == finding.end or finding.guard in _NOTHING_TO_TAKE_OUT
        return Mode.BLOCK if mode.changes and nothing_to_take_out else mode

    def worst(self, judged: Sequence[Judged]) -> Literal["allow", "redact", "block"]:
        modes = {mode for _, mode in judged}
        if Mode.BLOCK in modes:
            return "block"
        return "redact" if any(mode.changes for mode in modes) else "allow"

    def count(self, judged: Sequence[Judged]) -> tuple[Counted, ...]:
        found = Counter((f.guard, f.version, f.kind, str(mode)) for f, mode in judged)
        return tuple(Counted(*key, count=number) for key, number in sorted(found.items()))

    def replace(self, text: str, judged: Sequence[Judged], tokens: Tokens, origin: int = 0) -> str:
        """The text with what was found changed as its mode says; where two overlap, the first decides."""
        spans = sorted((f.start, -f.end, f.kind, f, mode) for f, mode in judged if mode.changes)
        if not spans:
            return text
        pieces: list[str] = []
        done = origin
        for start, negative_end, _, finding, mode in spans:
            if start >= done:
                value = text[start - origin : -negative_end - origin]
                pieces += [text[done - origin : start - origin], tokens.replacement(finding, mode, value)]
            done = max(done, -negative_end)
        pieces.append(text[done - origin :])
        return "".join(pieces)

    def _oversized(self, texts: Sequence[str]) -> list[Finding]:
        """The size of all texts together: many small ones are as much work as one large one."""
        return self._oversized_total(sum(map(len, texts)))

    def _oversized_total(self, chars: int) -> list[Finding]:
        return [] if self._size is None else self._size.find_total(chars)

    def _find(self, text: str, started: float, *, with_rules: bool) -> list[Finding]:
        """Every finding in one text. A guard that raises gives one over the whole of it, which blocks."""
        found: list[Finding] = []
        if with_rules and self._rules is not None:
            try:
                found += self._rules.find(text)
                self.check_time(started)
            except Exception:  # noqa: BLE001  what cannot be judged is not let through
                found.append(Finding("rules", "", FAILED, 0, len(text)))
        for guard in self._finders:
            try:
                fresh = list(guard.find(text))
                if any(not 0 <= f.start <= f.end for f in fresh):
                    raise ValueError("a finding lies outside of its text")
                self.check_time(started)
                found += fresh
            except Exception:  # noqa: BLE001  as above
                found.append(Finding(guard.name, guard.version, FAILED, 0, len(text)))
        return found

    def check_time(self, started: float) -> None:
        """Raises TimeoutError when what began at `started` (monotonic seconds) took more than the budget."""
        if monotonic() - started > self.budget_seconds:
            raise TimeoutError("a guard took more than its time")

    def _read(
        self, guard: SegmentGuard, segments: Sequence[Segment], found: list[list[Finding]], started: float
    ) -> None:
        try:
            judged = list(guard.find_in(segments))
            self.check_time(started)
            for findings, fresh in zip(found, judged, strict=True):
                findings += fresh
        except Exception:  # noqa: BLE001  as above
            for findings, segment in zip(found, segments, strict=True):
                findings.append(Finding(guard.name, guard.version, FAILED, 0, len(segment.text)))

    def _may_match(self, rules: RuleSet, texts: Sequence[str]) -> bool:
        try:
            joined = texts[0] if len(texts) == 1 else _SEPARATOR.join(texts)
            looks = without_unseen(joined)
            return bool(rules.present(plain(joined if looks is None else looks[0])))
        except Exception:  # noqa: BLE001  what the fast pass cannot read goes to the rules themselves, which then fail
            return True
