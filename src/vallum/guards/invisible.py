"""Invisible characters: what a model reads and a person does not see.

Answers instructions smuggled in tag characters, zero-width joins that hide a word from other guards, and
bidirectional overrides that show text in another order than it is read. What scripts and emoji need is let through:
joiners between emoji or letters of scripts that join, variation selectors after a sign, one byte order mark.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from vallum.guards.plain import UNSEEN
from vallum.guards.port import Finding

__all__ = ["InvisibleText"]

NAME = "unicode"
VERSION = "1"

_TAG_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{2,6}\U000e007f")
# Scripts whose letters join or stack: a zero-width (non-)joiner changes how they are read.
_JOINING = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0e00-\u0fff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefe]")
_RIGHT_TO_LEFT = ("R", "AL", "AN")


_REACH_CHARS = 12  # a flag is at most nine characters; whether a sign is needed depends on its neighbours


class InvisibleText:
    name = NAME
    version = VERSION

    def find(self, text: str) -> Sequence[Finding]:
        if text.isascii():
            return ()
        flagged = {at for m in _TAG_FLAG.finditer(text) for at in range(m.start() + 1, m.end())}
        found: list[Finding] = []
        start = end = -1
        for match in UNSEEN.finditer(text):
            at = match.start()
            if at in flagged or _is_needed(text, at):
                continue
            if at != end:
                if end > 0:
                    found.append(Finding(NAME, VERSION, _kind(text[start]), start, end))
                start = at
            end = at + 1
        if end > 0:
            found.append(Finding(NAME, VERSION, _kind(text[start]), start, end))
        return found

    def cursor(self) -> "InvisibleCursor":
        return InvisibleCursor(self)


class InvisibleCursor:
    def __init__(self, guard: InvisibleText) -> None:
        self._guard = guard
        self._settled = 0

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        end = origin + len(text)
        before = self._settled
        self._settled = end
        if text.isascii():
            return (), end
        found = [replace(f, start=f.start + origin, end=f.end + origin) for f in self._guard.find(text)]
        if not final and not text[-_REACH_CHARS:].isascii():
            self._settled = max(before, end - _REACH_CHARS)
            for finding in found:  # a run that touches the end may go on
                if finding.start < self._settled <= finding.end:
                    self._settled = max(before, finding.start)
        return [f for f in found if before <= f.start < self._settled], self._settled


def _is_needed(text: str, at: int) -> bool:
    char = text[at]
    if char >= "\U000e0000":
        return False
    before = text[at - 1] if at else ""
    after = text[at + 1] if at + 1 < len(text) else ""
    if char == "\ufeff":
        return at == 0
    if char in "\u200c\u200d":
        joins = bool(before and _JOINING.match(before)) or bool(after and _JOINING.match(after))
        return joins or (char == "\u200d" and _is_pictograph(before) and _is_pictograph(after))
    if "\ufe00" <= char <= "\ufe0f":
        if before.isascii():  # a keycap: the digit, this sign, and the box around both
            return bool(before) and before in "0123456789#*" and after == "\u20e3"
        return not UNSEEN.match(before)
    if char in "\u200e\u200f\u061c":
        near = text[max(0, at - 2) : at + 3]
        return any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in near if c not in "\u200e\u200f\u061c")
    if char == "\u200b":  # where words of a script without spaces may part
        return bool(before and _JOINING.match(before)) and bool(after and _JOINING.match(after))
    if char in "\u2068\u2069":  # around a value of unknown direction, as message formatters put them
        return True
    if char in "\u202b\u202c":
        near = text[max(0, at - 2) : at + 3]
        return any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in near)
    if char == "\u00ad":
        return before.islower() and after.islower()  # where a word may break; never in a key or a number
    return char in "\u180b\u180c\u180d\u180f\u17b4\u17b5" and bool(_JOINING.match(before or " "))


def _is_pictograph(char: str) -> bool:
    return bool(char) and (char == "\ufe0f" or unicodedata.category(char) in ("So", "Sk", "Sm"))


def _kind(char: str) -> str:
    if char >= "\U000e0000":
        return "tag_characters"
    if "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069":
        return "bidirectional_override"
    return "invisible_characters"
