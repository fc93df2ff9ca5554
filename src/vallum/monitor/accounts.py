"""Watching accounts: reads what people and services did, and raises an alert for what is unusual of them.

Runs beside the platform, in the one process that does background work: no request waits for it, and one that floods
the ledger floods no memory here. A profile, the alert, its entry and the place in the ledger are one transaction.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from vallum.kernel.actions import Action
from vallum.kernel.gate import Gate
from vallum.kernel.identity.records import persons, sessions
from vallum.kernel.ledger.entry import StoredEntry
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Subject
from vallum.monitor.alerts import Alerts, new_alert_id
from vallum.monitor.detectors import NOBODY, Activity, Profile, judge
from vallum.monitor.follow import Follower
from vallum.monitor.records import profiles

__all__ = ["AccountWatch", "activity_of"]

_KEPT_SECONDS = 366 * 86_400  # how long an explanation lies beside its entry
_OWN = ("identity:session:", "identity:account:", "identity:delegation:", "identity:enrolment:", "identity:token:")
_OPENS = (Action.CONTENT_READ, Action.CASE_READ, Action.LEDGER_EXPORT)
_STEP_UP = "this needs a fresh second factor"
_WATCHED = ("person:", "service:")
_DECODER = msgspec.json.Decoder(Profile)


class AccountWatch:
    def __init__(self, records: Records, ledger: Ledger, gate: Gate, alerts: Alerts, subject: Subject) -> None:
        """`subject` is who raises alerts: the platform itself."""
        self._records = records
        self._gate = gate
        self._alerts = alerts
        self._subject = subject
        self._follower = Follower("accounts", records, ledger, but_kinds=("inference", "alert"))

    def poll(self) -> int:
        """Deal with what is new; returns how many alerts were raised. Raises VallumError, and goes on the next time."""
        raised = 0
        while True:
            at, entries, end = self._follower.next_page()
            if at == end:
                return raised
            raised += self._page(at, entries, end)

    def _page(self, at: int, entries: Sequence[StoredEntry], end: int) -> int:
        """Up to and with the first alert in one transaction, then the next: an alert is a change with its own entry."""
        raised = 0
        while at < end:
            with self._records.read() as conn:
                learnt, stopped_at, alarm = self._learn(conn, entries)
            if alarm is None:
                with self._records.write() as conn:
                    _save(conn, learnt)
                    self._follower.advance(conn, at, end)
                return raised
            after = (entries[stopped_at].index or 0) + 1
            raised += self._raise(*alarm, learnt, at, after)
            entries, at = entries[stopped_at + 1 :], after
        return raised

    def _learn(
        self, conn: Connection, entries: Sequence[StoredEntry]
    ) -> tuple[dict[str, Profile], int, tuple[Activity, dict[str, str]] | None]:
        """The profiles as they are after these entries, or after the first of them that is unusual."""
        learnt: dict[str, Profile] = {}
        for number, entry in enumerate(entries):
            if not entry.subject.startswith(_WATCHED) and entry.subject != NOBODY:
                continue
            activity = activity_of(entry, _place(conn, entry))
            if activity is None:
                continue
            if activity.subject not in learnt:
                learnt[activity.subject] = _load(conn, activity.subject)
            found = judge(learnt[activity.subject], activity)
            if found:
                return learnt, number, (activity, found)
        return learnt, len(entries), None

    def _raise(self, activity: Activity, found: dict[str, str], learnt: dict[str, Profile], at: int, after: int) -> int:
        with self._records.read() as conn:
            standing = self._alerts.open_for(conn, activity.subject)
            holder = _holder(conn, activity.subject)
        fresh = {name: why for name, why in found.items() if not any(name in alert.detectors for alert in standing)}
        if not fresh:
            with self._records.write() as conn:
                for alert in standing:
                    if set(found) & set(alert.detectors):
                        self._alerts.seen_again(conn, alert.id, activity.entry_id)
                _save(conn, learnt)
                self._follower.advance(conn, at, after)
            return 0
        alert_id = new_alert_id()
        context = {
            "alert": alert_id,
            "about": activity.subject[:128],
            "because": activity.entry_id,
            "detectors": " ".join(fresh),
        }
        sealed = {"explanation": "; ".join(fresh.values()).encode()}
        asset = AssetRef("System", "vallum")
        with self._gate.change(
            self._subject, Action.ALERT_RAISE, asset, context, sealed, _KEPT_SECONDS, kind="alert"
        ) as change:
            self._alerts.raise_(change.conn, alert_id, activity, fresh, holder)
            _save(change.conn, learnt)
            self._follower.advance(change.conn, at, after)
        return 1


def activity_of(entry: StoredEntry, place: str) -> Activity | None:
    """None for what says nothing of an account: a denial that only asks for a fresh factor is everyday."""
    if entry.effect == "deny" and entry.reason == _STEP_UP:
        return None
    changed = entry.kind == "change" and not entry.action.startswith(_OWN)
    weight = entry.context.get("attempts", 1)
    return Activity(
        entry_id=entry.entry_id,
        at_seconds=int(datetime.fromisoformat(entry.time).timestamp()),
        subject=entry.subject,
        action=entry.action,
        asset=entry.asset,
        allowed=entry.effect == "allow",
        privileged=changed or entry.action in _OPENS,
        place=place,
        session=entry.credential or "",
        weight=weight if isinstance(weight, int) else 1,
    )


def _place(conn: Connection, entry: StoredEntry) -> str:
    """Of a person's session, while it lasts: the ledger says which session, and never where somebody was."""
    if entry.credential is None or not entry.credential.startswith("ses_"):
        return ""
    network = conn.execute(select(sessions.c.network).where(sessions.c.id == entry.credential)).scalar()
    return network or ""


def _holder(conn: Connection, subject: str) -> str:
    kind, _, name = subject.partition(":")
    if kind != "person":
        return ""
    return conn.execute(select(persons.c.holder).where(persons.c.id == name)).scalar() or ""


def _load(conn: Connection, subject: str) -> Profile:
    raw = conn.execute(select(profiles.c.learnt).where(profiles.c.subject == subject)).scalar()
    return _DECODER.decode(bytes(raw)) if raw is not None else Profile()


def _save(conn: Connection, learnt: dict[str, Profile]) -> None:
    for subject, profile in sorted(learnt.items()):
        insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(profiles)
        said = insert.values(subject=subject, learnt=msgspec.json.encode(profile))
        conn.execute(said.on_conflict_do_update(index_elements=["subject"], set_={"learnt": said.excluded.learnt}))
