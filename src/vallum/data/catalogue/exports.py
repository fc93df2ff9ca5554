"""What left, counted by subject and day before its first byte leaves, and what of it is unusual (`data.egress`).

Counting takes the row of the subject's day first, so that of two exports at once, in whichever processes, the second
sees the first, and what they are together is found, once. What was found stays marked as untold until its alert is
there: a crash between the two loses none, since `untold` is asked for now and then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import ExportCount
from vallum.data.egress import ExportDay, judge_export_day
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject

__all__ = ["Exports", "UnusualExports"]

_LATE_SECONDS = 60  # whoever counted raises the alert within moments, or died
_REMEMBERED_DAYS = 180  # with exports; what `data.egress` looks at


@dataclass(frozen=True, slots=True)
class UnusualExports:
    """What of a subject's day nobody was told of yet: why, by detector."""

    subject: str
    holder: str
    day: str
    asset: str
    found: Mapping[str, str]


class Exports:
    """Safe to share between threads; connections are the caller's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def count(
        self, conn: Connection, by: Subject, dataset: str, asset: str, rows: int, size: int
    ) -> UnusualExports | None:
        """Count what leaves; what is unusual about this subject's day and was not found before. In a write."""
        now, subject = self._clock.now(), by.render()
        day, e, d = format_time(now)[:10], table.exports.c, table.export_days.c
        held = upsert(conn, table.export_days).values(
            subject=subject, day=day, holder=by.holder, asset=asset, told="", untold="", found_at_seconds=0
        )  # fmt: skip
        conn.execute(held.on_conflict_do_update(index_elements=["subject", "day"], set_={"holder": by.holder}))
        counted = upsert(conn, table.exports).values(
            subject=subject, day=day, dataset=dataset, rows=rows, size=size, exports=1, hours=1 << now.hour
        )  # fmt: skip
        more = {
            "rows": e.rows + rows, "size": e.size + size, "exports": e.exports + 1,
            "hours": e.hours.op("|")(1 << now.hour),
        }  # fmt: skip
        conn.execute(counted.on_conflict_do_update(index_elements=["subject", "day", "dataset"], set_=more))
        row = conn.execute(select(table.export_days).where(d.subject == subject, d.day == day)).one()
        known = {*row.told.split(), *row.untold.split()}
        fresh = {name: why for name, why in self._found(conn, subject, day).items() if name not in known}
        if not fresh:
            return None
        untold = " ".join([*row.untold.split(), *fresh])
        conn.execute(
            update(table.export_days)
            .where(d.subject == subject, d.day == day)
            .values(asset=asset, untold=untold, found_at_seconds=int(now.timestamp()))
        )
        return UnusualExports(subject, by.holder, day, asset, fresh)

    def told(self, conn: Connection, unusual: UnusualExports) -> bool:
        """Mark that these have their alert, in its transaction; False where somebody else raised it meanwhile."""
        d = table.export_days.c
        where = (d.subject == unusual.subject, d.day == unusual.day)
        row = conn.execute(select(table.export_days).where(*where).with_for_update()).one_or_none()
        if row is None or not set(unusual.found) <= set(row.untold.split()):
            return False
        left = [name for name in row.untold.split() if name not in unusual.found]
        told = " ".join([*row.told.split(), *unusual.found])
        conn.execute(update(table.export_days).where(*where).values(told=told, untold=" ".join(left)))
        return True

    def untold(self, conn: Connection) -> list[UnusualExports]:
        """What was found a while ago, and whoever found it died before saying so."""
        d, late = table.export_days.c, int(self._clock.now().timestamp()) - _LATE_SECONDS
        rows = conn.execute(select(table.export_days).where(d.untold != "", d.found_at_seconds < late)).all()
        made = []
        for row in rows:
            why = self._found(conn, row.subject, row.day)
            found = {name: why.get(name, "unusual when it was counted") for name in row.untold.split()}
            made.append(UnusualExports(row.subject, row.holder, row.day, row.asset, found))
        return made

    def counts(self, conn: Connection, *, subject: str | None = None, limit: int = 200) -> list[ExportCount]:
        """Per subject, day and data set, the latest first."""
        e = table.exports.c
        query = select(table.exports).order_by(e.day.desc(), e.rows.desc()).limit(limit)
        rows = conn.execute(query if subject is None else query.where(e.subject == subject))
        return [ExportCount(**{n: getattr(row, n) for n in ExportCount.__struct_fields__}) for row in rows]

    def _found(self, conn: Connection, subject: str, day: str) -> dict[str, str]:
        days = self._days(conn, subject, day)
        today = days.pop(day, None)
        return judge_export_day(list(days.values()), today) if today is not None else {}

    def _days(self, conn: Connection, subject: str, until: str) -> dict[str, ExportDay]:
        """In order of the calendar, as many as are looked at."""
        e, days = table.exports.c, dict[str, ExportDay]()
        newest = (
            select(e.day).where(e.subject == subject, e.day <= until).distinct()
            .order_by(e.day.desc()).limit(_REMEMBERED_DAYS + 1)
        )  # fmt: skip
        query = select(table.exports).where(e.subject == subject, e.day.in_(newest)).order_by(e.day)
        for row in conn.execute(query):
            known = days.get(row.day)
            assets = frozenset({row.dataset}) | (known.assets if known else frozenset())
            rows, hours = row.rows + (known.rows if known else 0), row.hours | (known.hours if known else 0)
            days[row.day] = ExportDay(datetime.fromisoformat(row.day).toordinal(), rows, assets, hours)
        return days
