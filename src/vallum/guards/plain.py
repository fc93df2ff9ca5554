"""Text as the rules read it: one ASCII byte for each character, so that places stay those of the text.

What only looks different is read as what it looks like: full-width and mathematical letters, the digits of other
scripts, the many spaces and hyphens of typography. Any other character is a question mark.
"""

import unicodedata
from functools import cache

__all__ = ["plain"]

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
