"""Checks against earlier versions (null spikes, drift of labels and features), and between groups (bias).

What to count is known from the reference, so each count is a scalar of the one pass: no grouping, no second look.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from vallum.data.gates.learned import FLOOR, History, learn_limit
from vallum.data.gates.model import Expression, Found, Measure, NotRunnable, Operations, Verdict, rows
from vallum.data.gates.statistics import chi_square, chi_square_tail, psi
from vallum.data.table import Column, Kind, Table

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["FeatureDrift", "GroupRates", "LabelDrift", "NullSpike"]

Method = Literal["learned", "psi", "chi_square"]
_LABELS = (Kind.STRING, Kind.INTEGER, Kind.BOOLEAN)


@dataclass(frozen=True, slots=True)
class NullSpike:
    """The share of nulls is what it was. `history` has the cells null and value, of each earlier version."""

    column: str
    history: History
    budget: float = 0.01
    floor: float = FLOOR

    @property
    def name(self) -> str:
        return f"{self.column}: NullSpike"

    def plan(self, table: Table) -> Sequence[Measure]:
        return rows(), Expression(f"nulls {self.column}", null_predicate(_column(table, self.column)))

    def judge(self, found: Found) -> Verdict:
        if not found.rows:
            return Verdict(False, "no rows to judge by")
        nulls = found.count(f"nulls {self.column}")
        return _learned(self.history, (nulls, found.rows - nulls), self.budget, self.floor, "nulls")


@dataclass(frozen=True, slots=True)
class LabelDrift:
    """The labels are distributed as they were. `labels` are the values; the history's last cell counts all others.

    `learned` keeps to a false-alarm budget; `psi` fails above `limit`; `chi_square` fails when the chance of what was
    found, were nothing changed, is below `limit`.
    """

    column: str
    labels: tuple[Any, ...]
    history: History
    method: Method = "learned"
    limit: float = 0.1
    budget: float = 0.01
    floor: float = FLOOR

    @property
    def name(self) -> str:
        return f"{self.column}: LabelDrift" + ("" if self.method == "learned" else f" ({self.method})")

    def plan(self, table: Table) -> Sequence[Measure]:
        column = _column(table, self.column, *_LABELS)
        if len(self.history.cells) != len(self.labels) + 1:
            raise NotRunnable("the history counts other labels")
        return (
            rows(),
            Expression(f"nulls {self.column}", null_predicate(column)),
            *(Expression(_is_key(self.column, v), equals(column, v)) for v in self.labels),
        )

    def judge(self, found: Found) -> Verdict:
        counts = [found.count(_is_key(self.column, v)) for v in self.labels]
        valued = found.rows - found.count(f"nulls {self.column}")
        if not valued:
            return Verdict(False, "no row has a label")
        return _against(self, self.history, (*counts, valued - sum(counts)), "labels")


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """A number is distributed over the bins between `edges` as it was. A history's cells are the bins, lowest first.

    A bin holds from its lower edge up to, and without, its upper one; NaN is left out.
    """

    column: str
    edges: tuple[float, ...]
    history: History
    method: Method = "psi"
    limit: float = 0.1
    budget: float = 0.01
    floor: float = FLOOR

    @property
    def name(self) -> str:
        return f"{self.column}: FeatureDrift" + ("" if self.method == "learned" else f" ({self.method})")

    def plan(self, table: Table) -> Sequence[Measure]:
        import narwhals as nw

        column = _column(table, self.column, Kind.INTEGER, Kind.NUMBER)
        if len(self.history.cells) != len(self.edges) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise NotRunnable("edges ascend, and stand between the history's bins")

        def below(edge: float) -> Callable[[Operations], "nw.Expr"]:
            return lambda _: nw.col(self.column) < edge

        return (
            rows(),
            Expression(f"nulls {self.column}", null_predicate(column)),
            *(Expression(f"below {self.column} {edge!r}", below(edge)) for edge in self.edges),
        )

    def judge(self, found: Found) -> Verdict:
        valued = found.rows - found.count(f"nulls {self.column}")
        if not valued:
            return Verdict(False, "no row has a value")
        below = [0, *(found.count(f"below {self.column} {edge!r}") for edge in self.edges), valued]
        return _against(self, self.history, [b - a for a, b in pairwise(below)], "bins")


@dataclass(frozen=True, slots=True)
class GroupRates:
    """The share of rows with label `positive` is alike in each group: the smallest at least `min_ratio` of the largest.

    0.8 is the four-fifths rule of the EEOC. A row whose group is not listed, or that has no label, is measured by
    nothing, so it fails the check, as does a group without rows.
    """

    label: str
    positive: Any
    group: str
    groups: tuple[Any, ...]
    min_ratio: float = 0.8

    @property
    def name(self) -> str:
        return f"{self.label} by {self.group}: GroupRates"

    def plan(self, table: Table) -> Sequence[Measure]:
        label, group = _column(table, self.label, *_LABELS), _column(table, self.group, *_LABELS)
        if len(self.groups) < 2:
            raise NotRunnable("there are fewer than two groups")

        labelled = null_predicate(label)

        def of(value: Any) -> Callable[[Operations], "nw.Expr"]:
            return lambda ops: equals(group, value)(ops) & ~labelled(ops)

        def positives(value: Any) -> Callable[[Operations], "nw.Expr"]:
            return lambda ops: equals(group, value)(ops) & equals(label, self.positive)(ops)

        for value in self.groups:
            equals(group, value)  # raises here for one of another kind, and not where the engine plans
        equals(label, self.positive)
        return (
            rows(),
            *(Expression(self._key("labelled", g), of(g)) for g in self.groups),
            *(Expression(self._key("positive", g), positives(g)) for g in self.groups),
        )

    def judge(self, found: Found) -> Verdict:
        sizes = [found.count(self._key("labelled", g)) for g in self.groups]
        unmeasured = found.rows - sum(sizes)
        if unmeasured:
            return Verdict(False, f"{unmeasured} rows have no label or are of no listed group", unmeasured)
        if not all(sizes):
            return Verdict(False, f"{sizes.count(0)} of {len(sizes)} groups have no rows")
        rates = [found.count(self._key("positive", g)) / n for g, n in zip(self.groups, sizes, strict=True)]
        ratio = min(rates) / max(rates) if max(rates) else 1.0
        return Verdict(
            ratio >= self.min_ratio,
            f"the lowest group's rate is {ratio:.3f} of the highest's, and {self.min_ratio:g} is due",
            figures=(("ratio", ratio), ("difference", max(rates) - min(rates))),
        )

    def _key(self, what: str, group: Any) -> str:
        return f"{what} {self.label} {self.positive!r} {self.group} {group!r}"


def null_predicate(column: Column) -> Callable[[Operations], "nw.Expr"]:
    """True for null and NaN."""
    import narwhals as nw

    if column.is_float:
        return lambda _: nw.col(column.name).is_null() | nw.col(column.name).is_nan()
    return lambda _: nw.col(column.name).is_null()


def equals(column: Column, value: Any) -> Callable[[Operations], "nw.Expr"]:
    """Raises NotRunnable for a value that is not of the column's kind: engines differ on 1 = '1'."""
    import narwhals as nw

    due = {Kind.STRING: str, Kind.BOOLEAN: bool, Kind.INTEGER: int}.get(column.kind)
    if due is None or type(value) is not due:
        raise NotRunnable(f"a value for {column.name} is no {column.kind}")
    if column.kind is Kind.BOOLEAN:
        return lambda _: nw.col(column.name) if value else ~nw.col(column.name)
    return lambda _: nw.col(column.name) == value


def _is_key(column: str, value: Any) -> str:
    return f"is {column} {value!r}"


def _column(table: Table, name: str, *kinds: Kind) -> Column:
    column = table.column(name)
    if column is None:
        raise NotRunnable(f"there is no column {name}")
    if kinds and column.kind not in kinds:
        raise NotRunnable(f"{name} is {column.kind}, and this check is for {' or '.join(kinds)}")
    return column


def _against(check: LabelDrift | FeatureDrift, history: History, counts: Sequence[int], what: str) -> Verdict:
    pooled = [sum(cell) for cell in zip(*history.versions, strict=True)]
    match check.method:
        case "learned":
            return _learned(history, counts, check.budget, check.floor, what)
        case "psi":
            found = psi(pooled, counts)
            return Verdict(
                found <= check.limit, f"PSI of the {what} is {found:.4f}, and {check.limit:g} is allowed",
                figures=(("psi", found),),
            )  # fmt: skip
        case "chi_square":
            statistic, degrees = chi_square(pooled, counts)
            chance = chi_square_tail(statistic, degrees)
            return Verdict(
                chance >= check.limit,
                f"chi-square of the {what} is {statistic:.1f} ({degrees} degrees of freedom): a chance of {chance:.2g}",
                figures=(("chi_square", statistic), ("chance", chance)),
            )


def _learned(history: History, counts: Sequence[int], budget: float, floor: float, what: str) -> Verdict:
    limit = learn_limit(history, budget, floor)
    distance, shift = limit.distance(counts), limit.shift(counts)
    return Verdict(
        not limit.exceeded(counts),
        f"the {what} shifted by {shift * 100:.2f} points; distance {distance:.1f}, and {limit.threshold:.1f} is the "
        f"limit for {budget:.3%} false alarms, learned from {len(history.versions)} versions",
        figures=(("shift", shift), ("distance", distance), ("limit", limit.threshold)),
    )
