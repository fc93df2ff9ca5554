"""What is kept until when: what is due, what goes by itself, and what somebody has to decide about.

A version whose time is over goes with its key, and so do its rows in quarantine, unless its data set is under hold.
One that something was made from (a run, a model, a release, an index) does not go unseen: it is listed and alerted, and
a steward retires it. Everything is asked again in the transaction that destroys: a hold or a use that came meanwhile
counts.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, exists, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import DataHeld, DataUnavailable
from vallum.data.catalogue.shredding import destroy_unused_keys
from vallum.data.catalogue.versions import row_of
from vallum.inventory.model import Classification
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict
from vallum.kernel.store.records import erase_copies

__all__ = ["DueVersion", "Retention"]

AGAIN_DAYS = 7  # an alert about the same version, until somebody has decided


class DueVersion(msgspec.Struct, frozen=True):
    """A version whose time is over, or soon will be. `due` goes by itself within the hour; `held`, `in_use` do not."""

    dataset: str
    number: int
    classification: Classification
    rows: int
    digest: str
    expires_at: str
    state: Literal["soon", "due", "held", "in_use"]
    used_by: tuple[str, ...] = ()
    hold: str = ""

    @property
    def id(self) -> str:
        return f"{self.dataset}/{self.number}"


class Retention:
    """Safe to share between threads; connections are the caller's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def due(self, conn: Connection, *, within_days: int = 0) -> list[DueVersion]:
        """Versions with rows whose time is over, or will be within so many days; the first to go first."""
        v, d = table.versions.c, table.data_sets.c
        until = format_time(self._clock.now() + timedelta(days=within_days))
        query = select(table.versions, d.hold).join(table.data_sets, d.name == v.dataset)
        query = query.where(v.expires_at < until, v.state.in_(("available", "failed")), v.sealed_key != b"")
        return [self._due(conn, row) for row in conn.execute(query.order_by(v.expires_at, v.dataset, v.number)).all()]

    def orphaned(self, conn: Connection) -> list[str]:
        """Open cases of versions that are erased already, and whose time is over all the same."""
        v, c, d = table.versions.c, table.cases.c, table.data_sets.c
        query = (
            select(c.id)
            .join(table.versions, (v.dataset == c.dataset) & (v.number == c.number))
            .join(table.data_sets, d.name == c.dataset)
            .where(c.state == "open", v.state == "erased", v.expires_at < self._now(), d.hold == "")
        )
        return list(conn.execute(query).scalars())

    def expire(self, conn: Connection, found: Sequence[DueVersion], cases: Sequence[str] = ()) -> int:
        """Destroy the keys of what is due, and of its quarantine. Returns how many versions went."""
        gone, v, c, d, u = 0, table.versions.c, table.cases.c, table.data_sets.c, table.uses.c
        free = set(
            conn.execute(
                select(d.name)
                .where(d.name.in_({one.dataset for one in found} | self._data_sets(conn, cases)), d.hold == "")
                .order_by(d.name)
                .with_for_update()
            ).scalars()
        )
        for one in found:
            if one.dataset not in free or one.state != "due":
                continue
            used = exists().where(u.dataset == one.dataset, u.number == one.number)
            past = update(table.versions).where(
                v.dataset == one.dataset, v.number == one.number, v.state.in_(("available", "failed")), ~used
            )  # fmt: skip
            if conn.execute(past.values(state="expired", sealed_key=b"", report=b"")).rowcount:
                gone += 1
                self._destroy_cases(conn, (c.dataset == one.dataset) & (c.number == one.number))
        if cases:
            self._destroy_cases(conn, c.id.in_(list(cases)) & c.dataset.in_(free))
        destroy_unused_keys(conn)
        erase_copies(conn)
        return gone

    def retire(self, conn: Connection, dataset: str, number: int) -> DueVersion:
        """Destroy one that is in use and whose time is over: somebody's decision. Raises NotFound, DataHeld,
        DataUnavailable for one that is gone, Conflict for one whose time is not over."""
        d, v, c = table.data_sets.c, table.versions.c, table.cases.c
        conn.execute(select(d.hold).where(d.name == dataset).with_for_update())
        row = row_of(conn, dataset, number)
        if row.state not in ("available", "failed"):
            raise DataUnavailable(f"{dataset}/{number} is {row.state} already")
        hold = conn.execute(select(d.hold).where(d.name == dataset)).scalar_one()
        if hold:
            raise DataHeld(f"{dataset} is under legal hold: nothing of it goes")
        if row.expires_at >= self._now():
            raise Conflict(f"{dataset}/{number} is kept until {row.expires_at[:10]}: only what is over is retired")
        uses = self._used_by(conn, dataset, number)
        past = update(table.versions).where(v.dataset == dataset, v.number == number)
        conn.execute(past.values(state="expired", sealed_key=b"", report=b""))
        self._destroy_cases(conn, (c.dataset == dataset) & (c.number == number))
        destroy_unused_keys(conn)
        erase_copies(conn)
        return DueVersion(
            dataset, number, row.classification, row.rows, row.digest, row.expires_at, "in_use" if uses else "due", uses
        )

    def untold(self, conn: Connection) -> list[DueVersion]:
        """Those in use that nobody was told of within the week."""
        v = table.versions.c
        last = format_time(self._clock.now() - timedelta(days=AGAIN_DAYS))
        found = [one for one in self.due(conn) if one.state == "in_use"]
        told = conn.execute(select(v.dataset, v.number).where(v.overdue_told_at > last)).all()
        known = {(row.dataset, row.number) for row in told}
        return [one for one in found if (one.dataset, one.number) not in known]

    def told(self, conn: Connection, one: DueVersion) -> None:
        v = table.versions.c
        of = update(table.versions).where(v.dataset == one.dataset, v.number == one.number)
        conn.execute(of.values(overdue_told_at=self._now()))

    def _due(self, conn: Connection, row: Row[Any]) -> DueVersion:
        used_by = self._used_by(conn, row.dataset, row.number)
        state: Literal["soon", "due", "held", "in_use"] = "in_use" if used_by else "due"
        if row.hold:
            state = "held"
        if row.expires_at >= self._now():
            state = "soon"
        return DueVersion(
            row.dataset, row.number, row.classification, row.rows, row.digest, row.expires_at, state, used_by, row.hold
        )  # fmt: skip

    def _used_by(self, conn: Connection, dataset: str, number: int) -> tuple[str, ...]:
        u = table.uses.c
        uses = conn.execute(select(table.uses).where(u.dataset == dataset, u.number == number).order_by(u.at))
        return tuple(f"{use.kind} {use.used_by}" for use in uses)

    def _destroy_cases(self, conn: Connection, which: Any) -> None:
        over = update(table.cases).where(which, table.cases.c.state == "open")
        conn.execute(over.values(state="destroyed", sealed_key=b"", note="its version's time is over"))

    def _data_sets(self, conn: Connection, cases: Sequence[str]) -> set[str]:
        c = table.cases.c
        return set(conn.execute(select(c.dataset).where(c.id.in_(list(cases)))).scalars()) if cases else set()

    def _now(self) -> str:
        return format_time(self._clock.now())
