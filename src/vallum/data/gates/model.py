"""What a check is, what it asks of an engine, and what comes out. A check that did not run is a FAIL.

A check *plans*: it names measures, each with a key, and the engine takes equal keys of all checks together, in one
pass. Then it *judges* the numbers. It never sees rows, so it cannot differ between engines, and its words hold counts
and column names, never values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from vallum.data.table import Table

if TYPE_CHECKING:
    import narwhals as nw

__all__ = [
    "Alike",
    "Check",
    "Expression",
    "Failed",
    "Found",
    "GateReport",
    "Measure",
    "NotRunnable",
    "Operations",
    "Orphans",
    "Outcome",
    "Repeats",
    "Shared",
    "Verdict",
    "rows",
]


class NotRunnable(Exception):
    """A check cannot run on this table. Its words go into the outcome: they hold no value."""


class Failed(Exception):
    """A check failed on the table's schema, before any row: it ran."""


class Operations(Protocol):
    """What engines do each in their own way."""

    def matches(self, column: str, pattern: str) -> "nw.Expr": ...

    def length(self, column: str) -> "nw.Expr":
        """Of texts, in Unicode code points."""
        ...


@dataclass(frozen=True, slots=True)
class Expression:
    """A scalar over all rows: a predicate's count where `is_predicate` (null counts as false), else an aggregate.

    Of rows in pieces, the pieces' scalars add up, or, where `is_greatest`, the greatest is the whole's.
    """

    key: str
    make: Callable[[Operations], "nw.Expr"]
    is_predicate: bool = True
    is_greatest: bool = False

    def joined(self, scalars: Sequence[Any]) -> Any:
        """Of the pieces, the whole's; None where all are."""
        there = [scalar for scalar in scalars if scalar is not None]
        if not there:
            return None
        return max(there) if self.is_greatest else sum(there)


@dataclass(frozen=True, slots=True)
class Repeats:
    """How many rows equal an earlier one in `columns`; rows with a null there are left out unless `nulls_equal`."""

    columns: tuple[str, ...]
    nulls_equal: bool

    @property
    def key(self) -> str:
        return f"repeats {self.nulls_equal} {self.columns!r}"


@dataclass(frozen=True, slots=True)
class Orphans:
    """How many rows hold a value in `column` that the parent's column does not."""

    column: str
    parent: Table
    parent_column: str

    @property
    def key(self) -> str:
        return f"orphans {self.column!r} {id(self.parent)} {self.parent_column!r}"


@dataclass(frozen=True, slots=True)
class Shared:
    """How many rows the other table holds too, by `columns` (nulls equal)."""

    other: Table
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"shared {id(self.other)} {self.columns!r}"


@dataclass(frozen=True, slots=True)
class Alike:
    """How many groups of rows that are equal in `columns` there are, by their rows and by their different values in
    `sensitive` (1 without): `{(rows, values): groups}`. Nulls are equal, and NaN is null."""

    columns: tuple[str, ...]
    sensitive: str = ""

    @property
    def key(self) -> str:
        return f"alike {self.columns!r} {self.sensitive!r}"


Measure = Expression | Repeats | Orphans | Shared | Alike


@dataclass(frozen=True, slots=True)
class Found:
    """The numbers, and the instant that counts as now."""

    numbers: Mapping[str, Any]
    now: datetime

    def count(self, key: str) -> int:
        value = self.numbers[key]
        return 0 if value is None else int(value)  # a sum over no rows is null

    @property
    def rows(self) -> int:
        return self.count("rows")


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: bool
    reason: str
    bad_rows: int | None = None
    figures: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    check: str
    kind: str
    ran: bool
    passed: bool
    reason: str
    bad_rows: int | None
    figures: tuple[tuple[str, float], ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check, "kind": self.kind, "ran": self.ran, "passed": self.passed, "reason": self.reason,
            "bad_rows": self.bad_rows, "figures": dict(self.figures),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class GateReport:
    table: str
    engine: str
    rows: int | None
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Every check ran and passed, and there was one: a gate without checks lets nothing through."""
        return bool(self.outcomes) and all(o.ran and o.passed for o in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table, "engine": self.engine, "rows": self.rows, "passed": self.passed,
            "checks": [outcome.as_json() for outcome in self.outcomes],
        }  # fmt: skip


class Check(Protocol):
    """A frozen value. `name` is unique among the checks of a run."""

    @property
    def name(self) -> str: ...

    def plan(self, table: Table) -> Sequence[Measure]:
        """What to measure. Raises NotRunnable."""
        ...

    def judge(self, found: Found) -> Verdict: ...


def rows() -> Expression:
    import narwhals as nw

    return Expression("rows", lambda _: nw.len(), is_predicate=False)
