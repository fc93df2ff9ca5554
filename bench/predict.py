"""What a prediction through the gateway costs beyond the model's own time: CPU of all the server's processes.

    python bench/predict.py [--requests 4000] [--features 30] [--keep 0]

One worker, plain HTTP, keep-alive, with everything on: an API key, policy, limits, guards, a query budget, validation,
the sandboxed process and a durable entry before each answer. The model is a classifier in ONNX; its own time is
measured in the same run, asked for single rows in a plain loop. CPU is user and system time from /proc.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gateway import cpu_seconds, free_port, stop
from load import one
from onnx import TensorProto, helper, numpy_helper

from vallum.models.signing import sign_model

CONFIGURATION = """
[providers.own]
kind = "releases"

[models.bench]
provider = "own"

[applications.bench]
owner = "bench"
models = ["bench"]
keep_content_days = {keep}
limits = {{ requests_per_minute = 100000000, concurrent = 1000 }}
limits_per_key = {{ requests_per_minute = 100000000 }}
"""


def write_model(folder: Path, features: int, reference: bool) -> None:
    """Two layers of 64, three classes."""
    source = np.random.default_rng(1)
    sizes = [(features, 64), (64, 64), (64, 3)]
    weights = [
        numpy_helper.from_array(source.normal(0, 0.1, s).astype(np.float32), f"w{n}") for n, s in enumerate(sizes)
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]), helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["e"]), helper.make_node("Softmax", ["e"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["e"], ["label"], axis=1, keepdims=0),
    ]  # fmt: skip
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "bench", [value("x", TensorProto.FLOAT, ["n", features])],
        [value("label", TensorProto.INT64, ["n"]), value("probabilities", TensorProto.FLOAT, ["n", 3])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    serving = {
        "format": "onnx", "file": "model.onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, features], "minimum": -1000, "maximum": 1000}],
        "outputs": [{"name": "label", "datatype": "INT64", "role": "label"},
                    {"name": "probabilities", "datatype": "FP32", "role": "probabilities", "shape": [-1, 3]}],
        "query_budget": {"rows_per_day": 10**9},
    }  # fmt: skip
    if reference:
        rows = source.normal(0, 1, (2000, features)).tolist()
        (folder / "reference.json").write_text(json.dumps(rows))
        serving["extraction"] = {"mode": "alert", "reference": "reference.json"}
    (folder / "serving.json").write_text(json.dumps(serving))


def own_ms(path: Path, features: int, requests: int) -> float:
    """The model's processor time for one row, by itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    row = np.zeros((1, features), np.float32)
    for _ in range(200):
        session.run(None, {"x": row})
    begun = time.process_time()
    for _ in range(requests):
        session.run(None, {"x": row})
    return (time.process_time() - begun) / requests * 1000


async def load(port: int, key: str, features: int, requests: int, concurrent: int) -> dict[str, float]:
    source = random.Random(2)
    bodies = []
    for _ in range(256):
        data = [round(source.gauss(0, 1), 6) for _ in range(features)]
        body = json.dumps(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, features], "data": data}]}
        ).encode()
        head = (
            f"POST /v2/models/bench/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        bodies.append(head.encode() + body)
    left = requests
    ends: list[float] = []

    async def client(number: int) -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            _, end = await one(reader, writer, bodies[(left + number) % len(bodies)])
            ends.append(end)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(concurrent)))
    seconds = time.perf_counter() - begun
    ends.sort()
    return {
        "per_second": round(len(ends) / seconds, 1),
        "p50_ms": round(ends[len(ends) // 2] * 1000, 3),
        "p99_ms": round(ends[int(len(ends) * 0.99)] * 1000, 3),
    }


def start(folder: Path, features: int, keep: int, reference: bool) -> tuple[subprocess.Popen[str], int, str, Path]:
    models = folder / "models"
    (models / "bench").mkdir(parents=True)
    write_model(models / "bench", features, reference)
    signing = ec.generate_private_key(ec.SECP256R1())
    sign_model(models / "bench", models / "bench.sig", signing)
    pem = folder / "key.pem"
    pem.write_bytes(signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    config = folder / "bench.toml"
    config.write_text(CONFIGURATION.format(keep=keep))
    vallum = [str(Path(sys.executable).with_name("vallum"))]
    environ = {
        **os.environ, "VALLUM_MODELS_UNSAFE_FOLDER": str(models), "VALLUM_MODELS_UNSAFE_FOLDER_KEY": str(pem),
    }  # fmt: skip
    data = ["--data", str(folder / "data")]

    def run(*arguments: str) -> str:
        done = subprocess.run([*vallum, *arguments, *data], capture_output=True, text=True, env=environ)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout.strip()

    run("migrate")
    run("apply", str(config))
    key = run("keys", "issue", "bench", "--label", "bench")
    port = free_port()
    command = [*vallum, "up", *data, "--port", str(port), "--unsafe-plain-http", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ)
    assert server.stdout is not None
    server.stdout.readline()
    return server, port, key, models / "bench" / "model.onnx"


def measure(given: argparse.Namespace, reference: bool) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        server, port, key, model = start(Path(folder), given.features, given.keep, reference)
        try:
            uvloop.run(load(port, key, given.features, 500, 16))
            figures: dict[str, object] = {}
            for name, count, concurrent in (("32", given.requests, 32), ("1", given.requests // 4, 1)):
                before = cpu_seconds(server.pid)
                figure = uvloop.run(load(port, key, given.features, count, concurrent))
                whole = (cpu_seconds(server.pid) - before) / count * 1000
                own = own_ms(model, given.features, 5000)
                figure |= {"cpu_ms": round(whole, 3), "model_ms": round(own, 3), "beyond_ms": round(whole - own, 3)}
                figures[f"concurrent_{name}"] = figure
            return figures
        finally:
            stop(server)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--keep", type=int, default=0, help="days that contents are kept; 0 seals none")
    given = parser.parse_args()
    figures: dict[str, object] = {"python": platform.python_version(), "cores": os.cpu_count()}
    figures["plain"] = measure(given, reference=False)
    figures["with_extraction_detector"] = measure(given, reference=True)
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
