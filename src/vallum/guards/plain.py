"""Text as the rules read it: one ASCII byte for each character, so that places stay those of the text.

What only looks different is read as what it looks like: full-width and mathematical letters, the digits of other
scripts, the many spaces and hyphens of typography. Any other character is a question mark.
"""

import re
import unicodedata
from functools import cache

__all__ = ["UNSEEN", "UNSPACED", "plain", "without_unseen"]

# What nobody sees: joiners, marks of direction, variation selectors, fillers, tag characters.
UNSEEN = re.compile(
    "["
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
# Scripts written without spaces between words, as the inside of a bracket expression.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"

_LAST = 0x1FFFF  # the styled letters and digits stand in the planes up to here


def plain(text: str) -> bytes:
    if not text.isascii():
        text = text.translate(_look_alikes())
    return text.encode("ascii", "replace")


@cache
def _look_alikes() -> dict[int, str]:
    """Made once, at the first text that is not ASCII."""
    found: dict[int, str] = {}
    for number in range(0x80, _LAST + 1):
        char = chr(number)
        category = unicodedata.category(char)
        if category == "Zs":
            found[number] = " "
        elif category == "Pd" or number == 0x2212:
            found[number] = "-"
        elif category == "Nd":
            found[number] = str(unicodedata.digit(char))
        elif category[0] in "LSP":
            normal = unicodedata.normalize("NFKC", char)
            if len(normal) == 1 and normal.isascii():
                found[number] = normal
    return found


def without_unseen(text: str) -> tuple[str, list[int]] | None:
    """The text as it looks, and where each of its characters stands in the text as it is; None where both are one.

    A key with an invisible character in it is a key to whoever copies it.
    """
    if text.isascii() or UNSEEN.search(text) is None:
        return None
    pieces, places, done = [], list[int](), 0
    for match in UNSEEN.finditer(text):
        pieces.append(text[done : match.start()])
        places += range(done, match.start())
        done = match.end()
    return "".join([*pieces, text[done:]]), [*places, *range(done, len(text))]
