"""One capital for each subject, whichever worker has its requests."""

import asyncio
import os
import uuid
from random import Random

import pytest

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.counters import open_counters
from vallum.kernel.store.counters_memory import MemoryCounters
from vallum.models.runtime.extraction import Baseline, Capital
from vallum.models.runtime.model import Extraction
from vallum.models.runtime.suspicions import Suspicions

REDIS = os.environ.get("VALLUM_TEST_REDIS", "redis://127.0.0.1:6379/15")
STRICT = Extraction("refuse", "r.json")
DIMENSIONS = 8


@pytest.fixture(scope="module")
def baseline():
    random = Random(1)
    return Baseline.learn([ordinary(random) for _ in range(2000)], STRICT, Random(0))


@pytest.fixture(params=["memory:", REDIS])
async def workers(request):
    """Three that share their counters as workers do: on Redis, each with a connection of its own."""
    opened = [open_counters(request.param) for _ in range(3)]
    shared = [opened[0]] * 3 if request.param == "memory:" else opened
    yield [Suspicions(Random(0), counters) for counters in shared]
    for counters in opened:
        await counters.close()


@pytest.fixture
def subject():
    return f"test-{uuid.uuid4().hex}"


def ordinary(random):
    return [random.gauss(0, 1) for _ in range(DIMENSIONS)]


def anywhere(random):
    return [random.uniform(-6, 6) for _ in range(DIMENSIONS)]


def see(worker, subject, baseline, row, now=0.0, model="m/1"):
    return worker.see(subject, model, baseline, 1, lambda _: [row], STRICT, now)


async def test_three_workers_find_what_one_would_at_the_same_query(workers, subject, baseline):
    random, capital = Random(3), Capital()
    rows = [anywhere(random) for _ in range(200)]
    alone = next(at for at, row in enumerate(rows) if capital.look(baseline, row))
    seen = [await see(workers[at % 3], subject, baseline, row) for at, row in enumerate(rows[: alone + 4])]
    assert seen[:alone] == [None] * alone
    assert [(one.kind, one.is_new) for one in seen[alone:]] == [(capital.kind, True)] + [(capital.kind, False)] * 3


async def test_no_query_is_lost_when_all_ask_at_once(workers, subject, baseline):
    random = Random(4)
    rows = [ordinary(random) for _ in range(60)]
    found = await asyncio.gather(*(see(workers[at % 3], subject, baseline, row) for at, row in enumerate(rows)))
    assert found == [None] * 60
    await see(workers[0], subject, baseline, rows[0])
    assert workers[0]._known[f"extraction/{len(subject)}/{subject}/m/1"].capital.looks == 61


async def test_suspicion_is_of_one_subject_and_one_model_and_ends(workers, subject, baseline):
    random = Random(1)
    while await see(workers[0], subject, baseline, [random.uniform(-30, 30) for _ in range(DIMENSIONS)]) is None:
        pass
    fair = ordinary(random)
    for worker in workers:
        assert (await see(worker, subject, baseline, fair, 3600.0)).is_new is False
        assert await see(worker, subject + "-other", baseline, fair, 3600.0) is None
        assert await see(worker, subject, baseline, fair, 3600.0, "m/2") is None
        assert await see(worker, subject + "/m", baseline, fair, 3600.0, "1") is None
    for worker in workers:
        assert await see(worker, subject, baseline, fair, 24 * 3600.0) is None


async def test_counters_that_do_not_answer_let_nothing_pass(subject, baseline):
    absent = open_counters("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await see(Suspicions(Random(0), absent), subject, baseline, ordinary(Random(1)))
    await absent.close()


async def test_a_look_that_failed_is_folded_once(subject, baseline):
    """The state was put, and the answer was lost: the next query folds into what stands there."""

    class Lossy(MemoryCounters):
        lost = False

        async def swap(self, *args):
            found = await super().swap(*args)
            if self.lost:
                raise Unavailable("lost")
            return found

    counters = Lossy()
    worker, random = Suspicions(Random(0), counters), Random(2)
    await see(worker, subject, baseline, ordinary(random))
    counters.lost = True
    with pytest.raises(Unavailable):
        await see(worker, subject, baseline, ordinary(random))
    counters.lost = False
    assert await see(worker, subject, baseline, ordinary(random)) is None
    assert worker._known[f"extraction/{len(subject)}/{subject}/m/1"].capital.looks == 3


async def test_what_nobody_can_read_is_begun_anew(subject, baseline):
    counters = MemoryCounters()
    key = f"extraction/{len(subject)}/{subject}/m/1"
    await counters.swap(key, None, '{"looks": "many"}', 60)
    worker = Suspicions(Random(0), counters)
    assert await see(worker, subject, baseline, ordinary(Random(1))) is None
    assert worker._known[key].capital.looks == 1


async def test_memory_is_bounded(baseline):
    worker, row = Suspicions(Random(0), MemoryCounters()), ordinary(Random(1))
    for number in range(1500):
        await see(worker, f"s{number}", baseline, row)
    assert len(worker._known) == 1024


async def test_of_a_large_request_a_few_rows_are_looked_at(baseline):
    looked = []
    worker = Suspicions(Random(0), MemoryCounters())
    await worker.see("a", "m/1", baseline, 1000, lambda rows: looked.extend(rows) or [], STRICT, 0.0)
    assert len(looked) == 8
