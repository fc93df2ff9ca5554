"""What available versions need is held against each newer import, and people are told of what is new, once."""

from datetime import UTC, datetime

import pytest
from advisories import advisory, export
from registered_models import person, tensors

from vallum.models.dependencies import import_advisories

NEED = {"model.safetensors": tensors(), "requirements.txt": b"torch==1.13.0\nnumpy==2.0.0\n"}
HARMLESS = advisory("GHSA-none", "some-other-package")
FIRST, SECOND = advisory("GHSA-first", "torch"), advisory("GHSA-second", "numpy", fixed="2.1.0")


@pytest.fixture
def learn(settings, tmp_path):
    def learn(*documents):
        source = export(tmp_path / "all.zip", *documents)
        import_advisories(source, settings.advisories_path, datetime.now(UTC), accept_older=True)

    return learn


@pytest.fixture
def run(platform):
    return platform.control.services.dependency_watch.run


@pytest.fixture
def told(entries):
    def told():
        found = entries("models:dependency:alert")
        return [(one["kind"], one["asset"], one["context"]["weaknesses"], one["context"]["ids"]) for one in found]

    return told


def report(perform, version, subject):
    return perform("read_model_dependencies", subject, {"name": version.model, "number": str(version.number)})


def test_an_import_that_newly_hits_an_available_version_is_an_alert_once(uploaded, learn, run, told, perform, dana):
    version = uploaded(NEED)
    learn(HARMLESS)
    run()
    assert told() == []
    assert report(perform, version, dana).report.findings == ()
    learn(HARMLESS, FIRST)
    run()
    run()
    assert told() == [("alert", f"ModelVersion:churn/{version.number}", 1, "GHSA-first:torch")]
    learn(HARMLESS, FIRST, SECOND)
    run()
    assert told()[1:] == [("alert", f"ModelVersion:churn/{version.number}", 1, "GHSA-second:numpy")]
    found = report(perform, version, dana)
    assert found.verdict == "vulnerable"
    assert {one.id for one in found.report.findings} == {"GHSA-first", "GHSA-second"}
    assert found.at is not None


def test_nobody_is_told_of_what_cannot_run(uploaded, learn, run, told, perform):
    version = uploaded(NEED)
    where = {"name": version.model, "number": str(version.number)}
    perform("revoke_model_version", person("rita", "approver"), where, reason="the data was withdrawn")
    learn(FIRST)
    run()
    assert told() == []


def test_a_database_that_is_gone_for_a_night_makes_nothing_new(uploaded, learn, run, told, settings, perform, dana):
    version = uploaded(NEED)
    learn(FIRST)
    run()
    settings.advisories_path.unlink()
    run()
    found = report(perform, version, dana)
    assert {one.id for one in found.report.findings} == {"GHSA-first"}
    assert any(one.about == "database" for one in found.report.cannot_tell)
    learn(FIRST)
    run()
    assert len(told()) == 1


def test_one_that_is_damaged_keeps_no_other_from_being_looked_at(uploaded, learn, run, told, settings):
    def blobs():
        return {path for path in (settings.data_path / "blobs" / "models").rglob("*") if path.is_file()}

    uploaded(NEED)
    for path in blobs():
        path.write_bytes(b"")
    other = uploaded(NEED, "other")
    learn(FIRST)
    run()
    assert [asset for _, asset, _, _ in told()] == [f"ModelVersion:other/{other.number}"]
