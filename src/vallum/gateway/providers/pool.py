"""One upstream a provider, made on first use, and asking them in order: retries, then fallbacks, breakers aside.

A provider's secret is leased as the consumer `provider:NAME`, and asked for anew when the lease is over. Where the
provider refuses it while a former version is still readable (one was put before the provider knew it, or withdrawn too
soon), the request is tried once with that.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from vallum.gateway.providers.breaker import Breaker
from vallum.gateway.providers.extractive import ExtractiveUpstream
from vallum.gateway.providers.failures import UpstreamFailed, check_answer
from vallum.gateway.providers.http import HttpUpstream
from vallum.gateway.providers.port import Call, Leases, Upstream, UpstreamAnswer, UpstreamStream
from vallum.inventory import Inventory, Model, Provider
from vallum.kernel.clock import Clock
from vallum.kernel.errors import Denied, NotFound
from vallum.kernel.keys import Lease
from vallum.retrieval import PassageIndex

__all__ = ["Candidate", "ProviderPool"]

_log = logging.getLogger("vallum")

T = TypeVar("T")

_BACKOFF_SECONDS = 0.1  # doubled with each try, and shortened at random so that clients do not return together
_MAX_BACKOFF_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model of one provider that may answer."""

    model_name: str
    model: Model
    provider_name: str
    provider: Provider


@dataclass(slots=True)
class _Open:
    provider: Provider
    upstream: Upstream
    breaker: Breaker
    lease: Lease | None


class ProviderPool:
    """For one event loop."""

    def __init__(
        self, inventory: Inventory, leases: Leases, open_index: Callable[[], PassageIndex], clock: Clock,
        predictive: Upstream | None = None,
    ) -> None:  # fmt: skip
        """`leases` gives the vault's secrets; it is asked when a lease is over, and after `forget`.

        `predictive` is what serves releases here, where something does; it lives as long as the pool.
        """
        self._predictive = predictive
        self._inventory = inventory
        self._leases = leases
        self._clock = clock
        self._open_index = open_index
        self._open: dict[str, _Open] = {}
        self._stale = False

    def forget(self) -> None:
        """Take up changed secrets: every upstream is opened anew on next use. May be called from any thread."""
        self._stale = True

    def candidates(self, model_name: str, allowed: frozenset[str]) -> Iterator[Candidate]:
        """The model asked for, then its fallbacks, of those that the application may use."""
        first = self._inventory.model(model_name)
        if first is None:
            return
        for name in (model_name, *(f for f in first.fallbacks if f in allowed)):
            model = self._inventory.model(name)
            provider = self._inventory.provider(model.provider) if model else None
            if model is not None and provider is not None:
                yield Candidate(name, model, model.provider, provider)

    async def call(self, candidates: list[Candidate], call: Call) -> tuple[Candidate, UpstreamAnswer]:
        """The first good answer. Raises UpstreamFailed with the last failure."""

        async def ask(upstream: Upstream, candidate: Candidate) -> UpstreamAnswer:
            answer = await upstream.call(_named(call, candidate))
            check_answer(answer)
            return answer

        return await self._first_good(candidates, ask)

    @asynccontextmanager
    async def stream(self, candidates: list[Candidate], call: Call) -> AsyncIterator[tuple[Candidate, UpstreamStream]]:
        """The first stream that begins well; once bytes flow there is no second try. Raises UpstreamFailed."""
        async with AsyncExitStack() as stack:

            async def ask(upstream: Upstream, candidate: Candidate) -> UpstreamStream:
                async with AsyncExitStack() as trying:
                    stream = await trying.enter_async_context(upstream.stream(_named(call, candidate)))
                    if stream.refused is not None:
                        check_answer(stream.refused)
                    stack.push_async_exit(trying.pop_all().__aexit__)
                return stream

            yield await self._first_good(candidates, ask)

    async def _first_good(
        self, candidates: list[Candidate], ask: Callable[[Upstream, Candidate], Awaitable[T]]
    ) -> tuple[Candidate, T]:
        """Each candidate in order, with its retries, unless its breaker leaves it alone."""
        failure = _no_provider()
        for candidate in candidates:
            opened = await self._opened(candidate)
            for attempt in range(candidate.provider.retries + 1):
                if not opened.breaker.allows():
                    failure = _broken(candidate)
                    break
                try:
                    answer = await self._ask(opened, candidate, ask)
                except UpstreamFailed as e:
                    failure = e
                    _note(opened.breaker, e)
                    if not e.retryable or attempt == candidate.provider.retries:
                        break
                    await _back_off(attempt)
                    continue
                opened.breaker.succeeded()
                return candidate, answer
            if not failure.retryable:
                break
        raise failure

    async def _ask(self, opened: _Open, candidate: Candidate, ask: Callable[[Upstream, Candidate], Awaitable[T]]) -> T:
        try:
            return await ask(opened.upstream, candidate)
        except UpstreamFailed as e:
            if e.error_code != "upstream_credentials" or opened.lease is None:
                raise
            other = await self._lease(candidate, self._leases.other)
            if other is None or other.value == opened.lease.value:
                self._open.pop(candidate.provider_name, None)  # the next request begins with the one in use
                raise
        _log.warning(
            "the provider %s refused version %d of its secret: trying version %d",
            candidate.provider_name, opened.lease.version, other.version,
        )  # fmt: skip
        return await ask(self._take(candidate, other, opened.breaker).upstream, candidate)

    async def close(self) -> None:
        for opened in self._open.values():
            await opened.upstream.close()
        self._open = {}
        if self._predictive is not None:
            await self._predictive.close()

    async def _opened(self, candidate: Candidate) -> _Open:
        if self._stale:
            self._stale = False
            old, self._open = self._open, {}
            # Requests in flight still use the old ones, which close by themselves when the last has gone.
            del old
        opened = self._open.get(candidate.provider_name)
        if opened is None or opened.provider != candidate.provider:
            return self._take(candidate, await self._lease(candidate, self._leases.current))
        if opened.lease is not None and opened.lease.until <= self._clock.now().timestamp():
            lease = await self._lease(candidate, self._leases.current)
            if lease is None or lease.value != opened.lease.value:
                return self._take(candidate, lease)
            opened.lease = lease
        return opened

    def _take(self, candidate: Candidate, lease: Lease | None, breaker: Breaker | None = None) -> _Open:
        provider = candidate.provider
        upstream: Upstream
        if provider.kind == "extractive":
            upstream = ExtractiveUpstream(self._open_index())
        elif provider.kind == "releases":
            if self._predictive is None:
                raise UpstreamFailed(503, "no_provider", "no releases are served here", retryable=False)
            upstream = self._predictive
        else:
            upstream = HttpUpstream(provider, "" if lease is None else lease.value.decode())
        breaker = breaker or Breaker(provider.failures_before_open, provider.open_seconds)
        opened = self._open[candidate.provider_name] = _Open(provider, upstream, breaker, lease)
        return opened

    async def _lease(self, candidate: Candidate, ask: Callable[[str, str], Awaitable[Lease | None]]) -> Lease | None:
        """None for a provider without a secret, and when there is no other version. Raises UpstreamFailed."""
        if not candidate.provider.secret:
            return None
        try:
            return await ask(candidate.provider.secret, f"provider:{candidate.provider_name}")
        except (Denied, NotFound) as e:
            self._open.pop(candidate.provider_name, None)
            _log.error("the provider %s has no credentials: %s", candidate.provider_name, e)
            raise UpstreamFailed(
                502, "upstream_credentials",
                "Vallum has no credentials for the provider: its operator must check the provider's secret",
                retryable=False,
            ) from e  # fmt: skip


def _named(call: Call, candidate: Candidate) -> Call:
    return replace(call, model_name=candidate.model.upstream_name or candidate.model_name)


def _note(breaker: Breaker, failure: UpstreamFailed) -> None:
    """Only what says something about the provider's health counts; a request it refuses says nothing."""
    if failure.retryable or failure.error_code == "upstream_timeout":
        breaker.failed()
    else:
        breaker.succeeded()


async def _back_off(attempt: int) -> None:
    seconds = min(_BACKOFF_SECONDS * 2**attempt, _MAX_BACKOFF_SECONDS)
    await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311  spreads load, guards nothing


def _no_provider() -> UpstreamFailed:
    return UpstreamFailed(503, "no_provider", "no provider is there for this model", retryable=False)


def _broken(candidate: Candidate) -> UpstreamFailed:
    seconds = max(1, int(candidate.provider.open_seconds))
    return UpstreamFailed(
        503, "upstream_broken", "the provider keeps failing and is left alone for a while",
        retryable=True, retry_after_seconds=seconds,
    )  # fmt: skip
