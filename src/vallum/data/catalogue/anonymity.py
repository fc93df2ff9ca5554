"""k-anonymity that a contract asks for, of what a version is to keep: the columns that leave intake, treated, without
the rows that are held. What arrived may be as fine as it likes, if treatments make it coarse enough.

A quasi-identifier that does not leave intake tells nobody anything, and is left out; so is a sensitive column. A
version that misses the rule fails, and its report holds sizes of groups, and no value.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from vallum.data.anonymise import ShiftDate
from vallum.data.contracts import ContractTable
from vallum.data.contracts.model import Metric
from vallum.data.gates.anonymity import Anonymity
from vallum.data.gates.contracted import anonymity_of, named_once
from vallum.data.gates.engines import PolarsEngine
from vallum.data.gates.model import Outcome
from vallum.data.gates.run import run_checks
from vallum.data.readers import Staging
from vallum.data.readers.parquet import read_parquet
from vallum.data.table import Table

if TYPE_CHECKING:
    from vallum.data.catalogue.judging import Judged
    from vallum.data.catalogue.treating import Treating

__all__ = ["asks_anonymity", "hold_to_anonymity", "without_anonymity"]


def asks_anonymity(of: ContractTable) -> bool:
    return any(rule.metric is Metric.ANONYMITY for rule in of.quality)


def without_anonymity(of: ContractTable) -> ContractTable:
    """What is asked of a source as it arrived."""
    return replace(of, quality=tuple(rule for rule in of.quality if rule.metric is not Metric.ANONYMITY))


def hold_to_anonymity(
    judged: "Judged", of: ContractTable, treating: "Treating", staging: Staging, now: datetime
) -> "Judged":
    """With what came of it; passed only where that did. Reads the columns that are asked about. Raises BadData for what
    cannot be treated."""
    asked = [anonymity_of(rule) for rule in of.quality if rule.metric is Metric.ANONYMITY]
    kept = {column.name for column in judged.columns}
    checks = [_of_kept(check, kept) for check in asked]
    names = sorted({name for check in checks for name in (*check.columns, check.sensitive) if name})
    measured = [check for check in checks if check.columns]
    outcomes = [_nothing_told(was) for was, check in zip(asked, checks, strict=True) if not check.columns]
    if measured:
        table = _treated(judged, treating, names, staging)
        engine = PolarsEngine(staging.folder)
        outcomes += run_checks(table, named_once(measured), engine, now=now).outcomes
    passed = all(outcome.passed for outcome in outcomes)
    gates = judged.report["gates"]
    told = {"passed": gates["passed"] and passed, "checks": [*gates["checks"], *(o.as_json() for o in outcomes)]}
    return replace(judged, passed=judged.passed and passed, report={**judged.report, "gates": {**gates, **told}})


def _of_kept(check: Anonymity, kept: set[str]) -> Anonymity:
    columns = tuple(name for name in check.columns if name in kept)
    return replace(check, columns=columns) if check.sensitive in kept else Anonymity(columns, check.k)


def _nothing_told(check: Anonymity) -> Outcome:
    return Outcome(check.name, type(check).__name__, True, True, "none of these columns leaves intake", None, ())


def _treated(judged: "Judged", treating: "Treating", names: Sequence[str], staging: Staging) -> Table:
    treatments = {name: one.treatment for name, one in judged.treatments.items() if name in names}
    if not treatments:
        return Table.of(judged.kept.select(names))
    subjects = [t.subject for t in treatments.values() if isinstance(t, ShiftDate) and t.subject not in names]
    place, first = staging.place(), 0
    rows = judged.kept.select([*names, *dict.fromkeys(subjects)])
    treating.apply(rows.collect_schema().to_frame(), 0, names).write_parquet(place / "schema.parquet")
    for number, batch in enumerate(rows.collect_batches(maintain_order=True, engine="streaming")):
        treating.apply(batch, first, names).write_parquet(place / f"{number:08}.parquet")
        first += batch.height
    return read_parquet(place)
