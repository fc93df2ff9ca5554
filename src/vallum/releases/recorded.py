"""What the ledger knows of a release: whether it was revoked. A state in the database can be set back, that cannot."""

from sqlalchemy import Connection

from vallum.kernel.actions import Action
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.values import AssetRef

__all__ = ["was_revoked"]


def was_revoked(ledger: Ledger, conn: Connection, release_id: str) -> bool:
    return any(
        entry.action == Action.RELEASE_REVOKE for entry in ledger.changes_of(conn, AssetRef("Release", release_id))
    )
