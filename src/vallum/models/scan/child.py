"""Scanning in a child process that is held to little: what an input does to the scanner, it does to that child alone.

The child has bounds on memory, processor time and files, writes nothing, and says what it found as it goes, a line of
JSON each. When it dies, the file that it was at is a finding, and another child goes on with the rest. What it may take
is counted from when it says that it is ready: how long it takes to start is the machine's doing and no input's. It is
counted in time of the processor; what waits for ever is ended by the clock, after what even a busy machine would need.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from threading import Timer
from time import process_time
from typing import IO, Any, Protocol

from vallum.models.scan.catalogue import inspectors, repository_inspectors
from vallum.models.scan.engine import files_of, scan_file, together, with_vouched
from vallum.models.scan.model import FileReport, Finding, Report, Verdict
from vallum.models.scan.pickles.starts import begin_helper
from vallum.models.scan.port import Starts

__all__ = ["Child", "inspectors", "repository_inspectors", "scan_as_told", "scan_isolated"]

_MEMORY_BYTES = 512 << 20  # beside what is mapped from files
_SECONDS_A_FILE, _SECONDS_A_MB = 4.0, 0.4  # twice what the engine allows itself
_MAX_DEATHS = 20
_MAX_STARTS = 3  # that come to nothing, one after another
_SECONDS_TO_START = 300.0  # by the clock
_SECONDS_OF_CLOCK, _CLOCK_PER_PROCESSOR = 60.0, 30.0  # twenty processes on each core, and more
_MAX_LINE_BYTES = 32 << 20


class Child(AbstractContextManager["Child"], Protocol):
    """A process that scans: told which files by `stdin`, it answers by `stdout`."""

    @property
    def stdin(self) -> IO[bytes] | None: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    def kill(self) -> None: ...


def scan_isolated(
    path: Path,
    start: Callable[[Sequence[str]], Child] | None = None,
    starts_in: Mapping[str, Starts] | None = None,
) -> Report:
    """As `scan`, and safe from its inputs. `start` gives a child that does `scan_as_told`; without, it is a process of
    its own. `starts_in` says of files below `path` where pickles may begin, which is searched for in the others.
    Raises OSError for a path that cannot be read at all, or when none can be started."""
    files = files_of(path)
    reports: dict[str, FileReport] = {}
    found: tuple[Finding, ...] = ()
    vouched: set[str] = set()
    left = list(files)
    starts = 0
    for _ in range(_MAX_DEATHS):
        begun, ended, ready = "", False, False
        for said in _ask(start or _started, path, files, left, starts_in or {}):
            match said:
                case {"ready": bool(ready)}:
                    pass
                case {"begin": str(begun)}:
                    pass
                case {"file": dict(report)}:
                    reports[report["path"]] = _report(report)
                case {"together": list(findings), "vouched": list(paths)}:
                    found, vouched, ended = tuple(_finding(one) for one in findings), set(paths), True
        starts = 0 if ready else starts + 1
        if not ready and starts < _MAX_STARTS:
            continue
        left = [name for name in left if name not in reports and name != begun]
        if begun and begun not in reports:
            why = "the scanner died of it, or was stopped: too slow, or too much memory"
            died = Finding(Verdict.REVIEW, "scanner-error", begun, why)
            reports[begun] = FileReport(begun, 0, (), (died,))
        if ended or not begun:  # all is said, or it dies of looking at all files together, and would again
            break
    if not ended:
        why = "the scanner died several times: not everything was looked at"
        if starts:
            why = f"the scanner did not start, {starts} times: not everything was looked at"
        found = (*found, *(Finding(Verdict.REVIEW, "scanner-error", name, why) for name in left or [str(path)]))
    ordered = tuple(with_vouched([reports[name] for name in files if name in reports], vouched))
    findings = [finding for report in ordered for finding in report.findings]
    return Report(str(path), ordered, (*findings, *found))


def _started(arguments: Sequence[str]) -> Child:
    # -I: nothing of the folder that it is started in is imported; the scanned one may hold anything.
    command = [sys.executable, "-I", "-m", "vallum.models.scan.child", *arguments]
    return subprocess.Popen(  # noqa: S603  this interpreter, and a path that is an argument of its own
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env={}
    )


def _ask(
    start: Callable[[Sequence[str]], Child],
    path: Path,
    files: dict[str, Path],
    left: list[str],
    starts_in: Mapping[str, Starts],
) -> Iterator[dict[str, Any]]:
    """What one child says until it ends, however it does."""
    megabytes = sum(file.lstat().st_size for file in files.values()) / 1e6
    seconds = _SECONDS_A_FILE * max(len(left), 1) + _SECONDS_A_MB * megabytes
    with start([str(path.absolute()), str(int(seconds) + 1)]) as child:
        if child.stdin is None or child.stdout is None:
            return
        clock = _clock(child, _SECONDS_TO_START)
        try:
            known = {name: starts_in[name] for name in left if name in starts_in}
            child.stdin.write(json.dumps({"left": left, "starts": known}).encode())
            child.stdin.close()
            said = child.stdout
            for line in iter(partial(said.readline, _MAX_LINE_BYTES), b""):
                message = json.loads(line)
                if "ready" in message:
                    clock.cancel()
                    clock = _clock(child, _SECONDS_OF_CLOCK + _CLOCK_PER_PROCESSOR * seconds)
                yield message
        except (OSError, ValueError):
            pass  # it died in the middle of a line
        finally:
            clock.cancel()
            child.kill()


def _clock(child: Child, seconds: float) -> Timer:
    timer = Timer(seconds, child.kill)
    timer.daemon = True
    timer.start()
    return timer


def scan_as_told(arguments: Sequence[str]) -> None:
    """What a child does: `arguments` are the path, and how many seconds of the processor it has."""
    path, seconds = arguments
    _main(Path(path), int(seconds))


def _main(path: Path, seconds: int) -> None:
    told = json.loads(sys.stdin.buffer.read())
    left, starts_in = set(told["left"]), {name: Starts(*found) for name, found in told["starts"].items()}
    begin_helper()  # no thread can be started when it is held
    _hold(seconds + round(process_time()))
    _say({"ready": True})
    files = files_of(path)
    known, several = inspectors(), repository_inspectors()
    reports = []
    for name in files:
        if name in left:
            _say({"begin": name})
            report = scan_file(name, files[name], known, starts_in.get(name))
            reports.append(report)
            _say({"file": {"path": name, "size": report.size, "formats": report.formats,
                           "findings": [one.as_json() for one in report.findings]}})  # fmt: skip
    all_of_it = together(path, files, [], known, several)
    _say({"together": [one.as_json() for one in all_of_it.findings], "vouched": all_of_it.vouched})


def _hold(seconds: int) -> None:
    """What is mapped read-only from files does not count as data: a large model is no large process."""
    signal.alarm(int(_SECONDS_OF_CLOCK + _CLOCK_PER_PROCESSOR * seconds) + 1)  # should nobody be left to end it
    for limit, value in (
        (resource.RLIMIT_DATA, _MEMORY_BYTES), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, 0),
    ):  # fmt: skip
        resource.setrlimit(limit, (value, value))
    os.nice(5)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _report(said: dict[str, Any]) -> FileReport:
    return FileReport(
        said["path"], said["size"], tuple(said["formats"]), tuple(_finding(one) for one in said["findings"])
    )


def _finding(said: dict[str, Any]) -> Finding:
    return Finding(Verdict(said["verdict"]), said["technique"], said["place"], said["explanation"])


if __name__ == "__main__":
    scan_as_told(sys.argv[1:])
