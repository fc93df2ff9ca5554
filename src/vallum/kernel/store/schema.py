"""Bringing the database's schema up to this release, and refusing one that is not.

Migrations only go forward: going back is restoring a backup, since the ledger cannot be unwritten.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.records import Records

__all__ = ["SchemaBehind", "check_schema", "migrate"]

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x76616C6D6967  # PostgreSQL advisory lock: one migration at a time
HEAD = "0012_govern"


class SchemaBehind(Unavailable):
    """The database is of another release."""

    code = "schema_behind"


def migrate(records: Records) -> None:
    """Apply what is missing, whole or not at all. Safe to call from several processes at once."""
    with records.write() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _version(conn) == HEAD:
            return
        from alembic import command  # a third of a second that only a database that lacks something costs
        from alembic.config import Config
        from alembic.util.exc import CommandError

        config = Config()
        config.set_main_option("script_location", str(_FOLDER))
        config.attributes["connection"] = conn
        try:
            command.upgrade(config, "head")
        except CommandError as e:  # a revision that this release has never heard of
            raise SchemaBehind("the database is of a newer release: run that one, or restore a backup") from e


def check_schema(records: Records) -> None:
    """Raises SchemaBehind unless the database is exactly of this release."""
    with records.read() as conn:
        found = _version(conn)
    if found != HEAD:
        raise SchemaBehind(f"the database is at {found or 'no version'}, this release needs {HEAD}: run vallum migrate")


def _version(conn: Connection) -> str | None:
    if not inspect(conn).has_table("schema_version"):
        return None
    return conn.execute(text("SELECT version_num FROM schema_version")).scalar_one_or_none()
