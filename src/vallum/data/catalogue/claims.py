"""An intake's record: whose it is, what state it is in, and which process judges it.

A claim is renewed while judging takes its time, and grows stale when its process died: then another takes it over.
"""

from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import DataIntake, IntakeBusy
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import NotFound, Unavailable
from vallum.kernel.ids import new_id
from vallum.kernel.store.records import Records
from vallum.kernel.store.renewal import renewed
from vallum.kernel.values import Subject

__all__ = ["EXPIRE_SECONDS", "IntakeClaims", "claimed", "described", "mine_of", "open_of"]

EXPIRE_SECONDS = 86_400
_CLAIM_SECONDS, _RENEW_SECONDS = 300, 60


class IntakeClaims:
    """Safe to share between threads."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def claim(self, conn: Connection, intake: str) -> str:
        """For this process, from now on. Raises IntakeBusy."""
        i, claim, now = table.intakes.c, new_id("clm"), self._now()
        stale = (i.state == "judging") & (i.touched_at_seconds < now - _CLAIM_SECONDS)
        taken = update(table.intakes).where(i.id == intake, or_(i.state == "open", stale))
        if conn.execute(taken.values(state="judging", claim=claim, touched_at_seconds=now)).rowcount != 1:
            raise IntakeBusy("the intake is being judged already: ask for it in a moment")
        return claim

    def renewed(self, intake: str, claim: str) -> AbstractContextManager[None]:
        """While it takes its time, nobody takes the claim over."""

        def renew(conn: Connection) -> None:
            conn.execute(claimed(intake, claim).values(touched_at_seconds=self._now()))

        return renewed(self._records, renew, _RENEW_SECONDS)

    def let_go(self, intake: str, claim: str) -> None:
        """Whoever asks again need not wait for it to grow stale."""
        with suppress(Unavailable), self._records.write() as conn:
            conn.execute(claimed(intake, claim).values(state="open", claim="", touched_at_seconds=self._now()))

    def step(self, intake: str, what: str) -> None:
        """What is being done now, for whoever asks."""
        with suppress(Unavailable), self._records.write() as conn:
            conn.execute(update(table.intakes).where(table.intakes.c.id == intake).values(step=what[:200]))

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def claimed(intake: str, claim: str) -> Any:
    """A change of the intake that happens only while the claim holds."""
    i = table.intakes.c
    return update(table.intakes).where(i.id == intake, i.state == "judging", i.claim == claim)


def mine_of(conn: Connection, dataset: str, intake: str, by: Subject) -> Row[Any]:
    """Raises NotFound, also for somebody else's."""
    i = table.intakes.c
    mine = select(table.intakes).where(
        i.id == intake, i.dataset == dataset, i.created_by == by.render(), i.state != "expired"
    )
    row = conn.execute(mine).one_or_none()
    if row is None:
        raise NotFound("there is no such intake of yours: it was abandoned, or left for a day; begin another")
    return row


def open_of(row: Row[Any]) -> Row[Any]:
    """Raises IntakeBusy for one that takes nothing more."""
    if row.state != "open":
        raise IntakeBusy("the intake is being judged, or is over: it takes nothing more")
    return row


def described(row: Row[Any]) -> DataIntake:
    expires = format_time(datetime.fromtimestamp(row.touched_at_seconds + EXPIRE_SECONDS, UTC))
    return DataIntake(
        row.id, row.dataset, row.state, row.file_name, row.purpose, row.sha256, row.size, row.step, row.created_at,
        expires,
    )  # fmt: skip
