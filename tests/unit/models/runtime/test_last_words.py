"""A model's process that dies says why to whoever operates it, and nothing of what anybody asked."""

import asyncio
import logging
import os
import shutil
import subprocess
import sys

import pytest
from trained_models import CLASSIFIER, configuration, write_classifier

from vallum.models.runtime import process
from vallum.models.runtime.errors import ModelFailed, ModelUnavailable
from vallum.models.runtime.process import ModelProcess
from vallum.models.runtime.sandbox import what_this_machine_permits
from vallum.models.runtime.server import ModelServer
from vallum.models.runtime.tensors import Given, take_inputs

pytestmark = pytest.mark.skipif(
    not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
)


@pytest.fixture
def program(monkeypatch):
    """What the next processes run in the place of a model."""

    def run(text):
        def spawn(fd, threads):
            return subprocess.Popen(
                [sys.executable, "-c", f"import os, signal, sys\nfd = {fd}\n{text}"], pass_fds=[fd],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip

        monkeypatch.setattr(process, "_spawn", spawn)

    return run


def started(tmp_path, **more):
    return ModelProcess.start(configuration(CLASSIFIER, **more), tmp_path)


async def test_its_last_lines_are_in_the_error_in_one_and_harmless(program, tmp_path):
    program(r"""
sys.stderr.write("first\n" * 50 + "\x1b[2Jcleared\r\n2026-01-01 CRITICAL forged\n  RuntimeError: no such tree\n\n")
sys.exit(3)
""")
    with pytest.raises(ModelUnavailable) as caught:
        await started(tmp_path)
    said = str(caught.value)
    assert "ended with status 3" in said
    assert said.endswith("2026-01-01 CRITICAL forged | RuntimeError: no such tree")
    assert said.isprintable()
    assert len(said) < 800


async def test_the_signal_that_ended_it_is_named(program, tmp_path):
    program("os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ModelUnavailable, match="was ended by SIGSEGV, and said nothing"):
        await started(tmp_path)


async def test_one_that_floods_holds_up_nobody_and_is_cut(program, tmp_path):
    program("sys.stderr.write('x' * (8 << 20) + 'the end'); sys.stderr.flush(); os.kill(os.getpid(), signal.SIGKILL)")
    async with asyncio.timeout(10):
        with pytest.raises(ModelUnavailable) as caught:
            await started(tmp_path)
    assert str(caught.value).endswith("xthe end")
    assert "SIGKILL (killed from outside" in str(caught.value)
    assert len(str(caught.value)) < 1000


async def test_what_it_says_once_it_has_inputs_is_heard_by_nobody(program, tmp_path):
    program("""
from vallum.models.runtime.wire import Ready, frame
os.read(fd, 1 << 16)
os.write(fd, frame(Ready(1, True, False)))
os.read(fd, 1 << 16)
try:
    for _ in range(2):  # a write that waits while the pipe is closed counts what it wrote before: the next one fails
        sys.stderr.write("could not convert 'Jane Doe'\\n" * 10_000)
        sys.stderr.flush()
except OSError:
    os.kill(os.getpid(), signal.SIGABRT)
""")
    model = await started(tmp_path)
    with pytest.raises(ModelFailed) as caught:
        await model.ask([], b"", 1)
    assert "was ended by SIGABRT" in str(caught.value)
    assert "Jane" not in str(caught.value)
    assert "said" not in str(caught.value)


async def test_one_that_is_too_slow_to_load_says_which_limit(program, tmp_path):
    program("import time; time.sleep(60)")
    with pytest.raises(ModelUnavailable, match=r"not loaded within limits\.load_seconds, 0\.3"):
        await started(tmp_path, limits={"load_seconds": 0.3})


async def test_a_failed_start_leaves_no_descriptor(program, tmp_path):
    program("sys.exit(1)")
    held = None
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await started(tmp_path)
        await asyncio.sleep(0)
        before, held = held, len(os.listdir("/proc/self/fd"))
    assert held == before


@pytest.fixture
async def too_small(tmp_path):
    """A real model, in less memory than its library takes."""
    kept = tmp_path / "kept"
    kept.mkdir()
    write_classifier(kept)
    told = []
    server = ModelServer(
        "iris/7", configuration(CLASSIFIER, limits={"memory_mebibytes": 64}),
        lambda folder: shutil.copytree(kept, folder, dirs_exist_ok=True), tmp_path,
        tell=lambda: told.append(server.trouble),
    )  # fmt: skip
    yield server, told
    await server.close()


async def test_the_operator_learns_why_and_the_client_does_not(too_small, caplog):
    server, told = too_small
    inputs = take_inputs(server.configuration, [Given("x", "FP32", [1, 2], [41.5, 42.5])])
    with caplog.at_level(logging.ERROR, "vallum.models"), pytest.raises(ModelUnavailable) as caught:
        await server.ask(inputs)
    assert str(caught.value) == "the model could not be loaded: its operator must look"
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith("the model iris/7 cannot be served: the model could not be loaded: ")
    assert told == [server.trouble]
    assert server.trouble in line
    assert line.endswith("(limits.memory_mebibytes is 64)") or "was ended by" in line
    assert "41.5" not in line
