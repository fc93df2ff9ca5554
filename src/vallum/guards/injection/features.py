"""A text as hashed n-grams: what the linear model weighs.

Tokens are words, single signs of scripts written without spaces, numbers (all alike) and runs of punctuation. Each
gives one feature for itself, one for each piece of four letters in it, and n-grams with the tokens before. Everything
but the n-grams depends on the token alone, so that its weight is worked out once and kept.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

from vallum.guards.plain import UNSPACED

__all__ = [
    "BITS", "MASK", "SKIP", "features_of", "few_marks", "fold", "parted_tokens", "shorten", "token_pattern", "tokenize",
    "unit_features",
]  # fmt: skip

BITS = 18
MASK = (1 << BITS) - 1

MAX_TOKEN_CHARS = 32  # longer ones are no words; their beginning stands for them
_PIECE_CHARS = 4
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W\d_{UNSPACED}]+|\d+|[^\w\s]{{1,4}}|_+")
_ASCII_TOKEN = re.compile(r"[a-z]+|[0-9]+|[^\w\s\x1c-\x1f]{1,4}|_+", re.ASCII)  # the same for folded ASCII, and faster
SKIP = 0x5BD1E995  # tells a pair with one token between from a pair without


def fold(text: str) -> str:
    """Lower case, with compatibility forms as the letters they stand for."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", few_marks(text))).lower()


def few_marks(text: str) -> str:
    """At most eight combining marks on end: ordering them takes their square. And no sign that is a sentence."""
    return _MANY_MARKS.sub(r"\1", text).translate(_LONG_FORMS)


_LONG_FORMS = {0xFDFA: " ", 0xFDFB: " "}  # one sign each, and a sentence when unfolded


_MARK = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
_MANY_MARKS = re.compile(f"([{_MARK}]{{8}})[{_MARK}]+")


def token_pattern(folded: str) -> re.Pattern[str]:
    """What finds the tokens of a folded text."""
    return _ASCII_TOKEN if folded.isascii() else _TOKEN


def tokenize(text: str) -> list[str]:
    folded = fold(text)
    return [shorten(token) for token in token_pattern(folded).findall(folded)]


def parted_tokens(folded: str) -> tuple[list[str], list[int]]:
    """The tokens of a folded text, and behind how many of them a sentence, a cell of a table or a line ends.

    The ends rise from 0 to the number of tokens.
    """
    find = token_pattern(folded).findall
    tokens: list[str] = []
    ends = [0]
    for line in folded.split("\n"):
        found = find(line)
        ends += [at for at, token in enumerate(found, len(tokens) + 1) if token[0] in _ENDS or token[-1] in _ENDS]
        tokens += found
        if ends[-1] != len(tokens):
            ends.append(len(tokens))
    return tokens, ends


_ENDS = frozenset(".!?|;")


def shorten(token: str) -> str:
    """Every number is `0`."""
    return "0" if token[0].isdigit() else token[:MAX_TOKEN_CHARS]


def unit_features(token: str) -> list[int]:
    """The features of a token by itself: whole, and its pieces."""
    found = [crc32(token.encode("utf-8", "replace")) & MASK]
    if len(token) >= _PIECE_CHARS and token[0].isalpha():
        framed = f"<{token}>"
        found += [
            crc32(b"\x01" + framed[at : at + _PIECE_CHARS].encode("utf-8", "replace")) & MASK
            for at in range(len(framed) - _PIECE_CHARS + 1)
        ]
    return found


_units = lru_cache(maxsize=1 << 17)(unit_features)


def features_of(tokens: Sequence[str]) -> list[list[int]]:
    """For each token its features: by itself, and with the one, two and three before it. As the model sums them."""
    found = []
    one = two = before = 0  # the hashes of the token before, of the two before, and of the one before the last
    for number, token in enumerate(tokens):
        raw = b" " + token.encode("utf-8", "replace")
        features = [*_units(token)]
        if number:
            pair = crc32(raw, one)
            features.append(pair & MASK)
            if number > 1:
                features += [crc32(raw, two) & MASK, crc32(raw, before ^ SKIP) & MASK]
            two = pair
        before, one = one, crc32(raw)
        found.append(features)
    return found
