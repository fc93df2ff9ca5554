"""Just-in-time grants: a role asked for with a reason, given by somebody else, bounded in time, gone by itself.

Answers standing privilege, approval of one's own request (also through a second account of one's own), a grant that
outlives its time, and two approvers who decide one request at once. Every change of state is one conditional
statement on the database's own clock, so that of two that race exactly one wins, and the end of a grant wins against
both. What policy makes of a grant is the engine's business; `confirm` is what the gate asks before it commits.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, case, false, insert, or_, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound
from vallum.kernel.identity import records as table
from vallum.kernel.identity.people import EPOCH
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.ids import new_id
from vallum.kernel.policy.changes import OwnRequest, check_note, check_reason
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.now import database_now
from vallum.kernel.store.records import Records
from vallum.kernel.values import GrantedRole, Subject

__all__ = ["MAX_GRANT_SECONDS", "Grant", "GrantEnded", "GrantState", "Grants", "live_grants"]

MAX_GRANT_SECONDS = 86_400  # longer than a day is a standing role, which an administrator gives
MAX_BREAK_GLASS_SECONDS = 4 * 3600
DECIDE_SECONDS = 86_400  # a request nobody looked at for a day is no longer just in time
MAX_WAITING, MAX_A_DAY = 20, 60  # requests of one person

GrantState = Literal["waiting", "lapsed", "denied", "withdrawn", "scheduled", "active", "expired", "revoked"]


class GrantEnded(Denied):
    """What allowed this was a grant, and it ended before the change was done."""

    code = "grant_ended"


class GrantDecided(Conflict):
    """Somebody decided it already, it was withdrawn, or nobody decided it in time."""

    code = "grant_decided"


class Grant(msgspec.Struct, frozen=True):
    """One request and what became of it. `asset` is `Kind:id`, `Kind:*`, or empty for everything the role covers.

    Times ending in `_seconds` are Unix time by the database's clock.
    """

    id: str
    tenant: str
    requester_id: str
    requester: str
    role: str
    asset: str
    reason: str
    seconds: int
    break_glass: bool
    state: GrantState
    requested_at: str
    decide_by_seconds: int
    decided_by: str | None
    decided_at: str | None
    note: str
    starts_at_seconds: int | None
    expires_at_seconds: int | None
    ended_by: str | None
    ended_at: str | None


class Grants:
    """Safe to share between threads."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def request(
        self,
        conn: Connection,
        subject: Subject,
        role: str,
        seconds: int,
        reason: str,
        *,
        asset: str = "",
        break_glass: bool = False,
        start_after_seconds: int = 0,
        grant_id: str | None = None,
    ) -> Grant:
        """Ask. Raises Invalid for what cannot be granted, Conflict for somebody with too many requests waiting."""
        check_roles([role])
        bound = MAX_BREAK_GLASS_SECONDS if break_glass else MAX_GRANT_SECONDS
        if not 1 <= seconds <= bound:
            raise Invalid(f"a grant is for at most {bound // 3600} hours; ask an administrator for a standing role")
        if not 0 <= start_after_seconds <= 7 * 86_400 or (break_glass and start_after_seconds):
            raise Invalid("a grant starts within the next seven days; breaking the glass starts at once")
        reason = check_reason(reason)
        kind, _, name = asset.partition(":")
        if asset and not (kind.isalpha() and name and asset.isprintable() and len(asset) <= 200):
            raise Invalid("asset: write KIND:ID as in Application:handbook, KIND:* for all of a kind, or leave it out")
        c = table.grants.c
        waiting = conn.execute(
            select(c.id).where(c.requester_id == subject.id, c.state == "requested", c.decide_by_seconds > _now())
        ).all()
        if len(waiting) >= MAX_WAITING:
            raise Conflict(f"{MAX_WAITING} of your requests wait already: withdraw some (vallum access withdraw)")
        day = select(c.id).where(c.requester_id == subject.id, c.requested_at_seconds > _now() - 86_400)
        if len(conn.execute(day.limit(MAX_A_DAY)).all()) >= MAX_A_DAY:
            raise Conflict(f"you asked {MAX_A_DAY} times within a day: speak with your approvers")
        grant_id = grant_id or new_id("grt")
        conn.execute(
            insert(table.grants).values(
                id=grant_id,
                tenant=subject.tenant,
                requester_id=subject.id,
                holder=subject.holder,
                role=role,
                asset=asset,
                reason=reason,
                seconds=seconds,
                start_after_seconds=start_after_seconds,
                break_glass=int(break_glass),
                state="requested",
                requested_at=format_time(self._clock.now()),
                requested_at_seconds=_now(),
                decide_by_seconds=_now() + DECIDE_SECONDS,
                note="",
            )
        )
        return self._one(conn, grant_id)

    def approve(self, conn: Connection, grant_id: str, by: Subject, note: str = "") -> Grant:
        """Give it, from now or from when it was asked for. Raises NotFound, OwnRequest, GrantDecided."""
        c = table.grants.c
        starts = _later(_now(), c.requested_at_seconds + c.start_after_seconds)
        self._decide(
            conn, grant_id, by, note, state="approved", starts_at_seconds=starts, expires_at_seconds=starts + c.seconds
        )
        return self._one(conn, grant_id)

    def deny(self, conn: Connection, grant_id: str, by: Subject, note: str = "") -> Grant:
        """Refuse it, for good. Raises NotFound, OwnRequest, GrantDecided."""
        self._decide(conn, grant_id, by, note, state="denied")
        return self._one(conn, grant_id)

    def end(self, conn: Connection, grant_id: str, by: Subject, *, own: bool) -> Grant:
        """Revoke a grant, or with `own` withdraw one's request or give one's grant back.

        Raises NotFound, also for another's with `own`; GrantDecided when there is nothing left to end.
        """
        c = table.grants.c
        before = self._one(conn, grant_id)
        if own and before.requester_id != by.id:
            raise NotFound("there is no such request of yours")
        waiting = and_(c.state == "requested", c.decide_by_seconds > _now()) if own else false()
        running = and_(c.state == "approved", c.expires_at_seconds > _now())
        done = conn.execute(
            update(table.grants)
            .where(c.id == grant_id, or_(waiting, running))
            .values(
                state="withdrawn" if before.state == "waiting" else "revoked",
                ended_by=by.render(),
                ended_at=format_time(self._clock.now()),
            )
        )
        if done.rowcount != 1:
            raise GrantDecided(f"this is {before.state}: there is nothing to end")
        keys = table.api_keys.c
        conn.execute(
            update(table.api_keys)
            .where(keys.grant_id == grant_id, keys.revoked_at.is_(None))
            .values(revoked_at=format_time(self._clock.now()))
        )
        bump_epoch(conn, EPOCH)
        return self._one(conn, grant_id)

    def confirm(self, conn: Connection, grant_ids: Sequence[str]) -> None:
        """Raises GrantEnded unless every one of them is in force now, and keeps them from ending until the commit.

        The rows are locked on PostgreSQL; on SQLite the transaction that writes is the only one.
        """
        found = conn.execute(
            select(table.grants.c.id).where(table.grants.c.id.in_(grant_ids), in_force()).with_for_update(read=True)
        ).all()
        if len(found) != len(set(grant_ids)):
            raise GrantEnded("the grant that allowed this has ended: ask for another (vallum access request)")

    def grant(self, grant_id: str) -> Grant:
        """Raises NotFound."""
        with self._records.read() as conn:
            return self._one(conn, grant_id)

    def facts(self, grant_id: str) -> AssetFacts:
        """What policy knows of it: who asked, as a human being, for which role, and whether the glass was broken.

        Raises NotFound.
        """
        c = table.grants.c
        query = select(c.tenant, c.holder, c.role, c.break_glass).where(c.id == grant_id)
        with self._records.read() as conn:
            row = conn.execute(query).one_or_none()
        if row is None:
            raise NotFound("there is no such grant")
        return AssetFacts(
            {"tenant": row.tenant, "holder": row.holder, "role": row.role, "break_glass": bool(row.break_glass)}
        )

    def list(self, requester_id: str | None = None, *, waiting: bool = False, limit: int = 200) -> list[Grant]:
        """Those that wait first, then those in force, then the newest: everybody's, or one person's."""
        c = table.grants.c
        waits = and_(c.state == "requested", c.decide_by_seconds > _now())
        first = case((waits, 0), (and_(c.state == "approved", c.expires_at_seconds > _now()), 1), else_=2)
        query = _query().order_by(first, c.requested_at.desc(), c.id.desc()).limit(limit)
        if requester_id is not None:
            query = query.where(c.requester_id == requester_id)
        if waiting:
            query = query.where(waits)
        with self._records.read() as conn:
            return [_grant(row) for row in conn.execute(query)]

    def _decide(self, conn: Connection, grant_id: str, by: Subject, note: str, **values: Any) -> None:
        note = check_note(note)
        c = table.grants.c
        done = conn.execute(
            update(table.grants)
            .where(
                c.id == grant_id,
                c.state == "requested",
                c.decide_by_seconds > _now(),
                c.requester_id != by.id,
                c.holder != by.holder,
            )
            .values(decided_by=by.render(), decided_at=format_time(self._clock.now()), note=note, **values)
        )
        if done.rowcount == 1:
            return
        row = conn.execute(select(c.requester_id, c.holder).where(c.id == grant_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such request")
        if by.id == row.requester_id or by.holder == row.holder:
            raise OwnRequest("you asked for this yourself: somebody else decides")
        raise GrantDecided(f"this request is {self._one(conn, grant_id).state}: there is nothing to decide")

    def _one(self, conn: Connection, grant_id: str) -> Grant:
        row = conn.execute(_query().where(table.grants.c.id == grant_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such grant")
        return _grant(row)


def in_force() -> ColumnElement[bool]:
    """Approved, begun and not over, when the statement runs."""
    c = table.grants.c
    return and_(c.state == "approved", c.starts_at_seconds <= _now(), c.expires_at_seconds > _now())


def live_grants(conn: Connection, person_id: str) -> tuple[GrantedRole, ...]:
    """What this person has been given for the moment."""
    c = table.grants.c
    rows = conn.execute(select(c.id, c.role, c.asset).where(c.requester_id == person_id, in_force()).order_by(c.id))
    return tuple(GrantedRole(row.id, row.role, row.asset) for row in rows)


def _query() -> Any:  # a select of the grants, the name of who asked, and the database's time
    names = select(table.persons.c.id, table.persons.c.name.label("requester")).subquery()
    joined = table.grants.outerjoin(names, names.c.id == table.grants.c.requester_id)
    return select(table.grants, names.c.requester, _now().label("now")).select_from(joined)


def _grant(row: Any) -> Grant:
    return Grant(
        id=row.id,
        tenant=row.tenant,
        requester_id=row.requester_id,
        requester=row.requester or row.requester_id,
        role=row.role,
        asset=row.asset,
        reason=row.reason,
        seconds=row.seconds,
        break_glass=bool(row.break_glass),
        state=_state(row),
        requested_at=row.requested_at,
        decide_by_seconds=int(row.decide_by_seconds),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        note=row.note,
        starts_at_seconds=None if row.starts_at_seconds is None else int(row.starts_at_seconds),
        expires_at_seconds=None if row.expires_at_seconds is None else int(row.expires_at_seconds),
        ended_by=row.ended_by,
        ended_at=row.ended_at,
    )


def _state(row: Any) -> GrantState:
    match row.state:
        case "requested":
            return "waiting" if row.decide_by_seconds > row.now else "lapsed"
        case "approved" if row.expires_at_seconds <= row.now:
            return "expired"
        case "approved":
            return "active" if row.starts_at_seconds <= row.now else "scheduled"
        case "denied" | "withdrawn" | "revoked" as state:
            return state  # type: ignore[no-any-return]  # a match on Any narrows nothing
    raise Conflict(f"the grant {row.id} is in no state that there is")


def _now() -> database_now:
    return database_now()


def _later(first: ColumnElement[float], second: ColumnElement[float]) -> ColumnElement[float]:
    return case((first > second, first), else_=second)
