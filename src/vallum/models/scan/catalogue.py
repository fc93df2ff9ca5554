"""Every inspector, in the order in which they look. Explicit, so that none is left out by an import that failed."""

from collections.abc import Sequence

from vallum.models.scan import pickles
from vallum.models.scan.formats.boosting import LightgbmInspector
from vallum.models.scan.formats.code import Notebook, PythonSource, Script
from vallum.models.scan.formats.compressed import CompressedInspector
from vallum.models.scan.formats.executables import ExecutableInspector, HiddenExecutableInspector
from vallum.models.scan.formats.flax import FlaxInspector
from vallum.models.scan.formats.foreign_objects import ForeignObjects
from vallum.models.scan.formats.gguf import GgufInspector
from vallum.models.scan.formats.hdf5 import Hdf5Inspector
from vallum.models.scan.formats.jinja import Jinja
from vallum.models.scan.formats.json_config import JsonConfig
from vallum.models.scan.formats.markup import Markup
from vallum.models.scan.formats.onnx import OnnxInspector
from vallum.models.scan.formats.plain_data import PlainDataInspector
from vallum.models.scan.formats.safetensors import SafetensorsInspector
from vallum.models.scan.formats.sentencepiece import SentencepieceInspector
from vallum.models.scan.formats.settings_text import SettingsText
from vallum.models.scan.formats.seven_zip import SevenZipInspector
from vallum.models.scan.formats.tar_archive import TarInspector
from vallum.models.scan.formats.tensor_table import CheckpointIndex, Fingerprint
from vallum.models.scan.formats.tensorflow import TensorflowGraph
from vallum.models.scan.formats.text import Text
from vallum.models.scan.formats.tflite import TfliteInspector
from vallum.models.scan.formats.ubjson import UbjsonInspector
from vallum.models.scan.formats.yaml_config import IniConfig, YamlConfig
from vallum.models.scan.formats.zip_archive import ZipInspector
from vallum.models.scan.port import Inspector, RepositoryInspector
from vallum.models.scan.repositories.layout import Indexes, Names, RemoteCode
from vallum.models.scan.repositories.onnx_data import OnnxData
from vallum.models.scan.repositories.tensor_data import TensorData

__all__ = ["inspectors", "repository_inspectors"]


def inspectors() -> Sequence[Inspector]:
    return (
        *pickles.inspectors(),
        ExecutableInspector(),
        HiddenExecutableInspector(),
        ZipInspector(),
        TarInspector(),
        SevenZipInspector(),
        CompressedInspector(),
        SafetensorsInspector(),
        GgufInspector(),
        OnnxInspector(),
        Hdf5Inspector(),
        TfliteInspector(),
        UbjsonInspector(),
        LightgbmInspector(),
        ForeignObjects(),
        FlaxInspector(),
        SentencepieceInspector(),
        TensorflowGraph(),
        CheckpointIndex(),
        Fingerprint(),
        PlainDataInspector(),
        Text(),
        JsonConfig(),
        YamlConfig(),
        IniConfig(),
        SettingsText(),
        Markup(),
        Jinja(),
        PythonSource(),
        Notebook(),
        Script(),
    )


def repository_inspectors() -> Sequence[RepositoryInspector]:
    return (RemoteCode(), Indexes(), Names(), OnnxData(), TensorData())
