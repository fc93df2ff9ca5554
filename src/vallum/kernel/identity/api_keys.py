"""API keys: what an application's SDK presents. Hashed at rest, found in memory, gone everywhere within a second.

The gateway asks `recognise` on every request, which costs one hash and one lookup; what is not in memory is looked
up once, off the event loop, by `authenticate`. Keys that were never issued are told by their checksum first.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from sqlalchemy import Connection, insert, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.identity.model import ApiKey, CredentialRefused, IssuedKey
from vallum.kernel.identity.people import EPOCH
from vallum.kernel.identity.records import api_keys as table
from vallum.kernel.identity.secrets import API_KEY_PREFIX, hash_secret, is_well_formed, new_secret
from vallum.kernel.ids import new_id
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject, SubjectKind, TenantId

__all__ = ["ApiKeys", "scope_of"]

_MAX_HELD = 100_000
_MAX_LABEL_CHARS = 100


class ApiKeys:
    """Safe to share between threads."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._lock = Lock()
        self._generation = 0
        self._held: dict[bytes, tuple[Subject, int | None]] = {}
        self._used: set[str] = set()

    def issue(
        self,
        conn: Connection,
        application_id: str,
        *,
        label: str,
        expires_at_seconds: int | None = None,
        tenant: str = DEFAULT_TENANT,
        grant_id: str | None = None,
        models: Sequence[str] | None = None,
    ) -> IssuedKey:
        """A fresh key for an application, or for some `models` of it. Raises Invalid for what will not do.

        With `grant_id`, it was issued under that grant, and ends when the grant is ended early.
        """
        if not label.strip() or len(label) > _MAX_LABEL_CHARS or not label.isprintable():
            raise Invalid(f"a key's label is 1 to {_MAX_LABEL_CHARS} printable characters")
        now = self._clock.now()
        if expires_at_seconds is not None and expires_at_seconds <= now.timestamp():
            raise Invalid("the key would have expired already: give an expiry in the future")
        secret = new_secret(API_KEY_PREFIX)
        key = ApiKey(
            id=new_id("key"),
            application_id=application_id,
            tenant=tenant,
            label=label.strip(),
            last4=secret[-4:],
            created_at=format_time(now),
            expires_at_seconds=expires_at_seconds,
            revoked_at=None,
            last_used_at=None,
            models=None if models is None else tuple(sorted(set(models))),
        )
        fields = {name: getattr(key, name) for name in ApiKey.__struct_fields__}
        fields["models"] = None if key.models is None else "\n".join(key.models)
        conn.execute(insert(table).values(**fields, secret_hash=hash_secret(secret), grant_id=grant_id))
        bump_epoch(conn, EPOCH)
        return IssuedKey(key, secret)

    def revoke(self, conn: Connection, key_id: str) -> None:
        """Raises NotFound when there is no such key or it is revoked already."""
        done = conn.execute(
            update(table)
            .where(table.c.id == key_id, table.c.revoked_at.is_(None))
            .values(revoked_at=format_time(self._clock.now()))
        )
        if done.rowcount != 1:
            raise NotFound("there is no such key, or it is revoked already")
        bump_epoch(conn, EPOCH)

    def list(self, application_id: str | None = None) -> list[ApiKey]:
        query = select(*(table.c[name] for name in ApiKey.__struct_fields__)).order_by(table.c.created_at)
        if application_id is not None:
            query = query.where(table.c.application_id == application_id)
        with self._records.read() as conn:
            return [_key(row) for row in conn.execute(query)]

    def key(self, key_id: str) -> ApiKey:
        """Raises NotFound."""
        query = select(*(table.c[name] for name in ApiKey.__struct_fields__)).where(table.c.id == key_id)
        with self._records.read() as conn:
            row = conn.execute(query).one_or_none()
        if row is None:
            raise NotFound("there is no such key")
        return _key(row)

    def recognise(self, secret: str) -> Subject | None:
        """The subject of a key in memory; None means `authenticate` must look."""
        held = self._held.get(hash_secret(secret))
        if held is None:
            return None
        subject, expires = held
        if expires is not None and expires <= self._clock.now().timestamp():
            return None
        self._used.add(subject.credential or "")
        return subject

    def flush_uses(self) -> None:
        """Write down which keys were used since the last time; now and then, for each use would be a write."""
        used, self._used = self._used, set()
        if not used:
            return
        now = format_time(self._clock.now())
        with self._records.write() as conn:
            conn.execute(update(table).where(table.c.id.in_(sorted(used))).values(last_used_at=now))

    def authenticate(self, secret: str) -> Subject:
        """The application that holds this key. Raises CredentialRefused. Reads the database."""
        if not is_well_formed(secret, API_KEY_PREFIX):
            raise CredentialRefused("the API key is not valid: check it, or ask for another")
        hashed = hash_secret(secret)
        generation = self._generation
        with self._records.read() as conn:
            row = conn.execute(select(table).where(table.c.secret_hash == hashed)).one_or_none()
        if row is None or row.revoked_at is not None:
            raise CredentialRefused("the API key is not valid: check it, or ask for another")
        if row.expires_at_seconds is not None and row.expires_at_seconds <= self._clock.now().timestamp():
            raise CredentialRefused("the API key is not valid: check it, or ask for another")
        subject = Subject(
            SubjectKind.APPLICATION,
            row.application_id,
            TenantId(row.tenant),
            frozenset({"application"}),
            credential=row.id,
            models=scope_of(row.models),
        )
        self._used.add(row.id)
        with self._lock:
            # What was read before a refresh may be a key revoked since: it must not be kept past it.
            if generation == self._generation and len(self._held) < _MAX_HELD:
                self._held[hashed] = (subject, row.expires_at_seconds)
        return subject

    def refresh(self) -> None:
        """Forget every key held; the next use looks again."""
        with self._lock:
            self._generation += 1
            self._held = {}


def scope_of(models: str | None) -> frozenset[str] | None:
    """As the table keeps it; an empty text is a key for no model at all."""
    return None if models is None else frozenset(models.splitlines())


def _key(row: Any) -> ApiKey:  # a row of the table's columns
    fields = {name: getattr(row, name) for name in ApiKey.__struct_fields__}
    return ApiKey(**{**fields, "models": None if row.models is None else tuple(row.models.splitlines())})
