"""Whether an answer says what its passages say: sentence by sentence, by the words they share.

A sentence is supported as far as its telling words (weighted by how rare they are in the passages) stand in one place
of a passage. What this cannot see: a sentence that turns the passage's words round ("is not"), or says the same in
other words. Low support is a reason to look, not a verdict; so the guard only records.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import log

from vallum.guards.port import Finding

__all__ = ["Groundedness", "support"]

NAME = "groundedness"
VERSION = "1"

_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n{1,}")
_MIN_WORDS = 5  # telling words; a shorter sentence says too little to be judged
_STEM_CHARS = 6  # of a word count, so that endings do not
_WINDOW_WORDS = 80
_COMMON_WORDS = """
a about all also an and any are as at auf be been but by can could dans das der des did die do does down each ein
eine el en es est et for from für had has have he her here his how i if im in into is ist it its just la las le les
los may me might mit more most must my nicht no not o oder of on only or other ou our out over para pas per por pour
shall she should sind so some son sont such than that the their them then there these they this those to un und
under une up us very via von was we were what when where which who why will with would y you your zu
"""
_COMMON = frozenset(_COMMON_WORDS.split())
MAX_PASSAGE_WORDS = 50_000


class Groundedness:
    """For one answer and the passages it was to be made from."""

    name = NAME
    version = VERSION

    def __init__(self, passages: Sequence[str], threshold: float = 0.35) -> None:
        self.threshold = threshold
        words = [_telling(passage) for passage in passages]
        self._windows: list[frozenset[str]] = []
        budget = MAX_PASSAGE_WORDS
        for passage in words:
            passage, budget = passage[:budget], max(0, budget - len(passage))
            starts = range(0, max(1, len(passage) - _WINDOW_WORDS // 2), _WINDOW_WORDS // 2)
            self._windows += [frozenset(passage[at : at + _WINDOW_WORDS]) for at in starts if passage]
        self._seen = Counter(word for window in self._windows for word in window)

    def support(self, sentence: str) -> float | None:
        """From 0 to 1; None for a sentence that says too little, or without passages."""
        words = set(_telling(sentence))
        if len(words) < _MIN_WORDS or not self._windows:
            return None
        weights = {word: log(1 + len(self._windows) / (1 + self._seen[word])) + 0.1 for word in words}
        total = sum(weights.values())
        return max(sum(weights[word] for word in words & window) for window in self._windows) / total

    def find(self, text: str) -> Sequence[Finding]:
        return self.cursor().advance(text, 0, final=True)[0]

    def cursor(self) -> "GroundednessCursor":
        return GroundednessCursor(self)


class GroundednessCursor:
    """Judges each sentence when it has ended; holds nothing back, since nothing is done but recording."""

    def __init__(self, guard: Groundedness) -> None:
        self._guard = guard
        self._sentence = ""
        self._start = 0
        self._end = 0

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        end = origin + len(text)
        self._sentence += text[self._end - origin :]
        self._end = end
        found = list(self._ended(final))
        return found, end

    def _ended(self, final: bool) -> Iterator[Finding]:
        done = 0
        for match in _SENTENCE_END.finditer(self._sentence):
            if match.end() == len(self._sentence) and not final:
                break  # a full stop at the end may stand inside a number or name
            yield from self._judge(done, match.end())
            done = match.end()
        if final:
            yield from self._judge(done, len(self._sentence))
            done = len(self._sentence)
        self._sentence, self._start = self._sentence[done:], self._start + done

    def _judge(self, low: int, high: int) -> Iterator[Finding]:
        share = self._guard.support(self._sentence[low:high])
        if share is not None and share < self._guard.threshold:
            said = f"its passages support {share:.0%} of this sentence"
            yield Finding(NAME, VERSION, "unsupported", self._start + low, self._start + high, 1 - share, said)


def support(answer: str, passages: Sequence[str]) -> float:
    """The mean support of an answer's sentences, 1 for one that says nothing to judge."""
    guard = Groundedness(passages)
    shares = [guard.support(sentence) for sentence in _SENTENCE_END.split(answer)]
    judged = [share for share in shares if share is not None]
    return sum(judged) / len(judged) if judged else 1.0


def _telling(text: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return [word[:_STEM_CHARS] for word in words if word not in _COMMON and len(word) > 1]
