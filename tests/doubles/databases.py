"""PostgreSQL databases for tests: fresh ones, and ones with the present schema that are emptied and lent again."""

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from vallum.kernel.store.records import Records
from vallum.kernel.store.schema import migrate

POSTGRES = os.environ.get("VALLUM_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")

_SHAPE = """
SELECT relname::text, attname::text, format_type(atttypid, atttypmod), version_num
FROM schema_version, pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
"""


def migrate_url(url: str) -> None:
    records = Records(url, pool_size=1)
    try:
        migrate(records)
    finally:
        records.close()


@contextmanager
def fresh_database() -> Iterator[str]:
    """An empty one, which is dropped."""
    name = _create()
    try:
        yield _url(name)
    finally:
        _administer(f"DROP DATABASE {name} WITH (FORCE)")


class MigratedDatabases:
    """Lends databases with the present schema and nothing in them.

    To make and drop one takes longer than most tests: two take turns, and one is emptied while a test has the other.
    """

    def __init__(self) -> None:
        self._beside = ThreadPoolExecutor(1)
        self._waiting: list[Future[str | None]] = []
        self._shapes: dict[str, frozenset[object]] = {}

    @contextmanager
    def lend(self) -> Iterator[str]:
        name = (self._waiting.pop(0).result() if len(self._waiting) > 1 else None) or self._make()
        try:
            yield _url(name)
        finally:
            self._waiting.append(self._beside.submit(self._as_made, name))

    def close(self) -> None:
        self._beside.shutdown()
        _administer(*(f"DROP DATABASE {name} WITH (FORCE)" for name in self._shapes))

    def _make(self) -> str:
        name = _create()
        migrate_url(_url(name))
        with psycopg.connect(_url(name), autocommit=True) as conn:
            self._shapes[name] = _shape(conn)
        return name

    def _as_made(self, name: str) -> str | None:
        """Everything taken out of it; none where a test changed its tables."""
        with psycopg.connect(_url(name), autocommit=True) as conn:
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            conn.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            if _shape(conn) == self._shapes[name]:
                _empty(conn)
                return name
        return None


def _shape(conn: psycopg.Connection) -> frozenset[object]:
    return frozenset(conn.execute(_SHAPE).fetchall())


def _empty(conn: psycopg.Connection) -> None:
    listed = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    tables = [name for (name,) in listed if name != "schema_version"]
    used = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in tables)
    if found := [table for (table,) in conn.execute(used).fetchall()]:
        conn.execute(f"TRUNCATE {', '.join(found)} RESTART IDENTITY CASCADE")


def _create() -> str:
    name = f"vallum_test_{uuid.uuid4().hex[:12]}"
    _administer(f"CREATE DATABASE {name}", f"ALTER DATABASE {name} SET synchronous_commit = off")
    return name


def _administer(*statements: str) -> None:
    with psycopg.connect(POSTGRES, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def _url(name: str) -> str:
    return POSTGRES.rsplit("/", 1)[0] + f"/{name}"
