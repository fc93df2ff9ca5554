"""Where in a text the data of people stands, many texts at a time.

The rules run once over a buffer of many values, parted by a character that none of them matches across, and what
they find is told apart again. A finding that nevertheless reaches over a border (the armour of a key that never
ends) is nobody's: the values that it touches are read again by themselves, each once. So the answer is that of one
text at a time, for the cost of a few long ones. What cannot be judged (more candidates than any honest text has) is
a finding over the whole of it: unread is not clean.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate

from vallum.data.classify.sensitive import SENSITIVE_RULES
from vallum.guards.patterns import OwnedRule, RuleSet, TooManyCandidates
from vallum.guards.pii import build_pii_guard
from vallum.guards.port import Finding, Guard
from vallum.guards.secrets import build_secrets_guard

__all__ = ["UNREADABLE", "SpanClassifier"]

UNREADABLE = "unreadable"
_BORDER = "\n\x1e\n"
_BUFFER_CHARS = 48_000  # below the rules' limit of candidates in one text, whatever is in it
# Places that only look like something: what an honest text has many fewer of, a log of long numbers and a column of
# them included. What is beyond it was made to cost.
_FREE_REFUSALS = 5_000
_CHARS_A_REFUSAL = 25
_GUARD = "classify"
_VERSION = "1"


class SpanClassifier:
    """Personal, health, financial, credential and special-category spans. Thread-safe, and costly to make: keep it."""

    def __init__(
        self, others: Sequence[Guard] = (), *, sensitive: bool = True, kinds: Collection[str] | None = None
    ) -> None:
        """`others` read each text too: a recogniser of names, say, through `vallum.guards.adapters`.

        `kinds` are the only ones looked for, where somebody needs no more; all without.
        """
        owned = [*build_pii_guard().owned, *build_secrets_guard().owned]
        if sensitive:
            owned += [OwnedRule("sensitive", "1", rule) for rule in SENSITIVE_RULES]
        self._rules = RuleSet([each for each in owned if kinds is None or each.rule.kind in kinds])
        self._others = tuple(others)

    def find(self, text: str) -> list[Finding]:
        """Every finding in one text, in order of its start."""
        found = self._find(text)
        for guard in self._others:
            found += guard.find(text)
        return sorted(found, key=lambda f: (f.start, -f.end)) if self._others else found

    def find_all(self, texts: Iterable[str]) -> Iterator[tuple[int, list[Finding]]]:
        """The number of each text in which something was found, with its findings; ascending.

        `texts` is read as it goes, a buffer at a time.
        """
        first, buffered, chars = 0, list[str](), 0
        for text in texts:
            if buffered and chars + len(text) > _BUFFER_CHARS:
                yield from self._read(buffered, first)
                first, buffered, chars = first + len(buffered), [], 0
            buffered.append(text)
            chars += len(text) + len(_BORDER)
        yield from self._read(buffered, first)

    def _read(self, texts: list[str], first: int) -> Iterator[tuple[int, list[Finding]]]:
        found: dict[int, list[Finding]] = {}
        if self._others:
            found = {at: spans for at, text in enumerate(texts) if (spans := self.find(text))}
        else:
            apart = [at for at, text in enumerate(texts) if not text.isascii()]
            for group in _groups(len(texts), apart):
                self._read_joined([texts[at] for at in group], group, found)
        for at in sorted(found):
            yield first + at, found[at]

    def _read_joined(self, texts: Sequence[str], places: Sequence[int], found: dict[int, list[Finding]]) -> None:
        """Texts in ASCII are read apart from others: those cost ten times as much to make plain."""
        if not texts:
            return
        starts = [0, *accumulate(len(text) + len(_BORDER) for text in texts)]
        again: set[int] = set()
        for finding in self._find(_BORDER.join(texts)):
            low = bisect_right(starts, finding.start) - 1
            if finding.end > starts[low] + len(texts[low]) or finding.kind == UNREADABLE:
                again.update(range(low, bisect_right(starts, max(finding.start, finding.end - 1))))
                continue
            origin = starts[low]
            moved = Finding(finding.guard, finding.version, finding.kind, finding.start - origin, finding.end - origin)
            found.setdefault(places[low], []).append(moved)
        for low in again:
            if low < len(texts):
                spans = self._find(texts[low])
                found.pop(places[low], None)
                if spans:
                    found[places[low]] = spans

    def _find(self, text: str) -> list[Finding]:
        try:
            return self._rules.find(text, _FREE_REFUSALS + len(text) // _CHARS_A_REFUSAL)
        except TooManyCandidates:
            return [Finding(_GUARD, _VERSION, UNREADABLE, 0, len(text))]


def _groups(count: int, apart: list[int]) -> tuple[Sequence[int], Sequence[int]]:
    if not apart:
        return range(count), ()
    others = set(apart)
    return [at for at in range(count) if at not in others], apart
