"""Layers over safetensors compute what onnxruntime computes for the same weights."""

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vallum.kernel.errors import Invalid
from vallum.models.runtime.layers import build_network, read_safetensors
from vallum.models.runtime.model import Activation, Conv2d, Flatten, Linear, Normalisation, Pool2d

RNG = np.random.default_rng(5)


def saved(path, tensors):
    header, pieces, at = {}, [], 0
    for name, array in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        pieces.append(raw)
        at += len(raw)
    encoded = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + b"".join(pieces))
    return path


def numbers(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


TENSORS = {
    "conv.weight": numbers(6, 3, 3, 3), "conv.bias": numbers(6), "bn.weight": numbers(6), "bn.bias": numbers(6),
    "bn.running_mean": numbers(6), "bn.running_var": np.abs(numbers(6)) + 0.1, "fc.weight": numbers(4, 96),
    "fc.bias": numbers(4),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "operator"), [("max", "MaxPool"), ("average", "AveragePool")])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_a_convolutional_network(tmp_path, kind, operator, activation):
    layers = (
        Conv2d("conv", stride=2, padding=1), Normalisation("bn"), Activation(activation), Pool2d(kind, 2), Flatten(),
        Linear("fc"), Activation("softmax"),
    )  # fmt: skip
    network = build_network(layers, read_safetensors(saved(tmp_path / "m.safetensors", TENSORS)))
    x = numbers(5, 3, 17, 17)
    names = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "gelu": "Gelu"}
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["a", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], ["b"]
        ),
        helper.make_node(names[activation], ["b"], ["c"]),
        helper.make_node(operator, ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "fc.weight", "fc.bias"], ["f"], transB=1),
        helper.make_node("Softmax", ["f"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 4])],
        [numpy_helper.from_array(array, name) for name, array in TENSORS.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(network(x), session.run(None, {"x": x})[0], atol=2e-5)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path):
    tensors = read_safetensors(saved(tmp_path / "m", {"0.weight": numbers(2, 3), "1.weight": numbers(2, 2)}))
    with pytest.raises(Invalid, match="leaves tensors"):
        build_network([Linear("0", bias=False)], tensors)
    with pytest.raises(Invalid, match=r"needs a tensor 0\.bias"):
        build_network([Linear("0"), Linear("1", bias=False)], tensors)


@pytest.mark.parametrize(
    "about",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 80]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "OBJ", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32"},
        [1],
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, about):
    header = json.dumps({"t": about}).encode()
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(Invalid):
        read_safetensors(tmp_path / "m")


@pytest.mark.parametrize("raw", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\x09" + b"\0" * 7 + b"{"])
def test_noise_is_no_safetensors(tmp_path, raw):
    (tmp_path / "m").write_bytes(raw)
    with pytest.raises(Invalid):
        read_safetensors(tmp_path / "m")
