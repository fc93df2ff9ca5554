import threading

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.chores import Chores


def test_they_are_done_now_and_then_and_at_the_end_and_a_failure_stops_none():
    done, twice = [], threading.Event()

    def failing():
        raise Unavailable("the database is away")

    def counting():
        done.append(1)
        if len(done) == 2:
            twice.set()

    chores = Chores()
    chores.every(0, failing)
    chores.every(0, counting)
    chores.start()
    assert twice.wait(10)
    before = len(done)
    chores.stop()
    assert len(done) > before


def test_one_that_comes_later_is_done_too_and_an_unforeseen_failure_stops_none():
    done = threading.Event()

    def broken():
        raise IndexError("a defect")

    chores = Chores()
    chores.every(0, broken)
    chores.start()
    chores.every(0, done.set)
    assert done.wait(10)
    chores.stop()


def test_what_never_started_stops():
    Chores().stop()
