"""The vault: named secrets (a provider's API key, a database password), sealed, and revealed at the moment of use.

Configuration and the ledger name a secret; only this module turns the name into the value. Prepared values are
held in memory, opened ones are not. Subscribe `refresh` to epoch "keys".
"""

import re
from threading import Lock

from sqlalchemy import Connection

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.keys import records as table
from vallum.kernel.keys.keyring import EPOCH, Keyring
from vallum.kernel.keys.model import DEFAULT_TENANT, Purpose, SecretRecord
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records

__all__ = ["MAX_SECRET_BYTES", "Vault"]

MAX_SECRET_BYTES = 64 * 1024  # a certificate chain with its key fits; a file does not belong here

_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]{0,127}", re.ASCII)
_AAD = b"secrets\x00sealed\x00"


class Vault:
    """Safe to share between threads."""

    def __init__(self, records: Records, keyring: Keyring, clock: Clock) -> None:
        self._records = records
        self._keyring = keyring
        self._clock = clock
        self._lock = Lock()
        self._generation = 0
        self._sealed: dict[str, bytes] = {}

    def put(self, conn: Connection, name: str, value: bytes) -> None:
        """Keep `value` under `name`, in place of what was there. Raises Invalid for a bad name or size."""
        if not _NAME.fullmatch(name):
            raise Invalid("a secret's name is up to 128 lower-case letters, digits, '.', '_', '/' and '-'")
        if not 1 <= len(value) <= MAX_SECRET_BYTES:
            raise Invalid(f"the value of secret {name} has {len(value)} bytes; 1 to {MAX_SECRET_BYTES} are kept")
        sealed = self._keyring.seal(DEFAULT_TENANT, Purpose.SECRETS, value, _AAD + name.encode(), conn=conn)
        table.put_secret(conn, name, sealed, format_time(self._clock.now()))
        self._changed(conn)

    def reveal(self, name: str) -> bytes:
        """The value. Raises NotFound; SealBroken when its row was altered. Some microseconds, once read."""
        sealed = self._sealed.get(name)
        if sealed is None:
            generation = self._generation
            if _NAME.fullmatch(name):
                with self._records.read() as conn:
                    sealed = table.sealed_secret(conn, name)
            if sealed is None:
                raise NotFound(f"the vault holds no secret named {name!r}; put it there first")
            with self._lock:
                if generation == self._generation:
                    self._sealed[name] = sealed
        return self._keyring.open(DEFAULT_TENANT, Purpose.SECRETS, sealed, _AAD + name.encode())

    def list(self) -> list[SecretRecord]:
        """Names and times, by name; never values."""
        with self._records.read() as conn:
            return table.secret_records(conn)

    def delete(self, conn: Connection, name: str) -> None:
        """Raises NotFound when there is no such secret."""
        if not table.delete_secret(conn, name):
            raise NotFound(f"the vault holds no secret named {name!r}")
        self._changed(conn)

    def refresh(self) -> None:
        """Read every secret anew when it is next revealed."""
        with self._lock:
            self._generation += 1
            self._sealed = {}

    def _changed(self, conn: Connection) -> None:
        bump_epoch(conn, EPOCH)
        self.refresh()
