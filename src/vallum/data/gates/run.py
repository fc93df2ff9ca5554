"""Running checks: plan all, measure together, judge each. Whatever did not run is a FAIL that says so."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from vallum.data.gates.engines.port import Engine, EngineFailed
from vallum.data.gates.model import (
    Alike,
    Check,
    Expression,
    Failed,
    Found,
    GateReport,
    Measure,
    NotRunnable,
    Orphans,
    Outcome,
    Repeats,
    Shared,
    rows,
)
from vallum.data.table import Table

__all__ = ["Step", "run_checks"]

Step = Callable[[str], None]  # told what is being done


def run_checks(
    table: Table,
    checks: Sequence[Check],
    engine: Engine,
    *,
    now: datetime,
    step: Step | None = None,
    scalars: Callable[[Sequence[Expression | Repeats]], Mapping[str, Any]] | None = None,
) -> GateReport:
    """Every check's outcome, in their order. One pass takes all scalars; repeats, references and leakage each take
    one more over their columns. `now` is aware. Raises ValueError for two checks of one name.

    `scalars` measures all scalars in the engine's place, where somebody reads the table at the same time, and such of
    the repeats as it can; it raises EngineFailed like the engine, which is then asked for them one by one.
    """
    if len({check.name for check in checks}) != len(checks):
        raise ValueError("two checks have one name: their outcomes could not be told apart")
    run = _Run(table, engine, step or (lambda _: None), scalars)
    planned: dict[str, Sequence[Measure]] = {}
    settled: dict[str, Outcome] = {}
    for check in checks:
        try:
            planned[check.name] = check.plan(table)
        except NotRunnable as e:
            settled[check.name] = _outcome(check, ran=False, reason=f"did not run: {e}")
        except Failed as e:
            settled[check.name] = _outcome(check, ran=True, reason=str(e))
    run.measure([m for measures in planned.values() for m in measures] + [rows()])
    for check in checks:
        if check.name in settled:
            continue
        why = next((run.failures[m.key] for m in planned[check.name] if m.key in run.failures), None)
        if why is not None:
            settled[check.name] = _outcome(check, ran=False, reason=f"did not run: {why}")
            continue
        verdict = check.judge(Found(run.numbers, now))
        settled[check.name] = Outcome(
            check.name, type(check).__name__, True, verdict.passed, verdict.reason, verdict.bad_rows, verdict.figures
        )
    counted = run.numbers.get("rows")
    return GateReport(
        table.name, engine.name, None if counted is None else int(counted), tuple(settled[c.name] for c in checks)
    )


class _Run:
    def __init__(
        self,
        table: Table,
        engine: Engine,
        step: Step,
        together: Callable[[Sequence[Expression | Repeats]], Mapping[str, Any]] | None,
    ) -> None:
        self._table, self._engine, self._step, self._together = table, engine, step, together
        self.numbers: dict[str, Any] = {}
        self.failures: dict[str, str] = {}

    def measure(self, measures: Sequence[Measure]) -> None:
        once = {measure.key: measure for measure in measures}
        scalars = [m for m in once.values() if isinstance(m, Expression)]
        self._step(f"{len(scalars)} measures in one pass")
        try:
            if self._together is not None:
                repeats = [m for m in once.values() if isinstance(m, Repeats)]
                self.numbers |= self._together([*scalars, *repeats])
            else:
                self.numbers |= self._engine.scalars(self._table, scalars)
        except EngineFailed:
            self._one_by_one(scalars)
        for measure in once.values():
            if not isinstance(measure, Expression) and measure.key not in self.numbers:
                self._heavy(measure)

    def _one_by_one(self, scalars: Sequence[Expression]) -> None:
        """So that the one that cannot be computed does not take the others with it."""
        for scalar in scalars:
            try:
                self.numbers |= self._engine.scalars(self._table, [scalar])
            except EngineFailed as e:
                self.failures[scalar.key] = str(e)

    def _heavy(self, measure: Repeats | Orphans | Shared | Alike) -> None:
        try:
            match measure:
                case Repeats():
                    self._step(f"repeats in {', '.join(measure.columns[:5])}")
                    self.numbers[measure.key] = self._engine.repeats(self._table, measure)
                case Orphans():
                    self._step(f"references of {measure.column}")
                    self.numbers[measure.key] = self._engine.orphans(self._table, measure)
                case Shared():
                    self._step(f"rows shared with {measure.other.name}")
                    self.numbers[measure.key] = self._engine.shared(self._table, measure)
                case Alike():
                    self._step(f"rows alike in {', '.join(measure.columns[:5])}")
                    self.numbers[measure.key] = self._engine.alike(self._table, measure)
        except EngineFailed as e:
            self.failures[measure.key] = str(e)


def _outcome(check: Check, *, ran: bool, reason: str) -> Outcome:
    return Outcome(check.name, type(check).__name__, ran, False, reason, None, ())
