"""The vault: named secrets (a provider's API key, a database password), sealed, and leased at the moment of use.

Configuration and the ledger name a secret; only this module turns the name into the value. A secret has versions: a
fresh one is put beside the former, which stays readable for an overlap and is then erased. Each version is bound to the
consumers that may have it (`provider:openai`), and to nobody unless somebody says so. A consumer holds a value for a
minute, and asks anew. Answers a component that asks for what is another's, and a database edited so that it gets it:
name, version and consumers are sealed with the value. Does not answer a whole row of before put back by such an edit.

Time here never goes back: what was unreadable once stays so in this process, whatever the clock says. Sealed values
are held in memory, opened ones are not. Subscribe `refresh` to epoch "keys", and call `flush_uses` now and then.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import Connection

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.keys import records as table
from vallum.kernel.keys.errors import SecretRefused
from vallum.kernel.keys.keyring import EPOCH, Keyring
from vallum.kernel.keys.model import DEFAULT_TENANT, Purpose, SecretRecord, SecretVersion
from vallum.kernel.keys.records import SecretRow
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records

__all__ = ["LEASE_SECONDS", "MAX_OVERLAP_SECONDS", "MAX_SECRET_BYTES", "OVERLAP_SECONDS", "Lease", "Vault"]

MAX_SECRET_BYTES = 64 * 1024  # a certificate chain with its key fits; a file does not belong here
LEASE_SECONDS = 60  # the grain at which uses are told, and how long a deleted secret may still be held
OVERLAP_SECONDS = 3600
MAX_OVERLAP_SECONDS = 30 * 86_400
_MAX_CONSUMERS = 32

_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]{0,127}", re.ASCII)
_CONSUMER = re.compile(r"provider:[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}", re.ASCII)
_ANY = "any"  # of secrets that were put before there were consumers
_AAD = b"secrets\x00sealed\x00"


@dataclass(frozen=True, slots=True)
class Lease:
    """A secret's value, and until when (Unix seconds) it may be held."""

    value: bytes = field(repr=False)
    version: int
    until: float


class Vault:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, clock: Clock) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._lock = Lock()
        self._generation = 0
        self._rows: dict[str, tuple[SecretRow, ...]] = {}
        self._used: dict[tuple[str, int], tuple[str, str]] = {}
        self._latest = 0.0

    # Changing what is there.

    def put(
        self,
        conn: Connection,
        name: str,
        value: bytes,
        *,
        consumers: Sequence[str] | None = None,
        overlap_seconds: int = OVERLAP_SECONDS,
    ) -> SecretVersion:
        """A fresh version, which is the one in use from now on; former ones stay readable for the overlap, if so long.

        `consumers` are who may have it: none at all unless they are named, or were for the version before. Raises
        Invalid for a name, size, consumer or overlap that will not do.
        """
        if not _NAME.fullmatch(name):
            raise Invalid("a secret's name is up to 128 lower-case letters, digits, '.', '_', '/' and '-'")
        if not 1 <= len(value) <= MAX_SECRET_BYTES:
            raise Invalid(f"the value of secret {name} has {len(value)} bytes; 1 to {MAX_SECRET_BYTES} are kept")
        if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
            raise Invalid(f"a former version stays for 0 to {MAX_OVERLAP_SECONDS} seconds")
        bound = None if consumers is None else _checked(consumers)
        at = format_time(self._clock.now())
        version, before = table.claim_version(conn, name, at)
        if bound is None:
            former = table.secret_version(conn, name, before)
            bound = "" if former is None else former.consumers
        aad = _aad(name, version, bound)
        sealed = self._keyring.seal(DEFAULT_TENANT, Purpose.SECRETS, value, aad, conn=conn)
        table.insert_version(conn, SecretRow(name, version, sealed, bound, at, None, None, None))
        table.use_version(conn, name, version, self._now() + overlap_seconds, at)
        if not overlap_seconds:
            table.erase_versions(conn, self._now())
        self._changed(conn)
        return _described(SecretRow(name, version, b"", bound, at, None, None, None), version)

    def rollback(self, conn: Connection, name: str) -> SecretVersion:
        """The version before the one in use, while it is there; what was in use stays readable for an hour.

        Raises NotFound, and Conflict when there is none to go back to.
        """
        rows = self._locked(conn, name)
        current = next(row.version for row in rows if row.is_current)
        earlier = [row for row in rows if row.version < current and not self._is_over(row)]
        if not earlier:
            raise Conflict(f"there is no earlier version of {name} left: put the value again")
        at = format_time(self._clock.now())
        table.use_version(conn, name, earlier[-1].version, self._now() + OVERLAP_SECONDS, at)
        self._changed(conn)
        return _described(earlier[-1], earlier[-1].version)

    def delete(self, conn: Connection, name: str) -> None:
        """Raises NotFound when there is no such secret."""
        if not table.delete_secret(conn, name):
            raise NotFound(f"the vault holds no secret named {name!r}")
        self._changed(conn)

    def expired(self, conn: Connection) -> int:
        """How many versions are past their overlap, and wait to be erased."""
        return table.count_expired(conn, self._now())

    def erase_expired(self, conn: Connection) -> int:
        erased = table.erase_versions(conn, self._now())
        self._changed(conn)
        return erased

    # Using it.

    def reveal(self, name: str, consumer: str) -> Lease:
        """The version in use. Raises NotFound, SecretRefused for anybody else's, SealBroken when its row was altered.

        Some microseconds, once read.
        """
        return self._lease(self._current(name, consumer), consumer)

    def reveal_other(self, name: str, consumer: str) -> Lease | None:
        """The newest version that is readable beside the one in use, which `consumer` must be allowed, too."""
        current = self._current(name, consumer)
        rows = [row for row in self._found(name) if row.version != current.version and not self._is_over(row)]
        allowed = [row for row in rows if _allows(row, consumer)]
        return self._lease(allowed[-1], consumer) if allowed else None

    def flush_uses(self) -> None:
        """Write down which versions were leased since the last time, and to whom."""
        with self._lock:
            used, self._used = self._used, {}
        if used:
            with self._records.write() as conn:
                for (name, version), (consumer, at) in sorted(used.items()):
                    table.keep_use(conn, name, version, consumer, at)

    # Telling what is there, never values.

    def list(self) -> list[SecretRecord]:
        """By name."""
        with self._records.read() as conn:
            return [
                SecretRecord(name, created_at, updated_at, row.version, tuple(row.consumers.split()), *used)
                for name, created_at, updated_at, row, used in table.secrets(conn)
            ]

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Those that are readable, oldest first. Raises NotFound."""
        with self._records.read() as conn:
            rows = table.secret_versions(conn, name)
        current = [row.version for row in rows if row.is_current]
        if not current:
            raise NotFound(f"the vault holds no secret named {name!r}")
        return tuple(_described(row, current[0]) for row in rows if not self._is_over(row))

    def refresh(self) -> None:
        """Read every secret anew when it is next revealed."""
        with self._lock:
            self._generation += 1
            self._rows = {}

    def _changed(self, conn: Connection) -> None:
        bump_epoch(conn, EPOCH)
        self.refresh()

    def _locked(self, conn: Connection, name: str) -> Sequence[SecretRow]:
        if not table.lock_secret(conn, name):
            raise NotFound(f"the vault holds no secret named {name!r}")
        return table.secret_versions(conn, name)

    def _found(self, name: str) -> tuple[SecretRow, ...]:
        rows = self._rows.get(name)
        if rows is None:
            generation = self._generation
            rows = ()
            if _NAME.fullmatch(name):
                with self._records.read() as conn:
                    rows = tuple(table.secret_versions(conn, name))
            if not rows:
                raise NotFound(f"the vault holds no secret named {name!r}; put it there first")
            with self._lock:
                if generation == self._generation:
                    self._rows[name] = rows
        return rows

    def _current(self, name: str, consumer: str) -> SecretRow:
        rows = [row for row in self._found(name) if row.is_current]
        if not rows:
            raise NotFound(f"the vault holds no secret named {name!r}; put it there first")
        if not _allows(rows[0], consumer):
            raise SecretRefused(
                f"the secret {name} is not for {consumer}: put it with --for {consumer}, if it should be"
            )
        return rows[0]

    def _lease(self, row: SecretRow, consumer: str) -> Lease:
        aad = _aad(row.name, row.version, row.consumers)
        value = self._keyring.open(DEFAULT_TENANT, Purpose.SECRETS, row.sealed, aad)
        now = self._now()
        with self._lock:
            self._used[row.name, row.version] = (consumer, format_time(datetime.fromtimestamp(now, UTC)))
        until = now + LEASE_SECONDS
        return Lease(
            value, row.version, until if row.expires_at_seconds is None else min(until, row.expires_at_seconds)
        )

    def _is_over(self, row: SecretRow) -> bool:
        return row.expires_at_seconds is not None and row.expires_at_seconds <= self._now()

    def _now(self) -> float:
        self._latest = max(self._latest, self._clock.now().timestamp())
        return self._latest


def _checked(consumers: Sequence[str]) -> str:
    if len(consumers) > _MAX_CONSUMERS or not all(_CONSUMER.fullmatch(consumer) for consumer in consumers):
        raise Invalid(f"a consumer is provider:NAME, and a secret has {_MAX_CONSUMERS} of them at most")
    return " ".join(sorted(set(consumers)))


def _allows(row: SecretRow, consumer: str) -> bool:
    return row.consumers == _ANY or consumer in row.consumers.split()


def _aad(name: str, version: int, consumers: str) -> bytes:
    """The first version of a secret for anybody was sealed by a release that knew neither versions nor consumers."""
    if version == 1 and consumers == _ANY:
        return _AAD + name.encode()
    return _AAD + name.encode() + b"\x00" + version.to_bytes(8, "big") + consumers.encode()


def _described(row: SecretRow, current: int) -> SecretVersion:
    expires = row.expires_at_seconds
    return SecretVersion(
        version=row.version,
        state="current" if row.version == current else "former",
        consumers=tuple(row.consumers.split()),
        created_at=row.created_at,
        readable_until=None
        if row.version == current or expires is None
        else format_time(datetime.fromtimestamp(expires, UTC)),
        last_used_at=row.last_used_at,
        last_used_by=row.last_used_by,
    )
