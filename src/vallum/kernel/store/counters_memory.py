"""Counters in this process, for one worker."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from vallum.kernel.ids import new_id
from vallum.kernel.store.counters import Take, Verdict

__all__ = ["MemoryCounters"]

_MAX_STATES = 4_096  # some kilobytes each; the one that was put longest ago is forgotten first
_SWEEP_EVERY = 10_000  # calls between sweeps, so that keys nobody uses any more do not stay


class MemoryCounters:
    """For one event loop: nothing awaits, so nothing comes between."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._free_at: dict[str, float] = {}
        self._leases: dict[str, dict[str, float]] = {}
        self._states: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._calls = 0

    async def take(self, takes: Sequence[Take]) -> Verdict:
        now = self._seconds()
        self._sweep(now)
        wanted: dict[str, float] = {}
        refused = Verdict(True)
        for take in takes:
            free_at = max(wanted.get(take.key, self._free_at.get(take.key, now)), now)
            free_at += take.cost * take.per_seconds / take.limit
            wait = free_at - now - take.per_seconds
            if wait > 1e-9 and wait > refused.retry_after_seconds:
                refused = Verdict(False, take.key, wait)
            wanted[take.key] = free_at
        if refused.allowed:
            self._free_at.update(wanted)
        return refused

    async def charge(self, takes: Sequence[Take]) -> None:
        now = self._seconds()
        for take in takes:
            free_at = max(self._free_at.get(take.key, now), now)
            self._free_at[take.key] = free_at + take.cost * take.per_seconds / take.limit

    async def lease(self, key: str, limit: int, ttl_seconds: int) -> str | None:
        now = self._seconds()
        held = self._leases.setdefault(key, {})
        for lease in [lease for lease, until in held.items() if until <= now]:
            del held[lease]
        if len(held) >= limit:
            return None
        lease = new_id("lease")
        held[lease] = now + ttl_seconds
        return lease

    async def release(self, key: str, lease: str) -> None:
        held = self._leases.get(key, {})
        held.pop(lease, None)
        if not held:
            self._leases.pop(key, None)

    async def swap(self, key: str, before: str | None, after: str, ttl_seconds: int) -> tuple[bool, str | None]:
        now = self._seconds()
        held = self._states.get(key)
        current = held[0] if held is not None and now < held[1] else None
        if current != before:
            return False, current
        self._states[key] = (after, now + ttl_seconds)
        self._states.move_to_end(key)
        if len(self._states) > _MAX_STATES:
            self._states.popitem(last=False)
        return True, after

    async def close(self) -> None:
        return

    def _sweep(self, now: float) -> None:
        self._calls += 1
        if self._calls % _SWEEP_EVERY == 0:
            self._free_at = {key: at for key, at in self._free_at.items() if at > now}
