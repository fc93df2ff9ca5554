"""A registered model is released, promoted as far as production, and asked through the gateway; a canary that fails is
stopped by itself, clients see a rollback at once, and a revoked version answers nobody."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vallum.kernel.errors import Conflict, Denied, NotFound
from vallum.models.runtime.sandbox import what_this_machine_permits

pytestmark = [
    pytest.mark.timeout(300),  # two servers, models that load, and a canary that is weighed every ten seconds
    pytest.mark.skipif(
        not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
    ),
]

CONFIGURATION = """
[providers.own]
kind = "releases"

[models.frost]
provider = "own"

[applications.vineyard]
owner = "vineyard@example.com"
models = ["frost"]
limits = { requests_per_minute = 100000, tokens_per_minute = 100000000 }

[applications.elsewhere]
owner = "elsewhere@example.com"
models = []
"""
SERVING = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1], "minimum": 0, "maximum": 9}],
    "outputs": [{"name": "y", "datatype": "FP32"}],
    "timeout_seconds": 10,
}
CARD = """---
license: apache-2.0
language: en
pipeline_tag: tabular-classification
datasets: [stations]
---
# frost
The chance of frost in the coming night, by the readings of one weather station in a vineyard.
## Intended use
Growers decide by it whether heaters are lit on a given night, and nothing else is decided by it.
## Limitations
It knows the stations of one valley only; readings of another valley are answered and mean little.
## Training data
Readings of eleven stations in twelve winters, cleaned by hand, with nights that lack a reading left out.
## Evaluation
Held against the nights of the last winter: nine of ten frosts were foreseen, one warning in six was wrong.
## How to use
Ask it through the gateway with one reading for each row, in degrees above the freezing point of water.
"""
REASON = "foresees more nights of frost"


def table(folder, values, *, answers=10):
    """y is the value at x; a table with fewer answers fails at a larger x."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["t", "i"], ["y"]),
    ]
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        nodes, "g", [shape], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.full(answers, values, np.float32), "t")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "README.md").write_text(CARD)
    return folder


class Client:
    """An application with a key."""

    def __init__(self, server, key):
        self.server, self.key = server, key

    def request(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        request = urllib.request.Request(self.server.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.server.tls()) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            with e:
                return e.code, json.load(e)

    def infer(self, x=0.0, path="/v2/models/frost/infer"):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [x]}
        return self.request(path, {"inputs": [tensor]})

    def answer(self, x=0.0):
        status, answer = self.infer(x)
        return answer["outputs"][0]["data"][0] if status == 200 else (status, answer["code"])

    def wait(self, wanted, seconds):
        """How long it took until clients see it."""
        begun = time.monotonic()
        while (seen := self.answer()) != wanted:
            assert time.monotonic() - begun < seconds, seen
            time.sleep(0.05)
        return time.monotonic() - begun


class Crew:
    """Gwen builds; Otto approves, stewards data and sees to security."""

    def __init__(self, server):
        self.server, self.gwen, self.otto = server, server.client(), server.client()
        server.newcomer("gwen", "ml_engineer").sign_in(self.gwen)
        server.newcomer("otto", "approver", "data_steward", "security").sign_in(self.otto)

    def build(self, number):
        body = {"product": "nights", "models": [{"name": "frost", "version": number, "serving": SERVING}]}
        return self.gwen.request("POST", "/releases", body)

    def promote(self, release, *environments, **options):
        for environment in environments:
            body = {"release": release["id"], "reason": REASON, **options}
            asked = self.gwen.request("POST", f"/environments/{environment}/promotions", body)
            if asked["state"] == "waiting":
                self.otto.request("POST", f"/promotions/{asked['id']}/approval", {})

    def satisfy(self, release):
        given = {"passed": True, "report": "a" * 64}
        self.gwen.request("POST", f"/releases/{release['id']}/evidence/tests", given)
        self.otto.request("POST", f"/releases/{release['id']}/evidence/data", given)

    def trial(self):
        prod = self.gwen.request("GET", "/environments")[-1]
        return prod["running"][0]["trial"]


@pytest.fixture
def server(start, tmp_path):
    running = start()
    (tmp_path / "vineyard.toml").write_text(CONFIGURATION)
    running.vallum("apply", tmp_path / "vineyard.toml")
    return running


@pytest.fixture
def crew(server):
    made = Crew(server)
    yield made
    made.gwen.close()
    made.otto.close()


@pytest.fixture
def vineyard(server):
    return Client(server, server.vallum("keys", "issue", "vineyard", "--label", "station").stdout.strip())


def entries(server, **wanted):
    lines = server.vallum("ledger", "tail", "-n", "1000", "--json").stdout.splitlines()
    return [e for e in map(json.loads, lines) if all(e[name] == value for name, value in wanted.items())]


def test_a_release_is_served_tried_rolled_back_and_revoked(server, crew, vineyard, tmp_path):
    gwen = crew.gwen
    gwen.register_model("frost", risk_class="minimal")
    first, second, broken = (
        gwen.upload_model("frost", table(tmp_path / name, value, answers=answers))
        for name, value, answers in (("one", 0.25, 10), ("two", 0.75, 10), ("broken", 0.5, 1))
    )
    assert [one["state"] for one in (first, second, broken)] == ["available"] * 3

    # Refused first: nothing is deployed, somebody else's key, a release that production has not been shown.
    assert vineyard.answer() == (503, "model_not_deployed")
    stranger = Client(server, server.vallum("keys", "issue", "elsewhere", "--label", "x").stdout.strip())
    assert stranger.answer() == (404, "model_not_found")
    assert Client(server, "vlm_nobodys").infer()[0] == 401
    stable = crew.build(first["number"])
    with pytest.raises(Conflict):
        crew.promote(stable, "prod")
    with pytest.raises(Denied):
        crew.otto.request("POST", "/environments/dev/promotions", {"release": stable["id"], "reason": REASON})

    crew.satisfy(stable)
    crew.promote(stable, "dev", "test")
    assert vineyard.answer() == (503, "model_not_deployed")  # this server answers for prod
    crew.promote(stable, "prod")
    vineyard.wait(0.25, 20)
    status, answer = vineyard.infer()
    entry = json.loads(server.vallum("ledger", "show", answer["parameters"]["entry"], "--json").stdout)
    assert (entry["asset"], entry["outcome"], entry["subject"]) == ("Model:frost", "ok", "application:vineyard")
    assert (entry["context"]["release"], entry["context"]["model_version"]) == (stable["id"], first["number"])
    status, predicted = vineyard.request("/v1/predictions", {"model": "frost", "input": [{"x": 3}, {"x": 4}]})
    assert (status, [row["y"] for row in predicted["data"]]) == (200, [0.25, 0.25]), predicted
    assert vineyard.request("/v2/models/frost/ready")[0] == 200
    assert vineyard.infer(path=f"/v2/models/frost/versions/{second['number']}/infer")[0] == 404

    # A canary that fails at most of what it is asked: half of one application's requests meet it, until it is stopped.
    bad = crew.build(broken["number"])
    crew.satisfy(bad)
    crew.promote(bad, "dev", "test")
    crew.promote(bad, "prod", mode="canary", percent=50)
    assert crew.trial()["release"] == bad["id"]
    seen, until = set(), time.monotonic() + 60
    while crew.trial() is not None:
        assert time.monotonic() < until, crew.trial()
        seen |= {vineyard.answer(float(x)) for x in range(1, 10)}
    assert {0.25, (502, "model_failed")} <= seen <= {0.25, (502, "model_failed"), (503, "model_unavailable")}
    time.sleep(1)  # within which every process knows
    assert {vineyard.answer(float(x)) for x in range(10) for _ in range(4)} == {0.25}
    (told,) = entries(server, kind="alert", action="releases:canary:fail")
    assert (told["context"]["release"], told["context"]["signal"]) == (bad["id"], "failures")

    # The second one runs whole, and who asks for a version by its number gets that one or none.
    better = crew.build(second["number"])
    crew.satisfy(better)
    crew.promote(better, "dev", "test", "prod")
    vineyard.wait(0.75, 20)
    assert vineyard.infer(path=f"/v2/models/frost/versions/{second['number']}/infer")[0] == 200
    assert gwen.request("POST", "/environments/prod/verifications", {"product": "nights"})["problems"] == []

    # Back: every client sees it within five seconds. That is no drift of anything.
    gwen.request("POST", "/environments/prod/rollbacks", {"product": "nights"})
    assert vineyard.wait(0.25, 5) < 5
    assert gwen.request("POST", "/environments/prod/verifications", {"product": "nights"})["problems"] == []
    assert entries(server, kind="alert", action="releases:environment:drift") == []

    # The version that runs is revoked: nothing good is left, and it answers nobody, now or after a new start.
    with pytest.raises(Denied):
        gwen.request("POST", f"/registered-models/frost/versions/{first['number']}/revocation", {"reason": REASON})
    crew.otto.request("POST", f"/releases/{stable['id']}/revocation", {"reason": REASON})
    vineyard.wait((503, "model_not_deployed"), 5)
    assert vineyard.request("/v2/models/frost/ready")[0] == 404
    with pytest.raises((Conflict, NotFound)):
        crew.promote(stable, "prod")


def test_a_revoked_version_stops_answering_and_a_lost_blob_is_said(server, crew, vineyard, tmp_path):
    gwen = crew.gwen
    gwen.register_model("frost", risk_class="minimal")
    versions = [gwen.upload_model("frost", table(tmp_path / f"m{n}", n / 4)) for n in (1, 2)]
    releases = [crew.build(one["number"]) for one in versions]
    for release in releases:
        crew.satisfy(release)
        crew.promote(release, "dev", "test", "prod")
    vineyard.wait(0.5, 20)

    # A version, and not its release: what holds it is taken out at once, and the one before answers.
    at = f"/registered-models/frost/versions/{versions[1]['number']}/revocation"
    crew.otto.request("POST", at, {"reason": "trained on stations that were withdrawn"})
    vineyard.wait(0.25, 5)
    history = gwen.request("GET", "/environments/prod/deployments?product=nights")
    assert [(one["kind"], one["ended"]) for one in history[:2]] == [("revocation", None), ("promotion", "revoked")]
    with pytest.raises(Conflict, match="revoked"):
        crew.promote(releases[1], "prod")

    # A blob altered behind its back is told, and what is loaded goes on: it is what was verified.
    blobs = [path for path in (Path(server.data) / "blobs" / "models").rglob("*") if path.is_file()]
    for path in blobs:
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    found = gwen.request("POST", "/environments/prod/verifications", {"product": "nights"})["problems"]
    assert {one["kind"] for one in found} == {"model"}
    assert "was altered in the blob store" in found[0]["what"]
    assert vineyard.answer() == 0.25


def safetensors(tensors):
    """Its length, a header in JSON, and numbers: nobody needs a library for it."""
    header, body = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.astype("<f4").tobytes()
        place = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": place}
        body += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + body


def regression(model):
    """A logistic regression of two classes in ONNX."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Greater", ["q", "zero"], ["is"]),
        helper.make_node("Cast", ["is"], ["l"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["l", "axes"], ["label"]),
    ]  # fmt: skip
    numbers = {"w": model.coef_.T, "b": model.intercept_, "zero": np.zeros(1)}
    held = [numpy_helper.from_array(one.astype(np.float32), name) for name, one in numbers.items()]
    held.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    ends = [value("x", TensorProto.FLOAT, ["n", 4])], [value("label", TensorProto.INT64, ["n"])]
    graph = helper.make_graph(nodes, "g", *ends, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def every_format(tmp_path):
    """Name, serving and what it predicts: real models, trained here, each in the form that holds no code."""
    lightgbm, skops, xgboost = map(pytest.importorskip, ("lightgbm", "skops.io", "xgboost"))
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    label = [{"name": "label", "datatype": "INT64", "role": "label"}]
    forest = RandomForestClassifier(5, random_state=1).fit(x, y)
    linear = LogisticRegression().fit(x, y)
    boosted = xgboost.XGBClassifier(n_estimators=4).fit(x, y)
    light = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(x, y)
    weights = {"l.weight": rng.normal(size=(2, 4)).astype(np.float32), "l.bias": np.zeros(2, np.float32)}
    rows = x[:6]

    def folder(name):
        made = tmp_path / name
        made.mkdir()
        (made / "README.md").write_text(CARD)
        return made

    skops.dump(forest, folder("forest") / "m.skops")
    (folder("linear") / "m.onnx").write_bytes(regression(linear))
    boosted.save_model(folder("boosted") / "m.json")
    light.booster_.save_model(folder("light") / "m.txt")
    (folder("layers") / "m.safetensors").write_bytes(safetensors(weights))

    def serving(format, file, outputs=label, **more):
        return {"format": format, "file": file, "inputs": inputs, "outputs": outputs} | more

    values = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    by_hand = rows @ weights["l.weight"].T
    return {
        "forest": (serving("sklearn", "m.skops", trusted=["sklearn.tree._tree.Tree"]), forest.predict(rows)),
        "linear": (serving("onnx", "m.onnx"), linear.predict(rows)),
        "boosted": (serving("xgboost", "m.json"), boosted.predict(rows)),
        "light": (serving("lightgbm", "m.txt"), light.predict(rows)),
        "layers": (serving("torch", "m.safetensors", values, architecture=[{"layer": "linear", "name": "l"}]), by_hand),
    }, rows  # fmt: skip


def test_models_of_every_format_are_released_and_answer(server, crew, tmp_path):
    gwen, otto = crew.gwen, crew.otto
    models, rows = every_format(tmp_path)
    names = "\n".join(f'[models.{name}]\nprovider = "own"' for name in models)
    listed = ", ".join(f'"{name}"' for name in models)
    application = f'[applications.house]\nowner = "o@example.com"\nmodels = [{listed}]\n'
    (tmp_path / "house.toml").write_text(f'[providers.own]\nkind = "releases"\n{names}\n{application}')
    server.vallum("apply", tmp_path / "house.toml")
    house = Client(server, server.vallum("keys", "issue", "house", "--label", "x").stdout.strip())
    declared = []
    for name, (serving, _) in models.items():
        gwen.register_model(name, risk_class="minimal")
        version = gwen.upload_model(name, tmp_path / name)
        if version["state"] != "available":
            at = f"/registered-models/{name}/versions/{version['number']}/review"
            otto.request("POST", at, {"decision": "release", "note": "looked at by hand, and trained here"})
        declared.append({"name": name, "version": version["number"], "serving": serving})
    release = gwen.request("POST", "/releases", {"product": "house", "models": declared})
    crew.satisfy(release)
    crew.promote(release, "dev", "test", "prod")
    for name, (serving, wanted) in models.items():
        tensor = {
            "name": serving["inputs"][0]["name"],
            "datatype": "FP32",
            "shape": [6, 4],
            "data": rows.ravel().tolist(),
        }
        until = time.monotonic() + 60
        while (found := house.request(f"/v2/models/{name}/infer", {"inputs": [tensor]}))[0] == 503:
            assert time.monotonic() < until, (name, found, gwen.request("GET", "/environments"))
            time.sleep(0.2)
        assert found[0] == 200, (name, found)
        (output,) = found[1]["outputs"]
        assert np.allclose(np.array(output["data"]).reshape(wanted.shape), wanted, atol=1e-3), name
    assert gwen.request("POST", "/environments/prod/verifications", {"product": "house"})["problems"] == []


def test_a_shadow_changes_no_answer_and_what_was_revoked_comes_back_by_no_way(server, crew, vineyard, tmp_path, start):
    gwen, otto = crew.gwen, crew.otto
    gwen.register_model("frost", risk_class="minimal")
    versions = [
        gwen.upload_model("frost", table(tmp_path / f"m{n}", n / 4, answers=10 if n < 3 else 1)) for n in (1, 2, 3)
    ]
    budget = SERVING | {"query_budget": {"rows_per_day": 30}}
    stable, other, failing = (
        gwen.request("POST", "/releases", {
            "product": "nights", "models": [{"name": "frost", "version": one["number"], "serving": budget}],
        })
        for one in versions
    )  # fmt: skip
    for release in (stable, other, failing):
        crew.satisfy(release)
        crew.promote(release, "dev", "test")
    crew.promote(stable, "prod")
    vineyard.wait(0.25, 30)

    # A shadow that fails at nearly everything: each of the rows that are left is answered, by the stable release alone.
    crew.promote(failing, "prod", mode="shadow", percent=100)
    time.sleep(1.5)  # within which every process knows
    before = len(entries(server, kind="inference"))
    answers = [vineyard.answer(float(x % 10)) for x in range(20)]
    assert set(answers) == {0.25}
    told = entries(server, kind="inference")
    assert len(told) == before + 20
    assert {one["context"]["release"] for one in told if one["outcome"] == "ok"} == {stable["id"]}
    left = 0
    while vineyard.infer()[0] == 200:  # the budget counts each row once: what a shadow heard cost nobody any
        left += 1
    used = len([one for one in entries(server, kind="inference") if one["outcome"] == "ok"])
    assert used == 30, left

    # Revoked: not promoted, no canary, no shadow, not gone back to, and not loaded by a server that starts anew.
    crew.promote(other, "prod")
    otto.request("POST", f"/releases/{stable['id']}/revocation", {"reason": REASON})
    for options in ({}, {"mode": "canary", "percent": 50}, {"mode": "shadow", "percent": 50}):
        with pytest.raises(Conflict):
            gwen.request(
                "POST", "/environments/prod/promotions", {"release": stable["id"], "reason": REASON, **options}
            )
    for to in ({"release": stable["id"]}, {}):
        with pytest.raises(Conflict):
            gwen.request("POST", "/environments/prod/rollbacks", {"product": "nights", **to})
    otto.request("POST", f"/releases/{other['id']}/revocation", {"reason": REASON})
    vineyard.wait((503, "model_not_deployed"), 5)
    server.stop()
    again = start("--port", str(server.port))
    assert Client(again, vineyard.key).answer() == (503, "model_not_deployed")


WORDS = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1], "max_length": 200}],
    "outputs": [{"name": "said", "datatype": "BYTES"}],
}


def words(folder, tail):
    """Says what it is told, and `tail` after it."""
    text, said = (helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in ("text", "said"))
    tail = helper.make_tensor("t", TensorProto.STRING, [1], [tail.encode()])
    node = helper.make_node("StringConcat", ["text", "t"], ["said"])
    graph = helper.make_graph([node], "g", [text], [said], [tail])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "README.md").write_text(CARD)
    return folder


def test_a_canary_is_stopped_for_what_guards_find_and_for_what_it_alone_refuses(server, crew, tmp_path):
    gwen = crew.gwen
    text = CONFIGURATION.replace('models = ["frost"]', 'models = ["frost", "words"]')
    (tmp_path / "vineyard.toml").write_text(text + '\n[models.words]\nprovider = "own"\n')
    server.vallum("apply", tmp_path / "vineyard.toml")
    vineyard = Client(server, server.vallum("keys", "issue", "vineyard", "--label", "two").stdout.strip())

    def product(name, folders, servings):
        gwen.register_model(name, risk_class="minimal")
        for folder, serving in zip(folders, servings, strict=True):
            number = gwen.upload_model(name, folder)["number"]
            models = [{"name": name, "version": number, "serving": serving}]
            release = gwen.request("POST", "/releases", {"product": name, "models": models})
            crew.satisfy(release)
            crew.promote(release, "dev", "test")
            yield release

    frost = list(product(
        "frost", [table(tmp_path / "one", 0.25), table(tmp_path / "two", 0.75)],
        [SERVING, SERVING | {"inputs": [SERVING["inputs"][0] | {"maximum": 0}]}],
    ))  # fmt: skip
    said = list(
        product("words", [words(tmp_path / "a", " yes"), words(tmp_path / "b", " 4111 1111 1111 1111")], [WORDS] * 2)
    )
    for stable, other in (frost, said):
        crew.promote(stable, "prod")
        crew.promote(other, "prod", mode="canary", percent=50)
    vineyard.wait(0.25, 30)

    def say():
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["is it cold"]}
        return vineyard.request("/v2/models/words/infer", {"inputs": [tensor]})

    def on_trial():
        return {one["product"] for one in gwen.request("GET", "/environments")[-1]["running"] if one["trial"]}

    until = time.monotonic() + 90
    while on_trial():
        assert time.monotonic() < until, gwen.request("GET", "/environments")[-1]
        seen = [say() for _ in range(10)] + [vineyard.infer(float(x)) for x in range(1, 10)]
        assert {status for status, _ in seen} <= {200, 400, 503}
        assert "4111 1111" not in json.dumps(seen)  # what the guards find leaves from neither side
    told = {
        one["context"]["release"]: one["context"]["signal"] for one in entries(server, action="releases:canary:fail")
    }
    assert told == {frost[1]["id"]: "failures", said[1]["id"]: "findings"}
    time.sleep(1)
    assert {vineyard.answer(float(x)) for x in range(1, 10)} == {0.25}
    assert {say()[1]["outputs"][0]["data"][0] for _ in range(6)} == {"is it cold yes"}
