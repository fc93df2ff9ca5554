"""The scanner's child: what an input does to it, it does to it alone, and nothing that killed it passes."""

import os
import sys

import pytest

from vallum.models.scan import Verdict
from vallum.models.scan import child as module
from vallum.models.scan.child import scan_isolated
from vallum.models.scan.sarif import render_sarif

RUNNER = """
import os, signal, sys
from pathlib import Path
from vallum.models.scan import child
from vallum.models.scan.model import Verdict


class Plain:
    name = "plain"

    def recognises(self, blob):
        return True

    def inspect(self, blob, scan):
        head = blob.head(16)
        if head.startswith(b"crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if head.startswith(b"memory"):
            bytearray(1 << 31)
        while head.startswith(b"hang"):
            pass
        if head.startswith(b"write"):
            Path(blob.place + ".written").write_bytes(b"x")
        if head.startswith(b"bad"):
            scan.report(Verdict.BLOCK, "executable", blob.place, "it says so")


child.inspectors = lambda: [Plain()]
child._main(Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository, and a child whose inspector does as each file says."""
    runner = tmp_path / "runner.py"
    runner.write_text(RUNNER)
    popen = module.subprocess.Popen

    def start(command, **options):
        options |= {"env": {"PYTHONPATH": os.pathsep.join(sys.path)}, "cwd": tmp_path}
        return popen([command[0], str(runner), *command[4:]], **options)

    monkeypatch.setattr(module.subprocess, "Popen", start)
    made = tmp_path / "repository"
    made.mkdir()
    return made


def verdicts(report):
    return {f.path: [(str(one.verdict), one.technique) for one in f.findings] for f in report.files}


def test_what_kills_the_scanner_is_a_finding_and_the_rest_is_looked_at(folder):
    for name in ("a.good", "b.crash", "c.good", "d.memory", "e.bad"):
        (folder / name).write_bytes(name[2:].encode())
    report = scan_isolated(folder)
    assert verdicts(report) == {
        "a.good": [], "b.crash": [("review", "scanner-error")], "c.good": [], "d.memory": [("review", "limit")],
        "e.bad": [("block", "executable")],
    }  # fmt: skip
    assert report.verdict is Verdict.BLOCK


def test_what_never_ends_is_stopped(folder, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_A_FILE", 1.0)
    (folder / "hang").write_bytes(b"hang")
    assert verdicts(scan_isolated(folder)) == {"hang": [("review", "scanner-error")]}


def test_it_writes_nothing(folder):
    (folder / "write").write_bytes(b"write")
    assert scan_isolated(folder).verdict is Verdict.REVIEW
    assert all(not file.stat().st_size for file in folder.parent.rglob("*.written"))


def test_what_kills_it_again_and_again_ends(folder):
    for number in range(30):
        (folder / f"{number:02}").write_bytes(b"crash")
    report = scan_isolated(folder)
    assert report.verdict is Verdict.REVIEW
    assert any("not everything was looked at" in finding.explanation for finding in report.findings)


def test_paths_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        scan_isolated(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert scan_isolated(tmp_path / "empty").verdict is Verdict.REVIEW  # nothing was looked at


def test_sarif_has_a_rule_for_each_technique(folder):
    (folder / "bad file").write_bytes(b"bad")
    (run,) = render_sarif([scan_isolated(folder)], "1.0")["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["executable"]
    (result,) = run["results"]
    assert (result["level"], result["ruleIndex"]) == ("error", 0)
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "bad%20file"


def test_what_dies_of_all_files_together_does_not_pass(folder):
    runner = folder.parent / "runner.py"
    dies = "    def inspect_repository(self, files, scan):\n        os.kill(os.getpid(), signal.SIGSEGV)\n"
    text = runner.read_text().replace("    def inspect(self", dies + "\n    def inspect(self")
    text = text.replace("child.inspectors =", "child.repository_inspectors = lambda: [Plain()]\nchild.inspectors =")
    runner.write_text(text)
    (folder / "good").write_bytes(b"good")
    report = scan_isolated(folder)
    assert verdicts(report) == {"good": []}
    assert report.verdict is Verdict.REVIEW
