"""Limits: requests, tokens, money and concurrent calls, for an application, each of its keys and each model.

All the takes of a request are one question to the counters, so that a refusal takes nothing. Tokens are taken by
estimate before the call and charged by the provider's count after it. Counters that do not answer refuse, or,
where an application says so, leave a quarter of its limits counted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vallum.inventory import Application, Limits, Model
from vallum.kernel.errors import Invalid, LimitExceeded, Unavailable
from vallum.kernel.store.counters import Counters, Take

__all__ = ["Held", "Limiter", "RequestTooLarge"]

_MINUTE, _DAY = 60, 86_400
_CHARS_PER_TOKEN = 4  # an estimate; what the provider counts is charged afterwards
_LEASE_SECONDS = 900  # longer than any answer may take; a process that died gives its calls back by then
_LOCAL_SHARE = 4  # without shared counters, each process lets through this fraction of a limit


class RequestTooLarge(Invalid):
    """The request alone is more than its limit allows in a whole period: no waiting helps."""

    code = "request_too_large"


@dataclass(slots=True)
class Held:
    """What one request holds: the leases to give back and the estimate to settle."""

    counters: Counters
    leases: list[tuple[str, str]]
    takes: tuple[Take, ...]
    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class _Scope:
    key: str
    limits: Limits


class Limiter:
    def __init__(self, counters: Counters, local: Counters) -> None:
        """`local` counts in process, for applications that prefer that to refusing."""
        self._counters = counters
        self._local = local

    async def take(
        self, name: str, application: Application, credential: str, model_name: str, model: Model,
        chars: int, max_output_tokens: int | None,
    ) -> Held:  # fmt: skip
        """Raises LimitExceeded, RequestTooLarge, or Unavailable when the counters do not answer."""
        tokens = chars // _CHARS_PER_TOKEN + (max_output_tokens or 0)
        cost = chars // _CHARS_PER_TOKEN * model.input_price + (max_output_tokens or 0) * model.output_price
        scopes = tuple(_scopes(name, application, credential, model_name))
        try:
            return await self._take(self._counters, scopes, tokens, cost)
        except Unavailable:
            if application.when_counters_fail == "refuse":
                raise
        reduced = tuple(replace(scope, limits=_reduced(scope.limits)) for scope in scopes)
        return await self._take(self._local, reduced, tokens, cost)

    async def settle(self, held: Held, model: Model, input_tokens: int, output_tokens: int) -> None:
        """Charge what was used beyond the estimate. Best effort: the answer is already paid for."""
        more_tokens = input_tokens + output_tokens - held.tokens
        more_cost = input_tokens * model.input_price + output_tokens * model.output_price - held.cost
        charges = [
            Take(take.key, take.limit, take.per_seconds, more)
            for take in held.takes
            if (more := more_cost if "/budget" in take.key else more_tokens if "/tokens" in take.key else 0) > 0
        ]
        if charges:
            await held.counters.charge(charges)

    async def release(self, held: Held) -> None:
        for key, lease in held.leases:
            await held.counters.release(key, lease)

    async def _take(self, counters: Counters, scopes: tuple[_Scope, ...], tokens: int, cost: int) -> Held:
        takes = tuple(take for scope in scopes for take in _takes(scope, tokens, cost))
        if takes:
            verdict = await counters.take(takes)
            if not verdict.allowed:
                raise LimitExceeded(_refusal(verdict.key or ""), max(verdict.retry_after_seconds, 0.001))
        held = Held(counters, [], takes, tokens, cost)
        for scope in scopes:
            if scope.limits.concurrent is None:
                continue
            key = scope.key + "/concurrent"
            lease = await counters.lease(key, scope.limits.concurrent, _LEASE_SECONDS)
            if lease is None:
                await self.release(held)
                raise LimitExceeded(_refusal(key), 1.0)
            held.leases.append((key, lease))
        return held


def _scopes(name: str, application: Application, credential: str, model_name: str) -> Iterator[_Scope]:
    yield _Scope(f"application/{name}", application.limits)
    if application.limits_per_key != _NO_LIMITS:
        yield _Scope(f"key/{credential}", application.limits_per_key)
    per_model = application.limits_per_model.get(model_name)
    if per_model is not None:
        yield _Scope(f"model/{len(name)}/{name}/{model_name}", per_model)  # names may hold slashes


_NO_LIMITS = Limits()


def _takes(scope: _Scope, tokens: int, cost: int) -> Iterator[Take]:
    limits, key = scope.limits, scope.key
    for unit, limit, seconds, amount in (
        ("requests/minute", limits.requests_per_minute, _MINUTE, 1),
        ("requests/day", limits.requests_per_day, _DAY, 1),
        ("tokens/minute", limits.tokens_per_minute, _MINUTE, tokens),
        ("tokens/day", limits.tokens_per_day, _DAY, tokens),
        ("budget/day", limits.budget_per_day, _DAY, cost),
    ):
        if limit is None:
            continue
        if amount > limit:
            raise RequestTooLarge(
                f"this request alone may use {amount} of {unit}, more than the {limit} of {key.partition('/')[0]}: "
                "shorten it, or ask for fewer output tokens"
            )
        yield Take(f"{key}/{unit}", limit, seconds, amount)


def _refusal(key: str) -> str:
    """`application/support/requests/minute` as a sentence; a key's own id tells its holder nothing new."""
    parts = key.split("/")
    unit = parts[-1] if parts[-1] == "concurrent" else "/".join(parts[-2:])
    return f"the limit of {unit} for this {parts[0]} is used up"


def _reduced(limits: Limits) -> Limits:
    values = {f: getattr(limits, f) for f in Limits.__struct_fields__}
    return Limits(**{f: None if v is None else max(1, v // _LOCAL_SHARE) for f, v in values.items()})
