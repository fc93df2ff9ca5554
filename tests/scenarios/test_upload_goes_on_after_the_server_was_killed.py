"""A large shard is on its way when the server dies; started again, the upload goes on inside the file."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from registered_models import tensors

from vallum.client import models as client_models
from vallum.kernel.errors import Invalid, Unavailable

MEGABYTE = 1 << 20


def kill_all(process):
    """The process and all that it started: its workers do not end with it by themselves."""
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.kill()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(20)


def test_upload_goes_on_after_the_server_was_killed(start, tmp_path, monkeypatch):
    monkeypatch.setattr(client_models, "PART_BYTES", 4 * MEGABYTE)
    server = start()
    server.vallum("models", "register", "large")
    (tmp_path / "model").mkdir()
    shard = tmp_path / "model" / "model-00001-of-00001.safetensors"
    shard.write_bytes(tensors(18 * MEGABYTE))
    with server.client() as client:
        person = server.newcomer("renske", "ml_engineer")
        person.sign_in(client)
        begun, sent = [], []

        def killed_inside_a_part(size):
            sent.append(size)
            if sum(sent) > 10 * MEGABYTE and server.process.poll() is None:
                kill_all(server.process)

        with pytest.raises(Unavailable):
            client.upload_model("large", shard.parent, begun=begun.append, progress=killed_inside_a_part)
        credential = client.credential
    again = start("--port", str(server.port))  # the same folder: nothing else was kept
    with again.client(credential) as client:
        at = f"/registered-models/large/uploads/{begun[0]['id']}"
        (partial,) = client.request("GET", at)["partial"]
        acknowledged = sum(part["size"] for part in partial["parts"])
        assert 8 * MEGABYTE <= acknowledged < 16 * MEGABYTE
        assert acknowledged % (4 * MEGABYTE) == 0  # nothing of the part that broke off
        with pytest.raises(Invalid, match="has not arrived whole"):
            client.request("POST", f"{at}/completion")
        done = []
        version = client.upload_model("large", shard.parent, resume=begun[0]["id"], progress=done.append)
        assert (version["state"], done[0], sum(done)) == ("available", acknowledged, shard.stat().st_size)
        client.download_model("large", version["number"], tmp_path / "back")
        assert (tmp_path / "back" / shard.name).read_bytes() == shard.read_bytes()
    entries = map(json.loads, again.vallum("ledger", "tail", "-n", "200", "--json").stdout.splitlines())
    begins = [one["context"]["begin"] for one in entries if "begin" in one["context"]]
    assert begins == [part * 4 * MEGABYTE for part in range(5)]  # each part once, on both sides of the crash
