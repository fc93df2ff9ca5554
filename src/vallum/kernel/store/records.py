"""Records: one SQL schema on SQLite (embedded) and PostgreSQL (past one machine), through SQLAlchemy Core.

Owns the engine, its pragmas and the two kinds of transaction; tables belong to the packages that use them and
share `metadata`. SQLite writes begin IMMEDIATE: a deferred transaction that upgrades from reading to writing
fails at once instead of waiting its turn. `synchronous=FULL` keeps the promise that what was acknowledged is
on disk. A busy or absent database is `Unavailable`, so that callers refuse rather than carry on.

What must not be found again in SQLite's files is erased in three steps: `secure_delete` zeroes it where it lay, its
owner writes the table anew where pages may hold copies, and `erase_copies` cuts the write-ahead log, which keeps pages
as they were. PostgreSQL keeps dead rows until it vacuums, and its log (docs/keys.md says what to do).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["Records", "erase_copies", "metadata"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ERASING = "vallum_erasing"
_ERASING_TIMEOUT_MS = 500  # cutting the log keeps writers waiting while it waits for readers: try again later instead
BUSY_TIMEOUT_MS = 10_000  # a writer holds SQLite for milliseconds; ten seconds means that something is wrong


class Records:
    """The engine and its transactions. Safe to share between threads; not across a fork."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        """`url` is `sqlite:///PATH` or `postgresql://…`. Raises Invalid for any other."""
        self._has_copies = False
        try:
            parsed = make_url(url)
        except ArgumentError as e:
            raise Invalid("the database URL cannot be read; write sqlite:///PATH or postgresql://HOST/NAME") from e
        family = parsed.get_backend_name()
        if family == "sqlite":
            self.dialect: Literal["sqlite", "postgresql"] = "sqlite"
            self._engine = create_engine(
                parsed, pool_size=pool_size, connect_args={"check_same_thread": False}, hide_parameters=True
            )
            _tune_sqlite(self._engine)
        elif family == "postgresql":
            self.dialect = "postgresql"
            self._engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=pool_size,
                pool_pre_ping=True,
                hide_parameters=True,
            )
        else:
            raise Invalid(f"records are kept in SQLite or PostgreSQL, not in {family}")

    @property
    def engine(self) -> Engine:
        """For migrations and the durable-work engine, which bring their own transactions."""
        return self._engine

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception."""
        with self._translated(), self._engine.begin() as conn:
            if self.dialect == "sqlite":
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            conn.info.pop(_ERASING, None)
            yield conn
            self._has_copies |= conn.info.pop(_ERASING, False)
        with suppress(Unavailable):  # it is committed, whatever becomes of its copies; a chore tries again
            self.erase_copies_left()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot; whatever is written in the block is rolled back."""
        with self._translated(), self._engine.connect() as conn:
            if self.dialect == "sqlite":
                conn.exec_driver_sql("BEGIN")
            else:
                conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            try:
                yield conn
            finally:
                conn.rollback()

    def erase_copies_left(self) -> None:
        """Cut the log if something was to be erased here and a reader was in the way. Quick when there is nothing."""
        if self._has_copies:
            self._has_copies = not self.cut_log()

    def cut_log(self) -> bool:
        """Bring SQLite's write-ahead log into the database and cut it to nothing; False while a reader needs it."""
        if self.dialect != "sqlite":
            return True
        with self._translated(), self._engine.connect() as conn:
            conn.exec_driver_sql(f"PRAGMA busy_timeout={_ERASING_TIMEOUT_MS}")
            try:
                is_busy = conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            finally:
                conn.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        return not is_busy

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, InternalError) as e:  # the last, of a standby that is read-only
            raise Unavailable(f"the {self.dialect} database did not answer: {_cause(e)}") from e
        except PoolTimeout as e:
            raise Unavailable(f"the {self.dialect} database did not answer: every connection is in use") from e


def erase_copies(conn: Connection) -> None:
    """When this transaction commits, leave no copy of what it overwrote in SQLite's log."""
    conn.info[_ERASING] = True


def _cause(error: DBAPIError) -> str:
    """The driver's error class alone: its message may quote statement parameters."""
    return type(error.orig).__name__


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:  # the DB-API connection has no common type
        dbapi_connection.isolation_level = None  # this module begins transactions itself, never the driver
        cursor = dbapi_connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "cache_size=-512",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
