"""What the ledger knows of a version and of signing keys: since when there is one, and what was revoked. Nobody can set
that back.

A signature holds no time, and the database's times and states are whoever's who writes into it. Entries stand in a log
whose checkpoints others have seen.
"""

from datetime import datetime
from threading import Lock

from sqlalchemy import Connection

from vallum.kernel.actions import Action
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef

__all__ = ["RevokedKeys", "recorded_at", "was_revoked"]

_SYSTEM = AssetRef("System", "vallum")  # what the routes of keys are about
_PAGE = 1000


def recorded_at(ledger: Ledger, conn: Connection, version: tuple[str, int, str]) -> datetime | None:
    """Of a version by model, number and digest: when the ledger first recorded that it was made, if it did."""
    model, number, digest = version
    for entry in ledger.changes_of(conn, AssetRef("RegisteredModel", model)):
        made = (entry.context.get("version"), entry.context.get("digest")) == (f"{model}/{number}", digest)
        if made and entry.action == Action.VERSION_UPLOAD:
            return datetime.fromisoformat(entry.time)
    return None


def was_revoked(ledger: Ledger, conn: Connection, model: str, number: int) -> bool:
    """Revoked, or rejected by a review: whatever the database says of it now."""
    for entry in ledger.changes_of(conn, AssetRef("ModelVersion", f"{model}/{number}")):
        is_rejected = entry.action == Action.VERSION_REVIEW and entry.context.get("decision") == "reject"
        if entry.action == Action.VERSION_REVOKE or is_rejected:
            return True
    return False


class RevokedKeys:
    """The numbers of the platform's signing keys that the ledger says were revoked. Safe to share between threads.

    Entries are only ever added, so that each is read once; what a transaction that is not over has written is read
    again the next time.
    """

    def __init__(self, records: Records, ledger: Ledger) -> None:
        self._records = records
        self._ledger = ledger
        self._lock = Lock()
        self._known: tuple[int | None, frozenset[int]] = (None, frozenset())

    def __call__(self, conn: Connection | None = None) -> frozenset[int]:
        """With `conn`, as that transaction sees it."""
        if conn is not None:
            return self._read(conn, self._known)[1]
        with self._lock, self._records.read() as reader:
            self._known = self._read(reader, self._known)
            return self._known[1]

    def _read(self, conn: Connection, known: tuple[int | None, frozenset[int]]) -> tuple[int | None, frozenset[int]]:
        after, revoked = known
        while True:
            page = self._ledger.entries(conn, asset=_SYSTEM.render(), kind="change", after=after, limit=_PAGE)
            done = (one for one in page if one.outcome == "ok" and one.action == Action.SIGNING_KEY_REVOKE)
            revoked |= {int(str(one.context["number"])) for one in done}
            after = page[-1].index if page else after
            if len(page) < _PAGE:
                return after, revoked
