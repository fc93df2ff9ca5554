"""Benign: notebooks, training scripts and settings beside weights, MLflow folders, and archives of models."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from sklearn import datasets, ensemble, linear_model

from .benign_networks import folder_of
from .benign_repositories import CONFIG, json_of, weights_of
from .sample import Sample

__all__ = ["TRAIN", "samples"]

TRAIN = '''"""Trains the classifier; see the README."""

import argparse
import json
import logging
import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

log = logging.getLogger(__name__)


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def evaluate(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path("out"))
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    given.output.mkdir(exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Net(int(os.environ.get("WIDTH", "16"))).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = DataLoader(TensorDataset(torch.randn(64, 4), torch.randint(0, 3, (64,))), batch_size=8)
    for epoch in range(given.epochs):
        for x, y in data:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimiser.step()
        log.info("epoch %d: %.3f", epoch, evaluate(model, data))
    torch.save(model.state_dict(), given.output / "model.pt")
    (given.output / "config.json").write_text(json.dumps({"width": 16}))


if __name__ == "__main__":
    main()
'''


REQUIREMENTS = (
    "# Python 3.11\nnumpy>=1.26,<3\ntorch==2.5.1\ntransformers[torch]~=4.46\n"
    "scikit-learn==1.5.2 ; python_version >= '3.9'\n"
)


def _notebook(*cells: tuple[str, str]) -> bytes:
    import nbformat

    made = nbformat.v4.new_notebook()
    for kind, text in cells:
        made.cells.append(nbformat.v4.new_markdown_cell(text) if kind == "text" else nbformat.v4.new_code_cell(text))
    return nbformat.writes(made).encode()


def _beside() -> Iterator[tuple[str, dict[str, bytes]]]:
    tensors = weights_of()
    fit = (
        "from sklearn.datasets import load_iris\nfrom sklearn.svm import SVC\n"
        "\nx, y = load_iris(return_X_y=True)\nmodel = SVC().fit(x, y)\n"
        "model.score(x, y)"
    )
    plot = (
        "import matplotlib.pyplot as plt\nimport pandas as pd\n\nframe = "
        "pd.read_csv('data.csv')\nframe.plot(x='step', y='loss')\nplt.savefig('loss.png')"
    )
    yield (
        "notebook that trains",
        {"train.ipynb": _notebook(("text", "# Iris"), ("code", fit), ("code", plot)), "model.safetensors": tensors},
    )
    deep = (
        "import torch\nmodel = torch.nn.Linear(2, 1)\nmodel.eval()\nwith torch.no_grad():\n"
        "    print(model(torch.ones(1, 2)))"
    )
    yield (
        "notebook of torch",
        {"demo.ipynb": _notebook(("code", deep), ("code", "%matplotlib inline\n%timeit model(torch.ones(1, 2))"))},
    )
    yield (
        "training script and requirements",
        {"train.py": TRAIN.encode(), "requirements.txt": REQUIREMENTS.encode(), "model.safetensors": tensors},
    )
    yield (
        "package with a pyproject",
        {
            "pyproject.toml": (
                b"[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"
                b"[project]\nname = 'm'\nversion = '1.0'\n"
            ),
            "src/m/__init__.py": b'"""Net."""\n',
            "src/m/train.py": TRAIN.encode(),
            "src/m/w.safetensors": tensors,
        },
    )
    setup = (
        "from setuptools import find_packages, setup\n\nsetup(name='net', version='1.0', "
        "packages=find_packages(), install_requires=['numpy'])\n"
    )
    yield (
        "setup.py that only declares",
        {"setup.py": setup.encode(), "net/__init__.py": b"", "net/model.py": TRAIN.encode()},
    )
    yield (
        "configuration in YAML",
        {
            "config.yaml": (
                b"model:\n  name: resnet18\n  layers: [2, 2, 2, 2]\noptimizer:\n"
                b"  type: AdamW\n  lr: 3.0e-4\neval: true\n"
            ),
            "w.safetensors": tensors,
        },
    )
    yield (
        "hydra with ordinary targets",
        {
            "conf/config.yaml": (
                b"defaults: [_self_]\nmodel:\n  _target_: torch.nn.Linear\n  in_features: 4\n  out_features: 3\n"
                b"optimizer:\n  _target_: torch.optim.AdamW\n  lr: 0.001\n"
            )
        },
    )
    yield (
        "configuration in TOML",
        {
            "train.toml": b'[train]\nepochs = 3\ndevice = "cuda"\n[data]\npath = "data/train.csv"\n',
            "w.safetensors": tensors,
        },
    )
    environment = (
        b"name: m\nchannels: [conda-forge]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - numpy==2.1.0\n"
    )
    yield (
        "conda environment and a table",
        {
            "environment.yml": environment,
            "data.csv": b"step,loss\n1,0.9\n2,0.7\n",
            "notes.txt": b"Exec summary: the system works.\n",
        },
    )
    yield (
        "Makefile and a Dockerfile",
        {
            "Makefile": b"train:\n\tpython train.py --epochs 3\n",
            "train.py": TRAIN.encode(),
            "Dockerfile": (
                b"FROM python:3.11-slim\nCOPY . /app\nRUN pip install -r /app/requirements.txt\n"
                b'CMD ["python", "/app/train.py"]\n'
            ),
            "requirements.txt": REQUIREMENTS.encode(),
        },
    )


def _mlflow() -> Iterator[tuple[str, dict[str, bytes]]]:
    x, y = datasets.load_iris(return_X_y=True)
    model = ensemble.RandomForestClassifier(4).fit(x, y)
    text = (
        "artifact_path: model\nflavors:\n  python_function:\n    env:\n"
        "      conda: conda.yaml\n      virtualenv: python_env.yaml\n"
        "    loader_module: mlflow.sklearn\n    model_path: model.pkl\n"
        "    predict_fn: predict\n    python_version: 3.11.7\n"
        "  sklearn:\n    code: null\n    pickled_model: model.pkl\n    serialization_format: "
        "{}\n    sklearn_version: 1.5.2\n"
        "mlflow_version: 2.17.0\nmodel_uuid: 1b2c\nrun_id: 77aa\n"
    )
    common = {
        "conda.yaml": b"channels: [conda-forge]\ndependencies:\n- python=3.11.7\n- pip:\n"
        b"  - mlflow==2.17.0\n  - scikit-learn==1.5.2\nname: mlflow-env\n",
        "python_env.yaml": b"python: 3.11.7\nbuild_dependencies:\n- pip==24.0\ndependencies:\n- -r requirements.txt\n",
        "requirements.txt": b"mlflow==2.17.0\nscikit-learn==1.5.2\n",
    }
    yield (
        "MLflow, scikit-learn",
        {"MLmodel": text.format("pickle").encode(), "model.pkl": pickle.dumps(model), **common},
    )
    ridge = linear_model.Ridge().fit(x, y)
    yield (
        "MLflow, scikit-learn, ridge",
        {"MLmodel": text.format("cloudpickle").encode(), "model.pkl": pickle.dumps(ridge, 5), **common},
    )


def _archives() -> Iterator[tuple[str, dict[str, bytes]]]:
    x, y = datasets.load_iris(return_X_y=True)
    files = {
        "model/clf.pkl": pickle.dumps(ensemble.ExtraTreesClassifier(3).fit(x, y)),
        "model/config.json": json_of(CONFIG),
        "model/w.safetensors": weights_of(),
    }
    for mode, name in (("w", "model.tar"), ("w:gz", "model.tar.gz"), ("w:xz", "model.tar.xz")):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as archive:
            for member, data in files.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        yield f"archive {name}", {name: packed.getvalue()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    yield "archive model.zip", {"model.zip": packed.getvalue()}
    import py7zr

    def write(place: Path) -> None:
        with py7zr.SevenZipFile(place / "model.7z", "w") as archive:
            for member, data in files.items():
                archive.writestr(data, member)

    yield "archive model.7z", folder_of(write)


def samples() -> Iterator[Sample]:
    for group, made in (
        ("benign: code and notebooks", _beside()),
        ("benign: MLflow", _mlflow()),
        ("benign: archives", _archives()),
    ):
        try:
            for name, files in made:
                yield Sample(group, name, files)
        except ImportError:
            continue
