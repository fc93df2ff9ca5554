"""Every inspector, in the order in which they look. Explicit, so that none is left out by an import that failed."""

from collections.abc import Sequence

from vallum.models.scan.formats.code import Notebook, PythonSource, Script
from vallum.models.scan.formats.jinja import Jinja
from vallum.models.scan.formats.json_config import JsonConfig
from vallum.models.scan.formats.tensorflow import TensorflowGraph
from vallum.models.scan.formats.text import Text
from vallum.models.scan.formats.yaml_config import IniConfig, YamlConfig
from vallum.models.scan.port import Inspector, RepositoryInspector
from vallum.models.scan.repositories.layout import Indexes, Names, RemoteCode

__all__ = ["inspectors", "repository_inspectors"]


def inspectors() -> Sequence[Inspector]:
    return (
        Text(),
        JsonConfig(),
        YamlConfig(),
        IniConfig(),
        Jinja(),
        PythonSource(),
        Notebook(),
        Script(),
        TensorflowGraph(),
    )


def repository_inspectors() -> Sequence[RepositoryInspector]:
    return (RemoteCode(), Indexes(), Names())
