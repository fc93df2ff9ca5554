"""What was asked and answered is under legal hold: neither an erasure nor its time, nor a destroyed key, removes it."""

import json

import pytest
from governed_data import visits
from registered_models import person
from sqlalchemy import text

from vallum.background import expire_contents
from vallum.kernel.errors import Conflict, Denied
from vallum.kernel.ledger.audit import verify_store
from vallum.kernel.ledger.entry import EntryDraft
from vallum.settings import load_settings

WHOM = "p3@example.org"
APP = "application:app_1"
WHY = "litigation 2026/4 asks for it"
REASON = "asked for by letter, identity checked"


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.fixture
def said(platform):
    """The entry of an exchange, kept for so many days."""

    def _said(question, subject=APP, days=30):
        draft = EntryDraft(
            tenant="default", kind="inference", subject=subject, action="gateway:model:invoke", asset="Model:m",
            effect="allow", outcome="ok", context={"keep_days": days},
            contents={"request": json.dumps({"content": question}).encode(), "answer": b"fine"},
            retention_seconds=days * 86_400,
        )  # fmt: skip
        return platform.writer.record_sync(draft).entry_id

    return _said


@pytest.fixture
def remaining(platform):
    def _remaining():
        with platform.records.read() as conn:
            return set(conn.execute(text("SELECT entry_id FROM ledger_contents")).scalars())

    return _remaining


@pytest.fixture
def erased(perform, stella, stan):
    """Approved by somebody else."""

    def _erased(*identifiers):
        asked = perform("request_erasure", stella, identifiers=identifiers, reference="DSR-17")
        perform("approve_erasure", stan, {"erasure": asked.id}, reason=REASON)
        return asked

    return _erased


def test_an_erasure_waits_for_what_is_held_and_the_rest_goes(
    taken_in, said, erased, perform, stella, stan, platform, remaining, entries
):
    taken_in(visits(20))
    held, free = said(f"who is {WHOM}?"), said(f"where is {WHOM}?", subject="application:app_2")
    hold = perform("hold_exchanges", stella, reason=WHY, subject=APP)
    go_on = platform.control.services.subject_erasures.go_on
    asked = erased(WHOM)
    assert {one.place: one.held for one in asked.found if one.kind == "exchange"} == {
        "exchanges": "", f"exchanges, hold {hold.id}": WHY,
    }  # fmt: skip
    assert go_on() == 0
    now = perform("read_erasure", stella, {"erasure": asked.id})
    assert (now.state, [one.place for one in now.held]) == ("held", [f"exchanges, hold {hold.id}"])
    assert {step.place for step in now.steps} == {"visits", "exchanges"}
    assert (held in remaining(), free in remaining()) == (True, False)
    assert go_on() == 0
    perform("end_exchange_hold", stan, {"hold": hold.id}, reason="it was settled out of court")
    assert go_on() == 1
    assert held not in remaining()
    assert perform("read_erasure", stella, {"erasure": asked.id}).state == "done"
    told = [entries(f"ledger:hold:{verb}")[-1]["context"] for verb in ("set", "end")]
    assert [one["reason"] for one in told] == [WHY, "it was settled out of court"]
    assert (told[0]["whose"], told[1]["hold"]) == (APP, hold.id)


def test_two_holds_of_different_kinds_are_waited_for_and_go_one_by_one(
    taken_in, said, erased, perform, stella, stan, platform, remaining
):
    """A hold on a data set does not keep an exchange whose own hold is over."""
    taken_in(visits(20))
    spoken = said(f"who is {WHOM}?")
    perform("hold_data_set", stella, {"name": "visits"}, reason=WHY)
    hold = perform("hold_exchanges", stella, reason=WHY)
    asked, go_on = erased(WHOM), platform.control.services.subject_erasures.go_on
    assert go_on() == 0
    perform("end_exchange_hold", stan, {"hold": hold.id}, reason="it was settled out of court")
    assert go_on() == 0
    assert spoken not in remaining()
    assert [one.place for one in perform("read_erasure", stella, {"erasure": asked.id}).held] == ["visits/1"]
    perform("release_data_hold", stan, {"name": "visits"})
    assert go_on() == 1


def test_time_removes_nothing_that_is_held_and_makes_no_entries_of_it(
    said, perform, stella, stan, platform, remaining, entries
):
    held, free = said("what is it?", days=0), said("and that?", subject="application:app_2", days=0)
    hold = perform("hold_exchanges", stella, reason=WHY, subject=APP)
    for _ in range(2):
        expire_contents(platform)
    assert remaining() == {held}
    assert free not in remaining()
    assert len(entries("ledger:content:expire")) == 1
    perform("end_exchange_hold", stan, {"hold": hold.id}, reason="it was settled out of court")
    expire_contents(platform)
    assert remaining() == set()
    if platform.records.dialect == "sqlite":
        with platform.records.read() as conn:
            assert verify_store(conn, platform.ledger, platform.keyring, None).shredded == 4


def test_the_key_of_contents_is_not_destroyed_under_a_hold(said, perform, stella, stan, platform):
    said("what is it?")
    hold = perform("hold_exchanges", stella, reason=WHY, subject=APP)
    path = {"tenant": "default", "purpose": "content", "version": "1"}
    admin = person("ann", "administrator")
    with pytest.raises(Conflict, match="legal hold"):
        perform("destroy_key", admin, path, current=True)
    perform("end_exchange_hold", stan, {"hold": hold.id}, reason="it was settled out of court")
    perform("destroy_key", admin, path, current=True)


def test_who_may_hold_and_who_may_end(perform, stella, mel):
    security = person("sam", "security")
    hold = perform("hold_exchanges", security, reason=WHY)
    assert perform("list_exchange_holds", person("otto", "auditor")) == [hold]
    for nobody in (security, mel, person("ann", "administrator")):
        with pytest.raises(Denied):
            perform("end_exchange_hold", nobody, {"hold": hold.id}, reason="it was settled out of court")
    with pytest.raises(Denied):
        perform("hold_exchanges", mel, reason=WHY)
    with pytest.raises(Denied):
        perform("list_exchange_holds", mel)
    assert perform("end_exchange_hold", stella, {"hold": hold.id}, reason="it was settled out of court").ended_at
