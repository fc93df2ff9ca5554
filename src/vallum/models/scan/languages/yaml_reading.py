"""YAML's keys and plain values, read as a loader reads them: quotes, escapes, anchors, block and flow style.

No parser of the whole language: it is split into its tokens, and a scalar before a colon is a key. What is nested how
does not matter to whoever judges single settings. Linear, without recursion. Source: YAML 1.2.2, chapters 5 to 8.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Pair", "TooMany", "pairs_in_yaml"]

_MAX_TOKENS = 200_000
_MAX_VALUE = 16 << 10
_SKIPPED = re.compile(
    r"(?:[ \t\r\n\ufeff]+|(?:(?<=\s)|(?<![\s\S]))#[^\n]*|(?m:^(?:---|\.\.\.)(?=\s|\Z))|(?m:^%[^\n]*))+"
)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\[\s\S])*)"')
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_PROPERTY = re.compile(r"([&*])([^\s,\[\]{}]{1,200})|!(?:<[^>\n]*>|[^\s,\[\]{}]*)")
_BLOCK = re.compile(r"[|>][0-9+-]{0,3}[ \t]*(?:#[^\n]*)?\n")
_PLAIN = re.compile(r"(?:[^\s:#]|:(?=\S)|(?<=\S)#|[ \t]+(?=[^\s#]))+")
_PLAIN_IN_FLOW = re.compile(r"(?:[^\s:#,\[\]{}]|:(?=[^\s,\[\]{}])|(?<=\S)#|[ \t]+(?=[^\s#,\[\]{}]))+")
_COLON = re.compile(r"[ \t]*(?:\n[ \t]*)?:(?=[\s,\[\]{}]|\Z)")
_COLON_OF_QUOTED = re.compile(r"[ \t]*:")
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|\r?\n[ \t]*|([\s\S]))")
_NAMED = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    "N": "\x85",
}
_FOLDED = re.compile(r"[ \t]*\n[ \t]*")


class TooMany(Exception):
    """More tokens than are read; what came before was given."""


class Pair(NamedTuple):
    """An item of a list has its list's key. `at` is the value's offset."""

    key: str
    value: str
    at: int


def pairs_in_yaml(text: str) -> Iterator[Pair]:
    """Raises TooMany."""
    at, depth, key, anchor = 0, 0, "", ""
    known: dict[str, str] = {}
    for _ in range(_MAX_TOKENS):
        if (space := _SKIPPED.match(text, at)) is not None:
            at = space.end()
        if at >= len(text):
            return
        sign = text[at]
        if sign in "[{":
            depth, at, anchor = depth + 1, at + 1, ""
        elif sign in "]}":
            depth, at = max(0, depth - 1), at + 1
        elif sign == "," or (sign in "-?:" and text[at + 1 : at + 2] in " \t\r\n,[]{}"):
            at += 1
        elif sign in "&*!" and (found := _PROPERTY.match(text, at)) is not None:
            if found[1] == "*" and (value := known.get(found[2])) is not None:
                if (colon := _COLON.match(text, found.end())) is not None:
                    key, at = value, colon.end()
                    continue
                yield Pair(key, value, at)
            anchor, at = found[2] if found[1] == "&" else anchor, found.end()
        else:
            start = at
            value, at, quoted = _scalar(text, at, depth)
            colon = (_COLON_OF_QUOTED if quoted and depth else _COLON).match(text, at)
            if anchor:
                known[anchor], anchor = value, ""
            if colon is not None:
                key, at = value[:200], colon.end()
            else:
                yield Pair(key, value, start)
    raise TooMany


def _scalar(text: str, at: int, depth: int) -> tuple[str, int, bool]:
    """Its value, where it ends, and whether it is in quotes. Always goes on by a character at least."""
    if (found := _DOUBLE.match(text, at)) is not None:
        return _ESCAPED.sub(_unescaped, _fold(found[1][:_MAX_VALUE])), found.end(), True
    if (found := _SINGLE.match(text, at)) is not None:
        return _fold(found[1][:_MAX_VALUE].replace("''", "'")), found.end(), True
    if not depth and (found := _BLOCK.match(text, at)) is not None:
        return _block(text, at, found.end())
    if (found := (_PLAIN_IN_FLOW if depth else _PLAIN).match(text, at)) is not None:
        return found[0][:_MAX_VALUE].rstrip(), found.end(), False
    return "", at + 1, False


def _fold(text: str) -> str:
    return _FOLDED.sub(" ", text) if "\n" in text and "\\\n" not in text else text


def _block(text: str, at: int, start: int) -> tuple[str, int, bool]:
    """Lines that are indented deeper than the one that the block begins on."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    indent = len(line) - len(line.lstrip(" "))
    folded, lines, size = text[at] == ">", [], 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        own = text[start:end]
        if own.strip() and len(own) - len(own.lstrip(" ")) <= indent:
            break
        size += len(own)
        if size <= _MAX_VALUE:
            lines.append(own.strip())
        start = end + 1
    return (" " if folded else "\n").join(lines).strip(), min(start, len(text)), False


def _unescaped(found: re.Match[str]) -> str:
    number = found[1] or found[2] or found[3]
    if number:
        return chr(int(number, 16)) if int(number, 16) < 0x110000 else "?"
    return _NAMED.get(found[4], found[4]) if found[4] else ""
