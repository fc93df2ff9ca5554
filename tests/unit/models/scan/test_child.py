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
    monkeypatch.setattr(module, "_SECONDS_A_FILE", 0.1)
    (folder / "hang").write_bytes(b"hang")
    assert verdicts(scan_isolated(folder)) == {"hang": [("review", "scanner-error")]}


def test_it_writes_nothing(folder):
    (folder / "write").write_bytes(b"write")
    assert scan_isolated(folder).verdict is Verdict.REVIEW
    assert all(not file.stat().st_size for file in folder.parent.rglob("*.written"))


def test_what_kills_it_again_and_again_ends(folder, monkeypatch):
    assert module._MAX_DEATHS < 30
    monkeypatch.setattr(module, "_MAX_DEATHS", 3)
    for number in range(5):
        (folder / f"{number:02}").write_bytes(b"crash")
    report = scan_isolated(folder)
    assert [path for path, found in verdicts(report).items() if found] == ["00", "01", "02"]
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


def change(folder, old, new):
    runner = folder.parent / "runner.py"
    text = runner.read_text()
    assert old in text
    runner.write_text(text.replace(old, new))


def test_how_long_it_takes_to_start_does_not_count(folder, monkeypatch):
    """On a busy machine that alone is more than a file may take."""
    monkeypatch.setattr(module, "_SECONDS_A_FILE", 0.1)
    busy = "while time.process_time() < 1.5:\n    pass\nchild._main("
    change(folder, "child._main(", busy)
    works = "until = time.process_time() + 0.3\n        while time.process_time() < until:\n            pass\n        "
    change(folder, 'if head.startswith(b"crash"):', works + 'if head.startswith(b"crash"):')
    change(folder, "import os, signal, sys", "import os, signal, sys, time")
    (folder / "a.good").write_bytes(b"good")
    assert verdicts(scan_isolated(folder)) == {"a.good": []}


def test_a_start_that_fails_is_tried_again(folder):
    once = "mark = Path(__file__).with_name('started')\nif not mark.exists():\n    mark.touch()\n    os._exit(1)\n"
    change(folder, "child._main(", once + "child._main(")
    (folder / "bad").write_bytes(b"bad")
    assert verdicts(scan_isolated(folder)) == {"bad": [("block", "executable")]}


def test_a_start_that_always_fails_is_no_pass(folder):
    change(folder, "child._main(", "os._exit(1)\nchild._main(")
    (folder / "good").write_bytes(b"good")
    report = scan_isolated(folder)
    assert report.verdict is Verdict.REVIEW
    assert [finding.explanation.split(":")[0] for finding in report.findings] == ["the scanner did not start, 3 times"]


def test_what_waits_for_ever_is_ended_by_the_clock(folder, monkeypatch):
    """It takes no time of the processor, which is what the bounds are counted in."""
    monkeypatch.setattr(module, "_SECONDS_OF_CLOCK", 0.2)
    monkeypatch.setattr(module, "_CLOCK_PER_PROCESSOR", 0.0)
    first = '        if head.startswith(b"crash"):'
    change(folder, first, f"        if head.startswith(b'wait'):\n            signal.pause()\n{first}")
    (folder / "wait").write_bytes(b"wait")
    assert verdicts(scan_isolated(folder)) == {"wait": [("review", "scanner-error")]}


def test_what_never_starts_is_ended_by_the_clock(folder, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_TO_START", 0.2)
    change(folder, "child._main(", "signal.pause()\nchild._main(")
    (folder / "good").write_bytes(b"good")
    assert scan_isolated(folder).verdict is Verdict.REVIEW
