"""Checks of a table as a whole: its columns, size, age, repeats, and what it shares with other tables."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from vallum.data.gates.model import (
    Expression,
    Failed,
    Found,
    Measure,
    NotRunnable,
    Orphans,
    Repeats,
    Shared,
    Verdict,
    rows,
)
from vallum.data.table import Column, Kind, Table

__all__ = ["HasColumns", "IsFresh", "IsUnique", "NoDuplicates", "NoLeakage", "RefersTo", "RowCount"]

_FUTURE = dt.timedelta(minutes=5)  # what clocks may differ by; a later time is wrong, and would be fresh for ever


@dataclass(frozen=True, slots=True)
class HasColumns:
    """The columns that are due are there, and, where `closed`, no others."""

    due: tuple[Column, ...]
    closed: bool = True

    name = "schema"

    def plan(self, table: Table) -> Sequence[Measure]:
        have = {c.name: c for c in table.columns}
        missing = [c.name for c in self.due if c.name not in have]
        extra = [c for c in have if c not in {d.name for d in self.due}] if self.closed else []
        wrong = [
            f"{c.name} is {have[c.name].kind}, not {c.kind}"
            for c in self.due
            if c.name in have and not (have[c.name].kind is c.kind or (have[c.name].kind, c.kind) == _INTEGER_AS_NUMBER)
        ]
        problems = [f"missing: {', '.join(missing[:10])}"] if missing else []
        problems += [f"{len(extra)} not in the contract: {', '.join(c[:80] for c in extra[:10])}"] if extra else []
        problems += wrong[:10]
        if problems:
            raise Failed("; ".join(problems))
        return (rows(),)

    def judge(self, found: Found) -> Verdict:
        return Verdict(True, f"all {len(self.due)} columns are there")


_INTEGER_AS_NUMBER = (Kind.INTEGER, Kind.NUMBER)


@dataclass(frozen=True, slots=True)
class RowCount:
    minimum: int = 1
    maximum: int | None = None

    name = "row count"

    def plan(self, table: Table) -> Sequence[Measure]:
        return (rows(),)

    def judge(self, found: Found) -> Verdict:
        fits = found.rows >= self.minimum and (self.maximum is None or found.rows <= self.maximum)
        due = f"at least {self.minimum}" + (f" and at most {self.maximum}" if self.maximum is not None else "")
        return Verdict(fits, f"{found.rows} rows, and {due} are due", figures=(("rows", found.rows),))


@dataclass(frozen=True, slots=True)
class IsFresh:
    """The newest timestamp is at most `within` old, and none lies in the future."""

    column: str
    within: dt.timedelta

    @property
    def name(self) -> str:
        return f"{self.column}: IsFresh"

    def plan(self, table: Table) -> Sequence[Measure]:
        import narwhals as nw

        column = table.column(self.column)
        if column is None or column.kind not in (Kind.TIMESTAMP, Kind.DATE):
            raise NotRunnable(f"{self.column} is no column of dates or timestamps")
        return rows(), Expression(
            f"newest {self.column}", lambda _: nw.col(self.column).max(), is_predicate=False, is_greatest=True
        )

    def judge(self, found: Found) -> Verdict:
        newest = found.numbers[f"newest {self.column}"]
        if newest is None:
            return Verdict(False, "no row has a time")
        slack = _FUTURE
        if not isinstance(newest, dt.datetime):
            newest = dt.datetime(newest.year, newest.month, newest.day)
            slack = dt.timedelta(days=1)  # somewhere it is tomorrow already
        newest = newest.replace(tzinfo=dt.UTC) if newest.tzinfo is None else newest
        age = found.now - newest
        hours = age.total_seconds() / 3600
        if age < -slack:
            return Verdict(False, "the newest time lies in the future", figures=(("age_hours", hours),))
        due = self.within.total_seconds() / 3600
        return Verdict(
            age <= self.within, f"the newest row is {hours:.1f} hours old, and {due:g} are allowed",
            figures=(("age_hours", hours),),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class IsUnique:
    """No two rows have equal values in the columns; rows with a null there are not compared. The first counts as good.

    Exact, whatever the number of rows.
    """

    columns: tuple[str, ...]
    at_most: float = 0.0

    @property
    def name(self) -> str:
        return f"{', '.join(self.columns)}: {type(self).__name__}"

    def measure(self, table: Table) -> Repeats:
        for column in self.columns:
            if table.column(column) is None:
                raise NotRunnable(f"there is no column {column}")
        return Repeats(self.columns, nulls_equal=False)

    def plan(self, table: Table) -> Sequence[Measure]:
        return rows(), self.measure(table)

    def judge(self, found: Found) -> Verdict:
        return _share(found, found.count(Repeats(self.columns, False).key), self.at_most, "repeat an earlier one")


@dataclass(frozen=True, slots=True)
class NoDuplicates:
    """No row equals an earlier one in all `columns`, nulls being equal."""

    columns: tuple[str, ...]
    at_most: float = 0.0

    name = "duplicate rows"

    def measure(self, table: Table) -> Repeats:
        for column in self.columns:
            if table.column(column) is None:
                raise NotRunnable(f"there is no column {column}")
        return Repeats(self.columns, nulls_equal=True)

    def plan(self, table: Table) -> Sequence[Measure]:
        return rows(), self.measure(table)

    def judge(self, found: Found) -> Verdict:
        return _share(found, found.count(Repeats(self.columns, True).key), self.at_most, "equal an earlier one")


@dataclass(frozen=True, slots=True)
class RefersTo:
    """Each value that is there stands in the parent's column."""

    column: str
    parent: Table
    parent_column: str

    @property
    def name(self) -> str:
        return f"{self.column}: RefersTo {self.parent.name}"

    def measure(self, table: Table) -> Orphans:
        mine, theirs = table.column(self.column), self.parent.column(self.parent_column)
        if mine is None or theirs is None:
            raise NotRunnable(f"there is no column {self.column if mine is None else self.parent_column}")
        if mine.kind is not theirs.kind:
            raise NotRunnable(f"{self.column} is {mine.kind}, and what it refers to is {theirs.kind}")
        return Orphans(self.column, self.parent, self.parent_column)

    def plan(self, table: Table) -> Sequence[Measure]:
        return rows(), self.measure(table)

    def judge(self, found: Found) -> Verdict:
        key = Orphans(self.column, self.parent, self.parent_column).key
        return _share(found, found.count(key), 0.0, f"refer to nothing in {self.parent.name}")


@dataclass(frozen=True, slots=True)
class NoLeakage:
    """No row stands in the other table too (training and evaluation), by `columns`."""

    other: Table
    columns: tuple[str, ...]
    at_most: float = 0.0

    @property
    def name(self) -> str:
        return f"leakage to {self.other.name}"

    def measure(self, table: Table) -> Shared:
        for column in self.columns:
            mine, theirs = table.column(column), self.other.column(column)
            if mine is None or theirs is None:
                raise NotRunnable(f"there is no column {column} in {(self.other if mine else table).name}")
            if mine.kind is not theirs.kind:
                raise NotRunnable(f"{column} is {mine.kind} in one table and {theirs.kind} in the other")
        return Shared(self.other, self.columns)

    def plan(self, table: Table) -> Sequence[Measure]:
        return rows(), self.measure(table)

    def judge(self, found: Found) -> Verdict:
        shared = found.count(Shared(self.other, self.columns).key)
        return _share(found, shared, self.at_most, f"are in {self.other.name} too")


def _share(found: Found, bad: int, at_most: float, says: str) -> Verdict:
    share = bad / found.rows if found.rows else 0.0
    return Verdict(share <= at_most, f"{bad} of {found.rows} rows {says}", bad, (("share", share),))
