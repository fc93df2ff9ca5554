"""A deny list: phrases an organisation names, whatever their case and however their words are spaced."""

import re
from collections.abc import Sequence

from vallum.guards.expressions import Expression, literal, many, sequence
from vallum.guards.patterns import Rule, RuleGuard
from vallum.guards.port import WINDOW_CHARS
from vallum.kernel.errors import Invalid

__all__ = ["DenyList"]

_SPACING = r"\s_./-"
_MAX_GAP_CHARS = 5


class DenyList(RuleGuard):
    def __init__(self, phrases: Sequence[str]) -> None:
        """Raises Invalid for a phrase that is empty, not ASCII, or too long to be held back in a stream."""
        super().__init__("deny", "1", [Rule("denied_phrase", _pattern(phrase)) for phrase in phrases])


def _pattern(phrase: str) -> Expression:
    words = [word for word in re.split(f"[{_SPACING}]+", phrase) if word]
    if not words:
        raise Invalid("a denied phrase holds at least one letter or digit")
    if not phrase.isascii():
        raise Invalid("a denied phrase is written in ASCII")
    if sum(map(len, words)) + _MAX_GAP_CHARS * (len(words) - 1) > WINDOW_CHARS:
        raise Invalid(f"the denied phrase of {len(phrase)} characters is too long: name a shorter part of it")
    parts: list[Expression] = []
    for word in words:
        parts += [many(_SPACING, 1, _MAX_GAP_CHARS)] if parts else []
        parts.append(literal(word, folded=True))
    return sequence(*parts)
