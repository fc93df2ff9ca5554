"""The tables of keysets, signing keys and secrets, and the queries over them. Every key in them is wrapped.

A destroyed version keeps its row with no key in it: its number is never given out again, so a value sealed by
it is told apart, for ever, from one that was tampered with.
"""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    delete,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from vallum.kernel.keys.model import SecretRecord
from vallum.kernel.store.records import metadata

__all__ = [
    "KeyRow",
    "SigningRow",
    "all_keys",
    "delete_secret",
    "destroy_keys",
    "insert_key_if_absent",
    "insert_signing_if_absent",
    "key_versions",
    "newest_key",
    "one_key",
    "put_secret",
    "replace_wrapped",
    "sealed_secret",
    "secret_records",
    "signing_key",
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
    PrimaryKeyConstraint("tenant", "purpose", "version"),
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
    insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(_keys)
    made = insert.values(row._asdict()).on_conflict_do_nothing().returning(_keys.c.version)
    return conn.execute(made).first() is not None  # not rowcount: SQLAlchemy keeps none for an INSERT on PostgreSQL


def replace_wrapped(conn: Connection, old: KeyRow, wrapped: bytes, root: str) -> bool:
    """Only while the row still holds what was unwrapped: a key destroyed meanwhile must not come back."""
    changed = conn.execute(
        update(_keys)
        .where(
            _keys.c.tenant == old.tenant,
            _keys.c.purpose == old.purpose,
            _keys.c.version == old.version,
            _keys.c.wrapped == old.wrapped,
        )
        .values(wrapped=wrapped, root=root)
    )
    return changed.rowcount == 1


def destroy_keys(conn: Connection, tenant: str, purpose: str, version: int | None, at: str) -> int:
    """Erase one version's key, or all; returns how many held one until now."""
    erased = update(_keys).where(_keys.c.tenant == tenant, _keys.c.purpose == purpose, _keys.c.wrapped.is_not(None))
    if version is not None:
        erased = erased.where(_keys.c.version == version)
    return conn.execute(erased.values(wrapped=None, destroyed_at=at)).rowcount


def signing_key(conn: Connection, name: str) -> SigningRow | None:
    row = conn.execute(select(_signing).where(_signing.c.name == name)).first()
    return None if row is None else SigningRow(*row)


def insert_signing_if_absent(conn: Connection, row: SigningRow) -> None:
    insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(_signing)
    conn.execute(insert.values(row._asdict()).on_conflict_do_nothing())


def put_secret(conn: Connection, name: str, sealed: bytes, at: str) -> None:
    insert = (postgresql if conn.dialect.name == "postgresql" else sqlite).insert(_secrets)
    row = insert.values(name=name, sealed=sealed, created_at=at, updated_at=at)
    conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"sealed": sealed, "updated_at": at}))


def sealed_secret(conn: Connection, name: str) -> bytes | None:
    return conn.execute(select(_secrets.c.sealed).where(_secrets.c.name == name)).scalar_one_or_none()


def secret_records(conn: Connection) -> list[SecretRecord]:
    listed = select(_secrets.c.name, _secrets.c.created_at, _secrets.c.updated_at).order_by(_secrets.c.name)
    return [SecretRecord(*row) for row in conn.execute(listed)]


def delete_secret(conn: Connection, name: str) -> bool:
    return conn.execute(delete(_secrets).where(_secrets.c.name == name)).rowcount == 1
