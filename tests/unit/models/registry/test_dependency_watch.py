"""What available versions need is held against each newer import, and people are told of what is new, once."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from advisories import advisory, export
from registered_models import person, tensors

from vallum.models.dependencies import import_advisories
from vallum.settings import load_settings

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


WEAK = {
    "id": "PYSEC-2022-1", "aliases": ["CVE-2022-1"], "summary": "it runs what it reads",
    "affected": [{"package": {"name": "numpy", "ecosystem": "PyPI"},
                  "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1.0"}]}]}],
}  # fmt: skip


class Service:
    """An OSV service that knows of numpy, until it is stopped."""

    def __init__(self):
        self.asked = asked = []

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked.append(said["package"]["name"])
                raw = json.dumps({"vulns": [WEAK]} if said["package"]["name"] == "numpy" else {}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *given):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/query"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()


@pytest.fixture
def service():
    made = Service()
    yield made
    made.stop()


class TestWithAService:
    """`models.pip_audit`: the real program, and a service that is there or is not."""

    @pytest.fixture
    def settings(self, migrated_url, tmp_path, service):
        pytest.importorskip("pip_audit", reason="the extra audit is not installed")
        given = {"data": str(tmp_path / "data"), "records.url": migrated_url}
        return load_settings(None, {}, given | {"models.pip_audit": "true", "models.osv_url": service.url})

    def test_both_are_asked_and_a_silent_service_is_no_pass_and_hides_nothing(
        self, uploaded, learn, run, told, perform, dana, service
    ):
        version = uploaded(NEED)
        where = f"ModelVersion:churn/{version.number}"
        learn(FIRST)
        run()
        assert told() == [("alert", where, 2, "PYSEC-2022-1:numpy GHSA-first:torch")]
        assert sorted(service.asked) == ["numpy", "torch"]
        service.stop()
        learn(FIRST, advisory("GHSA-more", "torch"))
        run()
        assert told()[1:] == [("alert", where, 1, "GHSA-more:torch")]  # the database is looked at all the same
        found = report(perform, version, dana).report
        assert {one.id for one in found.findings} == {"GHSA-first", "GHSA-more", "PYSEC-2022-1"}
        assert any(one.about == "pip-audit" for one in found.cannot_tell)

    def test_what_is_clear_by_the_database_is_not_clear_without_the_service(
        self, uploaded, learn, run, told, perform, dana, service
    ):
        clear = {"model.safetensors": tensors(), "requirements.txt": b"torch==1.13.0\n"}
        version, other = uploaded(clear), uploaded(clear, "other")
        learn(HARMLESS)
        run()
        assert report(perform, version, dana).verdict == "clear"
        service.stop()
        run()
        for one in (version, other):  # the second is not even asked about, and is no more clear for that
            assert report(perform, one, dana).verdict == "cannot-tell"
        assert told() == []

    def test_a_database_that_is_gone_takes_nothing_with_it_that_the_service_does_not_know(
        self, uploaded, learn, run, told, settings, perform, dana
    ):
        version = uploaded({"model.safetensors": tensors(), "requirements.txt": b"torch==1.13.0\n"})
        learn(FIRST)
        run()
        settings.advisories_path.unlink()
        run()
        found = report(perform, version, dana)
        assert (found.verdict, [one.id for one in found.report.findings]) == ("vulnerable", ["GHSA-first"])
        learn(HARMLESS)  # withdrawn
        run()
        assert report(perform, version, dana).verdict == "clear"
        assert len(told()) == 1


def test_nothing_is_sent_anywhere_unless_an_operator_asks_for_it(uploaded, learn, run, service, monkeypatch):
    from vallum.models.dependencies import pip_audit

    def refuse(*given, **options):
        raise AssertionError("a service was asked")

    monkeypatch.setattr(pip_audit, "_ask", refuse)
    uploaded(NEED)
    learn(HARMLESS)
    run()
    assert service.asked == []
