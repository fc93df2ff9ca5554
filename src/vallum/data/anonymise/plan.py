"""What a purpose may have: columns by name, each with what is done to it. Everything else does not leave."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, assert_never

import msgspec

from vallum.data.anonymise.values import (
    date_of,
    generalise_date,
    generalise_number,
    generalise_prefix,
    keyed_hash,
    mask,
    redact,
    shift_date,
)
from vallum.kernel.errors import Invalid

__all__ = [
    "Generalise",
    "Hash",
    "Keep",
    "Mask",
    "PurposePlan",
    "Redact",
    "ShiftDate",
    "Spans",
    "Tokenise",
    "Treatment",
    "Treatments",
    "function_of",
]

Text = Sequence[str | None]


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keep"):
    """As it is."""


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="mask"):
    keep_last: int = 4


class Redact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="redact"):
    """The same for every value."""


class Hash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hash"):
    """Under the purpose's key: two purposes cannot join on it."""


class Tokenise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="tokenise"):
    """A random value of the same form, reversible through the vault."""


class Generalise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="generalise"):
    """One of: intervals of a width, a part of a date, the first characters."""

    width: float | None = None
    date: Literal["month", "quarter", "year", "decade"] | None = None
    prefix: int | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.width, self.date, self.prefix)) != 1:
            raise Invalid("a value is generalised by one of: width, date, prefix")


class ShiftDate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="shift_date"):
    """By a number of days that all dates of one subject share; `subject` names the column that says whose they are."""

    subject: str
    max_days: int = 182


class Spans(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="spans"):
    """A text stays, and what is found in it becomes `[KIND]`. `of` names categories or classes; all without."""

    of: tuple[str, ...] = ()


Treatment = Keep | Mask | Redact | Hash | Tokenise | Generalise | ShiftDate | Spans


class Treatments(msgspec.Struct, frozen=True):
    """What treatments need from outside: a key of the purpose, a column's tokeniser, what masks a text's spans."""

    key: bytes
    tokenise: Callable[[str], Callable[[str], str]] | None = None
    spans: Callable[[Sequence[str]], Callable[[str], str]] | None = None

    def __repr__(self) -> str:
        return "Treatments()"


class PurposePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A purpose and its columns. Nulls stay null."""

    purpose: str
    columns: dict[str, Treatment]

    def minimise(self, available: Sequence[str]) -> tuple[list[str], list[str]]:
        """The columns that leave, in the table's order, and those that do not.

        Raises Invalid for a plan that names a column the table has not: it was written for another table.
        """
        missing = [name for name in self.columns if name not in available]
        if missing:
            raise Invalid(f"the plan for purpose {self.purpose!r} names column {missing[0]!r}, which is not there")
        return [n for n in available if n in self.columns], [n for n in available if n not in self.columns]

    def apply(self, table: Mapping[str, Text], using: Treatments) -> dict[str, list[str | None]]:
        """The columns that leave, treated. An error names column and row, and never the value."""
        kept, _ = self.minimise(list(table))
        return {name: self._treated(name, table, using) for name in kept}

    def _treated(self, name: str, table: Mapping[str, Text], using: Treatments) -> list[str | None]:
        treatment, values = self.columns[name], table[name]
        if isinstance(treatment, ShiftDate):
            if treatment.subject not in table:
                raise Invalid(f"column {name!r} is shifted by subject, and there is no column {treatment.subject!r}")
            return _each_with(
                name, values, table[treatment.subject],
                lambda value, subject: shift_date(date_of(value), subject, using.key, treatment.max_days).isoformat(),
            )  # fmt: skip
        return _each(name, values, function_of(name, treatment, using))


def function_of(name: str, treatment: Treatment, using: Treatments) -> Callable[[str], str]:
    """What is done to each value of that column. Raises Invalid for what `using` cannot do, and for shifted dates."""
    match treatment:
        case Keep():
            return str
        case Mask(keep_last):
            return lambda value: mask(value, keep_last)
        case Redact():
            return redact
        case Hash():
            return lambda value: keyed_hash(value, using.key, name)
        case Tokenise():
            if using.tokenise is None:
                raise Invalid(f"column {name!r} is to be tokenised, and there is no vault")
            return using.tokenise(name)
        case Generalise():
            return lambda value: _generalised(treatment, value)
        case Spans(of):
            if using.spans is None:
                raise Invalid(f"column {name!r}: nothing here finds spans in texts")
            return using.spans(of)
        case ShiftDate():
            raise Invalid("dates are shifted by their subject")
        case _:
            assert_never(treatment)


def _generalised(treatment: Generalise, value: str) -> str:
    if treatment.width is not None:
        try:
            number = float(value)
        except ValueError as e:
            raise Invalid("a value is no number") from e
        return generalise_number(number, treatment.width)
    if treatment.date is not None:
        return generalise_date(date_of(value), treatment.date)
    return generalise_prefix(value, treatment.prefix or 0)


def _each(name: str, values: Text, change: Callable[[str], str]) -> list[str | None]:
    return _each_with(name, values, values, lambda value, _: change(value))


def _each_with(name: str, values: Text, others: Text, change: Callable[[str, str], str]) -> list[str | None]:
    changed: list[str | None] = []
    for row, (value, other) in enumerate(zip(values, others, strict=True)):
        try:
            if value is not None and other is None:
                raise Invalid("there is no subject")
            changed.append(None if value is None or other is None else change(value, other))
        except Invalid as e:
            raise Invalid(f"column {name!r}, row {row}: {e}") from None
    return changed
