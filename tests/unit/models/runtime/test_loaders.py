"""Models really trained, each in its safe format, answer from behind the walls as they do in front of them."""

import shutil

import numpy as np
import pytest
from trained_models import configuration

from vallum.models.runtime.errors import ModelUnavailable
from vallum.models.runtime.process import ModelProcess
from vallum.models.runtime.sandbox import what_this_machine_permits
from vallum.models.runtime.wire import Tensor

pytestmark = pytest.mark.skipif(
    not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
)

RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0.2).astype(int) + (X[:, 3] > 1)

INPUT = {"name": "x", "datatype": "FP32", "shape": [-1, 4], "allow_missing": True}
LABEL = {"name": "label", "datatype": "INT64", "role": "label"}
PROBABILITIES = {"name": "p", "datatype": "FP32", "role": "probabilities", "shape": [-1, 3]}


def document(format, file, **more):
    return configuration({"format": format, "file": file, "inputs": [INPUT], "outputs": [LABEL, PROBABILITIES]} | more)


async def answers(served, folder, rows):
    process = await ModelProcess.start(served, folder)
    shutil.rmtree(folder)  # it needs nothing more of it
    try:
        body = rows.tobytes()
        found = await process.ask([Tensor("x", rows.shape, len(body))], body, len(rows))
        kinds = {"INT64": "<i8", "FP32": "<f4"}
        return {
            output.name: np.frombuffer(found[output.name].numbers, kinds[output.datatype]).reshape(
                found[output.name].shape
            )
            for output in served.outputs
        }
    finally:
        process.kill()


async def agrees(served, folder, model, rows):
    found = await answers(served, folder, rows)
    assert found["label"].tolist() == model.predict(rows).tolist()
    assert np.allclose(found["p"], model.predict_proba(rows), atol=1e-5)


async def test_a_forest_in_skops(tmp_path):
    skops = pytest.importorskip("skops.io")
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(8, n_jobs=2, random_state=1).fit(X, Y)
    skops.dump(model, tmp_path / "m.skops")
    await agrees(document("sklearn", "m.skops", trusted=["sklearn.tree._tree.Tree"]), tmp_path, model, X[:20])


async def test_a_type_that_nobody_trusts_is_not_loaded(tmp_path):
    skops = pytest.importorskip("skops.io")
    from sklearn.preprocessing import FunctionTransformer

    skops.dump(FunctionTransformer(__import__("os").system), tmp_path / "m.skops")
    with pytest.raises(ModelUnavailable, match="does not trust"):
        await ModelProcess.start(document("sklearn", "m.skops"), tmp_path)


async def test_a_pickle_is_not_loaded_whatever_it_is_called(tmp_path):
    pytest.importorskip("skops.io")
    import pickle

    for format, file in (("sklearn", "m.skops"), ("onnx", "m.onnx"), ("torch", "m.safetensors")):
        (tmp_path / file).write_bytes(pickle.dumps(print))
        more = {"architecture": [{"layer": "flatten"}]} if format == "torch" else {}
        with pytest.raises(ModelUnavailable):
            await ModelProcess.start(document(format, file, **more), tmp_path)


async def test_boosted_trees_of_xgboost(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    for file in ("m.json", "m.ubj"):
        folder = tmp_path / file.partition(".")[2]
        folder.mkdir()
        model = xgboost.XGBClassifier(n_estimators=5).fit(X, Y)
        model.save_model(folder / file)
        await agrees(document("xgboost", file), folder, model, X[:20])


async def test_boosted_trees_of_lightgbm(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, Y)
    model.booster_.save_model(tmp_path / "m.txt")
    await agrees(document("lightgbm", "m.txt"), tmp_path, model, X[:20])


async def test_a_scikit_learn_model_in_onnx(tmp_path):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(X, Y)
    graph = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    served = configuration({
        "format": "onnx", "file": "m.onnx", "inputs": [INPUT | {"name": "X"}],
        "outputs": [LABEL, PROBABILITIES | {"source": "probabilities"}],
    })  # fmt: skip
    process = await ModelProcess.start(served, tmp_path)
    try:
        body = X[:5].tobytes()
        found = await process.ask([Tensor("X", (5, 4), len(body))], body, 5)
        assert np.allclose(
            np.frombuffer(found["p"].numbers, "<f4").reshape(5, 3), model.predict_proba(X[:5]), atol=1e-5
        )
    finally:
        process.kill()


async def test_a_network_in_safetensors_behind_the_walls(tmp_path):
    import json

    weight, bias = RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
    header = json.dumps({
        "0.weight": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
        "0.bias": {"dtype": "F32", "shape": [3], "data_offsets": [48, 60]},
    }).encode()  # fmt: skip
    raw = len(header).to_bytes(8, "little") + header + weight.tobytes() + bias.tobytes()
    (tmp_path / "m.safetensors").write_bytes(raw)
    layers = [{"layer": "linear", "name": "0"}, {"layer": "activation", "kind": "softmax"}]
    found = await answers(document("torch", "m.safetensors", architecture=layers), tmp_path, X[:6])
    raised = np.exp(X[:6] @ weight.T + bias)
    assert np.allclose(found["p"], raised / raised.sum(axis=1, keepdims=True), atol=1e-5)
    assert found["label"].tolist() == raised.argmax(axis=1).tolist()
