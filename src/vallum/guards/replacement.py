"""What goes on in a finding's place: its kind, a mask, or a stand-in that becomes the value again.

A stand-in such as `[email_1]` lives for one exchange: the provider and the ledger see it, the caller who sent the
value gets the value back where the answer says it. Nothing is kept for longer, and nobody else's answer is touched.
"""

import re
from collections.abc import Mapping

from vallum.guards.port import Finding, Mode

__all__ = ["Restorer", "Tokens"]

_KEPT = 4
_STAND_IN = re.compile(r"\[[a-z][a-z0-9_]{0,40}_\d{1,6}\]")
_MAX_STAND_IN_CHARS = 52
_UNFINISHED = re.compile(r"\[[a-z0-9_]*\Z")
_BREAKS_JSON = re.compile(r'["\\\x00-\x1f]')


class Tokens:
    """The stand-ins of one exchange: one for each value, however often it stands."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._stand_ins: dict[tuple[str, str], str] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def replacement(self, finding: Finding, mode: Mode, value: str) -> str:
        """What goes on instead of `value`. One that would break the JSON of a tool call has no stand-in."""
        if mode is Mode.MASK:
            return _masked(value)
        if mode is Mode.TOKENIZE and not _BREAKS_JSON.search(value):
            return self._stand_in(finding.kind, value)
        return f"[redacted:{finding.kind}]"

    def restore(self, text: str) -> str:
        """Every stand-in of this exchange as its value; what only looks like one stays."""
        return _STAND_IN.sub(lambda match: self._values.get(match[0], match[0]), text) if self._values else text

    def _stand_in(self, kind: str, value: str) -> str:
        known = self._stand_ins.get((kind, value))
        if known is None:
            number = sum(1 for other, _ in self._stand_ins if other == kind) + 1
            known = self._stand_ins[kind, value] = f"[{kind}_{number}]"
            self._values[known] = value
        return known

    @property
    def stand_ins(self) -> Mapping[str, str]:
        return dict(self._values)


class Restorer:
    """One text that arrives in pieces: a stand-in may be cut anywhere, and what may become one is held back."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _MAX_STAND_IN_CHARS))
        at = unfinished.start() if unfinished else len(text)
        self._held = text[at:]
        return self._tokens.restore(text[:at])

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


def _masked(value: str) -> str:
    """As long as it was, its last four letters or digits readable where there are more than twice as many."""
    total = sum(char.isalnum() for char in value)
    shown = _KEPT if total > 2 * _KEPT else 0
    masked, left = [], total
    for char in value:
        masked.append(char if not char.isalnum() or left <= shown else "*")
        left -= char.isalnum()
    return "".join(masked)
