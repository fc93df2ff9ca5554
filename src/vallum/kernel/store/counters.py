"""Counters for limits: a port, kept in process or on Valkey/Redis, so that workers and replicas count together.

Rates are counted by the generic cell rate algorithm (ITU-T I.371, annex A): one number a key, the time at which all
that was taken will have been given back. A limit may be used up in one burst, and comes back evenly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from vallum.kernel.errors import Invalid

__all__ = ["Counters", "Take", "Verdict", "open_counters"]


@dataclass(frozen=True, slots=True)
class Take:
    """`cost` of what `key` may use of `limit` in `per_seconds`. `1 <= limit`, `0 <= cost`."""

    key: str
    limit: int
    per_seconds: int
    cost: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """When refused, `key` names the limit that is used up longest, and nothing was taken of any."""

    allowed: bool
    key: str | None = None
    retry_after_seconds: float = 0.0


class Counters(Protocol):
    """Every method raises Unavailable when the counters do not answer."""

    async def take(self, takes: Sequence[Take]) -> Verdict:
        """All of them or none."""
        ...

    async def charge(self, takes: Sequence[Take]) -> None:
        """Take without asking: what was used is used, and later takes wait for it."""
        ...

    async def lease(self, key: str, limit: int, ttl_seconds: int) -> str | None:
        """One of `limit` places, until released or `ttl_seconds` are over; None when all are taken."""
        ...

    async def release(self, key: str, lease: str) -> None: ...

    async def swap(self, key: str, before: str | None, after: str, ttl_seconds: int) -> tuple[bool, str | None]:
        """Put a small state in the place of `before`, unless another stands there by now (None: none does).

        Whether it was put, and what stands there then. It is forgotten `ttl_seconds` after it was put last.
        """
        ...

    async def close(self) -> None: ...


def open_counters(url: str) -> Counters:
    """`memory:` counts in this process; `redis://` and `rediss://` on a server. Raises Invalid for another."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        from vallum.kernel.store.counters_memory import MemoryCounters

        return MemoryCounters()
    if scheme in ("redis", "rediss"):
        try:
            from vallum.kernel.store.counters_redis import RedisCounters
        except ImportError as e:
            raise Invalid("counters on Redis need the extra: pip install 'vallum[redis]'") from e
        return RedisCounters(url)
    raise Invalid("counters.url: use memory:, redis:// or rediss://")
