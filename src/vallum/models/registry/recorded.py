"""What the ledger knows of a version: since when there is one, and whether it was revoked. Nobody can set that back.

A signature holds no time, and the database's times and states are whoever's who writes into it. Entries stand in a log
whose checkpoints others have seen.
"""

from datetime import datetime

from sqlalchemy import Connection

from vallum.kernel.actions import Action
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.values import AssetRef

__all__ = ["recorded_at", "was_revoked"]


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
