"""Looks at what available versions need whenever advisories may have changed, and says what is new.

Advisories are those of the offline database and, where an operator asked for it, those of pip-audit's service. One that
does not answer takes nothing away: what was found stays until everybody who is asked has looked and finds it no more.

The background process calls `run`. One entry of kind `alert` for each version with weaknesses that nobody was told of,
so that monitoring can tell people; the report is kept with it, in one transaction.
"""

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, insert, select

from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Subject
from vallum.models.dependencies import CannotTell, Declared, ScanReport, VulnerabilityFinding, new_findings
from vallum.models.dependencies.model import merge_aliases
from vallum.models.dependencies.pip_audit import SERVICE
from vallum.models.registry import records as table
from vallum.models.registry.descriptions import Descriptions
from vallum.models.registry.model import DependencyReport

__all__ = ["DependencyWatch"]

_log = logging.getLogger("vallum.models")

Audit = Callable[[ScanReport, Declared, datetime], ScanReport]

_SHOWN = 10  # ids in an entry; the report has them all


class DependencyWatch:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        descriptions: Descriptions,
        gate: Gate,
        subject: Subject,
        audit: Audit | None = None,
    ) -> None:
        """`subject` is Vallum itself; `audit` asks a service, beside the database."""
        self._records = records
        self._clock = clock
        self._descriptions = descriptions
        self._gate = gate
        self._subject = subject
        self._audit = audit

    def report(self, conn: Connection, model: str, number: int) -> DependencyReport:
        """As it was found last, or as it is now where nobody has looked yet."""
        t = table.dependency_scans
        row = conn.execute(select(t).where(t.c.model == model, t.c.number == number)).one_or_none()
        if row is None:
            found = self._descriptions.dependencies(conn, model, number)
            return DependencyReport(found.verdict.value, None, found)
        found = msgspec.json.decode(bytes(row.report), type=ScanReport)
        return DependencyReport(found.verdict.value, row.at, found)

    def run(self) -> None:
        """Every version that may be loaded. One that fails keeps no other from being looked at."""
        v = table.versions.c
        with self._records.read() as conn:
            rows = conn.execute(select(v.model, v.number).where(v.state == "available").order_by(v.model, v.number))
            versions = [(row.model, int(row.number)) for row in rows]
        asking = _Asking(self._audit, self._clock)
        for model, number in versions:
            try:
                self._look(model, number, asking)
            except VallumError as e:
                _log.error("what %s/%s needs was not looked at: %s", model, number, e)

    def _look(self, model: str, number: int, asking: "_Asking") -> None:
        t = table.dependency_scans
        with self._records.read() as conn:
            row = conn.execute(select(t).where(t.c.model == model, t.c.number == number)).one_or_none()
            declared = self._descriptions.declared(conn, model, number)
        found = self._descriptions.held_against(declared)
        before = msgspec.json.decode(bytes(row.report), type=ScanReport) if row is not None else None
        looked = found.database_at is not None
        found = asking.ask(found, declared)
        if before is not None and not (looked and _answered(found)):  # somebody did not look: nothing of it is gone
            found = msgspec.structs.replace(found, findings=tuple(merge_aliases([*found.findings, *before.findings])))
        if found == before:
            return
        fresh = new_findings(before, found)
        if not fresh:
            with self._records.write() as conn:
                self._keep(conn, model, number, found)
            return
        asset = AssetRef("ModelVersion", f"{model}/{number}")
        with self._gate.change(self._subject, Action.DEPENDENCY_ALERT, asset, _told(fresh), kind="alert") as change:
            self._keep(change.conn, model, number, found)

    def _keep(self, conn: Connection, model: str, number: int, found: ScanReport) -> None:
        t = table.dependency_scans
        conn.execute(delete(t).where(t.c.model == model, t.c.number == number))
        raw, at = msgspec.json.encode(found), format_time(self._clock.now())
        conn.execute(insert(t).values(model=model, number=number, report=raw, at=at))


class _Asking:
    """One night's questions to the service: what did not answer once is not waited for again."""

    def __init__(self, audit: Audit | None, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._silent: CannotTell | None = None

    def ask(self, found: ScanReport, declared: Declared) -> ScanReport:
        if self._audit is None:
            return found
        if self._silent is not None:
            unknown = tuple(sorted({*found.cannot_tell, self._silent}))
            return msgspec.structs.replace(found, cannot_tell=unknown)
        found = self._audit(found, declared, self._clock.now())
        self._silent = next((one for one in found.cannot_tell if one.about == SERVICE), None)
        return found


def _answered(found: ScanReport) -> bool:
    """Whether the service, if it was asked, spoke of every package that it was asked about."""
    return not any(one.about == SERVICE or one.reason.startswith(SERVICE) for one in found.cannot_tell)


def _told(fresh: tuple[VulnerabilityFinding, ...]) -> dict[str, str | int]:
    shown = " ".join(f"{one.id}:{one.package}" for one in fresh[:_SHOWN])
    return {"weaknesses": len(fresh), "ids": shown}
