"""Subjects an application does not talk about: lists of words, of which several make a topic.

One word is no topic: a list says how many of its words must be met. What this cannot see is a subject talked about in
other words, or in letters of another script that only look alike; a plug-in with a larger model can. Scripts that are
written without spaces are read as runs of signs, so lists of words do not serve them: the deny list does.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from vallum.guards.plain import UNSEEN
from vallum.guards.port import Finding
from vallum.guards.segment import Segment
from vallum.kernel.errors import Invalid

__all__ = ["Topic", "TopicGuard"]

NAME = "topics"
VERSION = "1"

_MAX_WORD_CHARS = 40
# What belongs to the letter before it: vowel signs and accents written apart (of scripts up to Khmer), and the unseen.
_MARKS = "".join(chr(n) for n in range(0x300, 0x1B00) if unicodedata.category(chr(n)) in ("Mn", "Mc"))
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}{UNSEEN.pattern[1:-1]}]){{0,{_MAX_WORD_CHARS - 1}}}")


@dataclass(frozen=True, slots=True)
class Topic:
    """`words` are whole words, or the beginnings of words where they end in `*`. `least` of them make the topic."""

    name: str
    words: Sequence[str]
    least: int = 2


class TopicGuard:
    """Finds each topic where the word stands that completes it. Pure and thread-safe."""

    name = NAME
    version = VERSION

    def __init__(self, topics: Sequence[Topic]) -> None:
        """Raises Invalid for a word that is none, or a topic that its own words cannot make."""
        self._whole: dict[str, list[int]] = {}
        self._beginnings: dict[str, list[int]] = {}
        self._topics = tuple(topics)
        for number, topic in enumerate(topics):
            for word in topic.words:
                stem = word.removesuffix("*")
                if not _WORD.fullmatch(stem):
                    raise Invalid(f"topic {topic.name}: {word!r} is no word of at most {_MAX_WORD_CHARS} letters")
                table = self._beginnings if word.endswith("*") else self._whole
                table.setdefault(_folded(stem), []).append(number)
            if not 1 <= topic.least <= len({_folded(word) for word in topic.words}):
                raise Invalid(f"topic {topic.name}: least must be from 1 to the number of its words")
        self._lengths = sorted({len(stem) for stem in self._beginnings})

    def find(self, text: str) -> Sequence[Finding]:
        return self.cursor().advance(text, 0, final=True)[0] if self._topics else ()

    def find_in(self, segments: Sequence[Segment]) -> Sequence[Sequence[Finding]]:
        """The words of one channel count together: a subject is no other one in two messages."""
        cursors = {channel: TopicCursor(self) for channel in {segment.channel for segment in segments}}
        return [cursors[s.channel].of_next(s.text) if not s.trusted else () for s in segments]

    def cursor(self) -> "TopicCursor":
        return TopicCursor(self)

    def topics_of(self, word: str) -> dict[int, set[str]]:
        """The topics that a word counts for, and as which of their words: all of them are met by it."""
        word = _folded(word)
        found: dict[int, set[str]] = {number: {word} for number in self._whole.get(word, ())}
        for length in self._lengths:
            stem = word[:length]
            for number in self._beginnings.get(stem, ()):
                found.setdefault(number, set()).add(stem + "*")
        return found

    def topic(self, number: int) -> Topic:
        return self._topics[number]

    def __len__(self) -> int:
        return len(self._topics)


class TopicCursor:
    """Counts as the text comes. What has left cannot be called back: the topic is found where it is complete."""

    def __init__(self, guard: TopicGuard) -> None:
        self._guard = guard
        self._seen: list[set[str]] = [set() for _ in range(len(guard))]  # of each topic, the words of its list
        self._met = [0] * len(guard)  # and how many words of the text they were
        self._done = 0  # the first position that was not looked at

    def of_next(self, text: str) -> Sequence[Finding]:
        """The findings in a text of its own that goes on with the count."""
        self._done = 0
        return self.advance(text, 0, final=True)[0]

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        end = origin + len(text)
        found: list[Finding] = []
        for match in _WORD.finditer(text, max(0, self._done - origin)):
            at_the_end = match.end() == len(text) and match.end() - match.start() < _MAX_WORD_CHARS
            if at_the_end and not final:  # it may go on
                self._done = origin + match.start()
                return found, self._done
            self._done = origin + match.end()
            for number, words in self._guard.topics_of(match.group()).items():
                topic, is_new = self._guard.topic(number), not self._seen[number] & words
                self._seen[number] |= words
                self._met[number] += is_new
                if is_new and self._met[number] == topic.least:
                    found.append(self._finding(topic, origin + match.start(), self._done))
        self._done = end
        return found, end

    def _finding(self, topic: Topic, start: int, end: int) -> Finding:
        reason = f"{topic.least} of the words that make the topic {topic.name}"
        return Finding(NAME, VERSION, f"topic_{topic.name}", start, end, explanation=reason)


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", UNSEEN.sub("", word)).casefold()
