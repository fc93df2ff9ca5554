"""The checks that a contract asks for, with what they learn from the tables before.

Histories are counted from the reference versions themselves, in one pass each.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from vallum.data.contracts.model import Contract, ContractTable, Metric, Property, Rule
from vallum.data.contracts.patterns import portable_pattern
from vallum.data.gates.anonymity import Anonymity
from vallum.data.gates.drift import FeatureDrift, GroupRates, LabelDrift, NullSpike, null_predicate
from vallum.data.gates.engines.port import Engine, EngineFailed
from vallum.data.gates.learned import FLOOR, History
from vallum.data.gates.model import Check, Expression, Found, Measure, NotRunnable, Verdict, rows
from vallum.data.gates.rules import HasLength, InRange, InSet, Matches, NoFormulas, NotNull, ParsesAs
from vallum.data.gates.whole import HasColumns, IsFresh, IsUnique, NoDuplicates, NoLeakage, RefersTo, RowCount
from vallum.data.table import BadData, Column, Kind, Table

__all__ = ["Unavailable", "anonymity_of", "checks_of", "named_once", "types_of"]

_BUDGET = 0.01  # false alarms a version, over all learned checks together
_BINS = 10
_LABELS = 50


class Unavailable:  # a check whose means were not given; named in reports by its rule
    """A check that cannot run, and so fails: what it needs was not given."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def plan(self, table: Table) -> Sequence[Measure]:
        raise NotRunnable(self._why)

    def judge(self, found: Found) -> Verdict:
        raise NotImplementedError("it never runs")


def types_of(table: ContractTable) -> dict[str, Kind]:
    """What readers of text make of each column."""
    return {p.name: p.kind for p in table.properties}


def checks_of(
    contract: Contract,
    table: ContractTable,
    engine: Engine,
    *,
    references: Sequence[Table] = (),
    evaluation: Table | None = None,
    parents: Mapping[str, Table] | None = None,
    text_source: bool = False,
) -> list[Check]:
    """All checks of one table. `references` are earlier versions, oldest first; `parents` the tables referred to, by
    name; `text_source` adds formula checks (the file may be opened in a spreadsheet).

    A rule whose means are missing (no reference, no parent) becomes a check that fails. Raises BadData for a
    reference that cannot be counted.
    """
    made: list[Check] = [HasColumns(tuple(Column(p.name, p.kind) for p in table.properties))]
    learned = sum(
        rule.metric in (Metric.NULL_SPIKE, Metric.LABEL_DRIFT, Metric.FEATURE_DRIFT)
        and rule.arguments.get("method", "learned") == "learned" and "budget" not in rule.arguments
        for p in table.properties for rule in p.quality
    )  # fmt: skip
    budget = _BUDGET / max(1, learned)
    for p in table.properties:
        made += _of_property(p, text_source)
        if p.refers_to:
            made.append(_reference(p, parents or {}))
        for rule in p.quality:
            made += _of_rule(p, rule, engine, references, budget)
    keys = tuple(p.name for p in table.properties if p.primary_key)
    if keys:
        made += [NotNull(key) for key in keys]
        made.append(IsUnique(keys))
    for rule in table.quality:
        made += _of_table(rule, table, evaluation)
    if not any(isinstance(check, RowCount) for check in made):
        made.append(RowCount())
    made += _freshness(contract, table)
    return named_once(made)


def _of_property(p: Property, text_source: bool) -> list[Check]:
    made: list[Check] = []
    made.append(ParsesAs(p.name, kind=p.kind))
    if p.required:
        made.append(NotNull(p.name))
    if p.unique:
        made.append(IsUnique((p.name,)))
    o = p.options
    if any(bound is not None for bound in (o.minimum, o.maximum, o.above, o.below)):
        made.append(InRange(p.name, minimum=o.minimum, maximum=o.maximum, above=o.above, below=o.below))
    if o.min_length is not None or o.max_length is not None:
        made.append(HasLength(p.name, minimum=o.min_length or 0, maximum=o.max_length))
    if o.pattern is not None:
        made.append(Matches(p.name, pattern=portable_pattern(o.pattern)))
    elif text_source and p.kind is Kind.STRING and not _allows_formulas(p):
        made.append(NoFormulas(p.name))
    return made


def _allows_formulas(p: Property) -> bool:
    custom = p.carried.get("customProperties", [])
    return any(
        isinstance(c, dict) and c.get("property") == "formulas" and c.get("value") == "allowed" for c in custom
    )  # fmt: skip


def _reference(p: Property, parents: Mapping[str, Table]) -> Check:
    parent, _, column = p.refers_to.partition(".")
    if parent not in parents:
        return Unavailable(f"{p.name}: RefersTo {parent}", f"the table {parent} was not given")
    return RefersTo(p.name, parents[parent], column)


def _of_rule(p: Property, rule: Rule, engine: Engine, references: Sequence[Table], budget: float) -> list[Check]:
    arguments = rule.arguments
    match rule.metric:
        case Metric.TEXT:
            return []
        case Metric.NULL_VALUES:
            return [_at_most(NotNull(p.name), rule)]
        case Metric.INVALID_VALUES:
            found: list[Check] = []
            if "validValues" in arguments:
                found.append(_at_most(InSet(p.name, values=tuple(arguments["validValues"])), rule))
            if "pattern" in arguments:
                found.append(_at_most(Matches(p.name, pattern=portable_pattern(arguments["pattern"])), rule))
            return found
        case Metric.DUPLICATE_VALUES:
            return [_at_most(IsUnique((p.name,)), rule)]
        case Metric.MISSING_VALUES:
            return [Unavailable(f"{p.name}: missingValues", "missingValues is not measured here: use nullValues")]
    name = f"{p.name}: {rule.metric}"
    if not references:
        return [Unavailable(name, "no earlier version was given to compare with")]
    own = arguments.get("budget", budget)
    floor = arguments.get("floor", FLOOR)
    method, limit = arguments.get("method", "learned"), arguments.get("limit", 0.1)
    missing = [r.name for r in references if r.column(p.name) is None]
    if missing:
        return [Unavailable(name, f"{missing[0]} has no column {p.name}")]
    if rule.metric is Metric.NULL_SPIKE:
        return [NullSpike(p.name, _nulls(p.name, engine, references), own, floor)]
    if rule.metric is Metric.LABEL_DRIFT:
        labels, history = _labels(p.name, references)
        return [LabelDrift(p.name, labels, history, method, limit, own, floor)]
    edges, bins = _bins(p.name, engine, references)
    if not edges:
        return [Unavailable(name, "the earlier versions have no two different values")]
    return [FeatureDrift(p.name, edges, bins, method, limit, own, floor)]


def _at_most(check: Any, rule: Rule) -> Check:
    """The check as the rule's operator wants it."""
    if rule.operator == "mustBe" and rule.bound == 0:
        return check  # type: ignore[no-any-return]  # one of the row rules
    if rule.unit == "percent" and rule.operator == "mustBeLessOrEqualTo" and 0 <= rule.bound <= 100:
        return dataclasses.replace(check, at_most=rule.bound / 100)  # type: ignore[no-any-return]
    return Counted(check, rule)


class Counted:
    """A check of rows, judged by how many are bad as the standard's operators compare it."""

    def __init__(self, check: Any, rule: Rule) -> None:
        self._check, self._rule = check, rule
        self.name = f"{check.name} {rule.operator}"

    def plan(self, table: Table) -> Sequence[Measure]:
        measures: Sequence[Measure] = self._check.plan(table)
        return measures

    def judge(self, found: Found) -> Verdict:
        verdict: Verdict = self._check.judge(found)
        bad = verdict.bad_rows or 0
        percent = 100 * bad / found.rows if found.rows else 0.0
        fits = compared(percent if self._rule.unit == "percent" else bad, self._rule.operator, self._rule.bound)
        due = f"{self._rule.operator} {self._rule.bound} {self._rule.unit}"
        return Verdict(fits, f"{verdict.reason}; {due}", bad, verdict.figures)


def compared(value: float, operator: str, bound: Any) -> bool:
    """Whether the value is as the standard's operator says."""
    match operator:
        case "mustBe":
            return bool(value == bound)
        case "mustNotBe":
            return bool(value != bound)
        case "mustBeGreaterThan":
            return bool(value > bound)
        case "mustBeGreaterOrEqualTo":
            return bool(value >= bound)
        case "mustBeLessThan":
            return bool(value < bound)
        case "mustBeLessOrEqualTo":
            return bool(value <= bound)
        case "mustBeBetween":
            return bool(bound[0] <= value <= bound[1])
        case "mustNotBeBetween":
            return not bound[0] <= value <= bound[1]
        case _:
            raise ValueError(f"no operator {operator}")


class Rows:
    """`rowCount` as the standard's operators compare it."""

    def __init__(self, operator: str, bound: Any) -> None:
        self._operator, self._bound = operator, bound
        self.name = f"rowCount {operator}"

    def plan(self, table: Table) -> Sequence[Measure]:
        return (rows(),)

    def judge(self, found: Found) -> Verdict:
        fits = compared(found.rows, self._operator, self._bound)
        return Verdict(fits, f"{found.rows} rows: {self._operator} {self._bound}", figures=(("rows", found.rows),))


def _of_table(rule: Rule, table: ContractTable, evaluation: Table | None) -> list[Check]:
    arguments = rule.arguments
    everything = tuple(p.name for p in table.properties)
    match rule.metric:
        case Metric.ROW_COUNT:
            return [Rows(rule.operator, rule.bound)]
        case Metric.DUPLICATE_VALUES:
            return [_at_most(NoDuplicates(tuple(arguments.get("properties", everything))), rule)]
        case Metric.GROUP_RATES:
            return [
                GroupRates(
                    arguments["label"], arguments["positive"], arguments["group"], tuple(arguments["groups"]),
                    arguments.get("minRatio", 0.8),
                )
            ]  # fmt: skip
        case Metric.ANONYMITY:
            return [anonymity_of(rule)]
        case Metric.LEAKAGE:
            if evaluation is None:
                return [Unavailable("leakage", "no evaluation set was given")]
            return [NoLeakage(evaluation, tuple(arguments.get("properties", everything)))]
        case _:
            return []


def anonymity_of(rule: Rule) -> Anonymity:
    """The check that a rule of a table asks for."""
    said = rule.arguments
    return Anonymity(tuple(said["quasiIdentifiers"]), said["k"], said.get("sensitive", ""), said.get("l", 0))


def _freshness(contract: Contract, table: ContractTable) -> list[Check]:
    made: list[Check] = []
    for level in contract.service_levels:
        owner, _, column = level.element.rpartition(".")
        within = level.duration()
        if level.property.lower() in ("freshness", "latency") and within is not None and owner in ("", table.name):
            made.append(IsFresh(column or level.element, within if within else dt.timedelta(0)))
    return made


def named_once(checks: Sequence[Check]) -> list[Check]:
    """Equal checks once; others of one name are numbered."""
    made: dict[str, Check] = {}
    for check in checks:
        if made.get(check.name) == check:
            continue
        name, number = check.name, 2
        while name in made:
            name = f"{check.name} #{number}"
            number += 1
        made[name] = check if name == check.name else Renamed(check, name)
    return list(made.values())


class Renamed:
    def __init__(self, check: Check, name: str) -> None:
        self._check, self.name = check, name

    def plan(self, table: Table) -> Sequence[Measure]:
        return self._check.plan(table)

    def judge(self, found: Found) -> Verdict:
        return self._check.judge(found)


def _counted(engine: Engine, reference: Table, asked: Sequence[Expression]) -> Mapping[str, Any]:
    try:
        return engine.scalars(reference, asked)
    except EngineFailed as e:
        raise BadData(f"{reference.name}: cannot be counted: {e}") from e


def _nulls(name: str, engine: Engine, references: Sequence[Table]) -> History:
    versions = []
    for reference in references:
        column = reference.column(name)
        assert column is not None  # `_of_rule` looked
        found = _counted(engine, reference, (rows(), Expression("nulls", null_predicate(column))))
        total, nulls = int(found["rows"]), int(found["nulls"] or 0)
        if not total:
            raise BadData(f"{reference.name}: empty, so nothing can be learned from it")
        versions.append((nulls, total - nulls))
    return History(("null", "value"), tuple(versions))


def _labels(name: str, references: Sequence[Table]) -> tuple[tuple[Any, ...], History]:
    import polars as pl

    from vallum.data.readers.parquet import refusing_broken

    counts: list[dict[Any, int]] = []
    for reference in references:
        with refusing_broken(reference.name):
            grouped = reference.frame.select(pl.col(name).alias("v")).drop_nulls().group_by("v").len()
            counts.append(dict(grouped.collect(engine="streaming").iter_rows()))
        if not counts[-1]:
            raise BadData(f"{reference.name}: column {name} has no labels to learn from")
    totals: dict[Any, int] = {}
    for count in counts:
        for value, number in count.items():
            totals[value] = totals.get(value, 0) + number
    labels = tuple(sorted(totals, key=lambda v: (-totals[v], str(v)))[:_LABELS])
    versions = tuple(
        (*(c.get(v, 0) for v in labels), sum(n for v, n in c.items() if v not in labels)) for c in counts
    )  # fmt: skip
    return labels, History((*map(str, labels), "other"), versions)


def _bins(name: str, engine: Engine, references: Sequence[Table]) -> tuple[tuple[float, ...], History]:
    """Edges at the tenths of the newest reference, and how the rows of each fall between them."""
    import narwhals as nw
    import polars as pl

    from vallum.data.readers.parquet import refusing_broken

    newest = references[-1]
    value = pl.col(name).cast(pl.Float64).fill_nan(None)
    with refusing_broken(newest.name):
        cut = newest.frame.select(*(value.quantile(i / _BINS).alias(str(i)) for i in range(1, _BINS)))
        found = cut.collect(engine="streaming").row(0)
    edges = tuple(sorted({float(edge) for edge in found if edge is not None}))
    if not edges:
        return (), History(("a", "b"), ((1, 1),))

    def below(edge: float) -> Expression:
        return Expression(f"below {edge!r}", lambda _: nw.col(name) < edge)

    versions = []
    for reference in references:
        column = reference.column(name)
        assert column is not None  # `_of_rule` looked
        asked = (rows(), Expression("nulls", null_predicate(column)), *(below(edge) for edge in edges))
        numbers = _counted(engine, reference, asked)
        valued = int(numbers["rows"]) - int(numbers["nulls"] or 0)
        if not valued:
            raise BadData(f"{reference.name}: column {name} has no values to learn from")
        at = [0, *(int(numbers[f"below {edge!r}"] or 0) for edge in edges), valued]
        versions.append(tuple(b - a for a, b in pairwise(at)))
    return edges, History(tuple(map(str, range(len(edges) + 1))), tuple(versions))
