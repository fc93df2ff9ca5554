"""Children that are forked: each is held to what any scanner's child is, and none outlives whoever asked for it."""

import json
import os
import signal
import struct
import sys
import time
from pathlib import Path

import pytest

from vallum.models.scan import Verdict
from vallum.models.scan import child as module
from vallum.models.scan.forks import Scanner
from vallum.models.scan.pickles import starts

RUNNER = """
import os, resource, signal, socket, sys
from pathlib import Path
from vallum.models.scan import child, forks
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
        if head.startswith(b"wait"):
            signal.pause()
        if head.startswith(b"write"):
            Path(blob.place + ".written").write_bytes(b"x")
        if head.startswith(b"forker"):
            os.kill(os.getppid(), signal.SIGKILL)
        if head.startswith(b"who"):
            scan.report(Verdict.REVIEW, "limit", blob.place, f"{os.getpid()} {os.getppid()}")
        if head.startswith(b"open"):
            there = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if int(n) > 2]
            scan.report(Verdict.REVIEW, "limit", blob.place, repr([one for one in there if "socket" in one]))


child.inspectors = lambda: [Plain()]
forks._serve(socket.socket(fileno=int(sys.argv[1])))
"""


@pytest.fixture
def scanner(tmp_path, monkeypatch):
    """One whose children's inspector does as each file says."""
    runner = tmp_path / "runner.py"
    runner.write_text(RUNNER)
    popen = module.subprocess.Popen

    def start(command, **options):
        options |= {"env": {"PYTHONPATH": os.pathsep.join(sys.path)}, "cwd": tmp_path}
        return popen([command[0], str(runner), *command[4:]], **options)

    monkeypatch.setattr(module.subprocess, "Popen", start)
    made = Scanner()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "repository"
    made.mkdir()
    return made


def verdicts(report):
    return {f.path: [(str(one.verdict), one.technique) for one in f.findings] for f in report.files}


def numbers(report):
    """Of the child, and of whoever forked it."""
    return [int(number) for number in report.findings[0].explanation.split()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid):
    until = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


def test_what_kills_a_child_is_a_finding_and_the_rest_is_looked_at(scanner, folder):
    for name in ("a.good", "b.crash", "c.good", "d.memory"):
        (folder / name).write_bytes(name[2:].encode())
    assert verdicts(scanner.scan(folder)) == {
        "a.good": [], "b.crash": [("review", "scanner-error")], "c.good": [], "d.memory": [("review", "limit")],
    }  # fmt: skip


def test_each_scan_has_a_child_of_its_own_and_none_is_left(scanner, folder):
    (folder / "who").write_bytes(b"who")
    (one, forker), (other, again) = numbers(scanner.scan(folder)), numbers(scanner.scan(folder))
    assert (forker == again, one == other) == (True, False)
    assert gone(one)
    assert gone(other)
    scanner.close()
    assert gone(forker)


def test_a_child_writes_nothing_and_has_nothing_open(scanner, folder):
    (folder / "write").write_bytes(b"write")
    (folder / "open").write_bytes(b"open")
    report = scanner.scan(folder)
    assert all(not file.stat().st_size for file in folder.parent.rglob("*.written"))
    assert [one.explanation for one in report.findings if one.technique == "limit"] == ["[]"]


def test_what_never_ends_is_stopped(scanner, folder, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_A_FILE", 0.1)
    (folder / "hang").write_bytes(b"hang")
    assert verdicts(scanner.scan(folder)) == {"hang": [("review", "scanner-error")]}


def test_what_waits_for_ever_is_ended_by_the_clock(scanner, folder, monkeypatch):
    (folder / "wait").write_bytes(b"good")
    assert verdicts(scanner.scan(folder)) == {"wait": []}  # it is started: that takes its time
    monkeypatch.setattr(module, "_SECONDS_OF_CLOCK", 0.2)
    monkeypatch.setattr(module, "_CLOCK_PER_PROCESSOR", 0.0)
    (folder / "wait").write_bytes(b"wait")
    assert verdicts(scanner.scan(folder)) == {"wait": [("review", "scanner-error")]}


def test_an_input_that_kills_whoever_forks_passes_nothing_and_the_next_is_scanned(scanner, folder):
    """It runs code in the child already, as the same user: what it can do is to be no pass."""
    (folder / "forker").write_bytes(b"forker")
    scanner.scan(folder)
    (folder / "forker").write_bytes(b"crash")
    assert scanner.scan(folder).verdict is Verdict.REVIEW
    (folder / "forker").write_bytes(b"good")
    assert scanner.scan(folder).verdict is Verdict.PASS


def test_whoever_forks_is_started_anew_when_it_is_gone(scanner, folder):
    (folder / "who").write_bytes(b"who")
    _, forker = numbers(scanner.scan(folder))
    os.kill(forker, signal.SIGKILL)
    assert gone(forker)
    assert numbers(scanner.scan(folder))[1] != forker


def test_whoever_forks_ends_when_nothing_is_scanned_and_is_started_anew(scanner, folder, tmp_path):
    runner = tmp_path / "runner.py"
    runner.write_text(RUNNER.replace("forks._serve", "forks._IDLE_SECONDS = 0.2\nforks._serve"))
    (folder / "who").write_bytes(b"who")
    _, forker = numbers(scanner.scan(folder))
    assert gone(forker)
    assert numbers(scanner.scan(folder))[1] != forker


def test_one_that_always_dies_passes_nothing(folder, monkeypatch):
    (folder / "good").write_bytes(b"good")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    scanner = Scanner()
    report = scanner.scan(folder)
    scanner.close()
    assert report.verdict is Verdict.REVIEW
    assert [finding.explanation.split(":")[0] for finding in report.findings] == ["the scanner did not start, 3 times"]


def test_it_ends_with_whoever_asked(folder, tmp_path):
    """Killed, and so with no time to say so."""
    program = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom vallum.models.scan.forks import Scanner\n"
        "scanner = Scanner()\nscanner.scan(Path(sys.argv[1]))\nprint(scanner._server._process.pid, flush=True)\n"
        "signal.pause()\n"
    )
    (folder / "a.json").write_bytes(b"{}")
    with module.subprocess.Popen([sys.executable, "-I", "-c", program, str(folder)], stdout=-1) as asker:
        forker = int(asker.stdout.readline())
        assert is_alive(forker)
        asker.kill()
    assert gone(forker)


def test_it_finds_what_a_child_by_itself_finds(tmp_path):
    """Also what two threads look for: both kinds of hidden pickle, in more than one searches alone."""
    size = 9 << 20
    header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    data = bytearray(os.urandom(1 << 20) * 9)
    scanner = Scanner()
    try:
        for name, hidden in (
            ("old", b"cos\nsystem\n(S'true'\ntR."),
            ("new", b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."),
        ):
            content = bytearray(data)
            content[size // 2 : size // 2 + len(hidden)] = hidden
            folder = tmp_path / name
            folder.mkdir()
            (folder / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + content)
            forked, alone = scanner.scan(folder), module.scan_isolated(folder)
            assert forked == alone
            assert "hidden-payload" in {finding.technique for finding in forked.findings}
    finally:
        scanner.close()


def test_two_threads_find_the_same_as_one(monkeypatch):
    data = bytearray(os.urandom(1 << 20) * 9)
    places = (5, 1 << 20, (8 << 20) + 3, len(data) - 30)
    for at in places:
        data[at : at + 24] = b"cos\nsystem\n(S'true'\ntR.."
    pattern, view = starts.OLD_CANDIDATE, memoryview(data)
    assert (
        list(starts.starts_meanwhile(pattern, view, 0, 100)()) == list(starts.starts_of(pattern, view, 0)) == [*places]
    )
    assert list(starts.starts_meanwhile(pattern, view, 6, 2)()) == [*places[1:3]]

    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(starts.Thread, "start", refused)
    starts._helper.cache_clear()
    assert list(starts.starts_meanwhile(pattern, view, 0, 100)()) == [*places]
    starts._helper.cache_clear()
