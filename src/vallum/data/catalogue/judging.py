"""What intake finds out about a table, without keeping anything: classes, profile, what a purpose may have, gates,
suspects. No database and no key: a table in, a judgement and the rows that may stay out.

A check that did not run is a FAIL, and so is a table of whose rows too many would have to be held. Rows that a failed
check names, and rows that may be poisoned, are told apart from the rest; what is left is then judged again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from vallum.data.anonymise import ShiftDate
from vallum.data.catalogue.anonymity import without_anonymity
from vallum.data.catalogue.erased import KnownErased
from vallum.data.catalogue.model import CaseRow, VersionColumn
from vallum.data.catalogue.suspecting import Looked, custom, find_suspects, long_texts
from vallum.data.catalogue.treatments import ColumnTreatment, Drop, TreatmentPolicy, asked, planned
from vallum.data.classify import ColumnClassifier, ColumnReport, SpanClassifier, controls_of, highest, missed_at_most
from vallum.data.contracts import Contract, ContractTable, Property
from vallum.data.contracts.model import Metric
from vallum.data.gates import GateReport, checks_of, run_checks
from vallum.data.gates.engines import PolarsEngine
from vallum.data.gates.rows import bad_rows
from vallum.data.profile import Profiling
from vallum.data.readers import Staging, refusing_broken
from vallum.data.readers.parquet import read_parquet
from vallum.data.table import Table
from vallum.inventory.model import CLASSIFICATIONS, Classification
from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_HELD_SHARE", "Judged", "custom", "judge", "minimised"]

MAX_HELD_SHARE = 0.2  # of a source's rows; a source with more in quarantine is not what its contract says
_SAMPLE = 10_000
_SEED = 20260101
_PRIVATE = ("confidential", "restricted")
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """`kept` and `held` are of the columns that stay and, after those, of the ones that treatments need beside them;
    `held` has the row's number first. Neither is treated yet: `treatments` says how, and `columns` what then is.
    `rows` is how many are kept, and `file` a Parquet file of just those, of the types that are kept, if there is one.
    """

    passed: bool
    columns: tuple[VersionColumn, ...]
    treatments: Mapping[str, ColumnTreatment]
    dropped: tuple[str, ...]
    reasons: tuple[CaseRow, ...]
    kept: "pl.LazyFrame"
    rows: int
    file: Path | None
    held: "pl.DataFrame"
    report: dict[str, Any]


def minimised(contract: Contract, table: ContractTable, purpose: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that a purpose may have, and those that do not leave intake.

    The contract's own purpose has every column that names no purposes of its own; any other purpose has the columns
    that name it. Raises Invalid for a purpose that nothing names.
    """
    kept, dropped = list[str](), list[str]()
    for p in table.properties:
        named = custom(p, "purposes")
        purposes = named.split(",") if isinstance(named, str) else named if isinstance(named, list) else None
        if purposes is None:
            allowed = not purpose or purpose == contract.purpose
        else:
            allowed = (purpose or contract.purpose) in [str(each).strip() for each in purposes]
        (kept if allowed else dropped).append(p.name)
    if not kept:
        raise Invalid(f"the contract names no column for the purpose {purpose!r}: nothing may leave intake")
    return tuple(kept), tuple(dropped)


def judge(
    source: Table,
    contract: Contract,
    of: ContractTable,
    staging: Staging,
    *,
    purpose: str,
    references: Sequence[Table],
    text_source: bool,
    now: datetime,
    step: Step,
    finder: SpanClassifier,
    policy: TreatmentPolicy,
    parents: Mapping[str, Table] = MappingProxyType({}),
    evaluation: Table | None = None,
    erased: KnownErased | None = None,
) -> Judged:
    """Everything that is found out. `erased` are people who may not come back. Raises BadData for a source that is
    broken, Invalid for a purpose of no column."""
    import polars as pl

    written, of = of, without_anonymity(of)
    allowed, dropped = minimised(contract, of, purpose)
    with refusing_broken(source.name), Profiling(source, folder=staging.folder, exact=False) as profiling:
        step("running the gates, and profiling what they read")
        of, first_of = (of, []) if references else _without_learning(of)
        engine = PolarsEngine(staging.folder)
        means: dict[str, Any] = {
            "references": references, "text_source": text_source, "parents": parents, "evaluation": evaluation,
        }  # fmt: skip
        checks = checks_of(contract, of, engine, **means)
        with profiling.looking_beside() as look:
            first = run_checks(
                source, checks, engine, now=now, step=step,
                scalars=lambda asked: engine.scalars_shown(source, asked, look),
            )  # fmt: skip
        if profiling.rows != first.rows:
            step("profiling")
            profiling.read()
        step("classifying columns")
        wanted = asked(contract, written)
        reports = _classify(source, profiling, finder, wanted.reads_all)
        classes = {name: _class_of(report, _property(written, name)) for name, report in reports.items()}
        long = long_texts(source, [name for name in allowed if source.column(name)], profiling)
        prose = {*long, *(p.name for p in written.properties if custom(p, "role") == "text")}
        plan, refused = planned(wanted, written, reports, classes, prose, policy)
        gone = [n for n in allowed if n in plan and isinstance(plan[n].treatment, Drop)]
        allowed, dropped = tuple(n for n in allowed if n not in gone), (*dropped, *gone)
        plan = {name: one for name, one in plan.items() if name in allowed}
        secret = [name for name, found in classes.items() if found in ("confidential", "restricted")]
        private = [*secret, *(name for name in plan if name not in secret)]
        profile = profiling.profile(private)
        reasons: list[CaseRow] = []
        most = int(MAX_HELD_SHARE * (first.rows or 0)) + 1  # one past what may be held, and it is known
        failed = {o.check for o in first.outcomes if not o.passed}
        if failed:
            step("finding the rows that failed")
            wrong = [check for check in checks if check.name in failed]
            named = islice(bad_rows(source, wrong, engine), most)
            reasons = [CaseRow(bad.row, "gate", 1.0, ", ".join(bad.checks)) for bad in named]
        step("looking for poison")
        there = [n for n in allowed if source.column(n)]
        suspects, looked = find_suspects(source, written, there, private, [n for n in long if n in there])
        reasons += [CaseRow(s.row, s.kind, round(s.score, 4), s.reason) for s in suspects]
        if erased is not None:
            step("looking for people who were erased")
            back = list(islice(erased.rows(source, secret), most))
            reasons += back
            looked.append(_returned(back, refuses=policy.erased == "refuse" or wanted.refuses_erased))
    looked += first_of
    reasons.sort(key=lambda r: r.row)
    bad = pl.Series(sorted({r.row for r in reasons}), dtype=pl.UInt32)
    there = [c.name for c in source.columns if c.name in allowed]
    whose = {one.treatment.subject for one in plan.values() if isinstance(one.treatment, ShiftDate)}
    taken = [*there, *(c.name for c in source.columns if c.name in whose and c.name not in there)]
    rows = source.frame.with_row_index("__vallum_row")
    total = first.rows or 0
    final, kept, file = first, source.frame.select(taken), source.path
    if len(bad):
        step(f"holding {len(bad)} rows, and judging the others again")
        path = staging.place() / "kept.parquet"
        with refusing_broken(source.name):
            names = [c.name for c in source.columns]
            rows.filter(~pl.col("__vallum_row").is_in(bad.implode())).select(names).sink_parquet(path)
            rest = read_parquet(path)
            rest = Table(source.name, rest.frame, source.columns, path=path)
            checks = checks_of(contract, of, engine, **means)
            final = run_checks(rest, checks, engine, now=now, step=step)
            kept, file = rest.frame.select(taken), path
    held = rows.select("__vallum_row", *taken)
    held = held.filter(pl.col("__vallum_row").is_in(bad.implode())) if len(bad) else held.head(0)
    too_many = len(bad) > MAX_HELD_SHARE * total
    left = {**{name: classes[name] for name in there}, **{name: one.left for name, one in plan.items()}}
    personal = secret if len(there) < len(source.columns) else [n for n in there if left[n] in _PRIVATE]
    purpose_missing = bool(personal) and not (purpose or contract.purpose)
    refused = [name for name in refused if name in there]
    if refused:
        looked.append(Looked("controls: treatment", False, f"wanted before it is kept, and not said: {refused}"))
    problems = [o.check for o in looked if not o.passed]
    passed = final.passed and not too_many and not purpose_missing and not problems
    columns = tuple(_column(reports[n], left[n], _property(of, n), source, plan.get(n)) for n in there)
    with refusing_broken(source.name):
        found = held.collect(engine="streaming")
    normal = normalised(kept, columns)
    is_as_it_lies = file is not None and file.is_file() and normal.collect_schema() == kept.collect_schema()
    return Judged(
        passed, columns, plan, tuple(n for n in dropped if source.column(n)), tuple(reasons),
        normal, final.rows or 0, file if is_as_it_lies else None,
        normalised(found.lazy(), columns, "__vallum_row").collect(),
        _report(profile, reports, classes, first, final, looked, len(bad), too_many, purpose_missing, there),
    )  # fmt: skip


def normalised(frame: "pl.LazyFrame", columns: Sequence[VersionColumn], *extra: str) -> "pl.LazyFrame":
    """Types that are kept: categories are text, and what is sealed by field and nested is its JSON."""
    import polars as pl

    sealed = {c.name for c in columns if c.field != "plain"}
    made: list[Any] = [pl.col(name) for name in extra]
    for name, dtype in frame.collect_schema().items():
        if name in extra:
            continue
        if dtype.base_type() in (pl.Categorical, pl.Enum):
            made.append(pl.col(name).cast(pl.String))
        elif name in sealed and dtype.is_nested():
            made.append(pl.struct(name).struct.json_encode().alias(name))
        else:
            made.append(pl.col(name))
    return frame.select(made)


def _classify(source: Table, profiling: Profiling, finder: SpanClassifier, reads_all: bool) -> dict[str, ColumnReport]:
    """Values of a sample of rows drawn evenly; small tables are read whole, and others where that was asked for, a
    column at a time. A column of no text is judged by its text all the same: numbers of cards are numbers."""
    classifier = ColumnClassifier(finder, Random(_SEED))  # noqa: S311  draws nothing here: each sample is read whole
    total = profiling.rows
    is_whole = reads_all or total < 2 * _SAMPLE
    sample = None if reads_all else profiling.sample(total if is_whole else _SAMPLE)
    found = {}
    for column in source.columns:
        rows = source.frame.select(column.name).collect(engine="streaming") if sample is None else sample
        report = classifier.classify(column.name, _as_texts(rows.get_column(column.name)), mode="full")
        found[column.name] = report if is_whole else _stated(report, total)
    return found


def _stated(report: ColumnReport, total: int) -> ColumnReport:
    missed = missed_at_most(report.read, total, 0.95) if total else 0.0
    return ColumnReport(
        report.column, "sample", report.read, total, missed, report.evidence, report.classification
    )  # fmt: skip


def _as_texts(series: "pl.Series") -> list[str | None]:
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Binary:
        return [None] * series.len()
    if dtype.is_nested():
        return series.to_frame().select(pl.struct(series.name).struct.json_encode()).to_series().to_list()
    if dtype.is_float():  # a measurement's digits pass for a card's once in ten times; a number of anybody's is whole
        whole = series.cast(pl.Int64, strict=False)
        series = whole.set(whole.cast(pl.Float64) != series.cast(pl.Float64), None)
    return series.cast(pl.String, strict=False).to_list()


def _property(of: ContractTable, name: str) -> Property | None:
    return next((p for p in of.properties if p.name == name), None)


def _class_of(report: ColumnReport, p: Property | None) -> Classification:
    """A contract raises a class, and lowers none that something was found for; public is for a steward to say."""
    said = p.classification.lower() if p is not None else ""
    if said not in CLASSIFICATIONS:
        return report.classification
    if said == "public":
        return report.classification if report.evidence else "public"
    return highest([report.classification, said])


def _column(
    report: ColumnReport, found: Classification, p: Property | None, source: Table, treated: ColumnTreatment | None
) -> VersionColumn:
    joinable = p is not None and custom(p, "joinable") in (True, "true")
    field: Literal["plain", "sealed", "joinable"] = "plain"
    if found == "restricted":
        field = "joinable" if joinable else "sealed"
    column = source.column(report.column)
    assert column is not None
    kinds = tuple(dict.fromkeys(each.kind for each in report.evidence))
    kind, name = column.kind.value, ""
    if treated is not None:
        name, kind = treated.name, kind if isinstance(treated.treatment, ShiftDate) else "string"
    return VersionColumn(report.column, kind, found, kinds, field, round(report.missed_at_most, 6), name)


def _without_learning(of: ContractTable) -> tuple[ContractTable, list[Looked]]:
    """A first version has nothing to be compared with: it is what later ones are held to, and its report says so."""
    learning = (Metric.NULL_SPIKE, Metric.LABEL_DRIFT, Metric.FEATURE_DRIFT)
    put_off = [
        Looked(f"{p.name}: {rule.metric}", True, "the first version: later ones are held to it")
        for p in of.properties
        for rule in p.quality
        if rule.metric in learning
    ]
    properties = tuple(
        replace(p, quality=tuple(rule for rule in p.quality if rule.metric not in learning)) for p in of.properties
    )
    return replace(of, properties=properties), put_off


def _report(
    profile: Any,
    reports: Mapping[str, ColumnReport],
    classes: Mapping[str, Classification],
    first: GateReport,
    final: GateReport,
    looked: Sequence[Looked],
    held: int,
    too_many: bool,
    purpose_missing: bool,
    kept: Sequence[str],
) -> dict[str, Any]:
    """What leaves of the columns that do not is their names alone."""
    gates = final.as_json()
    if too_many:
        gates["checks"].append(_failed("rows in quarantine", f"{held} rows, more than {MAX_HELD_SHARE:.0%} of all"))
    if purpose_missing:
        gates["checks"].append(_failed("controls: purpose", "personal data, and the contract names no purpose"))
    gates["checks"] += [each.as_json() for each in looked]
    shown = profile.as_json()
    shown["columns"] = [column for column in shown["columns"] if column["name"] in kept]
    return {
        "profile": shown,
        "classification": [
            {
                "column": name, "classification": classes[name], "read": reports[name].read,
                "missed_at_most": reports[name].missed_at_most,
                "evidence": [{"kind": e.kind, "category": e.category, "by": e.by, "share": e.share}
                             for e in reports[name].evidence],
                "controls": sorted(controls_of(classes[name])),
            }
            for name in kept
        ],
        "failed_at_first": [o.as_json() for o in first.outcomes if not o.passed] if held else [],
        "gates": gates,
        "held_rows": held,
    }  # fmt: skip


def _returned(back: Sequence[CaseRow], *, refuses: bool) -> Looked:
    rows = len({one.row for one in back})
    if refuses and rows:
        return Looked("people who were erased", False, f"{rows} rows name somebody: take the source in without them")
    return Looked("people who were erased", True, f"{rows} rows are held")


def _failed(check: str, reason: str) -> dict[str, Any]:
    return {"check": check, "ran": True, "passed": False, "reason": reason}
