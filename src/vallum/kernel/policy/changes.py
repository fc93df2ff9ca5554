"""Changing policies takes two: one proposes a set, another approves it, and earlier sets can be proposed again.

Answers a security engineer alone who gives themselves rights, and approval of something else than was read: a proposal
names the set it was made against, and is refused when another came into force meanwhile. Each change of state is one
conditional statement.
"""

import json
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, insert, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.policy import records
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.policy.policy_set import PolicySet
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject

__all__ = ["OwnRequest", "PolicyChangeRequest", "PolicyChanges", "check_note", "check_reason"]

_MIN_REASON_CHARS, _MAX_REASON_CHARS = 10, 500
_MAX_WAITING = 50


def check_reason(reason: str) -> str:
    """Why somebody asks, as approvers will read it. Raises Invalid."""
    if not _MIN_REASON_CHARS <= len(reason.strip()) <= _MAX_REASON_CHARS or not reason.isprintable():
        raise Invalid(f"a reason has {_MIN_REASON_CHARS} to {_MAX_REASON_CHARS} characters: approvers read it")
    return reason.strip()


def check_note(note: str) -> str:
    """A decider's word to whoever asked; may be empty. Raises Invalid."""
    if len(note) > _MAX_REASON_CHARS or (note and not note.isprintable()):
        raise Invalid(f"a note has at most {_MAX_REASON_CHARS} printable characters")
    return note.strip()


class OwnRequest(Denied):
    """Somebody else decides: nobody approves what they asked for themselves, from whatever account."""

    code = "own_request"


class PolicyChangeRequest(msgspec.Struct, frozen=True):
    """A proposed policy set. `base` is the digest of the set that it was made against."""

    id: str
    tenant: str
    digest: str
    base: str
    reason: str
    state: Literal["waiting", "approved", "denied", "withdrawn"]
    proposed_by: str
    proposed_at: str
    decided_by: str | None
    decided_at: str | None
    note: str


class PolicyChanges:
    """Safe to share between threads."""

    def __init__(self, records_: Records, clock: Clock) -> None:
        self._records = records_
        self._clock = clock

    def propose(
        self, conn: Connection, policy_set: PolicySet, base: str, by: Subject, reason: str
    ) -> PolicyChangeRequest:
        """`policy_set` was checked. Raises Invalid for a reason that will not do, Conflict if nothing would change."""
        reason = check_reason(reason)
        if policy_set.digest == base:
            raise Conflict("these policies are in force already")
        c = records.changes.c
        if len(conn.execute(select(c.id).where(c.state == "waiting")).all()) >= _MAX_WAITING:
            raise Conflict(f"{_MAX_WAITING} proposals wait already: have some decided first")
        values: dict[str, Any] = {
            "id": new_id("pch"),
            "tenant": by.tenant,
            "digest": policy_set.digest,
            "base": base,
            "files": json.dumps(dict(policy_set.files)),
            "reason": reason,
            "state": "waiting",
            "proposed_by": by.render(),
            "holder": by.holder or by.render(),
            "proposed_at": format_time(self._clock.now()),
            "note": "",
            "decided_by": None,
            "decided_at": None,
        }
        conn.execute(insert(records.changes).values(values))
        return _change(values)

    def approve(self, conn: Connection, change_id: str, by: Subject, in_force: str, note: str = "") -> None:
        """Whoever calls puts the set in force in the same transaction. Raises NotFound, OwnRequest, Conflict."""
        self._decide(conn, change_id, by, note, "approved", in_force)

    def deny(self, conn: Connection, change_id: str, by: Subject, note: str = "") -> None:
        """Raises NotFound, OwnRequest, Conflict."""
        self._decide(conn, change_id, by, note, "denied", None)

    def withdraw(self, conn: Connection, change_id: str, by: Subject) -> None:
        """Raises NotFound for another's, Conflict for one that was decided."""
        c = records.changes.c
        done = conn.execute(
            update(records.changes)
            .where(c.id == change_id, c.state == "waiting", c.proposed_by == by.render())
            .values(state="withdrawn", decided_by=by.render(), decided_at=format_time(self._clock.now()))
        )
        if done.rowcount != 1:
            row = self._row(conn, change_id)
            if row.proposed_by != by.render():
                raise NotFound("there is no such proposal of yours")
            raise Conflict(f"this proposal is {row.state} already")

    def change(self, change_id: str) -> tuple[PolicyChangeRequest, dict[str, str]]:
        """A proposal and its files. Raises NotFound."""
        with self._records.read() as conn:
            row = self._row(conn, change_id)
        return _change(row._mapping), json.loads(row.files)

    def one(self, conn: Connection, change_id: str) -> PolicyChangeRequest:
        """As this transaction sees it. Raises NotFound."""
        return _change(self._row(conn, change_id)._mapping)

    def list(self, limit: int = 100) -> list[PolicyChangeRequest]:
        """Newest first."""
        query = select(records.changes).order_by(records.changes.c.proposed_at.desc()).limit(limit)
        with self._records.read() as conn:
            return [_change(row._mapping) for row in conn.execute(query)]

    def facts(self, change_id: str) -> AssetFacts | None:
        """What policy knows of a proposal: whose it is, as a human being."""
        c = records.changes.c
        with self._records.read() as conn:
            row = conn.execute(select(c.tenant, c.holder).where(c.id == change_id)).one_or_none()
        return AssetFacts({"tenant": row.tenant, "holder": row.holder}) if row is not None else None

    def _decide(
        self, conn: Connection, change_id: str, by: Subject, note: str, state: str, in_force: str | None
    ) -> None:
        note = check_note(note)
        c = records.changes.c
        fitting = [c.id == change_id, c.state == "waiting", c.holder != by.holder, c.proposed_by != by.render()]
        if in_force is not None:
            fitting.append(c.base == in_force)
        done = conn.execute(
            update(records.changes)
            .where(*fitting)
            .values(state=state, note=note, decided_by=by.render(), decided_at=format_time(self._clock.now()))
        )
        if done.rowcount == 1:
            return
        row = self._row(conn, change_id)
        if by.holder == row.holder or by.render() == row.proposed_by:
            raise OwnRequest("you proposed this yourself: somebody else decides")
        if row.state != "waiting":
            raise Conflict(f"this proposal is {row.state} already")
        raise Conflict("other policies came into force after this was proposed: propose it anew against them")

    def _row(self, conn: Connection, change_id: str) -> Any:
        row = conn.execute(select(records.changes).where(records.changes.c.id == change_id)).one_or_none()
        if row is None:
            raise NotFound("there is no such proposal")
        return row


def _change(row: Any) -> PolicyChangeRequest:  # a row's mapping, or the values that make one
    return PolicyChangeRequest(**{name: row[name] for name in PolicyChangeRequest.__struct_fields__})
