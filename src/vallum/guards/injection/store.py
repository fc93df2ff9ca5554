"""The shipped models, verified as any model is before it is loaded.

`models/manifest` is a C2SP signed note that lists each file with its SHA-256. The key that must have signed it stands
here, in the code: who can change a data file cannot thereby change what the guard believes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from vallum.guards.injection.model import DocumentModel, LinearModel, ModelMalformed, read_tensors
from vallum.kernel.errors import IntegrityError

__all__ = ["FOLDER", "Calibration", "Models", "build_model", "load_models", "parse_manifest", "render_manifest"]

FOLDER = Path(__file__).resolve().parent.parent / "models"
SIGNER = "vallum.guards+7fc71841+Ad2igjoXnjfwfeJq4MMX9Aj3hT8xkZFVoofjv5HXVk5x"
_HEADING = "vallum guard models"


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the logits of a model's heads and the signs add up to one."""

    bias: float
    high: float
    low: float
    length: float
    signs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Models:
    version: str
    heads: Mapping[str, LinearModel]
    calibration: Mapping[str, Calibration]
    thresholds: Mapping[str, float]


@cache
def load_models(folder: Path = FOLDER, signer: str = SIGNER) -> Models:
    """One for the process. Raises IntegrityError for a missing, altered or unsigned file."""
    try:
        files = _verified(folder, signer)
        settings = json.loads(files["injection.json"])
        heads = {kind: build_model(kind, files[f"injection-{kind}.safetensors"]) for kind in ("user", "data")}
        calibration = {kind: Calibration(**settings["calibration"][kind]) for kind in heads}
        return Models(settings["version"], heads, calibration, {k: float(settings["thresholds"][k]) for k in heads})
    except (OSError, KeyError, ValueError, TypeError) as e:
        raise ModelMalformed(f"the guards' models in {folder.name} are not complete: {e}") from e


def build_model(kind: str, raw: bytes) -> LinearModel:
    """The model of a kind of channel, "user" or "data", from its file. Raises ModelMalformed."""
    tensors, metadata = read_tensors(raw)
    if kind == "data":
        return DocumentModel(tensors["window"], metadata["heads"], metadata["sizes"])
    return LinearModel(tensors["text"], tensors["window"], metadata["heads"], metadata["sizes"])


def _verified(folder: Path, signer: str) -> dict[str, bytes]:
    from vallum.kernel.ledger.note import NoteVerifier, verify_note

    digests = parse_manifest(verify_note((folder / "manifest").read_bytes(), [NoteVerifier.parse(signer)]))
    files = {name: (folder / name).read_bytes() for name in digests}
    for name, digest in digests.items():
        if sha256(files[name]).hexdigest() != digest:
            raise IntegrityError(f"the guard model {name} is not the one that was signed")
    return files


def render_manifest(files: Mapping[str, bytes]) -> str:
    """The text that is signed."""
    lines = [f"{sha256(data).hexdigest()}  {name}" for name, data in sorted(files.items())]
    return "\n".join([_HEADING, *lines, ""])


def parse_manifest(text: str) -> dict[str, str]:
    """Digests by file name. Raises ModelMalformed."""
    heading, *lines = text.rstrip("\n").split("\n")
    digests = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or "/" in name or name.startswith("."):
            raise ModelMalformed("the models' manifest is not a list of digests and names")
        digests[name] = digest
    if heading != _HEADING or not digests:
        raise ModelMalformed("the models' manifest is of something else")
    return digests
