"""A deployed model: batches, what comes back to whom, and every way its process can go wrong. Real processes all."""

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from trained_models import (
    CLASSIFIER,
    GREEDY,
    WEIGHTS,
    SignedFolder,
    configuration,
    write_classifier,
    write_endless,
    write_greedy,
)

from vallum.kernel.errors import IntegrityError
from vallum.models.runtime.errors import ModelBusy, ModelFailed, ModelLoading, ModelTimeout, ModelUnavailable
from vallum.models.runtime.folder import UnsafeFolderDeployments
from vallum.models.runtime.sandbox import what_this_machine_permits
from vallum.models.runtime.server import ModelServer
from vallum.models.runtime.servers import ModelServers
from vallum.models.runtime.tensors import Given, take_inputs, unpack

pytestmark = pytest.mark.skipif(
    not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
)


@pytest.fixture
async def serve(tmp_path):
    """Starts a server of the model that a function writes."""
    opened = []

    def start(write, document, **more):
        kept = tmp_path / f"kept-{len(opened)}"
        kept.mkdir()
        write(kept)

        def checkout(folder):
            shutil.copytree(kept, folder, dirs_exist_ok=True)

        server = ModelServer("m/1", configuration(document, **more), checkout, tmp_path)
        opened.append(server)
        return server

    yield start
    for server in opened:
        await server.close()


def asked(server, *rows, name="x", datatype="FP32"):
    first = np.array(rows)
    given = [Given(name, datatype, list(first.shape), first.ravel().tolist())]
    return take_inputs(server.configuration, given)


async def scores(server, *rows):
    result = await server.ask(asked(server, *rows))
    output = server.configuration.outputs[2]
    shape, values = unpack(output, result.outputs["scores"], result.first, len(rows))
    return np.array(values).reshape(shape)


async def test_each_request_gets_its_own_rows_of_a_batch(serve):
    server = serve(write_classifier, CLASSIFIER, batching={"max_rows": 16, "max_wait_milliseconds": 20})
    wanted = [np.array([[n, 1.0]] * (1 + n % 3), np.float32) for n in range(30)]
    found = await asyncio.gather(*(scores(server, *rows.tolist()) for rows in wanted))
    for rows, values in zip(wanted, found, strict=True):
        assert np.allclose(values, rows @ WEIGHTS, atol=1e-4)


async def test_nothing_is_left_on_the_disk_once_it_is_loaded(serve, tmp_path):
    server = serve(write_classifier, CLASSIFIER)
    await scores(server, [1.0, 2.0])
    assert not list(tmp_path.glob("vallum-model-*"))
    assert server.process.ready.seccomp
    assert server.process.ready.landlock


async def test_a_killed_process_is_started_again(serve):
    server = serve(write_classifier, CLASSIFIER)
    await scores(server, [1.0, 2.0])
    first = server.process.pid
    os.kill(first, signal.SIGKILL)
    await asyncio.sleep(0.05)
    assert not server.is_ready
    assert (await scores(server, [1.0, 0.0])).shape == (1, 3)
    assert server.process.pid != first


async def test_a_model_that_hangs_is_killed_and_the_next_request_is_answered(serve):
    server = serve(write_endless, GREEDY)
    await server.ask(asked(server, 3, datatype="INT64"))
    first = server.process.pid
    begun = monotonic()
    with pytest.raises(ModelTimeout):
        await server.ask(asked(server, 10**12, datatype="INT64"))
    assert monotonic() - begun < 5
    assert not Path(f"/proc/{first}").exists()
    result = await server.ask(asked(server, 5, datatype="INT64"))
    assert unpack(server.configuration.outputs[0], result.outputs["y"], 0, 1)[1] == [5.0]


async def test_a_model_that_takes_all_memory_takes_its_own(serve):
    server = serve(write_greedy, GREEDY)
    assert unpack(
        server.configuration.outputs[0], (await server.ask(asked(server, 7, datatype="INT64"))).outputs["y"], 0, 1
    )[1] == [7.0]
    with pytest.raises((ModelFailed, ModelTimeout)):
        await server.ask(asked(server, 1 << 32, datatype="INT64"))  # sixteen gigabytes
    result = await server.ask(asked(server, 8, datatype="INT64"))
    assert unpack(server.configuration.outputs[0], result.outputs["y"], 0, 1)[1] == [8.0]


async def test_an_input_that_kills_the_model_takes_nobody_elses_answer_with_it(serve):
    server = serve(write_endless, GREEDY, batching={"max_rows": 16, "max_wait_milliseconds": 50}, timeout_seconds=2.0)
    await server.ask(asked(server, 1, datatype="INT64"))
    found = await asyncio.gather(
        *(server.ask(asked(server, n, datatype="INT64")) for n in (1, 10**12, 2)), return_exceptions=True
    )
    assert isinstance(found[1], ModelTimeout | ModelBusy)
    assert not isinstance(found[0], Exception)
    assert not isinstance(found[2], Exception) or isinstance(found[2], ModelBusy | ModelUnavailable)


async def test_more_than_may_wait_is_refused_at_once(serve):
    server = serve(write_endless, GREEDY, batching={"max_rows": 1, "max_waiting": 2})
    await server.ask(asked(server, 1, datatype="INT64"))
    found = await asyncio.gather(
        *(server.ask(asked(server, 10**12, datatype="INT64")) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(one, ModelBusy) for one in found) >= 5


async def test_a_request_that_is_given_up_costs_the_others_nothing(serve):
    server = serve(write_classifier, CLASSIFIER)
    await scores(server, [1.0, 2.0])
    given_up = [asyncio.create_task(scores(server, [1.0, 2.0])) for _ in range(10)]
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    assert (await scores(server, [1.0, 2.0])).shape == (1, 3)


async def test_a_file_that_is_no_model_is_refused_and_tried_less_and_less_often(serve):
    server = serve(lambda folder: (folder / "model.onnx").write_bytes(b"no model"), CLASSIFIER)
    for _ in range(3):  # after the third the pause is two seconds
        with pytest.raises(ModelUnavailable):
            await scores(server, [1.0, 2.0])
    begun = monotonic()
    for _ in range(50):
        with pytest.raises(ModelUnavailable, match="later"):
            await scores(server, [1.0, 2.0])
    assert monotonic() - begun < 0.5


async def test_a_graph_that_is_not_what_was_approved_is_not_served(serve):
    other = CLASSIFIER | {"inputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]}
    server = serve(write_classifier, other)
    with pytest.raises(ModelUnavailable):
        await server.ask(take_inputs(server.configuration, [Given("y", "FP32", [1, 2], [1.0, 2.0])]))


async def test_what_is_being_asked_when_it_closes_is_told_so_at_once(serve):
    """Whoever stops the server would otherwise wait for a model that nobody asks any more."""
    server = serve(write_endless, GREEDY, timeout_seconds=60.0)
    await server.ask(asked(server, 1, datatype="INT64"))
    waiting = asyncio.create_task(server.ask(asked(server, 10**12, datatype="INT64")))
    await asyncio.sleep(0.1)
    begun = monotonic()
    await server.close()
    with pytest.raises(ModelLoading):
        await waiting
    assert monotonic() - begun < 2


async def test_a_defect_is_a_refusal_and_not_a_silence(serve, monkeypatch, caplog):
    """The task that asks would end, and every request wait for its whole time."""
    server = serve(write_classifier, CLASSIFIER)
    await scores(server, [1.0, 2.0])
    monkeypatch.setattr("vallum.models.runtime.server._joined", lambda inputs: 1 / 0)
    begun = monotonic()
    with pytest.raises(ModelFailed):
        await scores(server, [1.0, 2.0])
    assert monotonic() - begun < 2
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert (await scores(server, [1.0, 2.0])).shape == (1, 3)


async def test_without_walls_nothing_is_loaded(serve, monkeypatch):
    """The child is told to shut itself in, and cannot: a kernel without Landlock, played by a filter that hides it."""
    monkeypatch.setattr("vallum.models.runtime.process._spawn", _spawn_without_landlock)
    server = serve(write_classifier, CLASSIFIER)
    with pytest.raises(ModelUnavailable):
        await scores(server, [1.0, 2.0])


def _spawn_without_landlock(fd, threads):
    import subprocess
    import sys

    program = (
        "import sys\n"
        "from vallum.models.runtime import sandbox, child\n"
        "sandbox._landlock_version = lambda: 0\n"
        "child.main(int(sys.argv[1]))\n"
    )
    command = [sys.executable, "-I", "-c", program, str(fd)]
    return subprocess.Popen(command, pass_fds=[fd], env={}, stderr=subprocess.PIPE)


async def test_only_what_was_signed_is_loaded(tmp_path):
    signed = SignedFolder(tmp_path / "models")
    path = signed.add("iris", write_classifier, CLASSIFIER)
    work = tmp_path / "work"
    work.mkdir()
    deployments = UnsafeFolderDeployments(signed.folder, signed.trust, environment="test")
    servers = ModelServers(deployments, "test", work)
    try:
        deployment = servers.current("iris", "somebody")
        assert servers.current("other", "somebody") is None
        assert deployments.current("prod", "iris", "somebody") is None
        server = servers.server(deployment)
        assert servers.server(deployment) is server
        assert (await scores(server, [1.0, 2.0])).shape == (1, 3)
        # Changed after it was looked at: what runs is what was verified, and what is changed does not start.
        model = path / "model.onnx"
        os.chmod(model, 0o600)
        model.write_bytes(model.read_bytes() + b"\0")
        with pytest.raises(IntegrityError):
            deployments.checkout(deployment, work)
        os.kill(server.process.pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        with pytest.raises(ModelUnavailable):
            await scores(server, [1.0, 2.0])
        assert not list(work.iterdir())
    finally:
        await servers.close()


def test_what_a_killed_gateway_left_decrypted_is_forgotten(tmp_path):
    gone, own = tmp_path / "vallum-model-4194305-x", tmp_path / f"vallum-model-{os.getpid()}-x"
    for folder in (gone, own):
        folder.mkdir()
        (folder / "model").write_text("weights")
    ModelServers(None, "", tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == [own.name]


def test_a_folder_says_what_is_wrong_with_a_configuration(tmp_path):
    from vallum.kernel.errors import Invalid

    signed = SignedFolder(tmp_path / "models")
    signed.add("bad", write_classifier, CLASSIFIER | {"trusted": ["os.system"], "architecture": []})
    with pytest.raises(Invalid, match="trusted"):
        UnsafeFolderDeployments(signed.folder, signed.trust)
    assert json.loads((signed.folder / "bad" / "serving.json").read_text())["format"] == "onnx"
