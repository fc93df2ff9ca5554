"""An application's own instructions on their way out: word for word, nearly so, or by a marker put into them.

Words count, signs of scripts without spaces among them, and punctuation does not. A run of a dozen words that stand
together in the instructions is found and, in a stream, held from its third word on; an answer that has used half of the
instructions' three-word phrases is found at that place. A translation, or a retelling in other words, is not found:
nothing here understands the text.
"""

import re
from collections.abc import Iterator, Sequence

from vallum.guards.plain import UNSPACED
from vallum.guards.port import Finding

__all__ = ["Leakage"]

NAME = "leakage"
VERSION = "1"

_MAX_WORD_CHARS = 40  # a longer run is no word, and is read in pieces
_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]{{1,{_MAX_WORD_CHARS}}}")
_PHRASE = 3
MAX_PROTECTED_WORDS = 20_000
_MAX_PLACES = 8  # of one phrase that are followed: instructions that repeat themselves are no way to make us slow
_MIN_PHRASES_FOR_SHARE = 12  # of a shorter instruction, half is a common phrase


class Leakage:
    """For one exchange. `canaries` are strings that stand in the instructions for nothing but this."""

    name = NAME
    version = VERSION

    def __init__(
        self, protected: Sequence[str], canaries: Sequence[str] = (), *, run_words: int = 12, share: float = 0.5
    ) -> None:
        self.words: list[str] = []
        for text in protected:
            self.words += [word.lower() for word in _WORD.findall(text)]
            self.words.append("")  # no run goes from one text into the next
        self.words = self.words[:MAX_PROTECTED_WORDS]
        self.places: dict[tuple[str, ...], list[int]] = {}
        for at in range(len(self.words) - _PHRASE + 1):
            phrase = tuple(self.words[at : at + _PHRASE])
            places = self.places.setdefault(phrase, [])
            if "" not in phrase and len(places) < _MAX_PLACES:
                places.append(at)
        self.run_words = run_words
        enough = len(self.places) >= _MIN_PHRASES_FOR_SHARE
        self.phrases_wanted = int(len(self.places) * share) if enough else len(self.places) + 1
        self.canaries = tuple(c for c in canaries if len(c) >= _MIN_CANARY)

    def find(self, text: str) -> Sequence[Finding]:
        return self.cursor().advance(text, 0, final=True)[0]

    def cursor(self) -> "LeakageCursor":
        return LeakageCursor(self)


_MIN_CANARY = 8  # characters; a shorter one is a word that answers may hold


class LeakageCursor:
    """See `port.Cursor`. Judges whole words: the last one is judged when something follows it."""

    def __init__(self, guard: Leakage) -> None:
        self._guard = guard
        self._read = 0  # up to where words have been judged
        self._recent: list[tuple[str, int]] = []  # the last words and where they begin
        self._following: set[int] = set()  # places in the instructions that the run may go on at
        self._run_start = -1
        self._run_end = -1
        self._run_words = 0
        self._seen: set[tuple[str, ...]] = set()
        self._share_found = False
        self._searched = 0

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        end = origin + len(text)
        found = list(self._canaries(text, origin))
        unread = end
        for match in _WORD.finditer(text, max(0, self._read - origin)):
            if match.end() == len(text) and match.end() - match.start() < _MAX_WORD_CHARS and not final:
                unread = origin + match.start()  # it may go on
                break
            found += self._take(match[0].lower(), origin + match.start(), origin + match.end())
            self._read = origin + match.end()
        if final:
            found += self._end_run()
        settled = end
        if not final:
            begun = self._run_start if self._run_words else self._begun(end)
            settled = min(unread, begun, self._canary_begun(text, origin))
        return sorted(found, key=lambda f: (f.start, f.end)), settled

    def _take(self, word: str, start: int, end: int) -> Iterator[Finding]:
        words = self._guard.words
        following = {at + 1 for at in self._following if at < len(words) and words[at] == word}
        self._recent = [*self._recent[-(_PHRASE - 1) :], (word, start)]
        phrase = tuple(recent for recent, _ in self._recent)
        places = self._guard.places.get(phrase, ()) if len(phrase) == _PHRASE else ()
        if places:
            yield from self._count(phrase, end)
        if following and self._run_words:
            self._following, self._run_words, self._run_end = following, self._run_words + 1, end
            return
        yield from self._end_run()
        if places:
            self._following = {at + _PHRASE for at in places}
            self._run_start, self._run_end, self._run_words = self._recent[0][1], end, _PHRASE

    def _count(self, phrase: tuple[str, ...], end: int) -> Iterator[Finding]:
        self._seen.add(phrase)
        if len(self._seen) >= self._guard.phrases_wanted and not self._share_found:
            self._share_found = True
            yield Finding(NAME, VERSION, "system_prompt", end, end, 1.0, "much of the instructions, in pieces")

    def _end_run(self) -> Iterator[Finding]:
        if self._run_words >= self._guard.run_words:
            yield Finding(
                NAME, VERSION, "system_prompt", self._run_start, self._run_end, 1.0, f"{self._run_words} words on end"
            )
        self._following, self._run_words = set(), 0

    def _begun(self, end: int) -> int:
        """Where a run may be beginning: the last two words, since only the third makes it one."""
        return self._recent[-(_PHRASE - 1) :][0][1] if self._recent and self._guard.places else end

    def _canaries(self, text: str, origin: int) -> Iterator[Finding]:
        for canary in self._guard.canaries:
            at = text.find(canary)
            while at >= 0:
                if origin + at + len(canary) > self._searched:
                    yield Finding(NAME, VERSION, "canary", origin + at, origin + at + len(canary))
                at = text.find(canary, at + len(canary))
        self._searched = origin + len(text)

    def _canary_begun(self, text: str, origin: int) -> int:
        for size in range(min(len(text), max((len(c) for c in self._guard.canaries), default=1) - 1), 0, -1):
            if any(canary.startswith(text[-size:]) for canary in self._guard.canaries):
                return origin + len(text) - size
        return origin + len(text)
