"""What the ledger needs from outside: keys that seal and sign, and a place for published files."""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from vallum.kernel.keys.model import Purpose
from vallum.kernel.values import TenantId

__all__ = ["Keys", "PublishedFiles"]


class Keys(Protocol):
    """The part of the keyring that the ledger uses. `conn` is the caller's transaction, where it has one."""

    def seal(
        self, tenant: TenantId, purpose: Purpose, data: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> bytes: ...

    def open(
        self, tenant: TenantId, purpose: Purpose, sealed: bytes, aad: bytes, *, conn: Connection | None = None
    ) -> bytes:
        """Raises IntegrityError for altered bytes, NotFound once the key is destroyed."""
        ...

    def signing_key(self, name: str, *, conn: Connection | None = None) -> Ed25519PrivateKey: ...


class PublishedFiles(Protocol):
    """Where tiles and the checkpoint are published, for anybody to read."""

    def put(self, key: str, data: bytes) -> None: ...

    def get(self, key: str) -> bytes:
        """Raises NotFound."""
        ...
