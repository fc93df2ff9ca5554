import pytest

from vallum.kernel.store.epochs import EpochWatch, bump_epoch, read_epochs
from vallum.kernel.store.records import metadata


@pytest.fixture
def opened(records):
    with records.write() as conn:
        metadata.create_all(conn)
    return records


def test_a_bump_is_seen_once_by_who_subscribed(opened):
    watch, calls = EpochWatch(opened), []
    watch.subscribe("identity", lambda: calls.append("identity"))
    watch.subscribe("policy", lambda: calls.append("policy"))
    watch.poll_once()
    assert calls == []
    with opened.write() as conn:
        bump_epoch(conn, "identity")
        bump_epoch(conn, "identity")
    watch.poll_once()
    watch.poll_once()
    assert calls == ["identity"]


def test_a_change_that_rolls_back_bumps_nothing(opened):
    with pytest.raises(RuntimeError), opened.write() as conn:
        bump_epoch(conn, "policy")
        raise RuntimeError
    with opened.read() as conn:
        assert read_epochs(conn) == {}


def test_the_thread_follows_and_stops(opened):
    from threading import Event

    watch, moved = EpochWatch(opened, interval_seconds=0.01), Event()
    watch.subscribe("policy", moved.set)
    watch.start()
    with opened.write() as conn:
        bump_epoch(conn, "policy")
    assert moved.wait(5)
    watch.stop()


def test_a_refresh_that_fails_is_tried_again(opened):
    from vallum.kernel.errors import Unavailable

    watch, calls = EpochWatch(opened), []

    def refresh():
        calls.append(1)
        if len(calls) == 1:
            raise Unavailable("not yet")

    watch.subscribe("policy", refresh)
    with opened.write() as conn:
        bump_epoch(conn, "policy")
    with pytest.raises(Unavailable):
        watch.poll_once()
    watch.poll_once()
    assert len(calls) == 2
