"""What goes on in a finding's place: its kind, a mask, or a stand-in that becomes the value again.

A stand-in such as `[email_1]` lives for one exchange: the provider and the ledger see it, the caller who sent the
value gets the value back where the answer says it. Nothing is kept for longer, and nobody else's answer is touched.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from vallum.guards.port import Finding, Mode

__all__ = ["Restorer", "Tokens"]

_KEPT = 4
_MAX_TRIES = 1000
_STAND_IN = re.compile(r"\[[a-z][a-z0-9_]{0,40}_\d{1,6}\]")
_MAX_STAND_IN_CHARS = 52
_UNFINISHED = re.compile(r"\[[a-z0-9_]*\Z")
_BREAKS_JSON = re.compile(r'["\\\x00-\x1f]')


class Tokens:
    """The stand-ins of one exchange: one for each value, however often it stands."""

    def __init__(self, avoid: Sequence[str] = ()) -> None:
        """What stands in one of the texts `avoid` is no stand-in: it means something else there."""
        self._avoid = avoid
        self._values: dict[str, str] = {}
        self._stand_ins: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._values)

    def replacement(self, finding: Finding, mode: Mode, value: str) -> str:
        """What goes on instead of `value`. One that would break the JSON of a tool call has no stand-in."""
        if mode is Mode.MASK:
            return _masked(value)
        if mode is Mode.TOKENIZE and not _BREAKS_JSON.search(value):
            return self._stand_in(finding.kind, value)
        return f"[redacted:{finding.kind}]"

    def restore(self, text: str, start: int = 0) -> str:
        """From `start` on, every stand-in of this exchange as its value; what only looks like one stays.

        So does one inside a URL: a value put there would be sent to whoever chose the URL.
        """
        if not self._values:
            return text
        pieces, done = [], start
        for match in _STAND_IN.finditer(text, start):
            value = self._values.get(match[0])
            if value is not None and not _in_url(text, match.start()):
                pieces += [text[done : match.start()], value]
                done = match.end()
        return "".join([*pieces, text[done:]])

    def _stand_in(self, kind: str, value: str) -> str:
        known = self._stand_ins.get((kind, value))
        if known is None:
            known = self._fresh(kind)
            self._stand_ins[kind, value] = known
            self._values[known] = value
        return known

    def _fresh(self, kind: str) -> str:
        for _ in range(_MAX_TRIES):
            self._counts[kind] += 1
            name = f"[{kind}_{self._counts[kind]}]"
            if not any(name in text for text in self._avoid):
                return name
        raise ValueError("the texts hold too many stand-ins of their own")

    @property
    def stand_ins(self) -> Mapping[str, str]:
        return dict(self._values)


class Restorer:
    """One text that arrives in pieces: a stand-in may be cut anywhere, and what may become one is held back."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._held = ""
        self._before = ""  # the end of what has left, as it was before: a URL may have begun in it

    def feed(self, text: str) -> str:
        text = self._held + text
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _MAX_STAND_IN_CHARS))
        at = unfinished.start() if unfinished else len(text)
        self._held, known = text[at:], len(self._before)
        whole = self._before + text[:at]
        self._before = whole[-_URL_REACH:]
        return self._tokens.restore(whole, known)

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


_URL_REACH = 2048
_OUTSIDE = re.compile(r"[\s<>\"'`]")


def _in_url(text: str, at: int) -> bool:
    """Whether a URL, or the target of a link, has begun before `at` and not ended."""
    before = text[max(0, at - _URL_REACH) : at]
    ends = [match.end() for match in _OUTSIDE.finditer(before)]
    word = before[ends[-1] if ends else 0 :]
    return "://" in word or "](" in word or "www." in word or word.startswith(("data:", "//", "mailto:"))


def _masked(value: str) -> str:
    """As long as it was, its last four letters or digits readable where there are more than twice as many."""
    total = sum(char.isalnum() for char in value)
    shown = _KEPT if total > 2 * _KEPT else 0
    masked, left = [], total
    for char in value:
        masked.append(char if not char.isalnum() or left <= shown else "*")
        left -= char.isalnum()
    return "".join(masked)
