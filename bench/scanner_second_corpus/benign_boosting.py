"""Benign: gradient boosting in its own formats and as pickles, ONNX, skops, safetensors, GGUF, arrays."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy
from sklearn import datasets, ensemble, linear_model, pipeline, preprocessing, svm

from .benign_networks import folder_of
from .sample import Sample
from .templates import PLAIN

__all__ = ["samples"]

FEATURES, TARGET = datasets.load_wine(return_X_y=True)


def _xgboost() -> Iterator[tuple[str, dict[str, bytes]]]:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=4, max_depth=2).fit(FEATURES, TARGET)
    yield "XGBoost, JSON", folder_of(lambda place: model.save_model(place / "model.json"))
    yield "XGBoost, UBJ", folder_of(lambda place: model.save_model(place / "model.ubj"))
    yield "XGBoost, pickle", {"xgb.pkl": pickle.dumps(model)}
    yield (
        "XGBoost, joblib of a regressor",
        folder_of(
            lambda place: joblib.dump(
                xgboost.XGBRegressor(n_estimators=3).fit(FEATURES, TARGET), place / "x.joblib", compress=3
            )
        ),
    )
    yield "XGBoost, text of trees", folder_of(lambda place: model.get_booster().dump_model(place / "trees.txt"))


def _lightgbm() -> Iterator[tuple[str, dict[str, bytes]]]:
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(FEATURES, TARGET)
    yield "LightGBM, text", folder_of(lambda place: model.booster_.save_model(place / "model.txt"))
    yield "LightGBM, pickle", {"lgbm.pkl": pickle.dumps(model)}
    yield "LightGBM, JSON", {"model.json": json.dumps(model.booster_.dump_model()).encode()}
    steps = pipeline.make_pipeline(preprocessing.RobustScaler(), model).fit(FEATURES, TARGET)
    yield "LightGBM, joblib of a pipeline", folder_of(lambda place: joblib.dump(steps, place / "p.joblib"))


def _catboost() -> Iterator[tuple[str, dict[str, bytes]]]:
    import catboost

    model = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(FEATURES, TARGET)
    yield "CatBoost, binary", folder_of(lambda place: model.save_model(str(place / "model.cbm")))
    yield "CatBoost, JSON", folder_of(lambda place: model.save_model(str(place / "model.json"), format="json"))


def _onnx() -> Iterator[tuple[str, dict[str, bytes]]]:
    import onnx
    from onnx import numpy_helper
    from skl2onnx import to_onnx

    first = FEATURES[:1].astype(numpy.float32)
    for name, made in (
        ("forest", ensemble.RandomForestClassifier(4)),
        ("regression", linear_model.LogisticRegression(max_iter=50)),
        ("pipeline", pipeline.make_pipeline(preprocessing.MinMaxScaler(), svm.SVC())),
    ):
        yield f"ONNX, {name}", {"model.onnx": to_onnx(made.fit(FEATURES, TARGET), first).SerializeToString()}
    weights = numpy_helper.from_array(numpy.random.rand(64, 4).astype(numpy.float32), "w")
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [info("x", 1, [1, 64])],
        [info("y", 1, [1, 4])],
        [weights],
    )
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {"author": "us", "names": "{0: 'cat', 1: 'dog'}"})
    yield (
        "ONNX with its data outside",
        folder_of(
            lambda place: onnx.save(
                model, place / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=16
            )
        ),
    )


def _plain() -> Iterator[tuple[str, dict[str, bytes]]]:
    from safetensors.numpy import save
    from skops import io as skops

    tensors = {f"layers.{n}.weight": numpy.random.rand(4, 4).astype(numpy.float32) for n in range(6)}
    yield "safetensors", {"model.safetensors": save(tensors, {"format": "pt"})}
    yield (
        "safetensors of many types",
        {"m.safetensors": save({"a": numpy.zeros(3, numpy.int8), "b": numpy.ones((2, 2), numpy.float64)})},
    )
    yield "skops, forest", {"model.skops": skops.dumps(ensemble.RandomForestClassifier(3).fit(FEATURES, TARGET))}
    yield (
        "skops, pipeline",
        {
            "p.skops": skops.dumps(
                pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()).fit(FEATURES, TARGET)
            )
        },
    )
    yield "numpy array", folder_of(lambda place: numpy.save(place / "embeddings.npy", FEATURES))
    yield (
        "numpy arrays, compressed",
        folder_of(
            lambda place: numpy.savez_compressed(
                place / "w.npz", **{k.replace(".", "_"): v for k, v in tensors.items()}
            )
        ),
    )
    yield (
        "numpy structured array",
        folder_of(lambda place: numpy.save(place / "t.npy", numpy.zeros(3, [("id", "<i4"), ("name", "U8")]))),
    )
    yield (
        "pickle of plain values",
        {"labels.pkl": pickle.dumps({"classes": ["a", "b"], "mean": 0.5, "seen": {1, 2}, "raw": b"abc"})},
    )


def _gguf() -> Iterator[tuple[str, dict[str, bytes]]]:
    from gguf import GGUFWriter

    def write(place: Path, template: str) -> None:
        writer = GGUFWriter(place / "tiny.gguf", "llama")
        writer.add_block_count(1)
        writer.add_context_length(128)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["<s>", "</s>", "import", "os", "system", "eval"])
        if template:
            writer.add_chat_template(template)
        writer.add_tensor("blk.0.attn_q.weight", numpy.random.rand(32, 32).astype(numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    tools = (
        "{%- set ns = namespace(found=false) -%}{%- for m in messages -%}{%- if m.role == 'system' and not ns.found -%}"
        "{%- set ns.found = true -%}{{ m.content | trim }}{%- endif -%}{%- endfor -%}{%- if tools -%}"
        "{{ tools | tojson(indent=2) }}{%- endif -%}{%- for m in messages if m.role != 'system' -%}"
        "{{ '[' ~ loop.index0 ~ '] ' + m['role'] + ': ' + m['content'].strip() }}{%- endfor -%}"
        "{%- if not messages -%}{{ raise_exception('messages are empty') }}{%- endif -%}"
    )
    for name, template in (("no template", ""), ("a template", PLAIN), ("a template of tools", tools)):
        yield f"GGUF, {name}", folder_of(lambda place, template=template: write(place, template))


def samples() -> Iterator[Sample]:
    for group, made in (
        ("benign: boosting", _xgboost()),
        ("benign: boosting", _lightgbm()),
        ("benign: boosting", _catboost()),
        ("benign: ONNX", _onnx()),
        ("benign: plain formats", _plain()),
        ("benign: GGUF", _gguf()),
    ):
        try:
            for name, files in made:
                yield Sample(group, name, files)
        except ImportError:
            continue
