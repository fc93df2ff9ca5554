"""Rules, and the one pass that finds them.

Owns how patterns are run: one RE2 set over the text says which rules can match at all (none, for nearly every
prompt), and only those are then located and checked. What the rules are belongs to `secrets` and `pii`.

The order of work is the same for a whole text and for a stream: leftmost match, check, go on behind it. The stream
merely stops where a match is not yet decided, which is what makes the two answers equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import re2

from vallum.guards.expressions import Expression
from vallum.guards.plain import plain
from vallum.guards.port import Finding

__all__ = ["Check", "Rule", "RuleCursor", "RuleGuard", "RuleSet"]

MAX_CANDIDATES = 50_000  # places that look like one kind in one text; more is an attack on the checks, and is refused
MAX_DFA_BYTES = 64 << 20  # room for the states of all rules together; when RE2 runs out it starts over, slowly

Check = Callable[[str], tuple[int, int] | int]
"""Reads a candidate. Returns the part of it that is the finding, or how far behind its start to look again (>= 1)."""


class TooManyCandidates(Exception):
    """A text made of what nearly matches: judging it all would take too long."""


@dataclass(frozen=True)
class Rule:
    """One kind of thing to find: its pattern, and the check that tells it from what only looks like it."""

    kind: str
    pattern: Expression
    check: Check | None = None

    @cached_property
    def full(self) -> Any:
        return _compile(self.pattern.full())

    @cached_property
    def begun(self) -> Any:
        return _compile(f"(?:{self.pattern.begun()})\\z")

    def locate(self, raw: bytes, start: int, *, final: bool) -> tuple[list[tuple[int, int]], int, int]:
        """Decide what can be decided in `raw` from `start` on.

        Returns the spans found, where to go on next time, and the first position that may still be part of a match.
        """
        spans: list[tuple[int, int]] = []
        undecided = len(raw) if final else self._begun_from(raw, start)
        for _ in range(MAX_CANDIDATES):
            match = self.full.search(raw, start)
            if match is None:
                break
            if undecided < start:  # what began there has become part of a match that is decided
                undecided = self._begun_from(raw, start)
            if undecided <= match.start() and not final:
                break
            verdict = (0, match.end() - match.start())
            if self.check is not None:
                checked = self.check(raw[match.start() : match.end()].decode())
                if isinstance(checked, int):
                    start = match.start() + checked
                    continue
                verdict = checked
            spans.append((match.start() + verdict[0], match.start() + verdict[1]))
            start = match.start() + verdict[1]
        else:
            raise TooManyCandidates(self.kind)
        if undecided < start:
            undecided = len(raw) if final else self._begun_from(raw, start)
        return spans, start, undecided

    def _begun_from(self, raw: bytes, start: int) -> int:
        found: int = self.begun.search(raw, start).start()  # it always matches: nothing is the beginning of anything
        return found


@dataclass(frozen=True, slots=True)
class OwnedRule:
    guard: str
    version: str
    rule: Rule


class RuleSet:
    """Rules of one or more guards, searched for together."""

    def __init__(self, owned: Sequence[OwnedRule]) -> None:
        self.owned = tuple(owned)
        self._any = re2.Set.SearchSet(_options())
        for each in self.owned:
            self._any.Add(each.rule.pattern.full().encode())
        self._any.Compile()

    @cached_property
    def frontier(self) -> Any:
        """Leftmost place that matters: a whole match, or a beginning at the end of the text."""
        whole = "|".join(f"(?:{each.rule.pattern.full()})" for each in self.owned)
        begun = "|".join(f"(?:{each.rule.pattern.begun()})" for each in self.owned)
        return _compile(f"(?:{whole})|(?:{begun})\\z", longest=True)

    def present(self, raw: bytes) -> Sequence[int]:
        """Which rules match somewhere in `raw`, by index."""
        return self._any.Match(raw) or ()

    def cursor(self) -> "RuleCursor":
        return RuleCursor(self)

    def find(self, text: str) -> list[Finding]:
        raw = plain(text)
        found: list[Finding] = []
        for index in self.present(raw):
            each = self.owned[index]
            spans, _, _ = each.rule.locate(raw, 0, final=True)
            found += [Finding(each.guard, each.version, each.rule.kind, start, end) for start, end in spans]
        return sorted(found, key=_by_place)


class RuleCursor:
    """A rule set's place in a stream. See `port.Cursor`."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._settled = 0
        self._resume: dict[int, int] = {}

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        raw = plain(text)
        if not final:
            frontier = self._rules.frontier.search(raw, self._settled - origin)
            first, last = frontier.span()
            if last == len(raw) and not self._resume:
                self._settled = origin + first
                return (), self._settled
        elif not self._resume and not self._rules.present(raw):
            return (), origin + len(raw)
        found: list[Finding] = []
        settled = origin + len(raw)
        resume: dict[int, int] = {}
        for index, each in enumerate(self._rules.owned):
            start = max(self._settled, self._resume.get(index, 0)) - origin
            spans, start, undecided = each.rule.locate(raw, start, final=final)
            found += [Finding(each.guard, each.version, each.rule.kind, origin + a, origin + b) for a, b in spans]
            resume[index] = origin + start
            settled = min(settled, origin + undecided)
        self._settled = settled
        self._resume = {index: start for index, start in resume.items() if start > settled}
        return sorted(found, key=_by_place), settled


class RuleGuard:
    """A guard that is a list of rules. A runner joins those of all its guards into one set."""

    def __init__(self, name: str, version: str, rules: Sequence[Rule]) -> None:
        self.name = name
        self.version = version
        self.owned = tuple(OwnedRule(name, version, rule) for rule in rules)

    @cached_property
    def _rules(self) -> RuleSet:
        return RuleSet(self.owned)

    def find(self, text: str) -> Sequence[Finding]:
        return self._rules.find(text)

    def cursor(self) -> RuleCursor:
        return self._rules.cursor()


def _by_place(finding: Finding) -> tuple[int, int, str]:
    return finding.start, -finding.end, finding.kind


def _options(*, longest: bool = False) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = longest
    options.max_mem = MAX_DFA_BYTES
    options.log_errors = False
    return options


def _compile(pattern: str, *, longest: bool = False) -> Any:
    return re2.compile(pattern.encode(), _options(longest=longest))
