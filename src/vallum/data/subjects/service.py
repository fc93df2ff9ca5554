"""Erasures of people: asked for, previewed, approved by somebody else, carried out to the end, and reported.

What was approved is a record; `go_on` carries out whatever records say is not done, and is called again and again by
one process. Each step is a transaction with its entry and its own note here, so that a crash loses none and repeats
none: going on looks for what is left. It is done when a whole look finds nothing more and nothing is under way that
was begun before; then the identifiers are destroyed and the report is signed. What a legal hold keeps stays, said so,
and goes when the hold ends.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from vallum.data.catalogue.erased import ErasedPeople
from vallum.data.catalogue.model import check_reason, check_words
from vallum.data.catalogue.ports import SignReport
from vallum.data.subjects import records as table
from vallum.data.subjects.identifiers import Identifiers
from vallum.data.subjects.model import ErasureDecided, ErasureState, ErasureStep, FoundAt, SubjectErasure
from vallum.data.subjects.ports import Eraser
from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound, Unavailable, VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.policy import AssetFacts
from vallum.kernel.policy.changes import OwnRequest
from vallum.kernel.store.records import Records, erase_copies
from vallum.kernel.values import AssetRef, Subject

__all__ = ["PreparedRequest", "SubjectErasures", "erasure_facts"]

_log = logging.getLogger("vallum")
_FINGERPRINT_AAD = b"vallum/erased-identifier/1"
_ROUNDS = 5  # what changed while it was read is read again; a house that busy is waited for
_UNDECIDED = ("approved", "held")


class PreparedRequest(msgspec.Struct, frozen=True):
    """What a request found, before it is one."""

    identifiers: tuple[str, ...]
    reference: str
    fingerprints: tuple[str, ...]
    found: tuple[FoundAt, ...]
    before: tuple[str, ...]

    def __repr__(self) -> str:
        return f"PreparedRequest({self.reference!r}, found={len(self.found)})"


class SubjectErasures:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        clock: Clock,
        gate: Gate,
        sign: SignReport,
        erasers: Sequence[Eraser],
        erased: ErasedPeople,
        by: Subject,
    ) -> None:
        """`erasers` know every place there is, `erased` who may not come back; `by` is who carries out: the platform
        itself."""
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._gate = gate
        self._sign = sign
        self._erasers = tuple(erasers)
        self._erased = erased
        self._by = by
        self._going_on = Lock()

    # Asking.

    def look(self, identifiers: Sequence[str], reference: str) -> PreparedRequest:
        """Everything that would go. Reads all there is: not in a transaction. Raises Invalid, DataSetDamaged."""
        reference = check_words(reference, "reference")
        if not reference:
            raise Invalid("reference: the request's own number, which is kept")
        whom = Identifiers(identifiers)
        if whom.named_in(reference):
            raise Invalid("reference: it is kept, so that it names the request and not the person")
        fingerprints, forms = self._fingerprints(whom)
        found = (*self._found(whom), *self._unsearchable(whom))
        return PreparedRequest(whom.values, reference, fingerprints, found, self._before(forms))

    def request(self, conn: Connection, asked: PreparedRequest, by: Subject) -> SubjectErasure:
        erasure = new_id("ers")
        conn.execute(
            insert(table.erasures).values(
                id=erasure, tenant=DEFAULT_TENANT, holder=by.holder, reference=asked.reference, state="requested",
                sealed=self._keyring.seal(
                    DEFAULT_TENANT, Purpose.FIELDS, msgspec.json.encode(asked.identifiers), _aad(erasure), conn=conn
                ),
                fingerprints=msgspec.json.encode(asked.fingerprints), found=msgspec.json.encode(asked.found),
                before=msgspec.json.encode(asked.before), held=b"[]", problem="", requested_by=by.render(),
                requested_at=format_time(self._clock.now()), note="",
                report=b"", report_sha256="", envelope=b"",
            )
        )  # fmt: skip
        return self.erasure(conn, erasure)

    def check_words_of(self, erasure: str, text: str) -> None:
        """Before anything is recorded: a reason is kept, and names nobody. Raises Invalid, NotFound."""
        with self._records.read() as conn:
            row = self._row(conn, erasure)
        if (row.sealed and self._identifiers(row).named_in(text)) or self._erased.names(erasure, text):
            raise Invalid("reason: it is kept, so that it says why and not whom")

    def approve(self, conn: Connection, erasure: str, by: Subject, reason: str) -> SubjectErasure:
        """From now on it is carried out, and no intake that is judged brings them back. Raises NotFound,
        ErasureDecided, OwnRequest for whoever asked, Invalid."""
        row = self._row(conn, erasure)
        if row.requested_by == by.render() or (row.holder and row.holder == by.holder):
            raise OwnRequest("you asked for this erasure yourself: somebody else approves it")
        self._decide(conn, row, by, "approved", check_reason(reason))
        found = msgspec.json.decode(bytes(row.found), type=tuple[FoundAt, ...])
        columns = {name for one in found if one.kind in ("version", "case") for name in one.columns}
        self._erased.mark(conn, erasure, self._identifiers(row).values, sorted(columns))
        return self.erasure(conn, erasure)

    def cancel(self, conn: Connection, erasure: str, by: Subject, reason: str) -> SubjectErasure:
        """Before anybody approved it; its identifiers are destroyed. Raises NotFound, ErasureDecided, Invalid."""
        row = self._row(conn, erasure)
        self._decide(conn, row, by, "cancelled", check_reason(reason), sealed=b"")
        erase_copies(conn)
        return self.erasure(conn, erasure)

    def readmit(self, conn: Connection, erasure: str, reason: str) -> SubjectErasure:
        """Intake lets them in again: they gave their consent. What was erased stays erased. Raises NotFound, Conflict
        before it is done, Invalid."""
        row = self._row(conn, erasure)
        check_reason(reason)
        if row.state != "done":
            raise Conflict(f"{erasure} is {row.state}: who is being erased does not come back")
        self._erased.forget(conn, erasure)
        return self.erasure(conn, erasure)

    # Looking.

    def erasure(self, conn: Connection, erasure: str) -> SubjectErasure:
        """Raises NotFound."""
        return self._erasure(conn, self._row(conn, erasure))

    def erasures(self, conn: Connection, *, limit: int = 100) -> list[SubjectErasure]:
        """The newest first."""
        e = table.erasures.c
        rows = conn.execute(select(table.erasures).order_by(e.requested_at.desc(), e.id.desc()).limit(limit)).all()
        return [self._erasure(conn, row) for row in rows]

    def signed_report(self, conn: Connection, erasure: str) -> tuple[bytes, bytes]:
        """The report as it was hashed, and the envelope that names its digest. Raises NotFound, Conflict before."""
        row = self._row(conn, erasure)
        if row.state != "done":
            raise Conflict(f"{erasure} is {row.state}: there is a report when it is done")
        return bytes(row.report), bytes(row.envelope)

    # Carrying out.

    def go_on(self) -> int:
        """Carry on with every erasure that is approved and not done; how many were finished. Never raises for one."""
        if not self._going_on.acquire(blocking=False):
            return 0  # this process is at it
        try:
            e = table.erasures.c
            with self._records.read() as conn:
                waiting = conn.execute(
                    select(table.erasures).where(e.state.in_(_UNDECIDED)).order_by(e.requested_at)
                ).all()
            return sum(self._one(row) for row in waiting)
        finally:
            self._going_on.release()

    def _one(self, row: Row[Any]) -> bool:
        try:
            return self._carried_out(row)
        except VallumError as e:
            _log.warning("the erasure %s is not done: %s", row.id, e)
            self._note(row, problem=f"{e.code}: {e}"[:500])
            return False

    def _carried_out(self, row: Row[Any]) -> bool:
        waits = [one for eraser in self._erasers for one in eraser.under_way(row.decided_at)]
        if row.problem and (row.problem == _waiting(waits) or self._still_held(row)):
            return False  # nothing is different from the last time: looking through everything again would find it so
        whom = self._identifiers(row)

        def keep(conn: Connection, step: ErasureStep) -> None:
            conn.execute(
                insert(table.steps).values(
                    erasure=row.id, entry_id=step.entry_id, at=step.at, step=msgspec.json.encode(step)
                )
            )  # fmt: skip

        changed = ""
        for _ in range(_ROUNDS):
            try:
                for eraser in self._erasers:
                    for step in eraser.erase(whom, row.id, row.reference, keep):
                        _log.info("erasure %s: %d of %s", row.id, step.count, step.place)
            except (
                Conflict,
                Denied,
            ) as e:  # it changed while it was read, or came under hold: what is there now is read
                changed = str(e)
                continue
            # What is under way is asked for before looking, so that what it became meanwhile is found.
            waits = [one for eraser in self._erasers for one in eraser.under_way(row.decided_at)]
            left = self._found(whom)
            if not all(one.held for one in left):
                continue
            if left or waits:
                problem = _holding(left) if left else _waiting(waits)
                self._note(row, state="held" if left else "approved", held=msgspec.json.encode(left), problem=problem)
                return False
            self._finish(row.id, self._unsearchable(whom))
            return True
        self._note(row, problem=f"tried again: {changed or 'more of it arrives while it goes'}"[:500])
        return False

    def _finish(self, erasure: str, unsearchable: Sequence[FoundAt]) -> None:
        self._sign.prepare()
        with self._records.read() as conn:
            done = self.erasure(conn, erasure)
        finished_at = format_time(self._clock.now())
        searched = [eraser.name for eraser in self._erasers]
        report = msgspec.json.encode(_report(done, finished_at, searched, unsearchable))
        digest = hashlib.sha256(report).hexdigest()
        told: dict[str, str | int] = {
            "reference": done.reference, "report_sha256": digest, "steps": len(done.steps),
            "erased": sum(step.count for step in done.steps),
        }  # fmt: skip
        asset = AssetRef("SubjectErasure", erasure)
        with self._gate.change(self._by, Action.ERASURE_FINISH, asset, told) as change:
            e = table.erasures.c
            finished = update(table.erasures).where(e.id == erasure, e.state.in_(_UNDECIDED)).values(
                state="done", sealed=b"", held=b"[]", problem="", report=report, report_sha256=digest,
                envelope=self._sign(erasure, digest, told), finished_at=finished_at,
            )  # fmt: skip
            if change.conn.execute(finished).rowcount != 1:
                raise ErasureDecided(f"{erasure} was finished by another process")
            erase_copies(change.conn)

    def _still_held(self, row: Row[Any]) -> bool:
        """Whether what was kept by a hold still is: cheap, where looking through everything is not."""
        if row.state != "held":
            return False
        held = msgspec.json.decode(bytes(row.held), type=tuple[FoundAt, ...])
        return bool(held) and all(eraser.is_held(held) for eraser in self._erasers)

    def _found(self, whom: Identifiers) -> tuple[FoundAt, ...]:
        return tuple(found for eraser in self._erasers for found in eraser.find(whom))

    def _unsearchable(self, whom: Identifiers) -> tuple[FoundAt, ...]:
        return tuple(one for eraser in self._erasers for one in eraser.unsearchable(whom))

    def _identifiers(self, row: Row[Any]) -> Identifiers:
        """Raises SealBroken for a record that was altered or moved."""
        raw = self._keyring.open(DEFAULT_TENANT, Purpose.FIELDS, bytes(row.sealed), _aad(row.id))
        return Identifiers(msgspec.json.decode(raw, type=tuple[str, ...]))

    def _fingerprints(self, whom: Identifiers) -> tuple[tuple[str, ...], frozenset[str]]:
        """As they are kept from now on, and as they may have been kept under earlier versions of the key."""
        mine, forms = list[str](), set[str]()
        for value in whom.values:
            data = value.casefold().encode()
            mine.append(_sha256(self._keyring.seal_joinable(DEFAULT_TENANT, data, _FINGERPRINT_AAD)))
            forms.update(map(_sha256, self._keyring.joinable_forms(DEFAULT_TENANT, data, _FINGERPRINT_AAD)))
        return tuple(mine), frozenset(forms)

    def _before(self, forms: frozenset[str]) -> tuple[str, ...]:
        """Erasures that are done and had one of these: what went then is gone already."""
        e = table.erasures.c
        with self._records.read() as conn:
            done = conn.execute(select(e.id, e.fingerprints).where(e.state == "done").order_by(e.id)).all()
        return tuple(row.id for row in done if forms & set(msgspec.json.decode(bytes(row.fingerprints))))

    def _erasure(self, conn: Connection, row: Row[Any]) -> SubjectErasure:
        s = table.steps.c
        steps = conn.execute(select(s.step).where(s.erasure == row.id).order_by(s.at, s.entry_id)).scalars()
        return SubjectErasure(
            id=row.id, reference=row.reference, state=row.state,
            fingerprints=msgspec.json.decode(bytes(row.fingerprints), type=tuple[str, ...]),
            found=msgspec.json.decode(bytes(row.found), type=tuple[FoundAt, ...]),
            before=msgspec.json.decode(bytes(row.before), type=tuple[str, ...]),
            requested_by=row.requested_by, requested_at=row.requested_at,
            steps=tuple(msgspec.json.decode(raw, type=ErasureStep) for raw in steps),
            decided_by=row.decided_by, decided_at=row.decided_at, note=row.note,
            held=msgspec.json.decode(bytes(row.held), type=tuple[FoundAt, ...]), problem=row.problem,
            finished_at=row.finished_at, report_sha256=row.report_sha256,
            kept_out=self._erased.keeps_out(conn, row.id),
        )  # fmt: skip

    def _decide(self, conn: Connection, row: Row[Any], by: Subject, state: str, note: str, **more: Any) -> None:
        e = table.erasures.c
        decided = update(table.erasures).where(e.id == row.id, e.state == "requested")
        values = {
            "state": state, "decided_by": by.render(), "decided_at": format_time(self._clock.now()), "note": note,
            **more,
        }  # fmt: skip
        if conn.execute(decided.values(values)).rowcount != 1:
            raise ErasureDecided(f"{row.id} is {row.state}: it was decided already")

    def _note(self, row: Row[Any], **values: Any) -> None:
        if all(getattr(row, name) == value for name, value in values.items()):
            return
        e = table.erasures.c
        try:
            with self._records.write() as conn:
                conn.execute(update(table.erasures).where(e.id == row.id, e.state.in_(_UNDECIDED)).values(values))
        except Unavailable:
            _log.warning("the erasure %s: the database does not answer", row.id)

    def _row(self, conn: Connection, erasure: str) -> Row[Any]:
        row = conn.execute(select(table.erasures).where(table.erasures.c.id == erasure)).one_or_none()
        if row is None:
            raise NotFound(f"there is no erasure {erasure[:64]}")
        return row


def erasure_facts(records: Records, erasure: str) -> AssetFacts | None:
    """What policy knows of one."""
    e = table.erasures.c
    with records.read() as conn:
        row = conn.execute(select(e.tenant, e.holder, e.state).where(e.id == erasure)).one_or_none()
    if row is None:
        return None
    told = {"tenant": row.tenant, "holder": row.holder, "state": row.state}
    return AssetFacts(told, 1 + get_args(ErasureState).index(row.state))


def _report(
    done: SubjectErasure, finished_at: str, searched: Sequence[str], unsearchable: Sequence[FoundAt]
) -> Mapping[str, Any]:
    """What the signature is over. Holds no value: fingerprints tell who it was to nobody without the root key."""
    return {
        "erasure": done.id, "reference": done.reference, "fingerprints": done.fingerprints,
        "requested_by": done.requested_by, "requested_at": done.requested_at, "approved_by": done.decided_by,
        "approved_at": done.decided_at, "finished_at": finished_at, "searched": searched,
        "found": done.found, "steps": done.steps, "left": 0, "unsearchable": unsearchable,
        "already_erased_by": done.before,
        "made_from_it": sorted({made for one in done.found for made in one.made_from_it}),
    }  # fmt: skip


def _holding(left: Sequence[FoundAt]) -> str:
    return f"under legal hold: {', '.join(sorted({one.place for one in left}))}"[:500]


def _waiting(waits: Sequence[str]) -> str:
    return f"waits for what was begun before: {', '.join(sorted(waits))}"[:500] if waits else ""


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _aad(erasure: str) -> bytes:
    return b"\x00".join((b"vallum/erasure/1", erasure.encode()))
