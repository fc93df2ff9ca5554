"""Configurations are judged by what they ask to import, call and read."""

# ruff: noqa: E501  tables of names and patterns, one a line

import json
from pathlib import Path
from time import process_time

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
    before = process_time()
    assert scan(tmp_path).findings == ()
    assert process_time() - before < 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "a: !!python/object/apply:os.system ['id']\n"),
        ("notes", "%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['id']\n"),
        ("config.yaml", "a: !<tag:yaml.org,2002:python/name:os.system> ''\n"),
        ("config.yaml", "a: !!python%2fobject/new:os.system {}\n"),
        ("config.yaml", "model:\n  _target_: subprocess.run\n  args: [id]\n"),
        ("MLmodel", "flavors:\n  python_function:\n    loader_module: os\n"),
        ("config.toml", "[model]\n_target_ = 'os.system'\n"),
        ("setup.cfg", "[model]\n_target_ = builtins.exec\n"),
        (
            "bomb.yaml",
            "a: &a [x, x]\n"
            + "".join(f"k{n}: &k{n} [{', '.join(['*' + ('a' if not n else f'k{n - 1}')] * 9)}]\n" for n in range(9)),
        ),
    ],
)
def test_other_configurations_that_ask_for_harm(tmp_path: Path, name: str, content: str) -> None:
    assert _scan(tmp_path, content, name).verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "model:\n  lr: 0.1\n  layers: [1, 2]\n  name: &n resnet\n  again: *n\n"),
        (
            "MLmodel",
            "flavors:\n  python_function:\n    env: conda.yaml\n    loader_module: mlflow.sklearn\n    model_path: model.skops\n",
        ),
        (
            "conda.yaml",
            "channels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip:\n  - mlflow==2.9.2\nname: mlflow-env\n",
        ),
        ("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\n"),
        ("README.md", "---\nlicense: mit\ntags:\n- x\n---\n# Model\n\nhandler: os.system is never used\n"),
    ],
)
def test_other_ordinary_configurations(tmp_path: Path, name: str, content: str) -> None:
    assert _scan(tmp_path, content, name).findings == ()


def _keras(layer: dict[str, object], **compiled: object) -> dict[str, object]:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [layer]}, **compiled}


@pytest.mark.parametrize(
    "content",
    [
        _keras({"class_name": "Mine", "config": {"name": "m"}}),
        _keras({"class_name": "Team>Mine", "config": {"name": "m"}}),
        {"loss": "my_loss", "loss_weights": None, "optimizer_config": {"class_name": "Adam", "config": {}}},
        {"loss": {"a": "mse"}, "weighted_metrics": [["my_metric"]]},
    ],
)
def test_objects_of_keras_that_the_model_does_not_bring_are_reviewed(tmp_path: Path, content: object) -> None:
    assert _scan(tmp_path, content).verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "content",
    [
        _keras({"class_name": "Dense", "config": {"units": 4, "activation": "relu"}}),
        _keras({"class_name": "CuDNNLSTM", "config": {"units": 4}}),
        {"loss": "categorical_crossentropy", "metrics": ["accuracy", "AUC", ["mae"]], "weighted_metrics": None},
    ],
)
def test_objects_of_keras_itself_pass(tmp_path: Path, content: object) -> None:
    assert _scan(tmp_path, content).findings == ()


@pytest.mark.parametrize(
    "asked",
    ["test.support.script_helper assert_python_ok", "test.test_os run", "zipapp create_archive", "distutils.spawn spawn",
     "xmlrpc.client ServerProxy", "_pyio open", "antigravity geohash", "mailcap findmatch", "pipes Template", "turtledemo main"],
)  # fmt: skip
def test_the_standard_library_is_no_part_of_a_keras_model(tmp_path: Path, asked: str) -> None:
    module, name = asked.split()
    layer = {"module": module, "class_name": name, "config": {"args": ["true"]}, "registered_name": name}
    assert _scan(tmp_path, _keras(layer)).verdict is Verdict.BLOCK
    function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    assert _scan(tmp_path, _keras({"class_name": "Dense", "config": {"activation": function}})).verdict is Verdict.BLOCK


@pytest.mark.parametrize("path", ["../../x", "/tmp/x", "C:\\x", "https://example.org/x"])
def test_parts_of_an_embedding_outside(tmp_path: Path, path: str) -> None:
    part = {"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models.Transformer"}
    assert _scan(tmp_path, [part], "modules.json").verdict is Verdict.BLOCK
    assert _scan(tmp_path, [part | {"path": "1_Pooling"}], "modules.json").verdict is Verdict.PASS


@pytest.mark.parametrize("key", ["fsmonitor", "sshCommand", "hooksPath", "textconv"])
def test_programs_that_git_runs(tmp_path: Path, key: str) -> None:
    assert _scan(tmp_path, f"[core]\n\t{key} = touch x\n", "config").verdict is Verdict.BLOCK
    assert _scan(tmp_path, f"[core]\n\t{key} = true\n\tbare = false\n", "config").verdict is Verdict.PASS


def test_a_stage_of_a_library_that_spark_makes(tmp_path: Path) -> None:
    stage = {"class": "org.apache.spark.ml.PipelineModel", "uid": "x", "paramMap": {}}
    assert _scan(tmp_path, stage, "part-00000").verdict is Verdict.PASS
    assert _scan(tmp_path, stage | {"class": "org.example.Stage"}, "part-00000").verdict is Verdict.REVIEW


def test_a_layer_that_loads_another_model(tmp_path: Path) -> None:
    layer = {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "a"}, "registered_name": None}
    assert _scan(tmp_path, layer).verdict is Verdict.BLOCK


def test_a_layer_in_python_of_a_text_protobuf(tmp_path: Path) -> None:
    text = 'layer {\n  type: "Python"\n  python_param { module: "os" layer: "system" param_str: "id" }\n}\n'
    assert _scan(tmp_path, text, "net.prototxt").verdict is Verdict.BLOCK


@pytest.mark.parametrize("value", ["--upload-pack=touch x", "ext::sh -c true", "-u touch x"])
def test_an_option_in_place_of_an_address(tmp_path: Path, value: str) -> None:
    assert _scan(tmp_path, f'[submodule "x"]\n\tpath = x\n\turl = {value}\n', ".gitmodules").verdict is Verdict.BLOCK
    assert _scan(tmp_path, '[submodule "x"]\n\turl = https://example.org/x\n', ".gitmodules").verdict is Verdict.PASS


@pytest.mark.parametrize(
    "line",
    [
        "index-url = http://example.org/simple",
        "extra_index_url = https://example.org/",
        "trusted-host = example.org",
        "extra-index-url = https://pypi.org/simple https://example.org/simple",
    ],
)
def test_an_index_of_packages_in_settings(tmp_path: Path, line: str) -> None:
    assert _scan(tmp_path, f"[global]\n{line}\n", "pip.conf").verdict is Verdict.BLOCK
    assert _scan(tmp_path, "[global]\nindex-url = https://pypi.org/simple\n", "pip.conf").verdict is Verdict.PASS
