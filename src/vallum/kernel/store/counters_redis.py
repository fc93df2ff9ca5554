"""Counters on Valkey or Redis, shared by workers and replicas. Each question is one script, so nothing comes between.

Time is the server's, so that replicas whose clocks differ count alike.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from vallum.kernel.errors import Unavailable
from vallum.kernel.ids import new_id
from vallum.kernel.store.counters import Take, Verdict

__all__ = ["RedisCounters"]

_PREFIX = "vallum:"
_TIMEOUT_SECONDS = 1.0
_CONNECTIONS = 32  # a script takes well under a millisecond; more requests than these wait their turn

# ARGV: for each key limit, per_seconds, cost; last, whether to ask. Returns {0} or {index, wait}.
_TAKE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local ask = ARGV[#ARGV] == '1'
local wanted, order, worst, wait = {}, {}, 0, 0
for i, key in ipairs(KEYS) do
  local limit, per, cost = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local free_at = wanted[key] or tonumber(redis.call('GET', key) or now)
  if free_at < now then free_at = now end
  free_at = free_at + cost * per / limit
  local over = free_at - now - per
  if ask and over > 1e-6 and over > wait then worst, wait = i, over end
  wanted[key] = free_at
end
if worst > 0 then return {worst, tostring(wait)} end
for key, free_at in pairs(wanted) do
  if free_at > now then redis.call('SET', key, string.format('%.6f', free_at), 'EX', math.ceil(free_at - now) + 1) end
end
return {0}
"""

# KEYS: the set of leases. ARGV: limit, ttl_seconds, id.
_LEASE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[3])
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[2]))
return 1
"""

# ARGV: before, or '' for none; after; ttl_seconds. Returns {1} or {0, what stands there}.
_SWAP = """
local current = redis.call('GET', KEYS[1]) or ''
if current ~= ARGV[1] then return {0, current} end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return {1}
"""


class RedisCounters:
    """For one event loop."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            decode_responses=True,
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._take_script: Callable[..., Awaitable[Any]] = self._redis.register_script(_TAKE)
        self._lease_script: Callable[..., Awaitable[Any]] = self._redis.register_script(_LEASE)
        self._swap_script: Callable[..., Awaitable[Any]] = self._redis.register_script(_SWAP)

    async def take(self, takes: Sequence[Take]) -> Verdict:
        answer = await self._run(takes, "1")
        if not int(answer[0]):
            return Verdict(True)
        return Verdict(False, takes[int(answer[0]) - 1].key, float(answer[1]))

    async def charge(self, takes: Sequence[Take]) -> None:
        await self._run(takes, "0")

    async def lease(self, key: str, limit: int, ttl_seconds: int) -> str | None:
        lease = new_id("lease")
        try:
            taken = await self._lease_script(keys=[_PREFIX + key], args=[limit, ttl_seconds, lease])
        except (RedisError, OSError) as e:
            raise _unavailable() from e
        return lease if int(taken) else None

    async def release(self, key: str, lease: str) -> None:
        try:
            await self._redis.zrem(_PREFIX + key, lease)
        except (RedisError, OSError) as e:
            raise _unavailable() from e

    async def swap(self, key: str, before: str | None, after: str, ttl_seconds: int) -> tuple[bool, str | None]:
        try:
            found = await self._swap_script(keys=[_PREFIX + key], args=[before or "", after, ttl_seconds])
        except (RedisError, OSError) as e:
            raise _unavailable() from e
        return (True, after) if int(found[0]) else (False, str(found[1]) or None)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, takes: Sequence[Take], ask: str) -> Any:
        args = [str(number) for take in takes for number in (take.limit, take.per_seconds, take.cost)]
        try:
            return await self._take_script(keys=[_PREFIX + take.key for take in takes], args=[*args, ask])
        except (RedisError, OSError) as e:
            raise _unavailable() from e


def _unavailable() -> Unavailable:
    return Unavailable("the counters that limits rest on do not answer: try again shortly")
