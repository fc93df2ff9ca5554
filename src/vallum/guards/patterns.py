"""Rules, and the one pass that finds them.

Owns how patterns are run: one RE2 set over the text says which rules can match at all (none, for nearly every
prompt), and only those are then located and checked. What the rules are belongs to `secrets` and `pii`.

The order of work is the same for a whole text and for a stream: leftmost match, check, go on behind it. The stream
merely stops where a match is not yet decided, which is what makes the two answers equal.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache, partial
from typing import Any

import re2

from vallum.guards.expressions import Expression, opening
from vallum.guards.plain import plain, without_unseen
from vallum.guards.port import WINDOW_CHARS, Finding

__all__ = ["Beginning", "Check", "Effort", "Rule", "RuleCursor", "RuleGuard", "RuleSet", "TooManyCandidates"]

MAX_CANDIDATES = 50_000  # places that look like one kind in one text; more is an attack on the checks, and is refused
MAX_DFA_BYTES = 64 << 20  # room for the states of all rules together; when RE2 runs out it starts over, slowly

Check = Callable[[str], tuple[int, int] | int]
"""Reads a candidate. Returns the part of it that is the finding, or how far behind its start to look again (>= 1)."""


class TooManyCandidates(Exception):
    """A text made of what nearly matches: judging it all would take too long."""


class Effort:
    """How many candidates may still be refused, by all rules together."""

    __slots__ = ("_left",)

    def __init__(self, refusals: int) -> None:
        self._left = refusals

    def spend(self, kind: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooManyCandidates(kind)


class Beginning(Enum):
    """How a rule tells, at the end of what has arrived, that a match may have begun."""

    EXACT = "exact"  # by its own half-written form
    OPENING = "opening"  # by the literal it opens with, whatever follows without white space
    LABEL = "label"  # it opens with a word that names it, and is short
    FIGURES = "figures"  # it is a short run of capitals, digits and the signs between them


@dataclass(frozen=True)
class Rule:
    """One kind of thing to find: its pattern, and the check that tells it from what only looks like it.

    A rule with a label says which words it opens with. Those and rules of figures are at most WINDOW_CHARS long.
    """

    kind: str
    pattern: Expression
    check: Check | None = None
    form: Beginning = Beginning.EXACT
    labels: tuple[str, ...] = ()

    @cached_property
    def openings(self) -> tuple[str, ...]:
        return opening(self.pattern)

    @property
    def beginning(self) -> Beginning:
        return Beginning.OPENING if self.form is Beginning.EXACT and self.openings else self.form

    @cached_property
    def full(self) -> Any:
        return _compile(self.pattern.full())

    def locate(
        self, raw: bytes, start: int, begun_from: Callable[[int], int] | None, effort: Effort | None = None
    ) -> tuple[list[tuple[int, int]], int, int]:
        """Decide what can be decided in `raw` from `start` on.

        `begun_from(place)` is the first position from `place` on that may still be part of a match; None when the
        text has ended. Returns the spans found, where to go on next time, and that first position. Raises
        TooManyCandidates when `effort` is spent.
        """
        spans: list[tuple[int, int]] = []
        undecided = len(raw) if begun_from is None else begun_from(start)
        search, check = self.full.search, self.check
        for _ in range(MAX_CANDIDATES):
            match = search(raw, start)
            if match is None:
                break
            low, high = match.span()
            if begun_from is not None:
                if undecided < start:  # what began there has become part of a match that is decided
                    undecided = begun_from(start)
                if undecided <= low:
                    break
            verdict = (0, high - low)
            if check is not None:
                checked = check(raw[low:high].decode())
                if isinstance(checked, int):
                    start = low + checked
                    if effort is not None:
                        effort.spend(self.kind)
                    continue
                verdict = checked
            spans.append((low + verdict[0], low + verdict[1]))
            start = low + verdict[1]
        else:
            raise TooManyCandidates(self.kind)
        if undecided < start:
            undecided = len(raw) if begun_from is None else begun_from(start)
        return spans, start, undecided


@dataclass(frozen=True, slots=True)
class OwnedRule:
    guard: str
    version: str
    rule: Rule


class RuleSet:
    """Rules of one or more guards, searched for together."""

    def __init__(self, owned: Sequence[OwnedRule]) -> None:
        self.owned = tuple(owned)
        self._any = _compile_set(tuple(each.rule.pattern.full() for each in self.owned))

    def begun_from(self, beginning: Beginning, raw: bytes, start: int) -> int:
        """The first position from `start` on where a match of such a rule may have begun that is not yet whole."""
        pattern = self._begun[beginning]
        if pattern is None:
            return len(raw)
        if beginning in (Beginning.LABEL, Beginning.FIGURES):
            start = max(start, len(raw) - WINDOW_CHARS)
        match = pattern.search(raw, start)
        return len(raw) if match is None else int(match.start())

    @cached_property
    def _begun(self) -> dict[Beginning, Any]:
        exact = [each.rule.pattern.begun() for each in self.owned if each.rule.beginning is Beginning.EXACT]
        openings = sorted({text for each in self.owned for text in each.rule.openings})
        labels = sorted({label for each in self.owned for label in each.rule.labels})
        figures = any(each.rule.beginning is Beginning.FIGURES for each in self.owned)
        return {
            Beginning.EXACT: _compile(f"(?:{'|'.join(exact)})\\z", longest=True) if exact else None,
            Beginning.OPENING: _compile(_begun_words(openings, r"\S*\z")) if openings else None,
            Beginning.LABEL: _compile(r"(?i)\b" + _begun_words(labels, "")) if labels else None,
            Beginning.FIGURES: _compile(r"[A-Z0-9(+][A-Z0-9 ().,/:+^=<-]*\z") if figures else None,
        }

    def present(self, raw: bytes) -> Sequence[int]:
        """Which rules match somewhere in `raw`, by index."""
        return self._any.Match(raw) or ()

    def cursor(self) -> "RuleCursor":
        return RuleCursor(self)

    def find(self, text: str, max_refused: int | None = None) -> list[Finding]:
        """Rules read the text as it looks: what is not seen parts nothing.

        Raises TooManyCandidates when more than `max_refused` places only look like something, of all kinds together.
        """
        effort = None if max_refused is None else Effort(max_refused)
        looks = without_unseen(text)
        shown, places = looks if looks is not None else (text, None)
        raw = plain(shown)
        found: list[Finding] = []
        for index in self.present(raw):
            each = self.owned[index]
            spans, _, _ = each.rule.locate(raw, 0, None, effort)
            for start, end in spans:
                if places is not None:
                    start, end = places[start], places[end - 1] + 1
                found.append(Finding(each.guard, each.version, each.rule.kind, start, end))
        return sorted(found, key=_by_place)


def _begun_words(words: Sequence[str], rest: str) -> str:
    """One of `words` and the `rest`, or the beginning of one at the end."""
    whole = "|".join(re.escape(word) for word in words)
    begun = "|".join(sorted({re.escape(word[:size]) for word in words for size in range(1, len(word))}))
    return rf"(?:{whole}){rest}|(?:{begun})\z"


class RuleCursor:
    """A rule set's place in a stream. See `port.Cursor`.

    It keeps the text as it looks by itself, and where each of its characters stands in the text as it is.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._read = 0  # how much of the text has been taken up
        self._shown = ""  # a little of what is settled, and all that is not, as it looks
        self._places: list[int] = []
        self._origin = 0  # where `_shown` begins in all that looks
        self._settled = 0
        self._resume: dict[int, int] = {}

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        self._take_up(text[self._read - origin :])
        raw = plain(self._shown)
        present = self._rules.present(raw)
        settled = self._origin + len(raw)
        if not final:
            held = min(self._rules.begun_from(b, raw, self._settled - self._origin) for b in Beginning)
            settled = max(self._settled, self._origin + held)
        found: list[Finding] = []
        resume = dict(self._resume)
        for index in present:
            each = self._rules.owned[index]
            start = max(self._settled, self._resume.get(index, 0)) - self._origin
            begun_from = None if final else partial(self._rules.begun_from, each.rule.beginning, raw)
            spans, start, undecided = each.rule.locate(raw, start, begun_from)
            for low, high in spans:
                place = self._places[low], self._places[high - 1] + 1
                found.append(Finding(each.guard, each.version, each.rule.kind, *place))
            resume[index] = self._origin + start
            settled = min(settled, max(self._settled, self._origin + undecided))
        self._settled = settled
        self._resume = {index: start for index, start in resume.items() if start > settled}
        at = settled - self._origin
        position = self._places[at] if at < len(self._places) else self._read
        self._forget(at - _CONTEXT_CHARS)
        return sorted(found, key=_by_place), position

    def _take_up(self, fresh: str) -> None:
        looks = without_unseen(fresh)
        if looks is None:
            self._shown += fresh
            self._places += range(self._read, self._read + len(fresh))
        else:
            self._shown += looks[0]
            self._places += [self._read + at for at in looks[1]]
        self._read += len(fresh)

    def _forget(self, count: int) -> None:
        if count > 0:
            self._shown, self._origin = self._shown[count:], self._origin + count
            del self._places[:count]


_CONTEXT_CHARS = 12  # rules look at the characters before a candidate


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


@lru_cache(512)
def _compile(pattern: str, *, longest: bool = False) -> Any:
    return re2.compile(pattern.encode(), _options(longest=longest))


@lru_cache(64)
def _compile_set(patterns: tuple[str, ...]) -> Any:
    """Shared: applications mostly have the same guards, and a set of them takes a tenth of a second and megabytes."""
    found = re2.Set.SearchSet(_options())
    for pattern in patterns:
        found.Add(pattern.encode())
    found.Compile()
    return found
