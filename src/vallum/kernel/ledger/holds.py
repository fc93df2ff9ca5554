"""Legal hold on contents: what was asked and answered, kept past its time and against an erasure, until the hold ends.

A hold is on everything, on one subject's exchanges (whoever asked, or whom it was asked for), on a span of time, or on
what is both. Whoever removes contents asks `holding` in the transaction that removes them: holds are placed before or
after it, and never beside it. Entries are kept for good, and need no hold.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, insert, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.ledger import records
from vallum.kernel.ledger.entry import Entry

__all__ = ["ContentHeld", "ContentHold", "Holds", "end_hold", "list_holds", "load_holds", "place_hold"]

_SUBJECT = re.compile(r"(application|person|service|system):[\w.-]{1,120}", re.ASCII)


class ContentHeld(Conflict):
    """Contents are under legal hold: what would destroy them waits until it ends."""

    code = "content_held"


class ContentHold(msgspec.Struct, frozen=True):
    """`subject` is whose exchanges, `application:app_…` or `person:per_…`, empty for everybody's; `since` and `until`
    (RFC 3339, the latter not included) when they were, empty for ever. It is over when `ended_at` says so."""

    id: str
    subject: str
    since: str
    until: str
    reason: str
    held_by: str
    held_at: str
    ended_by: str | None = None
    ended_at: str | None = None
    end_reason: str = ""

    def holds(self, entry: Entry) -> bool:
        """Whether the contents of this entry are to stay."""
        if self.subject and self.subject not in (entry.subject, entry.context.get("on_behalf_of")):
            return False
        return self.since <= entry.time and (not self.until or entry.time < self.until)  # text order is time order


class Holds:
    """Those in force."""

    def __init__(self, holds: Sequence[ContentHold]) -> None:
        self._holds = tuple(holds)

    def __bool__(self) -> bool:
        return bool(self._holds)

    def holding(self, entry: Entry) -> ContentHold | None:
        """The first that holds it."""
        return next((hold for hold in self._holds if hold.holds(entry)), None)

    def in_force(self, hold: str) -> bool:
        return any(one.id == hold for one in self._holds)

    def require_none(self) -> None:
        """For what cannot tell contents apart, as destroying a key. Raises ContentHeld."""
        if self._holds:
            raise ContentHeld(f"contents are under legal hold ({self._holds[0].id}): it destroys what must be kept")


def load_holds(conn: Connection, *, lock: bool = False) -> Holds:
    """Those in force. With `lock` none is placed before this transaction ends: for whoever removes contents in it."""
    if lock and conn.dialect.name == "postgresql":  # on SQLite, who writes is alone
        conn.exec_driver_sql("LOCK TABLE ledger_holds IN SHARE MODE")
    h = records.holds.c
    query = select(records.holds).where(h.ended_at.is_(None)).order_by(h.held_at, h.id)
    return Holds([_hold(row) for row in conn.execute(query)])


def list_holds(conn: Connection) -> list[ContentHold]:
    """All there ever were, the newest first."""
    h = records.holds.c
    return [_hold(row) for row in conn.execute(select(records.holds).order_by(h.held_at.desc(), h.id.desc()))]


def place_hold(
    conn: Connection, clock: Clock, by: str, reason: str, *, subject: str = "", since: str = "", until: str = ""
) -> ContentHold:
    """From now on these contents stay. Raises Invalid."""
    if subject and not _SUBJECT.fullmatch(subject):
        raise Invalid("subject: application:app_… or person:per_…, as entries name them; empty for everybody's")
    since, until = _time(since, "since"), _time(until, "until")
    if since and until and since >= until:
        raise Invalid("until: later than since")
    hold = ContentHold(new_id("hld"), subject, since, until, _reason(reason), by, format_time(clock.now()))
    conn.execute(insert(records.holds).values(msgspec.structs.asdict(hold)))
    return hold


def end_hold(conn: Connection, clock: Clock, hold: str, by: str, reason: str) -> ContentHold:
    """What it alone kept goes when its time says so. Raises NotFound, Conflict for one that is over, Invalid."""
    h = records.holds.c
    ended = update(records.holds).where(h.id == hold, h.ended_at.is_(None))
    values = {"ended_by": by, "ended_at": format_time(clock.now()), "end_reason": _reason(reason)}
    is_ended = conn.execute(ended.values(values)).rowcount == 1
    row = conn.execute(select(records.holds).where(h.id == hold)).one_or_none()
    if row is None:
        raise NotFound(f"there is no hold {hold[:64]}")
    if not is_ended:
        raise Conflict(f"{hold} is over already")
    return _hold(row)


def _hold(row: object) -> ContentHold:
    return msgspec.convert(row, ContentHold, from_attributes=True)


def _time(text: str, what: str) -> str:
    """In UTC, as entries have it; a day is its beginning. Raises Invalid."""
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
        return format_time(found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Invalid(f"{what}: a day (2026-03-01) or a time (RFC 3339)") from None


def _reason(text: str) -> str:
    text = text.strip()
    if not 10 <= len(text) <= 1000 or not text.isprintable():
        raise Invalid("reason: 10 to 1000 printable characters say why")
    return text
