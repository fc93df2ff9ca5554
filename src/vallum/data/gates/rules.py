"""Checks of single rows: each has a predicate that is true of a bad row, so that bad rows can be named.

Predicates are null for null values: whether nulls may be there is `NotNull`'s question alone.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from vallum.data.gates.model import Expression, Found, Measure, NotRunnable, Operations, Verdict, rows
from vallum.data.table import Column, Kind, Table

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["Bound", "HasLength", "InRange", "InSet", "Matches", "NoFormulas", "NotNull", "ParsesAs", "RowRule"]

Bound = int | float | dt.date | dt.datetime
_COMPARED = 16  # texts that are compared one by one: Polars' hash set of texts costs three times as much for seven
_WIDER = {Kind.NUMBER: {Kind.INTEGER}}  # an integer is a number


@dataclass(frozen=True, slots=True)
class RowRule:
    """`at_most` is the share of rows that may be bad, 0 to 1."""

    column: str
    at_most: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.column}: {type(self).__name__}"

    def plan(self, table: Table) -> Sequence[Measure]:
        return rows(), Expression(self._key(), self.violation(table))

    def judge(self, found: Found) -> Verdict:
        bad, total = found.count(self._key()), found.rows
        share = bad / total if total else 0.0
        allowed = f", and {self.at_most:.4%} are allowed" if self.at_most else ""
        return Verdict(
            share <= self.at_most, f"{bad} of {total} rows {self.says()}{allowed}", bad, (("share", share),)
        )  # fmt: skip

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        """The predicate. Raises NotRunnable."""
        raise NotImplementedError

    def says(self) -> str:
        raise NotImplementedError

    def _key(self) -> str:
        return repr(self)


def _column(table: Table, name: str, *kinds: Kind) -> Column:
    column = table.column(name)
    if column is None:
        raise NotRunnable(f"there is no column {name}")
    if kinds and column.kind not in kinds:
        raise NotRunnable(f"{name} is {column.kind}, and this check is for {' or '.join(kinds)}")
    return column


@dataclass(frozen=True, slots=True)
class ParsesAs(RowRule):
    """The column's values are of the kind: by its type, and, where it came as text, each of them."""

    kind: Kind = Kind.STRING

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        import narwhals as nw

        column = _column(table, self.column)
        if column.kind is not self.kind and column.kind not in _WIDER.get(self.kind, ()):
            raise NotRunnable(f"{self.column} is {column.kind}, and {self.kind} is due")
        companion = table.unparsed.get(self.column)
        if companion is None:
            return lambda _: nw.len() < 0  # its type says it of every row
        return lambda _: nw.col(companion)

    def plan(self, table: Table) -> Sequence[Measure]:
        make = self.violation(table)
        return (rows(), Expression(self._key(), make)) if self.column in table.unparsed else (rows(),)

    def judge(self, found: Found) -> Verdict:
        bad = found.count(self._key()) if self._key() in found.numbers else 0
        share = bad / found.rows if found.rows else 0.0
        return Verdict(share <= self.at_most, f"{bad} of {found.rows} rows {self.says()}", bad, (("share", share),))

    def says(self) -> str:
        return f"hold what is no {self.kind}"


@dataclass(frozen=True, slots=True)
class NotNull(RowRule):
    """NaN is missing too, and so is what could not be parsed."""

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        import narwhals as nw

        column = _column(table, self.column)
        if column.is_float:
            return lambda _: nw.col(self.column).is_null() | nw.col(self.column).is_nan()
        return lambda _: nw.col(self.column).is_null()

    def says(self) -> str:
        return "are null"


@dataclass(frozen=True, slots=True)
class InRange(RowRule):
    """Between the bounds; a bound that is None is none. NaN is outside."""

    minimum: Bound | None = None
    maximum: Bound | None = None
    above: Bound | None = None  # exclusive
    below: Bound | None = None

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        import narwhals as nw

        column = _column(table, self.column, Kind.INTEGER, Kind.NUMBER, Kind.DATE, Kind.TIMESTAMP)
        bounds = [_literal(column, b) for b in (self.minimum, self.maximum, self.above, self.below)]
        minimum, maximum, above, below = bounds
        value = nw.col(self.column)
        tests: list[nw.Expr] = []
        if minimum is not None:
            tests.append(value < minimum)
        if maximum is not None:
            tests.append(value > maximum)
        if above is not None:
            tests.append(value <= above)
        if below is not None:
            tests.append(value >= below)
        if not tests:
            raise NotRunnable(f"{self.column} has no bound")
        if column.is_float:
            tests.append(value.is_nan())
        combined = tests[0]
        for test in tests[1:]:
            combined = combined | test
        return lambda _: combined

    def says(self) -> str:
        return "are out of range"


@dataclass(frozen=True, slots=True)
class InSet(RowRule):
    values: tuple[Any, ...] = ()

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        import narwhals as nw

        column = _column(table, self.column, Kind.STRING, Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN)
        fitting = {
            Kind.STRING: (str,), Kind.BOOLEAN: (bool,), Kind.INTEGER: (int,), Kind.NUMBER: (int, float),
        }[column.kind]  # fmt: skip
        for value in self.values:
            if not isinstance(value, fitting) or (isinstance(value, bool) and bool not in fitting):
                raise NotRunnable(f"the set of {self.column} holds values that are no {column.kind}")
        if column.kind is Kind.BOOLEAN:
            if len(set(self.values)) != 1:
                return lambda _: nw.col(self.column).is_null() & ~nw.col(self.column).is_null()
            (only,) = set(self.values)
            return lambda _: ~nw.col(self.column) if only else nw.col(self.column)
        values = [float(v) for v in self.values] if column.kind is Kind.NUMBER else list(self.values)
        if column.kind is Kind.STRING and 0 < len(values) <= _COMPARED:
            value = nw.col(self.column)
            return lambda _: ~reduce(or_, [value == each for each in dict.fromkeys(values)])
        return lambda _: ~nw.col(self.column).is_in(values)

    def says(self) -> str:
        return f"are none of the {len(self.values)} allowed values"


@dataclass(frozen=True, slots=True)
class Matches(RowRule):
    """`pattern` in the portable form that `contracts.patterns` gives: the same language on every engine."""

    pattern: str = ""

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        _column(table, self.column, Kind.STRING)
        return lambda ops: ~ops.matches(self.column, self.pattern)

    def says(self) -> str:
        return "do not match the pattern"


@dataclass(frozen=True, slots=True)
class HasLength(RowRule):
    """In Unicode code points."""

    minimum: int = 0
    maximum: int | None = None

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        _column(table, self.column, Kind.STRING)
        if self.maximum is None:
            return lambda ops: ops.length(self.column) < self.minimum
        most = self.maximum
        return lambda ops: (ops.length(self.column) < self.minimum) | (ops.length(self.column) > most)

    def says(self) -> str:
        return "are too short or too long"


# What spreadsheets run when the file is opened in one; +49 170 and -1.5 stay, and so does a dash before words.
_FORMULA = r"\A(?:[=@\t\r]|[+-][^\n]*[(|!])"


@dataclass(frozen=True, slots=True)
class NoFormulas(RowRule):
    """No text that a spreadsheet would run. OWASP: CSV injection."""

    def violation(self, table: Table) -> Callable[[Operations], "nw.Expr"]:
        _column(table, self.column, Kind.STRING)
        return lambda ops: ops.matches(self.column, _FORMULA)

    def says(self) -> str:
        return "begin as a spreadsheet's formula"


def _literal(column: Column, bound: Bound | None) -> Any:
    """The bound as a value of the column's kind. Raises NotRunnable for one that cannot be."""
    if bound is None:
        return None
    if column.kind is Kind.TIMESTAMP and isinstance(bound, dt.date):
        if not isinstance(bound, dt.datetime):
            bound = dt.datetime(bound.year, bound.month, bound.day)
        naive = bound if bound.tzinfo is None else bound.astimezone(dt.UTC).replace(tzinfo=None)
        return naive.replace(tzinfo=dt.UTC) if column.is_zoned else naive
    if column.kind is Kind.DATE and isinstance(bound, dt.date) and not isinstance(bound, dt.datetime):
        return bound
    if column.kind in (Kind.INTEGER, Kind.NUMBER) and isinstance(bound, int | float) and not isinstance(bound, bool):
        return bound
    raise NotRunnable(f"the bounds of {column.name} are no {column.kind}")
