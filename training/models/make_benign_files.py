"""Make the benign model files that the scanner's tests read: really trained, really saved, small.

    python training/models/make_benign_files.py tests/unit/models/scan/benign

Needs numpy, scikit-learn, torch, onnx, skl2onnx, safetensors, h5py, xgboost, lightgbm and skops; the tests do not.
"""

import gzip
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import lightgbm
import numpy as np
import onnx
import safetensors.numpy
import safetensors.torch
import skl2onnx
import skops.io
import torch
import xgboost
from onnx import TensorProto, helper
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

KERAS_CONFIG = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "Dense", "config": {}}]}}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    points, labels = make_classification(n_samples=120, n_features=6, random_state=0)
    points = points.astype(np.float32)
    _torch(folder)
    _arrays(folder)
    _onnx(folder, points, labels)
    _hdf5(folder)
    _trees(folder, points, labels)


def _torch(folder: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    torch.save(net.state_dict(), folder / "state_dict.pt")
    torch.save({"model": net.state_dict(), "epoch": 3}, folder / "checkpoint.bin")
    torch.jit.script(net).save(str(folder / "scripted.torchscript"))
    safetensors.torch.save_file(net.state_dict(), folder / "net.safetensors", {"format": "pt"})
    tensors = {"b": torch.ones(3, dtype=torch.bfloat16), "e": torch.zeros(0, 4), "s": torch.tensor(2, dtype=torch.int8)}
    safetensors.torch.save_file(tensors, folder / "kinds.safetensors")


def _arrays(folder: Path) -> None:
    arrays = {"weights": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(3)}
    np.savez(folder / "arrays.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    safetensors.numpy.save_file(arrays, folder / "arrays.safetensors")
    buffer = io.BytesIO()
    np.save(buffer, arrays["weights"])
    (folder / "array.npy.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    for kind, suffix in ((tarfile.USTAR_FORMAT, "ustar"), (tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "gnu")):
        with tarfile.open(folder / f"arrays.{suffix}.tar", "w", format=kind) as tar:
            name = "model/" + ("long/" * 30 if suffix != "ustar" else "") + "weights.npy"
            entry = tarfile.TarInfo(name)
            entry.size = len(buffer.getvalue())
            tar.addfile(entry, io.BytesIO(buffer.getvalue()))


def _onnx(folder: Path, points: np.ndarray, labels: np.ndarray) -> None:
    kind = [("x", FloatTensorType([None, points.shape[1]]))]
    for name, model in (
        ("pipeline", make_pipeline(StandardScaler(), LogisticRegression())),
        ("forest", RandomForestClassifier(n_estimators=4, max_depth=4, random_state=0)),
    ):
        exported = skl2onnx.to_onnx(model.fit(points, labels), initial_types=kind, target_opset=17)
        (folder / f"{name}.onnx").write_bytes(exported.SerializeToString())
        if name == "pipeline":
            skops.io.dump(model, folder / "pipeline.skops")
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=helper.make_tensor("c", TensorProto.FLOAT, [2], [1.0, 2.0]))],
        "branch", [], [value],
    )  # fmt: skip
    choose = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph([choose], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], [value])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "branches.onnx")


def _hdf5(folder: Path) -> None:
    for name, kind in (("keras.h5", "earliest"), ("weights.h5", "latest")):
        with h5py.File(folder / name, "w", libver=kind) as file:
            group = file.create_group("model_weights/dense")
            group.create_dataset("kernel:0", data=np.ones((6, 4), np.float32))
            group.create_dataset("bias:0", data=np.zeros(4, np.float32))
            if name == "keras.h5":
                file.attrs["model_config"] = json.dumps(KERAS_CONFIG)
                file.attrs["backend"] = "tensorflow"
    with zipfile.ZipFile(folder / "model.keras", "w") as keras:
        keras.writestr("metadata.json", json.dumps({"keras_version": "3.5.0", "date_saved": "2025-01-01@00:00:00"}))
        keras.writestr("config.json", json.dumps(KERAS_CONFIG))
        keras.write(folder / "weights.h5", "model.weights.h5")


def _trees(folder: Path, points: np.ndarray, labels: np.ndarray) -> None:
    booster = xgboost.train({"max_depth": 2, "seed": 0}, xgboost.DMatrix(points, labels), 3)
    booster.save_model(folder / "trees.ubj")
    trained = lightgbm.train(
        {"num_leaves": 4, "verbose": -1, "seed": 0}, lightgbm.Dataset(points, labels), num_boost_round=3
    )
    trained.save_model(folder / "trees.lgb.txt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
