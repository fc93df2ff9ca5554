import pytest

from vallum.kernel.store.epochs import EpochWatch, bump_epoch, read_epochs


def test_a_bump_is_seen_once_by_who_subscribed(records):
    watch, calls = EpochWatch(records), []
    watch.subscribe("identity", lambda: calls.append("identity"))
    watch.subscribe("policy", lambda: calls.append("policy"))
    watch.poll_once()
    assert calls == []
    with records.write() as conn:
        bump_epoch(conn, "identity")
        bump_epoch(conn, "identity")
    watch.poll_once()
    watch.poll_once()
    assert calls == ["identity"]


def test_a_change_that_rolls_back_bumps_nothing(records):
    with pytest.raises(RuntimeError), records.write() as conn:
        bump_epoch(conn, "policy")
        raise RuntimeError
    with records.read() as conn:
        assert read_epochs(conn) == {}


def test_the_thread_follows_and_stops(records):
    from threading import Event

    watch, moved = EpochWatch(records, interval_seconds=0.01), Event()
    watch.subscribe("policy", moved.set)
    watch.start()
    with records.write() as conn:
        bump_epoch(conn, "policy")
    assert moved.wait(5)
    watch.stop()


def test_a_refresh_that_fails_is_tried_again(records):
    from vallum.kernel.errors import Unavailable

    watch, calls = EpochWatch(records), []

    def refresh():
        calls.append(1)
        if len(calls) == 1:
            raise Unavailable("not yet")

    watch.subscribe("policy", refresh)
    with records.write() as conn:
        bump_epoch(conn, "policy")
    with pytest.raises(Unavailable):
        watch.poll_once()
    watch.poll_once()
    assert len(calls) == 2
