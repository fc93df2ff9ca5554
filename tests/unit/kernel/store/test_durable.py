"""Durable work outlives a SIGKILL: run in processes of its own, on both databases."""

import json
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import json, os, sys, time
from pathlib import Path
from vallum.kernel.store.durable import Durable

url, trace, mode = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
durable = Durable(url)

def note(line):
    with trace.open("a") as out:
        out.write(line + "\\n")

first = durable.step("first", lambda: note("first") or 41)

def second_step(number):
    note("second")
    if mode == "crash":
        os.kill(os.getpid(), 9)
    return number + 1

second = durable.step("second", second_step)
third = durable.step("third", lambda number: note(f"third {number}"))

def chain():
    third(second(first()))
    return {"done": True}

chain = durable.workflow("chain", chain)
if mode == "schedule":
    durable.schedule("tick", "* * * * * *", lambda: note("tick"))
durable.start()
if mode == "schedule":
    until = time.monotonic() + 50  # it comes when a busy machine gets to it
    while trace.read_text().count("tick") < 2 and time.monotonic() < until:
        time.sleep(0.1)
else:
    print(json.dumps(durable.run(chain, "run-1")))
durable.stop()
"""


@pytest.fixture
def run(tmp_path, records_url):
    (tmp_path / "program.py").write_text(PROGRAM)
    trace = tmp_path / "trace"
    trace.touch()

    def run(mode):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "program.py"), records_url, str(trace), mode],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done, trace.read_text().split("\n")[:-1]

    return run


@pytest.mark.long
def test_work_goes_on_where_a_crash_stopped_it(run):
    crashed, trace = run("crash")
    assert crashed.returncode == -signal.SIGKILL
    assert trace == ["first", "second"]
    resumed, trace = run("resume")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout) == {"done": True}
    assert trace == ["first", "second", "second", "third 42"]  # the first step is not done twice
    again, trace = run("resume")
    assert json.loads(again.stdout) == {"done": True}
    assert trace[-1] == "third 42"
    assert len(trace) == 4


@pytest.mark.long
def test_a_schedule_fires(run):
    begun = time.monotonic()
    done, trace = run("schedule")
    assert done.returncode == 0, done.stderr
    assert 2 <= trace.count("tick") <= time.monotonic() - begun
