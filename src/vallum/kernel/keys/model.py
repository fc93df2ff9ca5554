"""The words of key management: purposes, and what may be told about a keyset or a secret without opening it."""

from enum import StrEnum
from typing import Literal

import msgspec

from vallum.kernel.values import TenantId

__all__ = ["DEFAULT_TENANT", "KeyVersion", "KeysetRecord", "Purpose", "SecretRecord", "SecretVersion"]

DEFAULT_TENANT = TenantId("default")  # what belongs to the installation and not to one tenant


class Purpose(StrEnum):
    """What a keyset is for. Keys of different purposes never open each other's data."""

    CONTENT = "content"  # prompts, answers and other bodies beside the ledger
    FIELDS = "fields"  # columns of data sets, joinable ones included
    ARTIFACTS = "artifacts"  # models and other large blobs
    SIGNING = "signing"  # private signing keys at rest
    SECRETS = "secrets"  # the vault

    __hash__ = str.__hash__  # Enum's own is a Python call, and this is a dictionary key on the hot path


class KeyVersion(msgspec.Struct, frozen=True):
    version: int
    state: Literal["current", "former", "destroyed"]  # former ones only open; destroyed ones do nothing ever again
    root: str  # the provider whose root key wraps it
    created_at: str
    destroyed_at: str | None
    check_value: str | None = None  # what it is known by; None for one that an earlier release wrapped


class KeysetRecord(msgspec.Struct, frozen=True):
    """Every version of one tenant's keys for one purpose, oldest first. Holds no key."""

    tenant: TenantId
    purpose: Purpose
    versions: tuple[KeyVersion, ...]

    @property
    def current(self) -> int | None:
        """The version that seals; None when it was destroyed and nothing has been sealed since."""
        newest = self.versions[-1]
        return newest.version if newest.state == "current" else None


class SecretRecord(msgspec.Struct, frozen=True):
    """A secret in the vault, without its value."""

    name: str
    created_at: str
    updated_at: str
    version: int  # the one in use
    consumers: tuple[str, ...]  # who may have it; `any` for one put before there were consumers
    last_used_at: str | None = None  # of any version, to the minute
    last_used_by: str | None = None


class SecretVersion(msgspec.Struct, frozen=True):
    """One version of a secret, without its value. A former one is readable until a time, and then erased."""

    version: int
    state: Literal["current", "former"]
    consumers: tuple[str, ...]
    created_at: str
    readable_until: str | None
    last_used_at: str | None
    last_used_by: str | None
