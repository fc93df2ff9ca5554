"""INSERT … ON CONFLICT, which SQLite and PostgreSQL have alike and SQLAlchemy gives to each dialect by itself."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["upsert"]


def upsert(conn: Connection, into: Table) -> "postgresql.Insert | sqlite.Insert":
    """An insert that can say `on_conflict_…`. Only the dialect in use is imported: PostgreSQL's brings every driver."""
    if conn.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(into)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(into)
