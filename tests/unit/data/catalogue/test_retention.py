"""What is over goes with its key and an entry; what is held stays, and what is in use is told of and decided about."""

from datetime import UTC, datetime, timedelta

import pytest
from governed_data import contract, visits
from sqlalchemy import select

from vallum.background import expire_data
from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import RETENTION_DAYS, DataUnavailable
from vallum.data.catalogue.retention import Retention
from vallum.kernel.errors import Conflict, Denied
from vallum.settings import load_settings

REASON = "the model is withdrawn, nothing needs its rows"


class Moved:
    """So many days from now."""

    def __init__(self, days):
        self.days = days

    def now(self):
        return datetime.now(UTC) + timedelta(days=self.days)


@pytest.fixture
def own():
    """Settings of a test's own."""
    return {}


@pytest.fixture
def settings(migrated_url, tmp_path, own):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url, **own})


@pytest.fixture
def move(catalogue):
    def _move(days):
        catalogue.retention = Retention(Moved(days))

    return _move


def states(perform, stan, name="visits"):
    return [one.state for one in perform("list_data_versions", stan, {"name": name}, limit=100)][::-1]


def test_each_class_has_its_time_and_the_contract_may_say_another(taken_in):
    own = taken_in()  # 90 days
    plain = contract().replace(b"slaProperties: [{property: retention, value: 90, unit: d}]\n", b"")
    classed = taken_in(agreed=plain, name="stays")
    kept = [datetime.fromisoformat(v.expires_at) - datetime.fromisoformat(v.created_at) for v in (own, classed)]
    assert [round(one.total_seconds() / 86_400) for one in kept] == [90, 365], "restricted, and what it says itself"


@pytest.mark.parametrize("own", [{"datasets.restricted_days": 7}])
def test_a_schedule_of_ones_own_holds_for_each_class(settings, taken_in):
    assert settings.datasets.retention_days == RETENTION_DAYS | {"restricted": 7}
    plain = contract().replace(b"slaProperties: [{property: retention, value: 90, unit: d}]\n", b"")
    version = taken_in(agreed=plain)
    kept = datetime.fromisoformat(version.expires_at) - datetime.fromisoformat(version.created_at)
    assert round(kept.total_seconds() / 86_400) == 7


def test_what_is_over_is_listed_and_goes_with_its_key_and_its_quarantine(
    taken_in, perform, stan, move, platform, entries, blobs, catalogue
):
    taken_in(visits(spoil=(3,)))
    move(61)
    soon = perform("list_data_retention", stan, within_days=30)
    assert [(one.id, one.state) for one in soon] == [("visits/1", "soon")]
    assert perform("list_data_retention", stan, within_days=10) == []
    expire_data(platform)
    assert entries("data:version:expire") == []
    move(91)
    (due,) = perform("list_data_retention", stan, within_days=0)
    assert due.state == "due"
    expire_data(platform)
    assert states(perform, stan) == ["expired"]
    assert perform("list_data_retention", stan, within_days=0) == []
    told = entries("data:version:expire")[-1]["context"]
    assert (told["versions"], told["digests"]) == ("visits/1", due.digest)
    with platform.records.read() as conn:
        keys = [*conn.execute(select(table.versions.c.sealed_key)), *conn.execute(select(table.cases.c.sealed_key))]
    assert {bytes(key) for (key,) in keys} == {b""}
    catalogue.tidy()
    assert blobs() == []
    expire_data(platform)
    assert len(entries("data:version:expire")) == 1, "nothing over, no entry"


def test_more_than_one_entry_has_room_for_go_all_the_same(taken_in, perform, stan, move, platform, entries):
    from sqlalchemy import insert

    taken_in(visits(3))
    with platform.records.write() as conn:
        row = dict(conn.execute(select(table.versions)).one()._mapping)
        many = [{**row, "id": f"dsv_{n}", "number": n, "digest": f"{n:064x}"} for n in range(2, 122)]
        conn.execute(insert(table.versions), many)
    move(91)
    expire_data(platform)
    assert set(states(perform, stan)) == {"expired"}
    told = [name for entry in entries("data:version:expire") for name in entry["context"]["versions"].split()]
    assert sorted(told) == sorted(f"visits/{n}" for n in range(1, 122))


def test_one_in_use_is_told_of_once_a_week_and_a_steward_retires_it(
    taken_in, perform, stan, mel, move, platform, entries
):
    version = taken_in()
    path = {"name": "visits", "number": "1"}
    perform("record_data_use", mel, path, kind="model", used_by="churn/3")
    with pytest.raises(Conflict, match="is kept until"):
        perform("retire_data_version", stan, path, reason=REASON)
    for days, times in ((91, 1), (92, 1), (99, 2)):
        move(days)
        expire_data(platform)
        assert states(perform, stan) == ["available"]
        alerts = entries("data:version:overdue")
        assert (len(alerts), alerts[-1]["kind"]) == (times, "alert")
    assert alerts[-1]["context"]["used_by"] == "model churn/3"
    (due,) = perform("list_data_retention", stan, within_days=0)
    assert (due.id, due.state, due.used_by) == (version.id, "in_use", ("model churn/3",))
    with pytest.raises(Denied):
        perform("retire_data_version", mel, path, reason=REASON)
    assert perform("retire_data_version", stan, path, reason=REASON).used_by == ("model churn/3",)
    assert states(perform, stan) == ["expired"]
    assert entries("data:version:retire")[-1]["context"]["reason"] == REASON
    with pytest.raises((Denied, DataUnavailable)):
        perform("retire_data_version", stan, path, reason=REASON)


def test_a_hold_keeps_what_is_over_whoever_asks(taken_in, perform, stan, move, platform):
    taken_in()
    move(400)
    perform("hold_data_set", stan, {"name": "visits"}, reason="litigation 2026/4 asks for it")
    (due,) = perform("list_data_retention", stan, within_days=0)
    assert (due.state, due.hold) == ("held", "litigation 2026/4 asks for it")
    expire_data(platform)
    assert states(perform, stan) == ["available"]
    with pytest.raises(Denied):
        perform("retire_data_version", stan, {"name": "visits", "number": "1"}, reason=REASON)
    perform("release_data_hold", stan, {"name": "visits"})
    expire_data(platform)
    assert states(perform, stan) == ["expired"]


def test_a_hold_or_a_use_that_came_after_looking_counts(taken_in, perform, stan, mel, move, catalogue, platform):
    taken_in()
    taken_in(visits(5), name="stays")
    move(91)
    with platform.records.read() as conn:
        due = catalogue.retention.due(conn)
    assert [one.state for one in due] == ["due", "due"]
    perform("hold_data_set", stan, {"name": "visits"}, reason="litigation 2026/4 asks for it")
    perform("record_data_use", mel, {"name": "stays", "number": "1"}, kind="run", used_by="run 7")
    with platform.records.write() as conn:
        assert catalogue.retention.expire(conn, due) == 0
    assert states(perform, stan) == states(perform, stan, "stays") == ["available"]


def test_held_rows_of_an_erased_version_go_when_its_time_is_over(taken_in, perform, stella, stan, move, platform):
    """The version that took its place is another: the case stayed with the former, and must not stay for good."""
    taken_in(visits(spoil=(3,)))
    perform("erase_data_subject", stella, {"name": "visits"}, column="email", value="p4@example.org", reference="r")
    move(91)
    expire_data(platform)
    assert states(perform, stan) == ["erased", "expired"]
    (case,) = perform("list_quarantine", stan)
    assert case.state == "destroyed"
