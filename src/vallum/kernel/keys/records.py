"""The tables of keysets, their schedules, signing keys and secrets, and the queries over them. Every key is wrapped.

A destroyed version keeps its row with no key in it: its number is never given out again, so a value sealed by
it is told apart, for ever, from one that was tampered with.
"""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from vallum.kernel.store.records import erase_copies, metadata
from vallum.kernel.store.upsert import upsert

__all__ = [
    "KeyRow",
    "SecretRow",
    "SigningRow",
    "alert_due",
    "all_keys",
    "claim_version",
    "count_expired",
    "delete_secret",
    "destroy_keys",
    "erase_remains",
    "erase_versions",
    "insert_key_if_absent",
    "insert_signing_if_absent",
    "insert_version",
    "keep_alert",
    "keep_use",
    "key_versions",
    "lock_secret",
    "newest_key",
    "one_key",
    "put_schedule",
    "replace_wrapped",
    "schedules",
    "secret_version",
    "secret_versions",
    "secrets",
    "signing_key",
    "signing_keys",
    "use_version",
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
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("version", BigInteger, nullable=False),  # the one in use
    Column("newest", BigInteger, nullable=False),  # numbers are not given out again
)

_secret_versions = Table(
    "secret_versions",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("consumers", Text, nullable=False),  # space-separated, sorted
    Column("created_at", Text, nullable=False),
    Column("expires_at_seconds", Double),  # NULL for the one in use
    Column("last_used_at", Text),
    Column("last_used_by", Text),
    PrimaryKeyConstraint("name", "version"),
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


class SecretRow(NamedTuple):
    name: str
    version: int
    sealed: bytes
    consumers: str
    created_at: str
    expires_at_seconds: float | None
    last_used_at: str | None
    last_used_by: str | None
    is_current: bool = False

    def __repr__(self) -> str:
        return f"SecretRow({self.name}, {self.version})"


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
    made = upsert(conn, _keys).values(row._asdict()).on_conflict_do_nothing().returning(_keys.c.version)
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
    row = upsert(conn, _alerts).values(name=name, alerted_at_seconds=now_seconds)
    conn.execute(row.on_conflict_do_update(index_elements=["name"], set_={"alerted_at_seconds": now_seconds}))


def insert_signing_if_absent(conn: Connection, row: SigningRow) -> None:
    conn.execute(upsert(conn, _signing).values(row._asdict()).on_conflict_do_nothing())


def claim_version(conn: Connection, name: str, at: str) -> tuple[int, int]:
    """The number of a fresh version, and that of the one in use (0: none). Holds the secret until the commit."""
    fresh = upsert(conn, _secrets).values(name=name, created_at=at, updated_at=at, version=0, newest=0)
    conn.execute(fresh.on_conflict_do_nothing())
    claimed = update(_secrets).where(_secrets.c.name == name).values(newest=_secrets.c.newest + 1)
    row = conn.execute(claimed.returning(_secrets.c.newest, _secrets.c.version)).one()
    return row.newest, row.version


def lock_secret(conn: Connection, name: str) -> bool:
    """Hold the secret until the commit; False when there is none."""
    return conn.execute(update(_secrets).where(_secrets.c.name == name).values(name=name)).rowcount == 1


def insert_version(conn: Connection, row: SecretRow) -> None:
    fields = row._asdict()
    del fields["is_current"]
    conn.execute(insert(_secret_versions).values(**fields))


def use_version(conn: Connection, name: str, version: int, others_until: float, at: str) -> None:
    """The one in use from now on; all others end then, or when they would have ended anyway."""
    here = _secret_versions.c.name == name
    c = _secret_versions.c
    conn.execute(update(_secrets).where(_secrets.c.name == name).values(version=version, updated_at=at))
    conn.execute(update(_secret_versions).where(here, c.version == version).values(expires_at_seconds=None))
    later = or_(c.expires_at_seconds.is_(None), c.expires_at_seconds > others_until)
    conn.execute(
        update(_secret_versions).where(here, c.version != version, later).values(expires_at_seconds=others_until)
    )


def secret_version(conn: Connection, name: str, version: int) -> SecretRow | None:
    return next((row for row in secret_versions(conn, name) if row.version == version), None)


def secret_versions(conn: Connection, name: str) -> list[SecretRow]:
    """Oldest first, those that wait to be erased included."""
    c = _secret_versions.c
    found = select(_secret_versions, _secrets.c.version == c.version).join(_secrets, _secrets.c.name == c.name)
    return [SecretRow(*row) for row in conn.execute(found.where(c.name == name).order_by(c.version))]


def secrets(conn: Connection) -> list[tuple[str, str, str, SecretRow, tuple[str | None, str | None]]]:
    """By name: name, created, updated, the version in use, and when and by whom any version was last used."""
    c = _secret_versions.c
    named = {row.name: row for row in conn.execute(select(_secrets).order_by(_secrets.c.name))}
    rows = [SecretRow(*row) for row in conn.execute(select(_secret_versions, c.version == 0).order_by(c.version))]
    found = []
    for name, head in named.items():
        own = [row for row in rows if row.name == name]
        current = [row for row in own if row.version == head.version]
        used = max(((row.last_used_at or "", row.last_used_by or "") for row in own), default=("", ""))
        if current:
            found.append((name, head.created_at, head.updated_at, current[0], (used[0] or None, used[1] or None)))
    return found


def keep_use(conn: Connection, name: str, version: int, consumer: str, at: str) -> None:
    here = (_secret_versions.c.name == name, _secret_versions.c.version == version)
    conn.execute(update(_secret_versions).where(*here).values(last_used_at=at, last_used_by=consumer))


def count_expired(conn: Connection, now: float) -> int:
    expired = select(func.count()).select_from(_secret_versions).where(_secret_versions.c.expires_at_seconds <= now)
    return conn.execute(expired).scalar_one()


def erase_versions(conn: Connection, now: float) -> int:
    """Those past their end; returns how many."""
    erase_copies(conn)
    return conn.execute(delete(_secret_versions).where(_secret_versions.c.expires_at_seconds <= now)).rowcount


def delete_secret(conn: Connection, name: str) -> bool:
    erase_copies(conn)
    conn.execute(delete(_secret_versions).where(_secret_versions.c.name == name))
    return conn.execute(delete(_secrets).where(_secrets.c.name == name)).rowcount == 1
