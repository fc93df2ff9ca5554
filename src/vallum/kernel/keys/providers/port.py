"""What the keyring asks of the place where the root key lives.

`tests/unit/kernel/keys/test_root_key_providers.py` is what "is a root key provider" means; every adapter passes it.
"""

from typing import Protocol

__all__ = ["RootKeyProvider"]


class RootKeyProvider(Protocol):
    """Wraps data keys under a root key that the database never sees. Safe to share between threads."""

    name: str  # recorded beside each wrapped key, so that keys can move from one provider to another

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` (up to 4 KiB) sealed under the newest root key and bound to `context` (up to 4 KiB).

        Raises Unavailable when the provider does not answer.
        """
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """What `wrap` was given, under any root key not yet dropped.

        Raises SealBroken when anything differs, `context` included; Unavailable when the provider does not
        answer. Never returns a wrong key.
        """
        ...
