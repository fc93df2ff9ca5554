"""The tables of keysets, their schedules, signing keys and secrets, and the queries over them. Every key is wrapped.

A destroyed version keeps its row with no key in it: its number is never given out again, so a value sealed by
it is told apart, for ever, from one that was tampered with.
"""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from vallum.kernel.keys.model import SecretRecord
from vallum.kernel.store.records import erase_copies, metadata

__all__ = [
    "KeyRow",
    "SigningRow",
    "alert_due",
    "all_keys",
    "delete_secret",
    "destroy_keys",
    "erase_remains",
    "insert_key_if_absent",
    "insert_signing_if_absent",
    "keep_alert",
    "key_versions",
    "newest_key",
    "one_key",
    "put_schedule",
    "put_secret",
    "replace_wrapped",
    "schedules",
    "sealed_secret",
    "secret_records",
    "signing_key",
    "signing_keys",
]

_keys = Table(
    "keyset_versions",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("version", BigInteger, nullable=False),  # 1 and up, without gaps
    Column("wrapped", LargeBinary),  # NULL once destroyed
    Column("root", Text, nullable=False),  # name of the provider that wrapped it
    Column("created_at", Text, nullable=False),
    Column("destroyed_at", Text),
    Column("wrapped_at", Text),  # NULL: when it was created, by an earlier release
    Column("check_value", Text),  # NULL: made by an earlier release and not wrapped anew since
    PrimaryKeyConstraint("tenant", "purpose", "version"),
)

_schedules = Table(
    "keyset_schedules",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("every_days", Integer, nullable=False),  # 0: never
    PrimaryKeyConstraint("tenant", "purpose"),
)

_alerts = Table(
    "overdue_alerts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alerted_at_seconds", BigInteger, nullable=False),
)

_signing = Table(
    "signing_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("public", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
)

_secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
)


class KeyRow(NamedTuple):
    tenant: str
    purpose: str
    version: int
    wrapped: bytes | None
    root: str
    created_at: str
    destroyed_at: str | None
    wrapped_at: str | None = None
    check_value: str | None = None


class SigningRow(NamedTuple):
    name: str
    public: bytes
    sealed: bytes
    created_at: str


def key_versions(conn: Connection, tenant: str, purpose: str) -> list[KeyRow]:
    """Every version of one keyset, oldest first."""
    found = select(_keys).where(_keys.c.tenant == tenant, _keys.c.purpose == purpose).order_by(_keys.c.version)
    return [KeyRow(*row) for row in conn.execute(found)]


def newest_key(conn: Connection, tenant: str, purpose: str) -> KeyRow | None:
    found = (
        select(_keys)
        .where(_keys.c.tenant == tenant, _keys.c.purpose == purpose)
        .order_by(_keys.c.version.desc())
        .limit(1)
    )
    row = conn.execute(found).first()
    return None if row is None else KeyRow(*row)


def one_key(conn: Connection, tenant: str, purpose: str, version: int) -> KeyRow | None:
    found = select(_keys).where(_keys.c.tenant == tenant, _keys.c.purpose == purpose, _keys.c.version == version)
    row = conn.execute(found).first()
    return None if row is None else KeyRow(*row)


def all_keys(conn: Connection) -> list[KeyRow]:
    found = select(_keys).order_by(_keys.c.tenant, _keys.c.purpose, _keys.c.version)
    return [KeyRow(*row) for row in conn.execute(found)]


def insert_key_if_absent(conn: Connection, row: KeyRow) -> bool:
    """True when this call made the row. On PostgreSQL it waits for another transaction that is making it."""
    made = _insert(conn, _keys).values(row._asdict()).on_conflict_do_nothing().returning(_keys.c.version)
    return conn.execute(made).first() is not None  # not rowcount: SQLAlchemy keeps none for an INSERT on PostgreSQL


def replace_wrapped(
    conn: Connection, old: KeyRow, wrapped: bytes, root: str, *, wrapped_at: str, check_value: str
) -> bool:
    """Only while the row still holds what was unwrapped: a key destroyed meanwhile must not come back."""
    changed = conn.execute(
        update(_keys)
        .where(
            _keys.c.tenant == old.tenant,
            _keys.c.purpose == old.purpose,
            _keys.c.version == old.version,
            _keys.c.wrapped == old.wrapped,
        )
        .values(wrapped=wrapped, root=root, wrapped_at=wrapped_at, check_value=check_value)
    )
    return changed.rowcount == 1


def destroy_keys(conn: Connection, tenant: str, purpose: str, version: int | None, at: str) -> int:
    """Erase one version's key, or all; returns how many held one until now. `erase_remains` goes with it."""
    erased = update(_keys).where(_keys.c.tenant == tenant, _keys.c.purpose == purpose, _keys.c.wrapped.is_not(None))
    if version is not None:
        erased = erased.where(_keys.c.version == version)
    return conn.execute(erased.values(wrapped=None, destroyed_at=at)).rowcount


def erase_remains(conn: Connection) -> None:
    """Leave no copy of a wrapped key that was overwritten in SQLite's files.

    A page that was split can keep a copy of a row in its unused part, where `secure_delete` does not look. It does
    zero a page that is freed, so the table, small as it is, is emptied and filled again.
    """
    if conn.dialect.name == "sqlite":
        rows = [row._asdict() for row in conn.execute(select(_keys))]
        conn.execute(delete(_keys))
        conn.execute(insert(_keys), rows)
    erase_copies(conn)


def signing_key(conn: Connection, name: str) -> SigningRow | None:
    row = conn.execute(select(_signing).where(_signing.c.name == name)).first()
    return None if row is None else SigningRow(*row)


def signing_keys(conn: Connection) -> list[tuple[str, str]]:
    """Names and when they were made, by name."""
    found = select(_signing.c.name, _signing.c.created_at).order_by(_signing.c.name)
    return [(row.name, row.created_at) for row in conn.execute(found)]


def schedules(conn: Connection) -> dict[tuple[str, str], int]:
    """Days by tenant and purpose, of keysets that have a schedule of their own."""
    return {(row.tenant, row.purpose): row.every_days for row in conn.execute(select(_schedules))}


def put_schedule(conn: Connection, tenant: str, purpose: str, every_days: int | None) -> None:
    """None takes the keyset's own schedule away."""
    conn.execute(delete(_schedules).where(_schedules.c.tenant == tenant, _schedules.c.purpose == purpose))
    if every_days is not None:
        conn.execute(insert(_schedules).values(tenant=tenant, purpose=purpose, every_days=every_days))


def alert_due(conn: Connection, name: str, now_seconds: int, every_seconds: int) -> bool:
    """Whether nothing was said of `name` for so long; a time in the future, from a clock gone wrong, counts too."""
    at = conn.execute(select(_alerts.c.alerted_at_seconds).where(_alerts.c.name == name)).scalar_one_or_none()
    return at is None or abs(now_seconds - at) >= every_seconds


def keep_alert(conn: Connection, name: str, now_seconds: int) -> None:
    row = _insert(conn, _alerts).values(name=name, alerted_at_seconds=now_seconds)
    conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"alerted_at_seconds": now_seconds}))


def insert_signing_if_absent(conn: Connection, row: SigningRow) -> None:
    conn.execute(_insert(conn, _signing).values(row._asdict()).on_conflict_do_nothing())


def put_secret(conn: Connection, name: str, sealed: bytes, at: str) -> None:
    row = _insert(conn, _secrets).values(name=name, sealed=sealed, created_at=at, updated_at=at)
    conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"sealed": sealed, "updated_at": at}))


def sealed_secret(conn: Connection, name: str) -> bytes | None:
    return conn.execute(select(_secrets.c.sealed).where(_secrets.c.name == name)).scalar_one_or_none()


def secret_records(conn: Connection) -> list[SecretRecord]:
    listed = select(_secrets.c.name, _secrets.c.created_at, _secrets.c.updated_at).order_by(_secrets.c.name)
    return [SecretRecord(*row) for row in conn.execute(listed)]


def delete_secret(conn: Connection, name: str) -> bool:
    return conn.execute(delete(_secrets).where(_secrets.c.name == name)).rowcount == 1


def _insert(conn: Connection, into: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that may say what to do on a conflict, which both dialects spell alike."""
    return postgresql.insert(into) if conn.dialect.name == "postgresql" else sqlite.insert(into)
