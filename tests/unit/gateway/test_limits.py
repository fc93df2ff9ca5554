"""What a request takes, what it settles, and what happens when the counters are gone."""

import pytest

from vallum.gateway.limits import Limiter, RequestTooLarge
from vallum.inventory import Application, Limits, Model
from vallum.kernel.errors import LimitExceeded, Unavailable
from vallum.kernel.store.counters_memory import MemoryCounters

MODEL = Model(provider="p", input_price=2, output_price=10)


class Gone:
    """Counters that do not answer."""

    async def take(self, takes):
        raise Unavailable("gone")

    lease = charge = release = take


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def limiter(now):
    return Limiter(MemoryCounters(lambda: now[0]), MemoryCounters(lambda: now[0]))


def application(**limits):
    fields = {name: limits.pop(name) for name in ("limits_per_key", "limits_per_model", "when_counters_fail")
              if name in limits}  # fmt: skip
    return Application(owner="o", models=("m",), limits=Limits(**limits), **fields)


async def take(limiter, app, *, key="k", chars=40, output=None):
    return await limiter.take("app", app, key, "m", MODEL, chars, output)


async def test_requests_of_all_keys_count_together(limiter):
    app = application(requests_per_minute=2)
    await take(limiter, app, key="a")
    await take(limiter, app, key="b")
    with pytest.raises(LimitExceeded, match="requests/minute for this application"):
        await take(limiter, app, key="c")


async def test_each_key_has_its_own(limiter):
    app = application(limits_per_key=Limits(requests_per_day=1))
    await take(limiter, app, key="a")
    await take(limiter, app, key="b")
    with pytest.raises(LimitExceeded, match="for this key"):
        await take(limiter, app, key="a")


async def test_each_model_has_its_own(limiter):
    app = application(limits_per_model={"m": Limits(requests_per_day=1)})
    await take(limiter, app)
    with pytest.raises(LimitExceeded, match="for this model"):
        await take(limiter, app)


async def test_tokens_are_estimated_then_settled(limiter, now):
    app = application(tokens_per_day=1000)
    held = await take(limiter, app, chars=400, output=100)  # an estimate of 200
    await limiter.settle(held, MODEL, 300, 400)  # 500 more than that
    await take(limiter, app, chars=800, output=90)
    with pytest.raises(LimitExceeded):
        await take(limiter, app, chars=80)


async def test_what_was_estimated_too_high_is_not_given_back(limiter):
    """A lower charge would let a client free its budget by asking for answers it never gets."""
    app = application(tokens_per_day=1000)
    held = await take(limiter, app, chars=400, output=800)
    await limiter.settle(held, MODEL, 1, 1)
    with pytest.raises(LimitExceeded):
        await take(limiter, app, chars=480)


async def test_a_budget_is_by_price(limiter):
    app = application(budget_per_day=1000)
    held = await take(limiter, app, chars=40, output=50)  # 10 * 2 + 50 * 10
    await limiter.settle(held, MODEL, 10, 80)  # 300 more
    with pytest.raises(LimitExceeded, match="budget/day"):
        await take(limiter, app, chars=40, output=20)


async def test_a_budget_comes_back_over_the_day(limiter, now):
    app = application(budget_per_day=520)
    await take(limiter, app, output=50)
    with pytest.raises(LimitExceeded) as refused:
        await take(limiter, app, output=50)
    assert 86_000 < refused.value.retry_after_seconds <= 86_400
    now[0] += 86_400
    await take(limiter, app, output=50)


async def test_more_than_a_period_allows_is_never_worth_waiting_for(limiter):
    with pytest.raises(RequestTooLarge, match="shorten it"):
        await take(limiter, application(tokens_per_minute=10), chars=400)


async def test_a_refusal_holds_nothing(limiter):
    app = application(requests_per_minute=100, concurrent=1)
    held = await take(limiter, app)
    for _ in range(5):
        with pytest.raises(LimitExceeded, match="concurrent"):
            await take(limiter, app)
    await limiter.release(held)
    await take(limiter, app)


async def test_counters_that_are_gone_refuse(now):
    limiter = Limiter(Gone(), MemoryCounters(lambda: now[0]))
    with pytest.raises(Unavailable):
        await take(limiter, application(requests_per_minute=100))


async def test_counters_that_are_gone_leave_a_quarter_where_an_application_says_so(now):
    limiter = Limiter(Gone(), MemoryCounters(lambda: now[0]))
    app = application(requests_per_minute=8, concurrent=8, when_counters_fail="local")
    held = [await take(limiter, app) for _ in range(2)]
    with pytest.raises(LimitExceeded):
        await take(limiter, app)
    for one in held:
        await limiter.release(one)


async def test_no_limit_asks_nothing():
    limiter = Limiter(Gone(), Gone())
    held = await take(limiter, application())
    assert held.leases == []
    assert held.takes == ()
