"""Predictive models through the gateway: the Open Inference Protocol and the OpenAI-style helper, on a real model."""

import asyncio
import json
import os
import signal

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from trained_models import CLASSIFIER, GREEDY, TEXTS, SignedFolder, write_classifier, write_endless, write_texts

from vallum.compose import build_app, prepare
from vallum.models.runtime.sandbox import what_this_machine_permits
from vallum.settings import load_settings

from .conftest import Running

pytestmark = pytest.mark.skipif(
    not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
)

CONFIGURATION = """
[providers.own]
kind = "releases"

[models.iris]
provider = "own"

[models.renamed]
provider = "own"
upstream_name = "iris"

[models.texts]
provider = "own"

[models.slow]
provider = "own"

[models.watched]
provider = "own"

[models.missing]
provider = "own"

[models.unlisted]
provider = "own"
upstream_name = "iris"

[applications.app]
owner = "o@example.com"
models = ["iris", "renamed", "texts", "slow", "watched", "missing"]
limits = { requests_per_minute = 100000 }
guards.input = { secrets = "block", pii = "redact", injection = "off" }
guards.output = { secrets = "block", pii = "block" }

[applications.limited]
owner = "o@example.com"
models = ["iris"]
limits = { requests_per_minute = 2 }

[applications.forgetful]
owner = "o@example.com"
models = ["iris"]
keep_content_days = 0
"""


def reference():
    from random import Random

    random = Random(4)
    return [[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(2000)]


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    made = SignedFolder(tmp_path_factory.mktemp("serving") / "models")
    made.add("iris", write_classifier, CLASSIFIER)
    made.add("texts", write_texts, TEXTS)
    made.add("slow", write_endless, GREEDY | {"query_budget": {"rows_per_hour": 20}})
    watched = {
        "output_policy": {"round_digits": 1, "top_k": 1, "withhold": ["logits", "label"]},
        "extraction": {"mode": "refuse", "reference": "reference.json"},
    }
    made.add("watched", write_classifier, CLASSIFIER | watched, {"reference.json": json.dumps(reference())})
    (made.folder.parent / "key.pem").write_bytes(made.pem)
    return made


@pytest.fixture
async def gateway(tmp_path, signed):
    options = {"data": str(tmp_path / "data"), "models.unsafe_folder": str(signed.folder),
               "models.unsafe_folder_key": str(signed.folder.parent / "key.pem")}  # fmt: skip
    settings = load_settings(None, {}, options)
    prepare(settings)
    app = build_app(settings, "gateway")
    to_app, from_app = asyncio.Queue(), asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    said = await from_app.get()
    assert said["type"] == "lifespan.startup.complete", said
    running = Running(app._platform, app)
    running.perform("apply", body={"files": {"a.toml": CONFIGURATION}})
    running.key()
    yield running
    await to_app.put({"type": "lifespan.shutdown"})
    assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
    await living


def tensor(*rows, name="x", datatype="FP32", **more):
    return {
        "name": name,
        "datatype": datatype,
        "shape": [len(rows), 2],
        "data": [one for row in rows for one in row],
    } | more


def infer(gateway, *tensors, model="iris", **more):
    body = {"inputs": list(tensors)} | more
    return gateway.post(f"/v2/models/{model}/infer", body)


async def get(gateway, path, **headers):
    transport = httpx2.ASGITransport(gateway.app, raise_app_exceptions=True)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(path, headers=headers)


async def test_a_prediction_has_its_entry(gateway):
    answer = await infer(gateway, tensor([1.0, 2.0], [2.0, -1.0]), id="mine")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("iris", "1", "mine")
    outputs = {one["name"]: one for one in body["outputs"]}
    assert set(outputs) == {"label", "probabilities"}  # logits are withheld unless somebody decided otherwise
    assert outputs["label"] == {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]}
    assert outputs["probabilities"]["shape"] == [2, 3]
    assert all(round(one, 4) == one for one in outputs["probabilities"]["data"])
    assert sum(outputs["probabilities"]["data"]) == pytest.approx(2, abs=1e-3)
    entry_id = answer.headers["x-vallum-entry"]
    assert body["parameters"] == {"entry": entry_id}
    entry = gateway.entry(entry_id)
    assert (entry.action, entry.asset, entry.outcome) == ("gateway:model:invoke", "Model:iris", "ok")
    assert entry.policies == ("application-invokes-its-models",)
    assert (entry.context["endpoint"], entry.context["rows"], entry.context["model_version"]) == ("infer", 2, 1)
    assert len(entry.context["model_digest"]) == 64
    assert b'"data":[1.0,2.0,2.0,-1.0]' in gateway.content(entry_id, "request")
    assert b'"label"' in gateway.content(entry_id, "answer")


async def test_an_application_that_keeps_no_contents_keeps_no_features(gateway):
    answer = await gateway.post("/v2/models/iris/infer", {"inputs": [tensor([1.0, 2.0])]}, application="forgetful")
    assert answer.status_code == 200
    assert gateway.entry(answer.headers["x-vallum-entry"]).contents == {}


async def test_nobody_predicts_without_a_key_nor_a_model_that_is_not_theirs(gateway):
    body = {"inputs": [tensor([1.0, 2.0])]}
    answer = await gateway.post("/v2/models/iris/infer", body, headers={"authorization": "Bearer nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_refused")
    assert isinstance(answer.json()["error"], str)
    for name in ("unlisted", "nothing", "../../etc/passwd", "iris/../unlisted", "%2e%2e", "iris%00", "x" * 300):
        answer = await infer(gateway, tensor([1.0, 2.0]), model=name)
        assert answer.status_code == 404, name
        assert "passwd" not in answer.text
    entry = gateway.inference(limit=1)[0]
    assert entry.asset == "Model:unknown"
    assert entry.contents == {}


async def test_limits_are_those_of_the_application(gateway):
    body = {"inputs": [tensor([1.0, 2.0])]}
    statuses = [
        (await gateway.post("/v2/models/iris/infer", body, application="limited")).status_code for _ in range(4)
    ]
    assert sorted(statuses) == [200, 200, 429, 429]


async def test_a_query_budget_counts_rows(gateway):
    tensors = {"name": "x", "datatype": "INT64", "shape": [8], "data": [1] * 8}
    answers = [await infer(gateway, tensors, model="slow") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 60
    assert "rows/hour" in answers[2].json()["error"]
    too_many = {"name": "x", "datatype": "INT64", "shape": [21], "data": [1] * 21}
    assert (await infer(gateway, too_many, model="slow")).json()["code"] == "request_too_large"


@pytest.mark.parametrize(
    ("given_tensor", "says"),
    [
        (tensor([1.0, None]), "inputs.x, element 1: must not be missing"),
        (tensor([1.0, 101]), "inputs.x, element 1: must be from -100 to 100"),
        (tensor([1.0, -1e300]), "inputs.x, element 1: must be from -100 to 100"),
        (tensor([1.0, 10**400]), "inputs.x, element 1: must be from -100 to 100"),
        (tensor([1.0, True]), "inputs.x, element 1: must be a number"),
        (tensor([1.0, "4242424242424242"]), "element 1: must be no text"),
        (tensor([1.0, {"a": 1}]), "element 1: must be no text and nothing nested"),
        (tensor([1.0, [[[1.0]]]]), "element 1: must be no text and nothing nested"),
        (tensor([1.0, 2.0], datatype="FP64"), "inputs.x.datatype: must be FP32"),
        (tensor([1.0, 2.0], datatype="EVIL"), "datatype: one of BOOL"),
        (tensor([1.0, 2.0], shape=[2, 1]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[0, 2]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[-1, 2]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[2**62, 2]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[2**64 + 1, 2]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[True, 2]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[1.0, 2]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[1, 2, 1]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=["1", "2"]), "inputs.x.shape: must be [any, 2]"),
        (tensor([1.0, 2.0], shape=[500_000, 2]), "1024 rows are allowed"),
        (tensor([1.0, 2.0], shape=[2, 2]), "as many elements as its shape says"),
        (tensor([1.0, 2.0], data=[[1.0], [2.0]]), "as many elements as its shape says"),
        (tensor([1.0, 2.0], data=[[1.0, 2.0], 3.0]), "as many elements as its shape says"),
        (tensor([1.0, 2.0], data=[]), "as many elements as its shape says"),
        (tensor([1.0, 2.0], data={"0": 1}), "data: a list"),
        (tensor([1.0, 2.0], name="y"), "there is no input of that name; it takes x"),
        (tensor([1.0, 2.0], name=""), "name: a string of 1 to 128"),
        (tensor([1.0, 2.0], colour="red"), "has a field that is none of the protocol's"),
        (tensor([1.0, 2.0], parameters={"binary_data_size": 8}), "tensors in binary need the header"),
        (tensor([1.0, 2.0], parameters=[]), "parameters: an object"),
    ],
)
async def test_what_a_model_does_not_take_is_refused_by_name_and_place(gateway, given_tensor, says):
    answer = await infer(gateway, given_tensor)
    assert (answer.status_code, answer.json()["code"]) == (400, "input_refused")
    assert says in answer.json()["error"]
    said = answer.text.replace(answer.headers["x-vallum-entry"], "")  # a number by chance, which may hold any of these
    for value in ("101", "1e+300", "4242424242424242", "00000000", "EVIL"):
        assert value not in said
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert entry.outcome == "invalid"


async def test_a_flood_of_missing_values_and_twice_the_same_input_are_refused(gateway):
    flood = tensor(*[[None, None]] * 1000)
    assert (await infer(gateway, flood)).status_code == 400
    answer = await infer(gateway, tensor([1.0, 2.0]), tensor([1.0, 2.0]))
    assert "inputs.x: give it once" in answer.json()["error"]
    answer = await infer(gateway, tensor([1.0, 2.0]), outputs=[{"name": "scores"}])
    assert "outputs: once each, of label, probabilities" in answer.json()["error"]
    raw = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [NaN, Infinity]}]}'
    assert (await gateway.post("/v2/models/iris/infer", None, raw=raw)).json()["code"] == "invalid_json"
    nested = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": ' + b"[" * 5000 + b"]" * 5000
    assert (await gateway.post("/v2/models/iris/infer", None, raw=nested + b"}]}")).status_code == 400


async def test_nested_data_means_the_same_as_flat(gateway):
    flat = await infer(gateway, tensor([1.0, 2.0], [0, 3]))
    nested = await infer(gateway, tensor([1.0, 2.0], [0, 3], data=[[1.0, 2.0], [0, 3]]))
    assert flat.status_code == 200
    assert flat.json()["outputs"] == nested.json()["outputs"]


async def test_texts_pass_the_guards_and_numbers_are_numbers(gateway):
    def asked(text):
        return {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}

    answer = await infer(gateway, asked("write to jane@example.com"), model="texts")
    assert answer.json()["outputs"][0]["data"] == ["write to [redacted:email]"]
    secret = "AKIA" + "IOSFODNN7" + "EXAMPLQ"
    answer = await infer(gateway, asked(f"key {secret} now"), model="texts")
    if answer.status_code != 400:  # the guard's own idea of a key decides; what it redacts or blocks never comes back
        assert secret not in answer.text
    answer = await infer(gateway, asked("x" * 201), model="texts")
    assert "element 0: must be at most 200 bytes" in answer.json()["error"]
    answer = await infer(gateway, tensor([1.0, 2.0], parameters={"note": "mail jane@example.com"}))
    stored = gateway.content(answer.headers["x-vallum-entry"], "request")
    assert b"jane@example.com" not in stored


async def test_a_version_that_does_not_answer_here_is_not_found(gateway):
    body = {"inputs": [tensor([1.0, 2.0])]}
    assert (await gateway.post("/v2/models/iris/versions/1/infer", body)).status_code == 200
    answer = await gateway.post("/v2/models/iris/versions/2/infer", body)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_version_not_found")
    answer = await infer(gateway, tensor([1.0, 2.0]), model="missing")
    assert (answer.status_code, answer.json()["code"]) == (503, "model_not_deployed")
    assert (await infer(gateway, tensor([1.0, 2.0]), model="renamed")).json()["model_name"] == "renamed"


async def test_a_model_answers_at_its_own_endpoints_only(gateway):
    answer = await gateway.post(
        "/v1/chat/completions", {"model": "iris", "messages": [{"role": "user", "content": "x"}]}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_endpoint")


async def test_metadata_health_and_readiness(gateway):
    key = {"authorization": f"Bearer {gateway.key()}"}
    assert (await get(gateway, "/v2/health/live")).json() == {"live": True}
    assert (await get(gateway, "/v2/health/ready")).status_code == 200
    assert (await get(gateway, "/v2")).json()["name"] == "vallum"
    assert (await get(gateway, "/v2/models/iris")).status_code == 401
    found = await get(gateway, "/v2/models/iris", **key)
    assert found.json()["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert [one["name"] for one in found.json()["outputs"]] == ["label", "probabilities"]
    assert gateway.entry(found.headers["x-vallum-entry"]).action == "gateway:model:list"
    await infer(gateway, tensor([1.0, 2.0]))
    assert (await get(gateway, "/v2/models/iris/ready", **key)).json() == {"name": "iris", "ready": True}
    assert (await get(gateway, "/v2/models/iris/versions/1", **key)).status_code == 200
    assert (await get(gateway, "/v2/models/iris/versions/9", **key)).status_code == 404
    assert (await get(gateway, "/v2/models/unlisted", **key)).status_code == 404
    assert (await get(gateway, "/v2/models/iris/infer", **key)).status_code == 405
    assert (await get(gateway, "/v2/nothing", **key)).status_code == 404


async def test_a_model_killed_in_the_middle_is_an_error_and_then_answers_again(gateway):
    slow = {"name": "x", "datatype": "INT64", "shape": [1], "data": [2]}
    assert (await infer(gateway, slow, model="slow")).status_code == 200
    predictive = gateway.app._faces.gateway._pipeline._pool._predictive
    server = next(one for one, _, _ in predictive._servers._servers.values() if one._name == "slow/1")
    asked = asyncio.create_task(infer(gateway, slow | {"data": [10**12]}, model="slow"))
    await asyncio.sleep(0.3)
    os.kill(server.process.pid, signal.SIGKILL)
    answer = await asked
    assert (answer.status_code, answer.json()["code"]) == (502, "model_failed")
    assert gateway.entry(answer.headers["x-vallum-entry"]).outcome == "model_failed"
    assert (await infer(gateway, slow, model="slow")).status_code == 200
    answer = await infer(gateway, slow | {"data": [10**12]}, model="slow")
    assert (answer.status_code, answer.json()["code"]) == (504, "model_timeout")


async def test_who_copies_a_model_is_refused_and_who_uses_it_is_not(gateway):
    from random import Random

    random = Random(5)
    for row in reference()[:100]:
        answer = await infer(gateway, tensor(row), model="watched")
        assert answer.status_code == 200
        (output,) = answer.json()["outputs"]
        assert output["name"] == "probabilities"
        assert sum(one > 0 for one in output["data"]) == 1  # the best alone, with one digit
    statuses = []
    for _ in range(200):
        answer = await infer(gateway, tensor([random.uniform(-90, 90), random.uniform(-90, 90)]), model="watched")
        statuses.append(answer.status_code)
    assert 200 in statuses
    assert statuses[-1] == 403
    assert statuses.index(403) < 100
    entry = gateway.entry(answer.headers["x-vallum-entry"])
    assert entry.outcome == "blocked"
    assert [(f.guard, f.kind, f.action) for f in entry.findings] == [("extraction", "unlike_reference", "block")]


async def post_binary(gateway, model, document, tail, *, kind="application/octet-stream", **headers):
    head = json.dumps(document).encode()
    headers = {"content-type": kind, "inference-header-content-length": str(len(head))} | headers
    return await gateway.post(f"/v2/models/{model}/infer", None, raw=head + tail, headers=headers)


def binary(size, datatype="FP32", shape=(2, 2), name="x", **more):
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": size}} | more


async def test_tensors_in_binary_are_checked_recorded_and_answered_as_those_in_json_are(gateway):
    rows = np.array([[1.0, 2.0], [2.0, -1.0]], "<f4")
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}]
    for kind in ("application/octet-stream", "", "application/json"):
        answer = await post_binary(
            gateway, "iris", {"inputs": [binary(16)], "outputs": wanted}, rows.tobytes(), kind=kind
        )
        assert answer.status_code == 200, answer.text
        length = int(answer.headers["inference-header-content-length"])
        document, tail = json.loads(answer.content[:length]), answer.content[length:]
        first, second = document["outputs"]
        assert first["parameters"] == {"binary_data_size": 24} == {"binary_data_size": len(tail)}
        assert second["data"] == [1, 0]
        entry_id = answer.headers["x-vallum-entry"]
        assert b'"data":[1.0,2.0,2.0,-1.0]' in gateway.content(entry_id, "request")
        assert b'"label"' in gateway.content(entry_id, "answer")
    plain = (await infer(gateway, tensor(*rows.tolist()))).json()["outputs"]
    in_json = next(one["data"] for one in plain if one["name"] == "probabilities")
    assert np.frombuffer(tail, "<f4").tolist() == np.array(in_json, "<f4").tolist()
    everything = {"inputs": [binary(16)], "parameters": {"binary_data_output": True}}
    answer = await post_binary(gateway, "iris", everything, rows.tobytes())
    assert len(answer.content) - int(answer.headers["inference-header-content-length"]) == 16 + 24
    answer = await post_binary(gateway, "iris", {"inputs": [binary(16)]}, rows.tobytes())
    assert answer.headers["content-type"] == "application/json"


async def test_texts_in_binary_pass_the_guards(gateway):
    secret = "my card is 4111 1111 1111 1111"
    raw = len(secret).to_bytes(4, "little") + secret.encode()
    given = {"inputs": [binary(len(raw), "BYTES", (1,), "text")], "parameters": {"binary_data_output": True}}
    answer = await post_binary(gateway, "texts", given, raw)
    assert b"4111 1111" not in answer.content
    said = "a plain word"
    raw = len(said).to_bytes(4, "little") + said.encode()
    answer = await post_binary(gateway, "texts", {**given, "inputs": [binary(len(raw), "BYTES", (1,), "text")]}, raw)
    assert answer.content.endswith(raw)


LIES = [
    ([binary(16)], b"\0" * 15, "binary_data_size must be"),
    ([binary(16)], b"\0" * 17, "1 bytes follow the tensors"),
    ([binary(8)], b"\0" * 8, "as many elements as its shape says"),
    ([binary(15)], b"\0" * 15, "no whole number of FP32"),
    ([binary(-1)], b"", "binary_data_size must be"),
    ([binary(True)], b"\0", "binary_data_size must be"),
    ([binary(16.0)], b"\0" * 16, "binary_data_size must be"),
    ([binary(2**70)], b"\0" * 16, "binary_data_size must be"),
    ([binary(16, data=[1, 2, 3, 4])], b"\0" * 16, "not twice"),
    ([binary(16), binary(16)], b"\0" * 32, "give it once"),
    ([binary(16, "BF16")], b"\0" * 16, "datatype"),
    ([binary(16, ["FP32"])], b"\0" * 16, "datatype"),
    ([binary(16)], np.array([1, 2, 3, np.nan], "<f4").tobytes(), "element 3: must not be missing"),
    ([binary(16)], np.array([1, 2, np.inf, 4], "<f4").tobytes(), "element 2: must be from -100 to 100"),
    ([binary(16, "FP64", (1, 2))], b"\0" * 16, "must be FP32"),
    ([binary(8, "BYTES", (1,))], (2**32 - 1).to_bytes(4, "little") + b"aaaa", "longer than what is left"),
    ([binary(3, "BYTES", (1,))], b"\0\0\0", "behind its length"),
    ([binary(5, "BYTES", (1,))], b"\1\0\0\0\xff", "UTF-8"),
    ([binary(2, "BOOL", (2,))], b"\1\2", "0 or 1"),
    ([binary(4 << 20, "BYTES", (1,))], b"\0" * (4 << 20), "at most"),
    ([binary(4 << 20, "UINT8", (1,))], b"\0" * (4 << 20), "at most"),
    ("x", b"", "inputs"),
    ([[]], b"", "inputs"),
]  # fmt: skip


async def test_what_lies_about_its_bytes_is_refused(gateway):
    for tensors, tail, says in LIES:
        answer = await post_binary(gateway, "iris", {"inputs": tensors}, tail)
        assert answer.status_code == 400, (says, answer.text)
        assert says in answer.json()["error"]
    raw = np.zeros(4, "<f4").tobytes()
    for length in ("0", "-1", "1e3", "", "999999999999999999999", "100000", "²".encode("latin-1"), "3"):
        headers = {"inference-header-content-length": length}
        answer = await post_binary(gateway, "iris", {"inputs": [binary(16)]}, raw, **headers)
        assert answer.status_code == 400, length


async def test_bytes_are_for_this_protocol_alone(gateway):
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": "2"}
    assert (await gateway.post("/v1/predictions", None, raw=b"{}", headers=headers)).status_code == 415
    headers.pop("inference-header-content-length")
    assert (await gateway.post("/v2/models/iris/infer", None, raw=b"{}", headers=headers)).status_code == 415


async def test_the_openai_style_helper_says_the_same(gateway):
    rows = [{"x": [1.0, 2.0]}, {"x": [2.0, -1.0]}]
    answer = await gateway.post("/v1/predictions", {"model": "iris", "input": rows})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "list"
    assert [one["label"] for one in body["data"]] == [1, 0]
    assert [len(one["probabilities"]) for one in body["data"]] == [3, 3]
    assert body["entry"] == answer.headers["x-vallum-entry"]
    plain = await gateway.post("/v1/predictions", {"model": "iris", "input": [[1.0, 2.0], [2.0, -1.0]]})
    assert plain.json()["data"] == body["data"]
    text = await gateway.post("/v1/predictions", {"model": "texts", "input": ["hello", "mail jane@example.com"]})
    assert [one["echo"] for one in text.json()["data"]] == ["hello", "mail [redacted:email]"]
    for bad in ([{"y": [1.0, 2.0]}], [{"x": 1.0}], [{"x": [1.0, 2.0]}, [1.0, 2.0]], [[1.0]], ["hello"], [], [{}], 3):
        answer = await gateway.post("/v1/predictions", {"model": "iris", "input": bad})
        assert answer.status_code == 400, bad
        assert answer.json()["error"]["code"] == "input_refused"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.sampled_from(["x", "y", ""]) | JSON,
                    "datatype": st.sampled_from(["FP32", "BYTES"]) | JSON,
                    "shape": st.lists(st.integers(-2, 3), max_size=3) | JSON, "data": st.lists(JSON, max_size=4) | JSON,
                    "parameters": JSON,
                },
            ),
            max_size=3,
        ) | JSON,
        "outputs": JSON, "id": JSON, "parameters": JSON,
    },
)  # fmt: skip


@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=NEARLY | JSON)
async def test_no_noise_is_a_fault_of_ours(gateway, document):
    for path, body in (("/v2/models/iris/infer", document), ("/v1/predictions", {"model": "iris", "input": document})):
        answer = await gateway.post(path, body)
        assert answer.status_code in (200, 400), (body, answer.text)
        assert gateway.entry(answer.headers["x-vallum-entry"]).outcome in ("ok", "invalid", "blocked")
