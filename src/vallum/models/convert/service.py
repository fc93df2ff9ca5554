"""Converting one model file: copied and hashed once, scanned, converted in a sandbox, verified, and recorded.

Every step works on the copy, so that what was scanned is what is converted. A torch state dict is read without
running anything of it; a scikit-learn model has to be loaded for it, and so has to have passed the scan.
"""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

from vallum.kernel.errors import Conflict, Invalid
from vallum.models.convert.sandbox import run_in_sandbox
from vallum.models.scan.child import scan_isolated
from vallum.models.scan.model import Verdict

__all__ = ["Conversion", "convert"]

_CHUNK = 1 << 20
_SUFFIXES: dict[str, Literal["torch", "sklearn", "onnx"]] = {
    ".safetensors": "torch", ".skops": "sklearn", ".onnx": "onnx",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conversion:
    """What DEST.conversion.json holds: which bytes became which, how, and where."""

    source: str
    source_sha256: str
    destination: str
    destination_sha256: str
    kind: str
    scan_verdict: str
    verified: str
    sandbox: str
    tensors: int = 0
    left_out: tuple[str, ...] = ()
    untrusted_types: tuple[str, ...] = field(default=())


def convert(source: Path, destination: Path, *, accept_review: bool = False) -> Conversion:
    """`destination` ends in `.safetensors` (from a torch state dict), or `.skops` or `.onnx` (from scikit-learn).

    Writes it and `DEST.conversion.json`, and neither when anything fails. Raises Invalid for what is refused or no
    such model, Conflict for a destination that exists, IntegrityError when what was written is not what was read,
    Unavailable without a library that is needed.
    """
    kind = _SUFFIXES.get(destination.suffix)
    if kind is None:
        raise Invalid(f"{destination}: name it .safetensors (torch state dict), .skops or .onnx (scikit-learn)")
    record = destination.with_name(destination.name + ".conversion.json")
    for file in (destination, record):
        if file.exists() or file.is_symlink():
            raise Conflict(f"{file} exists: choose another name, or remove it")
    with tempfile.TemporaryDirectory(dir=destination.absolute().parent, prefix=".convert-") as name:
        folder = Path(name)
        copy = folder / "source"
        digest = _copied(source, copy)
        verdict = scan_isolated(copy).verdict
        if verdict is Verdict.BLOCK or (verdict is Verdict.REVIEW and kind != "torch" and not accept_review):
            raise Invalid(
                f"{source}: the scan says {verdict}, and it is not converted. `vallum models scan` says why"
                + ("; --accept-review loads it in the sandbox nevertheless" if verdict is Verdict.REVIEW else "")
            )
        metadata = {"format": "pt", "source_sha256": digest, "converted_by": "vallum models convert"}
        said = run_in_sandbox(kind, copy, folder, metadata)
        written = folder / "converted"
        conversion = Conversion(
            source.name, digest, destination.name, _digest(written), kind, str(verdict), said["verified"],
            said["sandbox"], said.get("tensors", 0), tuple(said.get("left_out", ())),
            tuple(said.get("untrusted_types", ())),
        )  # fmt: skip
        (folder / "record").write_text(json.dumps(asdict(conversion), indent=2) + "\n")
        _place(written, destination)
        try:
            _place(folder / "record", record)
        except OSError:
            with suppress(OSError):
                destination.unlink()
            raise
    return conversion


def _copied(source: Path, copy: Path) -> str:
    try:
        with source.open("rb") as file, copy.open("xb") as out:
            hashed = sha256()
            while piece := file.read(_CHUNK):
                hashed.update(piece)
                out.write(piece)
    except OSError as e:
        raise Invalid(f"{source} cannot be copied: {e.strerror}") from e
    return hashed.hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _place(file: Path, destination: Path) -> None:
    """Under its name, whole or not at all; never over something that is there."""
    os.link(file, destination)
