"""Benign, wave 2: chat templates as they are in use, settings of trainers, tables, more files of torch and ONNX."""

import io
import json
import struct
import zlib
from collections.abc import Iterator

import numpy

from .benign_networks import folder_of
from .benign_repositories import CARD, CONFIG
from .repositories import TENSORS
from .sample import Sample
from .templates import gguf

__all__ = ["samples"]

TEMPLATES = {
    "date and tools": (
        "{{- bos_token }}\n{%- if custom_tools is defined %}\n    {%- set tools = custom_tools %}\n{%- endif %}\n"
        "{%- if not date_string is defined %}\n    {%- if strftime_now is defined %}\n"
        '        {%- set date_string = strftime_now("%d %b %Y") %}\n    {%- else %}\n'
        '        {%- set date_string = "26 Jul 2024" %}\n    {%- endif %}\n{%- endif %}\n'
        "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n"
        '    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = "" %}\n{%- endif %}\n'
        '{{- "Environment: ipython\\n" }}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}'
        "{%- for message in messages %}{%- if 'tool_calls' in message %}{%- set tool_call = "
        "message.tool_calls[0].function %}"
        "{{- '{\"name\": \"' + tool_call.name + '\", ' }}{{- tool_call.arguments | tojson }}{%- endif %}{%- endfor %}"
    ),
    "strict turns": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Roles must alternate') }}{% endif %}{% if message['role'] == 'assistant' %}"
        "{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    ),
    "macros of types": (
        '{%- macro json_to_python_type(json_spec) %}{%- set basic = {"string": "str", "number": "float"} %}'
        '{%- if basic[json_spec.type] is defined %}{{- basic[json_spec.type] }}{%- elif json_spec.type == "array" %}'
        '{{- "list[" + json_to_python_type(json_spec|items) + "]" }}{%- else %}{{- "Any" }}{%- endif %}{%- endmacro %}'
        "{%- for tool in tools %}{%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}"
        "{{- json_to_python_type(tool.parameters) }}{%- endfor %}"
    ),
    "thinking": (
        "{%- set ns = namespace(multi_step_tool=true, last=messages|length - 1) %}{%- for message in messages[::-1] %}"
        "{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi_step_tool and "
        "message.role == 'user' and not"
        "(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}"
        "{%- set ns.multi_step_tool = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}"
        "{{- messages[ns.last].content.split('</think>')[-1].lstrip('\\n') }}{%- generation %}x{%- endgeneration %}"
    ),
}


def _templates() -> Iterator[tuple[str, dict[str, bytes]]]:
    for name, text in TEMPLATES.items():
        yield (
            f"GGUF, template of {name}",
            {"m.gguf": gguf({"general.architecture": "llama", "tokenizer.chat_template": text}, 2)},
        )
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": text,
            "added_tokens_decoder": {"0": {"content": "<s>"}},
        }
        yield (
            f"tokenizer, template of {name}",
            {
                "tokenizer_config.json": json.dumps(settings).encode(),
                "config.json": json.dumps(CONFIG).encode(),
                "model.safetensors": TENSORS,
                "README.md": CARD.encode(),
            },
        )


def _settings() -> Iterator[tuple[str, dict[str, bytes]]]:
    yield (
        "settings of Lightning",
        {"hparams.yaml": b"lr: 0.001\nhidden: [64, 64]\ndropout: 0.1\n", "metrics.csv": b"epoch,loss\n0,0.9\n"},
    )
    yield (
        "class paths of Lightning",
        {
            "config.yaml": (
                b"model:\n  class_path: lightning.pytorch.demos.boring_classes.DemoModel\n"
                b"  init_args:\n    out_dim: 10\n"
                b"optimizer:\n  class_path: torch.optim.Adam\n  init_args:\n    lr: 0.001\n"
            )
        },
    )
    yield (
        "settings of a detector",
        {
            "data.yaml": b"path: ../datasets/coco8\ntrain: images/train\nval: images/val\n"
            b"names:\n  0: person\n  1: car\n"
        },
    )
    yield (
        "nemo-like settings",
        {
            "model_config.yaml": (
                b"sample_rate: 16000\nencoder:\n  _target_: "
                b"nemo.collections.asr.modules.ConformerEncoder\n  n_layers: 17\n"
                b"preprocessor:\n  _target_: "
                b"nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor\n"
                b"  features: 80\n"
            )
        },
    )
    yield (
        "settings of an experiment",
        {
            "conf.toml": b'[tool]\nseed = 42\nsystem = "linux"\ncommand = "train"\n',
            "README.md": CARD.encode(),
            "model.safetensors": TENSORS,
        },
    )
    yield (
        "prompt of a chain",
        {
            "prompt.json": json.dumps(
                {"_type": "prompt", "input_variables": ["q"], "template": "Answer: {q}", "template_format": "f-string"}
            ).encode()
        },
    )
    yield (
        "words with their vectors",
        {"vectors.txt": b"3 2\nimport 0.1 0.2\nexec 0.3 0.1\nos 0.5 0.6\n", "README.md": CARD.encode()},
    )
    yield (
        "table and its description",
        {
            "train.csv": b'text,label\n"rm -rf is a command",1\n"import os",0\n',
            "dataset_info.json": b'{"splits": {"train": 2}}',
        },
    )
    yield (
        "lines of JSON",
        {
            "train.jsonl": b'{"prompt": "write a script", "answer": "import subprocess; subprocess.run([\'ls\'])"}\n'
            * 3,
            "README.md": CARD.encode(),
        },
    )
    picture = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(6))),
        (b"IEND", b""),
    ):
        picture += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    yield (
        "card with a picture",
        {
            "README.md": CARD.encode(),
            "loss.png": picture,
            "model.safetensors": TENSORS,
            "config.json": json.dumps(CONFIG).encode(),
        },
    )


def _networks() -> Iterator[tuple[str, dict[str, bytes]]]:
    import torch

    def saved(value: object, name: str) -> dict[str, bytes]:
        file = io.BytesIO()
        torch.save(value, file)
        return {name: file.getvalue()}

    import argparse
    from collections import defaultdict

    state = torch.nn.Conv2d(1, 2, 3).state_dict()
    yield (
        "checkpoint with its arguments",
        saved({"args": argparse.Namespace(lr=0.1, arch="vit"), "model": state, "best": numpy.float64(0.9)}, "ckpt.pth"),
    )
    yield (
        "checkpoint with numpy and defaults",
        saved({"mean": numpy.zeros(3), "log": defaultdict(list, {"loss": [0.1]}), "model": state}, "last.pt"),
    )
    yield "embeddings", saved(torch.randn(6, 4), "embeddings.pt")
    yield (
        "parameters of a module",
        saved(torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(2))}).state_dict(), "p.pt"),
    )
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.GRU(2, 3).eval()), scripted)
    yield "TorchScript, recurrent", {"gru.pt": scripted.getvalue()}

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) + 1

    program = torch.export.export(Net(), (torch.ones(2, 3),))
    yield "exported program", folder_of(lambda place: torch.export.save(program, str(place / "net.pt2")))


def _graphs() -> Iterator[tuple[str, dict[str, bytes]]]:
    import onnx
    from onnx import helper, numpy_helper

    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])],
        "b",
        [],
        [info("b", 1, None)],
        [numpy_helper.from_array(numpy.ones(2, "f4"), "a")],
    )
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    made = helper.make_model(
        helper.make_graph([branch], "g", [info("c", 9, [])], [info("y", 1, None)]),
        producer_name="pytorch",
        producer_version="2.5",
    )
    yield "ONNX, branches", {"model.onnx": made.SerializeToString()}
    fused = helper.make_node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft", alpha=1.0)
    made = helper.make_model(
        helper.make_graph([fused], "g", [info("x", 1, [2, 2])], [info("y", 1, [2, 2])]),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)],
    )
    yield "ONNX, operators of the runtime", {"model.onnx": made.SerializeToString()}
    weights = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [info("x", 1, [1, 64])],
        [info("y", 1, [1, 8])],
        [numpy_helper.from_array(numpy.random.rand(64, 8).astype("f4"), "w")],
    )
    yield (
        "ONNX, data outside, called .onnx_data",
        folder_of(
            lambda place: onnx.save(
                helper.make_model(weights),
                place / "model.onnx",
                save_as_external_data=True,
                location="model.onnx_data",
                size_threshold=16,
            )
        ),
    )


def samples() -> Iterator[Sample]:
    for group, made in (
        ("benign: templates", _templates()),
        ("benign: hub repositories", _settings()),
        ("benign: torch", _networks()),
        ("benign: ONNX", _graphs()),
    ):
        try:
            for name, files in made:
                yield Sample(group, f"2: {name}", files, wave=2)
        except ImportError:
            continue
