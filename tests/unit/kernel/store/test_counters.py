"""One conformance suite for every counter store."""

import asyncio
import os
import uuid

import pytest

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.store.counters import Take, open_counters
from vallum.kernel.store.counters_memory import MemoryCounters

REDIS = os.environ.get("VALLUM_TEST_REDIS", "redis://127.0.0.1:6379/15")


@pytest.fixture(params=["memory:", REDIS])
async def counters(request):
    opened = open_counters(request.param)
    yield opened
    await opened.close()


@pytest.fixture
def key():
    return f"test/{uuid.uuid4().hex}"


async def test_a_limit_lets_through_what_it_says_and_no_more(counters, key):
    verdicts = [await counters.take([Take(key, 3, 3600, 1)]) for _ in range(5)]
    assert [v.allowed for v in verdicts] == [True, True, True, False, False]
    assert verdicts[3].key == key
    assert 1190 < verdicts[3].retry_after_seconds <= 1200  # one of three comes back each 20 minutes


async def test_a_refusal_takes_nothing_of_any(counters, key):
    both = [Take(key + "/wide", 10, 3600, 1), Take(key + "/narrow", 1, 3600, 1)]
    assert (await counters.take(both)).allowed
    refused = await counters.take(both)
    assert (refused.allowed, refused.key) == (False, key + "/narrow")
    assert (await counters.take([Take(key + "/wide", 10, 3600, 9)])).allowed
    assert not (await counters.take([Take(key + "/wide", 10, 3600, 1)])).allowed


async def test_costs_add_up(counters, key):
    assert (await counters.take([Take(key, 100, 3600, 60)])).allowed
    assert not (await counters.take([Take(key, 100, 3600, 60)])).allowed
    assert (await counters.take([Take(key, 100, 3600, 40)])).allowed
    assert (await counters.take([Take(key, 100, 3600, 0)])).allowed


async def test_a_state_is_put_only_in_the_place_of_the_one_that_was_seen(counters, key):
    assert await counters.swap(key, None, "one", 60) == (True, "one")
    assert await counters.swap(key, None, "mine", 60) == (False, "one")
    assert await counters.swap(key, "another", "mine", 60) == (False, "one")
    assert await counters.swap(key, "one", "two", 60) == (True, "two")
    found = await asyncio.gather(*(counters.swap(key, "two", f"by {n}", 60) for n in range(20)))
    (won,) = [state for put, state in found if put]
    assert {state for _, state in found} == {won}


async def test_a_state_is_forgotten(counters, key):
    await counters.swap(key, None, "one", 1)
    await asyncio.sleep(1.1)
    assert await counters.swap(key, "one", "two", 1) == (False, None)


async def test_states_in_a_process_are_bounded():
    kept = MemoryCounters()
    for number in range(5000):
        await kept.swap(f"k{number}", None, "state", 60)
    assert len(kept._states) == 4096
    assert await kept.swap("k0", None, "state", 60) == (True, "state")


async def test_a_cost_beyond_the_limit_never_fits(counters, key):
    assert not (await counters.take([Take(key, 10, 60, 11)])).allowed


async def test_a_charge_is_taken_whatever_it_costs(counters, key):
    await counters.charge([Take(key, 10, 60, 25)])
    refused = await counters.take([Take(key, 10, 60, 1)])
    assert 90 < refused.retry_after_seconds < 97


async def test_what_is_used_comes_back_evenly(counters, key):
    for _ in range(4):
        assert (await counters.take([Take(key, 4, 1, 1)])).allowed
    refused = await counters.take([Take(key, 4, 1, 1)])
    assert not refused.allowed
    await asyncio.sleep(refused.retry_after_seconds + 0.02)
    assert (await counters.take([Take(key, 4, 1, 1)])).allowed


async def test_many_at_once_do_not_exceed_it(counters, key):
    verdicts = await asyncio.gather(*(counters.take([Take(key, 50, 3600, 1)]) for _ in range(200)))
    assert sum(v.allowed for v in verdicts) == 50


async def test_a_lease_is_one_of_so_many_and_comes_back(counters, key):
    first, second = await counters.lease(key, 2, 60), await counters.lease(key, 2, 60)
    assert first
    assert second
    assert await counters.lease(key, 2, 60) is None
    await counters.release(key, first)
    assert await counters.lease(key, 2, 60)
    await counters.release(key, "lease_of_nobody")
    assert await counters.lease(key, 2, 60) is None


async def test_many_leases_at_once_do_not_exceed_it(counters, key):
    leases = await asyncio.gather(*(counters.lease(key, 7, 60) for _ in range(50)))
    assert sum(lease is not None for lease in leases) == 7


async def test_two_replicas_count_together(key):
    one, other = open_counters(REDIS), open_counters(REDIS)
    verdicts = await asyncio.gather(*(c.take([Take(key, 10, 3600, 1)]) for c in (one, other) * 15))
    assert sum(v.allowed for v in verdicts) == 10
    await one.close()
    await other.close()


async def test_a_process_that_died_gives_its_leases_back():
    now = 0.0
    counters = MemoryCounters(lambda: now)
    assert await counters.lease("k", 1, 60)
    now = 61.0
    assert await counters.lease("k", 1, 60)


async def test_keys_nobody_uses_do_not_stay():
    now = 0.0
    counters = MemoryCounters(lambda: now)
    for n in range(10_001):
        now += 2.0
        await counters.take([Take(str(n), 1, 1, 1)])
    assert len(counters._free_at) < 10


async def test_no_answer_is_an_error_and_never_a_yes():
    counters = open_counters("redis://127.0.0.1:1")
    for asked in (
        counters.take([Take("k", 1, 1, 1)]),
        counters.charge([Take("k", 1, 1, 1)]),
        counters.lease("k", 1, 1),
        counters.release("k", "x"),
    ):
        with pytest.raises(Unavailable):
            await asked
    await counters.close()


@pytest.mark.parametrize("url", ["", "http://x", "memcached://x"])
def test_another_url_is_refused(url):
    with pytest.raises(Invalid, match=r"counters\.url"):
        open_counters(url)
