"""Watching accounts: reads what people and services did, and raises an alert for what is unusual of them.

Runs beside the platform, in the one process that does background work: no request waits for it, and one that floods
the ledger floods no memory here. A profile, the alert, its entry and the place in the ledger are one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from vallum.kernel.actions import Action
from vallum.kernel.gate import AccessDenied, Gate
from vallum.kernel.identity.records import persons
from vallum.kernel.identity.sessions import place_at
from vallum.kernel.ledger.entry import StoredEntry
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
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
                page = self._learn(conn, entries)
            if page.found is None:
                with self._records.write() as conn:
                    self._keep(conn, page, at, end)
                return raised
            activity, fresh = page.found
            after = (entries[page.read - 1].index or 0) + 1
            raised += self._raise(activity, fresh, page, at, after)
            entries, at = entries[page.read :], after
        return raised

    def _learn(self, conn: Connection, entries: Sequence[StoredEntry]) -> "_Page":
        """What is known after these entries, or after the first of them that is unusual and not standing already."""
        page = _Page()
        for entry in entries:
            page.read += 1
            if not entry.subject.startswith(_WATCHED) and entry.subject != NOBODY:
                continue
            activity = activity_of(entry, _place(conn, entry))
            if activity is None:
                continue
            name = activity.subject
            if name not in page.learnt:
                page.learnt[name] = _load(conn, name)
                page.standing[name] = {d: a.id for a in self._alerts.open_for(conn, name) for d in a.detectors}
            standing = page.standing[name]
            found = judge(page.learnt[name], activity, standing.keys())
            for alert_id in {standing[detector] for detector in found if detector in standing}:
                page.again[alert_id] = (page.again.get(alert_id, (0, ""))[0] + 1, entry.entry_id)
            fresh = {detector: why for detector, why in found.items() if detector not in standing}
            if fresh:
                page.found = (activity, fresh)
                break
        return page

    def _raise(self, activity: Activity, fresh: dict[str, str], page: "_Page", at: int, after: int) -> int:
        alert_id = new_alert_id()
        context = {
            "alert": alert_id,
            "about": activity.subject[:128],
            "because": activity.entry_id,
            "detectors": " ".join(fresh),
        }
        sealed = {"explanation": "; ".join(fresh.values()).encode()}
        with self._records.read() as conn:
            holder = _holder(conn, activity.subject)
        try:
            with self._gate.change(
                self._subject,
                Action.ALERT_RAISE,
                AssetRef("System", "vallum"),
                context,
                sealed,
                _KEPT_SECONDS,
                kind="alert",
            ) as change:
                self._alerts.raise_(change.conn, alert_id, activity, fresh, holder)
                self._keep(change.conn, page, at, after)
        except AccessDenied:  # by the organisation's own policies; the denial is an entry, and the rest is read on
            with self._records.write() as conn:
                self._keep(conn, page, at, after)
            return 0
        return 1

    def _keep(self, conn: Connection, page: "_Page", at: int, to: int) -> None:
        for alert_id, (times, last_entry_id) in sorted(page.again.items()):
            self._alerts.seen_again(conn, alert_id, times, last_entry_id)
        _save(conn, page.learnt)
        self._follower.advance(conn, at, to)


@dataclass(slots=True)
class _Page:
    """What reading some entries came to; kept with the place in the ledger, or not at all."""

    read: int = 0
    learnt: dict[str, Profile] = field(default_factory=dict)
    standing: dict[str, dict[str, str]] = field(default_factory=dict)  # by subject: detector to the alert that waits
    again: dict[str, tuple[int, str]] = field(default_factory=dict)  # by alert: how often, and the last entry
    found: tuple[Activity, dict[str, str]] | None = None


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
    """Of a person's session at that time: the ledger says which session, and never where somebody was."""
    if entry.credential is None or not entry.credential.startswith("ses_"):
        return ""
    return place_at(conn, entry.credential, int(datetime.fromisoformat(entry.time).timestamp()))


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
        insert = upsert(conn, profiles)
        said = insert.values(subject=subject, learnt=msgspec.json.encode(profile))
        conn.execute(said.on_conflict_do_update(index_elements=["subject"], set_={"learnt": said.excluded.learnt}))
