"""Statistics that give nobody away, on a budget that is kept: what all releases about a data set's people add up to.

One budget for a data set, as its versions are about the same people. A release is charged and recorded in one
transaction, before its noise is drawn: two at once cannot overspend, since the charge is one conditional update, and a
crash after it costs the epsilon and answers nothing. How many rows one person may have is the steward's to say, and is
enforced where a column says whose a row is: further rows of theirs are not counted. Who asks never sees a row.
"""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, insert, select, update

from vallum.data.anonymise.budget import BudgetSpent, micro
from vallum.data.anonymise.statistics import private_count, private_histogram, private_mean, private_sum
from vallum.data.catalogue import records as table
from vallum.data.catalogue.parts import Parts
from vallum.data.catalogue.versions import columns_of, key_of, layout_of, require_available, row_of
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "BudgetState",
    "Count",
    "Histogram",
    "Mean",
    "PreparedRelease",
    "PrivateStatistics",
    "Release",
    "Spent",
    "Sum",
]

_MICRO = 1_000_000
_MOST_CATEGORIES = 1000
_MAX_ROWS = 1 << 31
Name = Annotated[str, Meta(min_length=1, max_length=1000)]


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="count"):
    """How many rows."""


class Sum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sum"):
    """Of a column's values, each clamped to bounds that do not come from the data, in whole steps; nulls are 0."""

    column: Name
    low: float
    high: float
    step: float = 1.0


class Mean(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="mean"):
    """Of a column's values that are not null, clamped so."""

    column: Name
    low: float
    high: float
    step: float = 1.0


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="histogram"):
    """How many rows of each category; which ones there are must be known beforehand."""

    column: Name
    categories: Annotated[tuple[str, ...], Meta(min_length=1, max_length=_MOST_CATEGORIES)]


Query = Count | Sum | Mean | Histogram


class BudgetState(msgspec.Struct, frozen=True):
    """In millionths of epsilon. `person_column` says whose a row is; each has at most `contributions` rows counted."""

    dataset: str
    total_micro_epsilon: int
    spent_micro_epsilon: int
    person_column: str
    contributions: int
    set_at: str
    set_by: str

    @property
    def left_micro_epsilon(self) -> int:
        return self.total_micro_epsilon - self.spent_micro_epsilon


class Spent(msgspec.Struct, frozen=True):
    """One release: what was asked and what it cost, in millionths of epsilon; never what was answered."""

    id: str
    number: int
    query: str
    micro_epsilon: int
    at: str
    by: str


class Release(msgspec.Struct, frozen=True):
    """An answer with its noise. `left_micro_epsilon` is what the data set has left after it."""

    id: str
    version: str
    query: str
    epsilon: float
    answer: float | dict[str, int]
    left_micro_epsilon: int


class PreparedRelease(msgspec.Struct, frozen=True):
    """What will be asked of which values, exact still: never shown, and gone with the request."""

    dataset: str
    number: int
    query: Query
    epsilon: float
    charge: int
    budget: BudgetState
    values: Any

    def __repr__(self) -> str:
        return f"PreparedRelease({self.dataset}/{self.number}, {described(self.query)})"


class PrivateStatistics:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, clock: Clock, parts: Parts) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._parts = parts

    def set_budget(
        self, conn: Connection, dataset: str, epsilon: float, by: Subject, *, person_column: str, contributions: int
    ) -> BudgetState:
        """The whole budget of a data set from now on; what was spent stays spent. Raises NotFound, Invalid; Conflict
        below what is spent, and for another person's column once something is: its sum would promise nothing."""
        total = micro(epsilon)
        d, b = table.data_sets.c, table.budgets.c
        if conn.execute(select(d.name).where(d.name == dataset)).first() is None:
            raise NotFound(f"there is no data set {dataset}")
        said = {"person_column": person_column, "contributions": contributions}
        new = {
            "total_micro_epsilon": total, **said, "set_at": format_time(self._clock.now()), "set_by": by.render(),
        }  # fmt: skip
        made = (
            upsert(conn, table.budgets).values(dataset=dataset, spent_micro_epsilon=0, **new).on_conflict_do_nothing()
        )
        if conn.execute(made).rowcount != 1:
            fits = (b.spent_micro_epsilon == 0) | (
                (b.spent_micro_epsilon <= total)
                & (b.person_column == person_column)
                & (b.contributions == contributions)
            )
            if conn.execute(update(table.budgets).where(b.dataset == dataset, fits).values(new)).rowcount != 1:
                raise Conflict(
                    f"{dataset}: of its budget something is spent: the total stays above that, and whose the rows are"
                    " and how many each person has stay as they were"
                )
        return self.budget(conn, dataset)

    def budget(self, conn: Connection, dataset: str) -> BudgetState:
        """Raises NotFound where nobody set one: nothing is released about such a data set."""
        row = conn.execute(select(table.budgets).where(table.budgets.c.dataset == dataset)).one_or_none()
        if row is None:
            raise NotFound(f"{dataset} has no privacy budget: a steward sets one first")
        return BudgetState(**{name: getattr(row, name) for name in BudgetState.__struct_fields__})

    def prepare(self, dataset: str, number: int, query: Query, epsilon: float) -> PreparedRelease:
        """Read what is asked of, before any transaction: charged and answered by `release`.

        Raises NotFound, DataUnavailable, Invalid; BudgetSpent where even now too little is left.
        """
        charge = micro(epsilon)
        with self._records.read() as conn:
            budget, row = self.budget(conn, dataset), row_of(conn, dataset, number)
        require_available(row)
        there = {column.name: column for column in columns_of(row)}
        wanted = [name for name in (getattr(query, "column", ""), budget.person_column) if name]
        require_opendp()
        for name in wanted:
            if name not in there:
                raise Invalid(f"{dataset}/{number} has no column {name[:100]!r}")
        if isinstance(query, Sum | Mean) and there[query.column].type not in ("integer", "number"):
            raise Invalid(f"column {query.column!r} holds no numbers")
        if charge > budget.left_micro_epsilon:
            raise _spent(budget, query, charge)
        names = list(dict.fromkeys(wanted)) or [next(iter(there))]
        key, layout = key_of(self._keyring, "version", row), layout_of(row)
        frames = self._parts.read(key, dataset, layout, columns_of(row), only=names)
        values = _bounded(frames, budget, query, names)
        return PreparedRelease(dataset, number, query, epsilon, charge, budget, values)

    def release(self, conn: Connection, prepared: PreparedRelease, by: Subject) -> Release:
        """Charge, record, and only then draw the noise; in the caller's transaction, which keeps all of it or nothing.

        Raises BudgetSpent; Conflict where the budget was set anew meanwhile.
        """
        b, was = table.budgets.c, prepared.budget
        spent = update(table.budgets).where(
            b.dataset == prepared.dataset, b.spent_micro_epsilon + prepared.charge <= b.total_micro_epsilon,
            b.person_column == was.person_column, b.contributions == was.contributions,
        )  # fmt: skip
        spent = spent.values(spent_micro_epsilon=b.spent_micro_epsilon + prepared.charge)
        if conn.execute(spent).rowcount != 1:
            now = self.budget(conn, prepared.dataset)
            if (now.person_column, now.contributions) != (was.person_column, was.contributions):
                raise Conflict(f"the budget of {prepared.dataset} was set anew: ask again")
            raise _spent(now, prepared.query, prepared.charge)
        id_, query = new_id("prl"), described(prepared.query)
        conn.execute(
            insert(table.spendings).values(
                id=id_, dataset=prepared.dataset, number=prepared.number, query=query,
                micro_epsilon=prepared.charge, at=format_time(self._clock.now()), by=by.render(),
            )
        )  # fmt: skip
        answer = _answered(prepared)
        left = self.budget(conn, prepared.dataset).left_micro_epsilon
        return Release(id_, f"{prepared.dataset}/{prepared.number}", query, prepared.epsilon, answer, left)

    def spendings(self, conn: Connection, dataset: str, *, limit: int = 200) -> list[Spent]:
        """What was asked, by whom, and what it cost; the newest first."""
        s = table.spendings.c
        rows = conn.execute(select(table.spendings).where(s.dataset == dataset).order_by(s.id.desc()).limit(limit))
        return [Spent(**{name: getattr(row, name) for name in Spent.__struct_fields__}) for row in rows]


def described(query: Query) -> str:
    """What was asked, for the record; of a histogram how many categories, as their names are somebody's words."""
    match query:
        case Count():
            return "count"
        case Histogram(column, categories):
            return f"histogram of {column} in {len(categories)} categories"
        case _:
            kind = str(query.__struct_config__.tag)
            return f"{kind} of {query.column} from {query.low:g} to {query.high:g} in steps of {query.step:g}"


def _spent(budget: BudgetState, query: Query, charge: int) -> BudgetSpent:
    return BudgetSpent(
        f"{described(query)} wants epsilon {charge / _MICRO:.6f} of data set {budget.dataset}, which has"
        f" {budget.left_micro_epsilon / _MICRO:.6f} left of {budget.total_micro_epsilon / _MICRO:.6f}"
    )


def _bounded(frames: Any, budget: BudgetState, query: Query, names: list[str]) -> Any:
    """The values that count: of each person the first rows alone. A row of nobody counts as a person's of its own."""
    import polars as pl

    seen, taken = dict[Any, int](), list[Any]()
    rows = 0
    person, column = budget.person_column, getattr(query, "column", "")
    for frame in frames:
        if person:
            frame = _first_rows(frame, person, budget.contributions, seen)
        rows += frame.height
        if column:
            series = frame.get_column(column)
            if isinstance(query, Histogram):
                taken += series.cast(pl.String).fill_null("\x00").to_list()
            else:
                numbers = series.cast(pl.Float64).fill_nan(None)
                taken += (numbers.fill_null(0.0) if isinstance(query, Sum) else numbers.drop_nulls()).to_list()
    if rows >= _MAX_ROWS:
        raise Invalid("more rows than sums are exact for")
    return taken if column else rows


def _first_rows(frame: "pl.DataFrame", person: str, most: int, seen: dict[Any, int]) -> "pl.DataFrame":
    keep = []
    for who in frame.get_column(person).to_list():
        had = seen.get(who, 0) if who is not None else 0
        keep.append(had < most)
        if who is not None:
            seen[who] = had + 1
    import polars as pl

    return frame.filter(pl.Series(keep, dtype=pl.Boolean))


def _answered(prepared: PreparedRelease) -> float | dict[str, int]:
    """The exact charge is what the noise is drawn for: never less than was asked and paid."""
    query, epsilon = prepared.query, prepared.epsilon
    most = prepared.budget.contributions
    match query:
        case Count():
            return private_count(prepared.values, epsilon, contributions=most)
        case Sum(_, low, high, step):
            return private_sum(prepared.values, (low, high), epsilon, step=step, contributions=most)
        case Mean(_, low, high, step):
            return private_mean(prepared.values, (low, high), epsilon, step=step, contributions=most)
        case Histogram(_, categories):
            return private_histogram(prepared.values, categories, epsilon, contributions=most)
    raise AssertionError("a query of no kind")


def require_opendp() -> None:
    """Before anything is charged. Raises Unavailable."""
    try:
        import opendp.prelude  # noqa: F401
    except ImportError as e:
        raise Unavailable("private statistics need OpenDP: install the extra vallum[privacy]") from e
