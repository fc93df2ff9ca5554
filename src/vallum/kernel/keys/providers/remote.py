"""The root key in a key service on the network: what Vault, AWS, Google Cloud and Azure have in common.

A wrapped key is the service's format byte and what the service made of the key. That byte and the caller's context are
the associated data, so a wrapped key opens neither elsewhere nor as another service's. The root key never leaves the
service, and nothing that it answered is kept here. Answers what the file does, and a stolen machine: whoever has only
its disk has to ask the service, which can refuse, and which writes down who asked.

The service is asked with a bound on time, and one that does not answer is Unavailable: nothing is sealed without it.
"""

import os
from typing import Protocol

from vallum.kernel.errors import Unavailable
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken

__all__ = ["KeyService", "RemoteRoot"]

_MAX_WRAPPED_INPUT_BYTES = 4096
_PROBE_CONTEXT = b"vallum/probe/1"


class KeyService(Protocol):
    """One key in one service. Safe to share between threads; each call ends within some seconds.

    Both methods raise SealBroken, RootKeyRefused for what an operator has to put right, and Unavailable.
    """

    name: str
    format: int  # the first byte of what it wrapped; 0x01 is the file's and 0x02 the HSM's

    def check(self) -> None:
        """Raises RootKeyRefused for a key that is not there or not fit, Unavailable."""
        ...

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        """Under the newest version of the service's key, bound to `aad`."""
        ...

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        """Under whichever version encrypted. Raises SealBroken when anything differs."""
        ...


class RemoteRoot:
    """A `RootKeyProvider` on a `KeyService`."""

    def __init__(self, service: KeyService) -> None:
        """Use `open`."""
        self._service = service
        self._format = bytes([service.format])
        self.name = service.name

    @classmethod
    def open(cls, service: KeyService) -> "RemoteRoot":
        """Ask for the key, wrap with it and unwrap, so that what is not allowed is known at the start.

        Raises RootKeyRefused that says what to put right; Unavailable when the service does not answer.
        """
        service.check()
        root = cls(service)
        probe = os.urandom(32)
        if root._unwrap(root._wrap(probe, _PROBE_CONTEXT), _PROBE_CONTEXT) != probe:
            raise RootKeyRefused(f"keys.root = {root.name}: the key does not decrypt what it encrypted")
        return root

    def wrap(self, key: bytes, context: bytes) -> bytes:
        if len(key) > _MAX_WRAPPED_INPUT_BYTES or len(context) > _MAX_WRAPPED_INPUT_BYTES:
            raise ValueError(f"a root key wraps keys, and contexts, of up to {_MAX_WRAPPED_INPUT_BYTES} bytes")
        try:
            return self._wrap(key, context)
        except RootKeyRefused as e:  # it worked at the start: whoever asks now did nothing wrong
            raise Unavailable(str(e)) from e

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._unwrap(wrapped, context)
        except RootKeyRefused as e:
            raise Unavailable(str(e)) from e

    def _wrap(self, key: bytes, context: bytes) -> bytes:
        return self._format + self._service.encrypt(key, self._format + context)

    def _unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        if wrapped[:1] != self._format:
            raise SealBroken(f"these bytes are not a key wrapped by {self.name}")
        return self._service.decrypt(wrapped[1:], self._format + context)
