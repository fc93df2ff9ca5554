"""A second corpus of models, written by somebody who had not read the scanner that it judges.

From public write-ups: advisories of picklescan, modelscan, fickling, Keras and ONNX, MITRE ATLAS, and the sources of
the libraries. `samples` gives every sample that the installed libraries allow: a library that is missing leaves its own
out.
"""

import importlib
import sys
from collections.abc import Iterator

from .sample import Sample

__all__ = ["Sample", "samples"]

MODULES = (
    "stdlib_commands",
    "stdlib_code",
    "chains",
    "machine",
    "effects",
    "libraries",
    "carried",
    "archives",
    "torch_files",
    "keras_files",
    "graphs",
    "templates",
    "configurations",
    "repositories",
    "scripts_beside",
    "class_paths",
    "hidden_code",
    "file_operators",
    "benign_sklearn",
    "benign_networks",
    "benign_boosting",
    "benign_repositories",
    "benign_beside",
    "benign_estimators",
    "benign_folders",
)


def samples() -> Iterator[Sample]:
    for name in MODULES:
        try:
            module = importlib.import_module(f"{__name__}.{name}")
        except ImportError as missing:
            print(f"{name}: left out, for want of {missing.name}", file=sys.stderr)
            continue
        yield from module.samples()
