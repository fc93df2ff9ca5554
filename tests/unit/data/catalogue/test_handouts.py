"""Who was handed rows of a data set, and has them mounted, is told from the ledger to those who watch over it."""

from dataclasses import replace

import pytest
from registered_models import person

from vallum.api.resources.data_handouts import _handed
from vallum.kernel.errors import Denied, Invalid
from vallum.settings import load_settings

PATH = {"name": "visits", "number": "1"}


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.fixture
def handouts(perform, platform):
    def _handouts(by, name="visits"):
        if platform.records.dialect == "postgresql":
            with platform.records.write() as conn:
                platform.ledger.sequence(conn, 10_000)
        return perform("list_data_handouts", by, {"name": name})

    return _handouts


def test_mounts_reads_and_exports_are_told_with_who_and_what_for(taken_in, perform, stella, mel, handouts):
    taken_in()
    taken_in(name="trips")
    perform("read_data_rows", mel, PATH, purpose="care", run="forecast-12", lease_seconds=3600)
    perform("read_data_rows", stella, PATH)
    perform("export_data_rows", mel, PATH, purpose="care", columns="visit,cost")
    perform("read_data_rows", stella, {"name": "trips", "number": "1"})
    found = handouts(stella)
    assert [(one.kind, one.by, one.purpose, one.columns, one.mounted) for one in found] == [
        ("export", mel.render(), "care", 2, False), ("read", stella.render(), "", 6, False),
        ("mount", mel.render(), "care", 6, True),
    ]  # fmt: skip
    mount = found[-1]
    assert (mount.version, mount.rows, mount.run, mount.masked) == ("visits/1", 60, "forecast-12", 1)
    assert mount.at < mount.until


def test_a_mount_is_over_with_its_lease(taken_in, perform, stella, mel, handouts, platform):
    taken_in()
    perform("read_data_rows", mel, PATH, purpose="care", run="forecast-12", lease_seconds=3600)
    (mount,) = handouts(stella)
    with platform.records.read() as conn:
        entry = platform.ledger.entry(conn, mount.entry_id)
    assert _handed("visits/1", entry, mount.until).mounted is False
    assert _handed("visits/1", entry, mount.at).mounted is True


def test_who_was_refused_was_handed_nothing_and_others_are_not_told(taken_in, perform, stella, mel, handouts):
    taken_in()
    with pytest.raises(Denied):
        perform("read_data_rows", person("ann", "administrator"), PATH)
    assert handouts(stella) == handouts(person("otto", "auditor")) == []
    for nobody in (mel, person("ann", "administrator"), replace(person("elsa", "data_steward"), tenant="other")):
        with pytest.raises(Denied):
            handouts(nobody)


def test_a_runs_name_that_hides_something_is_refused(taken_in, perform, mel):
    taken_in()
    with pytest.raises(Invalid):
        perform("read_data_rows", mel, PATH, purpose="care", run="a\x1b[2Jb", lease_seconds=60)
