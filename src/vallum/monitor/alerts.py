"""Alerts: what watching raised, until somebody has looked at it and said what it was.

Answers an alert that its subject makes go away: nobody decides about themselves, from whatever account of theirs (a
policy bound, and the statement here). What people say of alerts is how a detector's worth is known: `tally`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, and_, case, delete, func, insert, or_, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.policy import AssetFacts
from vallum.kernel.policy.changes import OwnRequest, check_note
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject
from vallum.monitor.detectors import BUDGETS, Activity
from vallum.monitor.records import alerts as table

__all__ = ["Alert", "AlertDecided", "Alerts", "DetectorTally", "Verdict"]

Verdict = Literal["expected", "false_alarm", "incident"]


class AlertDecided(Conflict):
    """Somebody has closed it already."""

    code = "alert_decided"


class Alert(msgspec.Struct, frozen=True):
    """Something unusual about `subject`. `count` is how often the same was seen while it was not closed."""

    id: str
    tenant: str
    subject: str
    detectors: tuple[str, ...]
    explanation: str
    entry_id: str
    raised_at: str
    count: int
    last_entry_id: str
    state: str
    verdict: str
    decided_by: str | None
    decided_at: str | None
    note: str


class DetectorTally(msgspec.Struct, frozen=True):
    """How a detector fared: `budget` is per account and 60 active days; the rest are alerts, by what people said."""

    detector: str
    budget: int
    raised: int
    open: int
    expected: int
    false_alarm: int
    incident: int


class Alerts:
    """Safe to share between threads."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def open_for(self, conn: Connection, subject: str) -> list[Alert]:
        """Those about this subject that are not closed."""
        query = select(table).where(table.c.subject == subject, table.c.state != "closed")
        return [_alert(row) for row in conn.execute(query)]

    def raise_(
        self, conn: Connection, alert_id: str, activity: Activity, found: Mapping[str, str], holder: str
    ) -> Alert:
        values: dict[str, Any] = {
            "id": alert_id,
            "tenant": DEFAULT_TENANT,
            "subject": activity.subject,
            "holder": holder,
            "detectors": " ".join(found),
            "explanation": "; ".join(found.values()),
            "entry_id": activity.entry_id,
            "raised_at": format_time(self._clock.now()),
            "count": 1,
            "last_entry_id": activity.entry_id,
            "state": "open",
            "verdict": "",
            "decided_by": None,
            "decided_at": None,
            "note": "",
        }
        conn.execute(insert(table).values(values))
        return self._one(conn, alert_id)

    def seen_again(self, conn: Connection, alert_id: str, times: int, last_entry_id: str) -> None:
        """While nobody has closed it."""
        again = update(table).where(table.c.id == alert_id, table.c.state != "closed")
        conn.execute(again.values(count=table.c.count + times, last_entry_id=last_entry_id))

    def acknowledge(self, conn: Connection, alert_id: str, by: Subject, note: str = "") -> Alert:
        """Somebody looks at it. Raises NotFound, OwnRequest, AlertDecided."""
        return self._decide(conn, alert_id, by, state="acknowledged", note=check_note(note))

    def close(self, conn: Connection, alert_id: str, by: Subject, verdict: Verdict, note: str = "") -> Alert:
        """Raises NotFound, OwnRequest, AlertDecided."""
        return self._decide(conn, alert_id, by, state="closed", verdict=verdict, note=check_note(note))

    def alert(self, alert_id: str) -> Alert:
        """Raises NotFound."""
        with self._records.read() as conn:
            return self._one(conn, alert_id)

    def tally(self) -> list[DetectorTally]:
        """Every detector's, in order of its name."""
        counted = {
            name: dict.fromkeys(("raised", "open", "expected", "false_alarm", "incident"), 0) for name in BUDGETS
        }
        query = select(table.c.detectors, table.c.state, table.c.verdict, func.count())
        with self._records.read() as conn:
            rows = conn.execute(query.group_by(table.c.detectors, table.c.state, table.c.verdict)).all()
        for detectors, state, verdict, count in rows:
            for name in detectors.split():
                if name in counted:
                    counted[name]["raised"] += count
                    counted[name][verdict if state == "closed" else "open"] += count
        return [DetectorTally(name, BUDGETS[name], **counts) for name, counts in sorted(counted.items())]

    def list(self, *, state: str | None = None, subject: str | None = None, limit: int = 200) -> list[Alert]:
        """Open ones first, then the newest."""
        first = case((table.c.state == "open", 0), (table.c.state == "acknowledged", 1), else_=2)
        query = select(table).order_by(first, table.c.raised_at.desc()).limit(limit)
        if state is not None:
            query = query.where(table.c.state == state)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        with self._records.read() as conn:
            return [_alert(row) for row in conn.execute(query)]

    def sweep(self) -> None:
        """Forget alerts that were closed over a year ago; now and then. Their entries stay."""
        past = format_time(self._clock.now() - timedelta(days=366))
        with self._records.write() as conn:
            conn.execute(delete(table).where(table.c.state == "closed", table.c.raised_at < past))

    def facts(self, alert_id: str) -> AssetFacts | None:
        """What policy knows of it: whom it is about, as a human being."""
        with self._records.read() as conn:
            row = conn.execute(select(table.c.tenant, table.c.holder).where(table.c.id == alert_id)).one_or_none()
        return AssetFacts({"tenant": row.tenant, "holder": row.holder}) if row is not None else None

    def _decide(self, conn: Connection, alert_id: str, by: Subject, **values: Any) -> Alert:
        mine = or_(table.c.subject == by.render(), and_(table.c.holder != "", table.c.holder == by.holder))
        done = conn.execute(
            update(table)
            .where(table.c.id == alert_id, table.c.state != "closed", ~mine)
            .values(decided_by=by.render(), decided_at=format_time(self._clock.now()), **values)
        )
        if done.rowcount != 1:
            row = self._row(conn, alert_id)
            if row.subject == by.render() or (row.holder and row.holder == by.holder):
                raise OwnRequest("this is about you: somebody else looks at it")
            raise AlertDecided("somebody has closed this alert already")
        return self._one(conn, alert_id)

    def _row(self, conn: Connection, alert_id: str) -> Row[Any]:
        row = conn.execute(select(table).where(table.c.id == alert_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such alert")
        return row

    def _one(self, conn: Connection, alert_id: str) -> Alert:
        return _alert(self._row(conn, alert_id))


def new_alert_id() -> str:
    return new_id("alr")


def _alert(row: Row[Any]) -> Alert:
    values = {name: getattr(row, name) for name in Alert.__struct_fields__ if name not in ("detectors", "count")}
    return Alert(detectors=tuple(row.detectors.split()), count=row._mapping["count"], **values)
