"""Contents under legal hold outlive their time and erasures, and nothing else does."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from vallum.kernel.clock import SystemClock
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.ledger.erasing import erase_contents
from vallum.kernel.ledger.holds import ContentHeld, end_hold, list_holds, load_holds, place_hold

WHY = "litigation 2026/4 asks for it"


@pytest.fixture
def kept(append, make_draft):
    """An exchange of this application whose time is over, on behalf of somebody or not."""

    def _kept(subject="application:app_1", behalf="", seconds=0):
        context = {"on_behalf_of": behalf} if behalf else {}
        draft = make_draft(
            subject=subject, context=context, contents={"request": b"q", "answer": b"a"}, retention_seconds=seconds
        )
        return append([draft])[0].entry_id

    return _kept


@pytest.fixture
def hold(records):
    def _hold(**of):
        with records.write() as conn:
            return place_hold(conn, SystemClock(), "person:per_1", WHY, **of)

    return _hold


@pytest.fixture
def remaining(records):
    def _remaining():
        with records.read() as conn:
            return {row[0] for row in conn.exec_driver_sql("SELECT entry_id FROM ledger_contents")}

    return _remaining


@pytest.fixture
def expire(records, ledger):
    def _expire():
        with records.write() as conn:
            due = ledger.expired(conn)
            gone = ledger.shred_expired(conn)
        assert due == gone, "what is due is what goes: held contents make no entry each hour"
        return gone

    return _expire


def test_what_is_held_does_not_expire_until_the_hold_ends(kept, hold, expire, remaining, records):
    mine, others = kept(), kept("application:app_2")
    placed = hold(subject="application:app_1")
    assert (expire(), remaining()) == (2, {mine})
    assert expire() == 0
    with records.write() as conn:
        over = end_hold(conn, SystemClock(), placed.id, "person:per_2", "it was settled out of court")
    assert (over.ended_by, over.end_reason) == ("person:per_2", "it was settled out of court")
    assert (expire(), remaining()) == (2, set())
    assert others not in remaining()


def test_whom_an_exchange_was_for_is_held_too_and_a_hold_on_everybody_keeps_all(kept, hold, expire, remaining):
    hers, nobodys = kept(behalf="person:per_9"), kept()
    hold(subject="person:per_9")
    assert (expire(), remaining()) == (2, {hers})
    other = kept()
    hold()
    assert (expire(), remaining()) == (0, {hers, other})
    assert nobodys not in remaining()


def test_a_span_of_time_holds_what_was_said_in_it(kept, hold, expire, remaining):
    now = datetime.now(UTC)
    kept()
    hold(since=(now + timedelta(days=1)).isoformat())
    hold(until=(now - timedelta(days=1)).date().isoformat())
    assert expire() == 2
    there = kept()
    hold(since=(now - timedelta(days=1)).date().isoformat(), until=(now + timedelta(days=2)).date().isoformat())
    assert (expire(), remaining()) == (0, {there})


def test_an_erasure_that_names_a_held_exchange_removes_nothing(kept, hold, records, remaining):
    held, free = kept(seconds=3600), kept("application:app_2", seconds=3600)
    hold(subject="application:app_1")
    with pytest.raises(ContentHeld), records.write() as conn:
        erase_contents(conn, [free, held])
    assert remaining() == {held, free}
    with records.write() as conn:
        assert erase_contents(conn, [free]) == 2


def test_more_than_a_page_is_told_apart(kept, hold, expire, remaining, monkeypatch):
    monkeypatch.setattr("vallum.kernel.ledger.ledger._EXPORT_PAGE", 3)
    held = {kept() for _ in range(4)}
    for _ in range(4):
        kept("application:app_2")
    hold(subject="application:app_1")
    assert (expire(), remaining()) == (8, held)


def test_no_hold_is_placed_beside_a_removal(kept, hold, records, ledger):
    """Whoever is told that something is held finds it there: a hold waits for the removal that was before it."""
    kept()
    removing, placed, order = threading.Event(), [], []

    def place():
        removing.wait(10)
        placed.append(hold())
        order.append("placed")

    thread = threading.Thread(target=place)
    thread.start()
    with records.write() as conn:
        assert ledger.shred_expired(conn) == 2
        removing.set()
        thread.join(0.5)  # it gets no further
        order.append("removed")
    thread.join(10)
    assert order == ["removed", "placed"]


@pytest.mark.parametrize(
    "of",
    [
        {"subject": "per_1"}, {"subject": "person:"}, {"subject": "person:per_1 OR 1=1"}, {"since": "yesterday"},
        {"until": "9999-99-99"}, {"since": "2026-03-02", "until": "2026-03-01"},
    ],
)  # fmt: skip
def test_a_hold_on_nothing_is_refused(hold, of, records):
    with pytest.raises(Invalid):
        hold(**of)
    with records.read() as conn:
        assert not load_holds(conn)


def test_a_hold_says_why_and_ends_once(hold, records):
    placed = hold()
    with records.write() as conn:
        with pytest.raises(Invalid):
            place_hold(conn, SystemClock(), "person:per_1", "why not")
        with pytest.raises(NotFound):
            end_hold(conn, SystemClock(), "hld_other", "person:per_1", "it was settled")
        end_hold(conn, SystemClock(), placed.id, "person:per_1", "it was settled")
        with pytest.raises(Conflict):
            end_hold(conn, SystemClock(), placed.id, "person:per_1", "it was settled")
        assert [one.id for one in list_holds(conn)] == [placed.id]
