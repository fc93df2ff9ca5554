"""Settings that name what runs or deletes, in every language and under every key; and those that only look like it."""

import json
import string
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.models.scan import Verdict, scan
from vallum.models.scan.languages.callables import named_callable

_BLOCKED = {
    "factory.json": {"name": "x", "component": {"@factory": "os.system", "args": ["true"]}},
    "class.json": {"model": {"class": "subprocess.Popen", "init": {"args": "true"}}},
    "callback.json": {"type": "haystack.Pipe", "init_parameters": {"callback": "builtins.exec"}},
    "apart.json": {"pipeline": [{"module": "os", "name": "system", "args": ["true"]}]},
    "attribute.json": {"package": "subprocess", "attr": "check_output"},
    "colon.json": {"__fn__": "os:system", "__args__": ["true"]},
    "langchain.json": {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "true"}},
    "through.json": {"reader": {"anything": "acme.tools.os.popen"}},
    "deletes.json": {"on_exit": "shutil.rmtree"},
    "adds.json": {"a": "subpro", "b": "cess.run", "c": {"_target_": "${a}${b}"}},
    "strings.json": {"c": {"class": "'os' + '.system'"}},
    "comments.json": "{\n // c\n model: {class: 'os.system', args: ['true']},\n}\n",
    "unseen.json": {"class": "os\u200b.sy\u00adstem"},
    "wide.json": {"class": "\uff4fs.system"},
    "spacy.cfg": '[components.x]\n@misc = "os.system"\n',
    "logging.ini": "[a]\nfactory = subprocess.run\n",
    "interpolated.ini": "[DEFAULT]\np = os\n[x]\nclass = %(p)s.system\n",
    "thinc.toml": '[model]\nclass = "os.system"\n',
    "handler.properties": "handler.class=os.system\nx=1\n",
    "pieces.properties": "a=os\nb=system\nfn=${a}.${b}\n",
    "model.json5": "{\n // c\n model: {class: 'os.system', args: ['true']},\n}\n",
    "model.hjson": "{\n  # c\n  class: os.system\n  x: 1\n}\n",
    "model.conf": "model {\n  class = os.system\n  args = [true]\n}\n",
    "pieces.conf": 'p = os\nmodel { class = ${p}".system" }\n',
    "train.gin": "import os\nTrain.fn = @os.system\nTrain.x = 1\n",
    "called.gin": "run.fn = @subprocess.run()\nrun.y = 2\n",
    "config.pbtxt": 'backend: "python"\nparameters: { key: "fn" value: { string_value: "os.system" } }\n',
    ".env": "HANDLER=subprocess.run\nX=1\n",
    "trainer.jsonnet": "{\n  trainer: { type: 'os.system', },\n}\n",
    "model.edn": '{:model {:class "os.system" :x 1}}\n',
    "beans.xml": '<beans><bean class="os.system"/></beans>',
    "element.xml": "<beans><class>os.system</class></beans>",
    "unnamed": "handler.class=os.system\nx=1\ny=2\nz=3\n",
    "list.yaml": "a:\n  - object: os.system\n    args: [true]\n",
    "near.yaml": "pipeline:\n  module: os\n  function: system\n",
    "runner.yaml": 'service:\n  runner: "subprocess:run"\n',
    "new.yaml": "a: !new:os.system\n  - true\n",
    "name.yaml": "a: !name:subprocess.run\n",
    "apply.yaml": "a: !apply:os.system [true]\n",
    "pieces.yaml": "f: sys\nm: os\nx:\n  _target_: ${m}.${f}tem\n",
    "nested.yaml": "a: os\nb:\n  c: system\n_target_: ${a}.${b.c}\n",
    "default.yaml": "_target_: ${oc.env:NOPE,os.system}\n",
    "decoded.yaml": 'x:\n  fn: ${oc.decode:"os.system"}\n',
}
_LEFT = {
    "diffusers.json": {"scheduler": ["diffusers", "DDIMScheduler"], "_class_name": "X"},
    "torch.json": {"a": "torch.nn.Linear", "activation": "torch.nn.functional.relu", "dtype": "torch.float32"},
    "words.json": {"vocab": {"os.system": 1, "a": 2}, "merges": ["os .system"]},
    "apart.json": {"module": "acme.models", "name": "system", "class": "Net"},
    "logging.yaml": "logging:\n  handlers:\n    h: {class: logging.StreamHandler}\n",
    "paths.yaml": "model:\n  x: ${data.y}\n  path: ${oc.env:HOME,/tmp}/x\ndata:\n  y: 3\n",
    "prose.txt": "This explains os.system and subprocess.run.\nNote: os.system\n",
    "prose.md": "# x\n\n- `fn: os.system`\n\nexample: os.system\n",
    "train.gin": "Train.fn = @acme.Net()\nTrain.lr = 1e-3\n",
    "model.conf": "model { class = acme.Net\n lr = 1 }\n",
    "server.properties": "path=/opt/os/system\nurl=https://example.com/requests/get\nlog=code.log\n",
}


@pytest.mark.parametrize("name", _BLOCKED)
def test_what_names_what_runs_is_blocked(name: str, tmp_path) -> None:
    content = _BLOCKED[name]
    file = tmp_path / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    report = scan(file)
    assert report.verdict is Verdict.BLOCK
    assert "config-executes" in {f.technique for f in report.findings if f.verdict is Verdict.BLOCK}


@pytest.mark.parametrize("name", _LEFT)
def test_what_only_looks_like_it_passes(name: str, tmp_path) -> None:
    content = _LEFT[name]
    file = tmp_path / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    assert scan(file).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "said", ["os", "os.path.join", "os.sep", "macos.system", "os.systemd", "see os.system", "os.system and"]
)
def test_other_names(said: str) -> None:
    assert named_callable(said) is None


@given(st.text(string.punctuation + "os. system\n:", max_size=400))
def test_any_value_is_read_or_left(value: str) -> None:
    found = named_callable(value)
    assert found is None or found.isascii()


@pytest.mark.parametrize("piece", ["a", "a ", "<aaaa", "a\n", "a=${", '"', "a='", "a" * 79 + " ", "= ", "<a>b"])
def test_settings_that_are_made_to_be_slow(piece: str, tmp_path) -> None:
    file = tmp_path / "x.conf"
    file.write_text(piece * (1_000_000 // len(piece)))
    begun = process_time()
    scan(file)
    assert process_time() - begun < 4


def _node(module: str, name: str, loader: str, **more: object) -> dict[str, object]:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": 1} | more


@pytest.mark.parametrize(
    ("node", "verdict"),
    [
        (_node("sklearn.linear_model._logistic", "LogisticRegression", "ObjectNode", content={}), "pass"),
        (_node("builtins", "dict", "DictNode", content={}), "pass"),
        (_node("numpy", "ndarray", "NdArrayNode", type="numpy"), "pass"),
        (_node("os", "system", "FunctionNode", content={"module_path": "os", "function": "system"}), "block"),
        (_node("builtins", "function", "FunctionNode", content={"module_path": "os", "function": "nice"}), "block"),
        (_node("numpy", "mean", "FunctionNode", content={"module_path": "shelve", "function": "open"}), "block"),
        (_node("builtins", "getattr", "FunctionNode", content={}), "block"),
        (_node("operator", "methodcaller", "OperatorFuncNode", attrs={}), "block"),
        (_node("subprocess", "Popen", "ReduceNode", reduce={}), "block"),
        (_node("tempfile", "NamedTemporaryFile", "TypeNode", content={}), "block"),
        (_node("builtins", "method", "MethodNode", content={"func": "__globals__", "obj": {}}), "block"),
        (_node("logging", "FileHandler", "JsonNode", content="{}"), "block"),
        (_node("builtins", "dict", "ShellNode", content={}), "review"),
    ],
)  # fmt: skip
def test_nodes_of_skops_are_judged_as_pickles_are(node: dict[str, object], verdict: str, tmp_path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"content": {"x": node}, "protocol": 2}))
    assert scan(file).verdict == verdict
