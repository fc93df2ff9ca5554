"""What the platform knows of a model, for its card and its bill of materials. Values only; nobody's prose.

Whoever has the registry, the ledger or a folder at hand fills these in; what is not known is left out, never made up.
"""

import re

import msgspec

from vallum.kernel.errors import Invalid

__all__ = ["BaseModel", "Dataset", "Dependency", "Evaluation", "FileFact", "ModelFacts", "Signature"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileFact(msgspec.Struct, frozen=True, order=True):
    """`path` with `/`, relative to the model; `sha256` in lower-case hexadecimal; `size` in bytes."""

    path: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not self.path or not _SHA256.fullmatch(self.sha256) or self.size < 0:
            raise Invalid("a file of a model has a path, a SHA-256 and a size")


class Dependency(msgspec.Struct, frozen=True, order=True):
    """A package. Without `version` it is not pinned; `specifier` is then what was asked for (`>=2,<3`).

    `source` is empty for the public index, else where it comes from (a Git URL, a path). `declared_in` names the file.
    """

    name: str
    version: str = ""
    specifier: str = ""
    source: str = ""
    declared_in: str = ""
    licence: str = ""
    ecosystem: str = "pypi"


class Dataset(msgspec.Struct, frozen=True, order=True):
    """`sha256` is empty where the data set has no digest here."""

    name: str
    version: str = ""
    sha256: str = ""
    url: str = ""
    classification: str = ""


class Evaluation(msgspec.Struct, frozen=True, order=True):
    """One figure: a metric of a task on a data set; `slice` names the part of it."""

    metric: str
    value: float
    task: str = ""
    dataset: str = ""
    slice: str = ""


class BaseModel(msgspec.Struct, frozen=True, order=True):
    """The model that this one was made from."""

    name: str
    version: str = ""
    sha256: str = ""


class Signature(msgspec.Struct, frozen=True):
    """Who signed, and the SHA-256 of the signature file."""

    signer: str
    file: str = ""
    sha256: str = ""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is the root of the signed manifest. Empty and None mean not known."""

    name: str
    version: str = ""
    digest: str = ""
    description: str = ""
    owner: str = ""
    licence: str = ""
    risk_class: str = ""
    task: str = ""
    architecture: str = ""
    frameworks: tuple[str, ...] = ()
    files: tuple[FileFact, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    base_models: tuple[BaseModel, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    signature: Signature | None = None
    scan_verdict: str = ""
    scan_findings: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            raise Invalid("a model has a name")
        if self.digest and not _SHA256.fullmatch(self.digest):
            raise Invalid("a model's digest is a SHA-256")
        if len({file.path for file in self.files}) != len(self.files):
            raise Invalid("a model has each file once")
        for parts in (self.datasets, self.base_models):
            if len({(part.name, part.version) for part in parts}) != len(parts):
                raise Invalid("a model has each data set and each base model once in a version")
