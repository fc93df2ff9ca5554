"""A data scientist signs a trained model and serves it; an application asks it, with a client of somebody else's."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
from trained_models import CLASSIFIER, WEIGHTS, SignedFolder, write_classifier

from vallum.models.runtime.sandbox import what_this_machine_permits

pytestmark = pytest.mark.skipif(
    not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
)

CONFIGURATION = """
[providers.own]
kind = "releases"

[models.iris]
provider = "own"

[applications.garden]
owner = "garden@example.com"
models = ["iris"]
"""
COUNTED = """
[models.counted]
provider = "own"
"""


@pytest.fixture
def server(start, tmp_path):
    signed = SignedFolder(tmp_path / "models")
    signed.add("iris", write_classifier, CLASSIFIER | {"output_policy": {"round_digits": 6, "withhold": []}})
    (tmp_path / "key.pem").write_bytes(signed.pem)
    env = {
        "VALLUM_MODELS_UNSAFE_FOLDER": str(signed.folder), "VALLUM_MODELS_UNSAFE_FOLDER_KEY": str(tmp_path / "key.pem"),
    }  # fmt: skip
    return start("--unsafe-plain-http", env=env)


@pytest.fixture
def two_workers(start, tmp_path):
    """Each with a connection to Redis, where they count together; the application is one that nobody counted before."""
    signed = SignedFolder(tmp_path / "models")
    budget = {"query_budget": {"rows_per_day": 40}}
    watched = {"extraction": {"mode": "refuse", "reference": "reference.json"}}
    random = Random(4)
    ordinary = [[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(2000)]
    signed.add("counted", write_classifier, CLASSIFIER | budget)
    signed.add("watched", write_classifier, CLASSIFIER | watched, {"reference.json": json.dumps(ordinary)})
    (tmp_path / "key.pem").write_bytes(signed.pem)
    env = {
        "VALLUM_MODELS_UNSAFE_FOLDER": str(signed.folder), "VALLUM_MODELS_UNSAFE_FOLDER_KEY": str(tmp_path / "key.pem"),
        "VALLUM_COUNTERS_URL": os.environ.get("VALLUM_TEST_REDIS", "redis://127.0.0.1:6379/15"),
    }  # fmt: skip
    server = start("--unsafe-plain-http", "--workers", "2", env=env)
    name = f"garden-{uuid.uuid4().hex[:12]}"
    config = tmp_path / "garden.toml"
    config.write_text(
        CONFIGURATION.replace("garden]", f"{name}]")
        .replace('["iris"]', '["watched", "counted"]')
        .replace("iris", "watched")
        + COUNTED
    )
    server.vallum("apply", config)
    return server, server.vallum("keys", "issue", name, "--label", "bed").stdout.strip()


def ask(server, key, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(server.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.load(e)


def children(pid):
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found[1:]


def model_processes(server):
    return [
        pid for pid in children(server.process.pid)
        if b"vallum.models.runtime.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]  # fmt: skip


def test_a_data_scientist_serves_a_model(server, tmp_path):
    config = tmp_path / "garden.toml"
    config.write_text(CONFIGURATION)
    server.vallum("apply", config)
    key = server.vallum("keys", "issue", "garden", "--label", "bed").stdout.strip()
    rows = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": rows.ravel().tolist()}]}

    # Refused first: somebody without a key, and an input that no iris has.
    assert ask(server, "nobody's", "/v2/models/iris/infer", body)[0] == 401
    wrong = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1e9, 0]}]}
    status, answer = ask(server, key, "/v2/models/iris/infer", wrong)
    assert (status, answer["code"]) == (400, "input_refused")

    status, answer = ask(server, key, "/v2/models/iris/infer", body)
    assert status == 200, answer
    scores = next(one for one in answer["outputs"] if one["name"] == "scores")
    assert np.allclose(np.array(scores["data"]).reshape(2, 3), rows @ WEIGHTS, atol=1e-4)
    entry = json.loads(server.vallum("ledger", "show", answer["parameters"]["entry"], "--json").stdout)
    assert (entry["asset"], entry["outcome"], entry["context"]["rows"]) == ("Model:iris", "ok", 2)
    assert ask(server, key, "/v2/models/iris/ready")[0] == 200

    # The model's process is shut in, and is gone when the server is.
    (model,) = model_processes(server)
    status = Path(f"/proc/{model}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    server.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 30
    while Path(f"/proc/{model}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{model}").exists()


def test_two_workers_count_and_watch_as_one(two_workers):
    """Each connection is a new one, so that the kernel gives them to both."""
    server, key = two_workers
    random = Random(5)

    def infer(model, data):
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(data) // 2, 2], "data": data}]}
        return ask(server, key, f"/v2/models/{model}/infer", body)[0]

    def is_loaded(model):
        return all(ask(server, key, f"/v2/models/{model}/ready")[0] == 200 for _ in range(12))

    while not (is_loaded("watched") and is_loaded("counted")):  # in both
        pass
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: infer("counted", [1.0] * 8), range(20)))  # four rows each
    assert (statuses.count(200), statuses.count(429)) == (10, 10)

    # Who copies is refused by both: had each a capital of its own, one would still answer.
    for _ in range(200):
        if infer("watched", [random.uniform(-90, 90), random.uniform(-90, 90)]) == 403:
            break
    assert {infer("watched", [0.5, 0.5]) for _ in range(12)} == {403}
    assert len(model_processes(server)) == 4


def test_a_client_of_triton_speaks_to_it(server, tmp_path):
    http = pytest.importorskip("tritonclient.http")
    from tritonclient import utils

    config = tmp_path / "garden.toml"
    config.write_text(CONFIGURATION)
    server.vallum("apply", config)
    key = server.vallum("keys", "issue", "garden", "--label", "bed").stdout.strip()
    client = http.InferenceServerClient(f"127.0.0.1:{server.port}")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_model_metadata("iris", headers=headers)["inputs"][0]["name"] == "x"
        given = http.InferInput("x", [2, 2], "FP32")
        rows = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
        given.set_data_from_numpy(rows, binary_data=False)
        wanted = [http.InferRequestedOutput(name, binary_data=False) for name in ("scores", "label")]
        found = client.infer("iris", [given], outputs=wanted, headers=headers)
        assert np.allclose(found.as_numpy("scores"), rows @ WEIGHTS, atol=1e-4)
        assert found.as_numpy("label").tolist() == (rows @ WEIGHTS).argmax(axis=1).tolist()
        # And as it does by itself: tensors in binary, both ways.
        del headers["Content-Type"]
        given.set_data_from_numpy(rows)
        wanted = [http.InferRequestedOutput("scores"), http.InferRequestedOutput("label", binary_data=False)]
        for outputs in (wanted, None):
            found = client.infer("iris", [given], outputs=outputs, headers=headers)
            assert np.allclose(found.as_numpy("scores"), rows @ WEIGHTS, atol=1e-4)
            assert found.as_numpy("label").tolist() == (rows @ WEIGHTS).argmax(axis=1).tolist()
        with pytest.raises(utils.InferenceServerException, match="no model of that name"):
            client.infer("other", [given], headers=headers)
    finally:
        client.close()
