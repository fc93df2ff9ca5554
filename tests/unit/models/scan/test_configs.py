"""Configurations are judged by what they ask to import, call and read."""

# ruff: noqa: E501  tables of names and patterns, one a line

import json
from pathlib import Path
from time import perf_counter

import pytest

from vallum.models.scan import Report, Verdict, scan


def _scan(folder: Path, content: object, name: str = "config.json") -> Report:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return scan(folder / name)


@pytest.mark.parametrize(
    "content",
    [
        {"_target_": "os.system", "command": "id"},
        {"a": [{"_target_": "builtins.eval"}]},
        {"_target_": "torch.hub.os.system"},
        {"loader_module": "subprocess"},
        {"py/reduce": [{"py/function": "posix.system"}, {"py/tuple": ["id"]}]},
        {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAAAAAAA", None, None]}},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
        {
            "module": "keras.src.utils.file_utils",
            "class_name": "function",
            "config": "get_file",
            "registered_name": "f",
        },
        {"module": "functools", "class_name": "partial", "config": {}, "registered_name": "partial"},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"weight_map": {"w": "../../x.safetensors"}},
        {"chat_template": "{{ ''.__class__ }}"},
        {"prompt": "{{ cycler.__init__.__globals__ }}"},
    ],
)
def test_what_asks_for_harm_is_blocked(tmp_path: Path, content: object) -> None:
    assert _scan(tmp_path, content).verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    "content",
    [
        {"_target_": "acme.models.Net"},
        {"trust_remote_code": True},
        {"auto_map": {"AutoModel": "modeling_x.X"}},
        {"module": "acme", "class_name": "Mine", "config": {}, "registered_name": "acme>Mine"},
        '{"a": 1, "a": 2}',
        '{"a": 1',
        "[" * 5000,
    ],
)
def test_what_is_not_known_is_reviewed(tmp_path: Path, content: object) -> None:
    assert _scan(tmp_path, content).verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "content",
    [
        {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "torch_dtype": "float16", "vocab_size": 32000},
        {"_target_": "torch.nn.Linear", "in_features": 4},
        {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]},
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}],
        {
            "module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
            "config": {"layers": [{"module": "keras.layers", "class_name": "Dense", "config": {"units": 4}, "registered_name": None}]},
        },
        {"weight_map": {"w": "model-00001-of-00001.safetensors"}, "metadata": {"total_size": 4}},
    ],
)  # fmt: skip
def test_ordinary_configurations_pass(tmp_path: Path, content: object) -> None:
    assert _scan(tmp_path, content).findings == ()


def test_a_large_tokenizer_passes_within_a_second(tmp_path: Path) -> None:
    vocab = {f"token{n}": n for n in range(50_000)}
    content = {
        "model": {"type": "BPE", "vocab": vocab, "merges": [f"a{n} b" for n in range(50_000)]},
        "added_tokens": [],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    before = perf_counter()
    assert scan(tmp_path).findings == ()
    assert perf_counter() - before < 1
