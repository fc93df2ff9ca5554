"""Real models, made here: small graphs in ONNX with known weights, some of them built to harm whoever serves them."""

import json

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper, numpy_helper

from vallum.models.runtime.model import ServingConfiguration
from vallum.models.signing import TrustedKey, TrustPolicy, sign_model

WEIGHTS = np.array([[1.0, -1.0, 0.5], [0.25, 2.0, -0.75]], np.float32)

CLASSIFIER = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "minimum": -100, "maximum": 100}],
    "outputs": [
        {"name": "label", "datatype": "INT64", "role": "label"},
        {"name": "probabilities", "datatype": "FP32", "role": "probabilities", "shape": [-1, 3]},
        {"name": "scores", "datatype": "FP32", "role": "logits", "shape": [-1, 3]},
    ],
}


def write_classifier(folder):
    """Scores are x @ WEIGHTS."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    _write(
        folder, nodes, [_value("x", TensorProto.FLOAT, ["n", 2])],
        [_value("label", TensorProto.INT64, ["n"]), _value("probabilities", TensorProto.FLOAT, ["n", 3]),
         _value("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )  # fmt: skip


GREEDY = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32"}],
    "timeout_seconds": 1.0,
    "limits": {"memory_mebibytes": 512},
}


def write_greedy(folder):
    """Makes as many numbers as its largest input says, and sums them: one row each for any input."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["n"], keepdims=1),
        helper.make_node("ConstantOfShape", ["n"], ["many"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("ReduceSum", ["many"], ["total"], keepdims=0),
        helper.make_node("Shape", ["x"], ["rows"]),
        helper.make_node("Expand", ["total", "rows"], ["y"]),
    ]
    _write(
        folder, nodes, [_value("x", TensorProto.INT64, ["n"])], [_value("y", TensorProto.FLOAT, ["n"])], [],
    )  # fmt: skip


def write_endless(folder):
    """Loops as often as its largest input says."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Add", ["was", "one"], ["is"])],
        "body",
        [
            _value("i", TensorProto.INT64, []), _value("going", TensorProto.BOOL, []),
            _value("was", TensorProto.FLOAT, []),
        ],
        [_value("still", TensorProto.BOOL, []), _value("is", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["times"], keepdims=0),
        helper.make_node("Loop", ["times", "", "zero"], ["total"], body=body),
        helper.make_node("Shape", ["x"], ["rows"]),
        helper.make_node("Expand", ["total", "rows"], ["y"]),
    ]
    _write(
        folder, nodes, [_value("x", TensorProto.INT64, ["n"])], [_value("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array(0, np.float32), "zero")],
    )  # fmt: skip


TEXTS = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1], "max_length": 200}],
    "outputs": [{"name": "echo", "datatype": "BYTES", "role": "values"}],
}


def write_texts(folder):
    """Says what it is told, which is what a guard on answers has to see."""
    nodes = [helper.make_node("Identity", ["text"], ["echo"])]
    _write(folder, nodes, [_value("text", TensorProto.STRING, ["n"])], [_value("echo", TensorProto.STRING, ["n"])], [])


def configuration(document, **more):
    import msgspec

    return msgspec.convert(json.loads(json.dumps(document | more)), ServingConfiguration)


class SignedFolder:
    """Models as UnsafeFolderDeployments takes them, signed by a key made here."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.trust = TrustPolicy((TrustedKey("tests", self.pem),))

    def add(self, name, write, document, files=None):
        path = self.folder / name
        path.mkdir()
        write(path)
        (path / "serving.json").write_text(json.dumps(document))
        for file, content in (files or {}).items():
            (path / file).write_text(content)
        sign_model(path, self.folder / f"{name}.sig", self._key)
        return path


def _value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def _write(folder, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
