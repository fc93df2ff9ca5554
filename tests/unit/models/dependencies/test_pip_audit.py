"""pip-audit beside the offline database: the real program, with a service that is there, is not, or says little."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from vallum.cli.tree import whole_tree
from vallum.models.dependencies import declared_at, scan_dependencies
from vallum.models.dependencies.pip_audit import with_pip_audit

NOW = datetime(2026, 11, 22, tzinfo=UTC)
WEAK = {
    "id": "PYSEC-2022-1", "aliases": ["CVE-2022-1"], "summary": "it runs what it reads",
    "affected": [{"package": {"name": "torch", "ecosystem": "PyPI"},
                  "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.13.1"}]}]}],
}  # fmt: skip


@pytest.fixture
def service():
    """An OSV service that knows of one package."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((said["package"]["name"], said["version"]))
            raw = json.dumps({"vulns": [WEAK]} if said["package"]["name"] == "torch" else {}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *given):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
    server.shutdown()
    thread.join()
    server.server_close()


def audited(folder, url):
    declared = declared_at(folder)
    return with_pip_audit(scan_dependencies(declared, None, NOW), declared, NOW, osv_url=url)


def test_what_its_service_knows_is_found_and_the_rest_is_clear(service, tmp_path):
    pytest.importorskip("pip_audit", reason="the extra audit is not installed")
    url, asked = service
    (tmp_path / "requirements.txt").write_text("torch==1.10.0\nnumpy==2.0.0\n")
    (finding,) = (report := audited(tmp_path, url)).findings
    assert (finding.id, finding.package, finding.aliases) == ("PYSEC-2022-1", "torch", ("CVE-2022-1",))
    assert (finding.fixed_in, finding.declared_in) == (("1.13.1",), ("requirements.txt",))
    assert (report.verdict, report.cannot_tell) == ("vulnerable", ())
    assert sorted(asked) == [("numpy", "2.0.0"), ("torch", "1.10.0")]
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    assert audited(tmp_path, url).verdict == "clear"


def test_a_file_of_requirements_gives_it_no_orders(service, tmp_path):
    pytest.importorskip("pip_audit", reason="the extra audit is not installed")
    url, asked = service
    lines = ["--index-url http://127.0.0.1:9/", "numpy==2.0.0", "-r /etc/passwd", "evil @ file:///tmp/evil", "scipy"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines) + "\n")
    report = audited(tmp_path, url)
    assert asked == [("numpy", "2.0.0")]
    assert report.verdict == "cannot-tell"
    assert {"evil", "scipy"} <= {one.about for one in report.cannot_tell}


def test_a_service_that_is_not_there_is_no_pass(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    given = [str(tmp_path), "--pip-audit", "--osv-url", "http://127.0.0.1:9/v1/query", "--json"]
    command = ["models", "dependencies", "scan", *given, "--database", str(tmp_path / "none.sqlite")]
    done = CliRunner().invoke(whole_tree(), command)
    assert done.exit_code == 2
    said = json.loads(done.stdout)
    assert said["verdict"] == "cannot-tell"
    assert {"pip-audit", "database"} <= {one["about"] for one in said["cannot_tell"]}


def test_what_it_skips_is_not_clear(tmp_path, monkeypatch):
    from vallum.models.dependencies import pip_audit

    said = {"dependencies": [{"name": "numpy", "skip_reason": "not found"}]}
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\nscipy==1.0.0\n")
    ran = type("Ran", (), {"returncode": 0, "stdout": json.dumps(said).encode()})
    monkeypatch.setattr(pip_audit.subprocess, "run", lambda *given, **options: ran)
    monkeypatch.setattr(pip_audit, "find_spec", lambda name: name)
    report = audited(tmp_path, "")
    assert report.verdict == "cannot-tell"
    assert {"numpy", "scipy", "database"} <= {one.about for one in report.cannot_tell}
