r"""Patterns that know what they look like half-written.

A stream may be cut anywhere, so a streaming guard needs two questions answered about every rule: does the text hold
a match, and does its end hold the beginning of one? Each expression renders both regular expressions from one
description, so the answer to the second cannot drift from the first: `full()` matches the whole thing and `begun()`
exactly the strings that may still grow into one, the finished ones included (a greedy match may grow, a `\b` may
still be refused).

All expressions describe ASCII text and are written in RE2 syntax: linear time, so hostile text cannot stall a guard.
"""

import re
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "BOUNDARY",
    "END_OF_TEXT",
    "NOT_BOUNDARY",
    "Choice",
    "Expression",
    "Letters",
    "Literal",
    "Repeat",
    "Sequence",
    "choice",
    "letters",
    "literal",
    "many",
    "maybe",
    "opening",
    "sequence",
]


class Expression(Protocol):
    def full(self) -> str: ...

    def begun(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Literal:
    """These characters; `folded` matches either case."""

    text: str
    folded: bool = False

    def full(self) -> str:
        escaped = re.escape(self.text)
        return f"(?i:{escaped})" if self.folded else escaped

    def begun(self) -> str:
        nested = ""
        for char in reversed(self.text):
            nested = f"(?:{re.escape(char)}{nested})?"
        return f"(?i:{nested})" if self.folded else nested


@dataclass(frozen=True, slots=True)
class Letters:
    """One character of a bracket expression, given without its brackets."""

    members: str

    def full(self) -> str:
        return f"[{self.members}]"

    def begun(self) -> str:
        return f"[{self.members}]?"


@dataclass(frozen=True, slots=True)
class Assertion:
    """Matches between characters. At the end of what has arrived nothing is known yet, so it is begun anywhere."""

    syntax: str

    def full(self) -> str:
        return self.syntax

    def begun(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Repeat:
    """`item`, `least` to `most` times; no `most` is no limit. `lazy` prefers fewer."""

    item: Expression
    least: int
    most: int | None
    lazy: bool = False

    def full(self) -> str:
        bounds = f"{{{self.least},{'' if self.most is None else self.most}}}"
        return f"(?:{self.item.full()}){bounds}{'?' if self.lazy else ''}"

    def begun(self) -> str:
        if isinstance(self.item, Letters):  # a half-written character does not exist: keep the program small
            return f"{self.item.full()}{'*' if self.most is None else f'{{0,{self.most}}}'}"
        earlier = "*" if self.most is None else f"{{0,{self.most - 1}}}"
        return f"(?:{self.item.full()}){earlier}(?:{self.item.begun()})"


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    items: tuple[Expression, ...]

    def full(self) -> str:
        return "".join(f"(?:{item.full()})" for item in self.items)

    def begun(self) -> str:
        nested = self.items[-1].begun()
        for item in reversed(self.items[:-1]):
            nested = f"(?:{item.begun()}|(?:{item.full()})(?:{nested}))"
        return nested


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of them, the earlier preferred."""

    items: tuple[Expression, ...]

    def full(self) -> str:
        return "(?:" + "|".join(item.full() for item in self.items) + ")"

    def begun(self) -> str:
        return "(?:" + "|".join(item.begun() for item in self.items) + ")"


BOUNDARY = Assertion(r"\b")
NOT_BOUNDARY = Assertion(r"\B")
END_OF_TEXT = Assertion(r"\z")


def literal(text: str, *, folded: bool = False) -> Literal:
    return Literal(text, folded)


def letters(members: str) -> Letters:
    return Letters(members)


def many(item: Expression | str, least: int, most: int | None = None, *, lazy: bool = False) -> Repeat:
    """`item` repeated; a string is the inside of a bracket expression."""
    return Repeat(Letters(item) if isinstance(item, str) else item, least, most, lazy)


def maybe(*items: Expression | str) -> Repeat:
    return Repeat(sequence(*items), 0, 1)


def sequence(*items: Expression | str) -> Expression:
    """Each in turn; a string is a literal."""
    parts = tuple(Literal(item) if isinstance(item, str) else item for item in items)
    return parts[0] if len(parts) == 1 else Sequence(parts)


def choice(*items: Expression | str) -> Expression:
    return Choice(tuple(Literal(item) if isinstance(item, str) else item for item in items))


def opening(expression: Expression) -> tuple[str, ...]:
    """The literal texts that a match begins with, if what follows them holds no white space; else none.

    An expression of which this is known needs no half-written form of its own: see `patterns`.
    """
    items = list(expression.items) if isinstance(expression, Sequence) else [expression]
    texts = [""]
    while items:
        first = items[0]
        if isinstance(first, Sequence):
            items[:1] = first.items
        elif isinstance(first, Literal) and not first.folded:
            texts = [text + first.text for text in texts]
            items.pop(0)
        elif isinstance(first, Choice) and all(isinstance(i, Literal) and not i.folded for i in first.items):
            texts = [text + item.text for text in texts for item in first.items if isinstance(item, Literal)]
            items.pop(0)
        elif isinstance(first, Assertion):
            items.pop(0)
        else:
            break
    if min(map(len, texts)) < _LEAST_OPENING or any(_may_hold_space(item) for item in items):
        return ()
    return tuple(texts)


_LEAST_OPENING = 3


def _may_hold_space(expression: Expression) -> bool:
    if isinstance(expression, Literal):
        return any(char.isspace() for char in expression.text)
    if isinstance(expression, Letters):
        members = expression.members
        return (
            r"\s" not in members if members.startswith("^") else any(c in members for c in (" ", r"\s", r"\x", r"\t"))
        )
    if isinstance(expression, Repeat):
        return _may_hold_space(expression.item)
    if isinstance(expression, (Sequence, Choice)):
        return any(_may_hold_space(item) for item in expression.items)
    return False
