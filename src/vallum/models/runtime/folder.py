"""Deployments from a folder of signed models: for tests and local development, without a registry or releases.

FOLDER/NAME holds a model's files and `serving.json`, its configuration, and FOLDER/NAME.sig is the signature of all of
them. Nothing approves what lies there but its signature: no scan, no promotion, no roll-back. Hence the name.
"""

import shutil
import tempfile
from pathlib import Path

import msgspec

from vallum.kernel.errors import Conflict, Invalid
from vallum.models.runtime.model import ServingConfiguration
from vallum.models.runtime.ports import Deployment
from vallum.models.signing import TrustPolicy, verified_copy

__all__ = ["UnsafeFolderDeployments"]

_SERVING = "serving.json"


class UnsafeFolderDeployments:
    def __init__(self, folder: Path, trust: TrustPolicy, *, environment: str = "") -> None:
        """Reads and verifies everything there is now. Raises Invalid, and as `verified_copy` does."""
        self._folder = folder
        self._trust = trust
        self._environment = environment
        self._deployments = {deployment.model: deployment for deployment in self._read()}

    def current(self, environment: str, model: str, key: str) -> Deployment | None:
        return self._deployments.get(model) if environment == self._environment else None

    def shadow(self, environment: str, model: str, key: str) -> Deployment | None:
        return None

    def deployed(self, environment: str, model: str) -> tuple[Deployment, ...]:
        found = self.current(environment, model, "")
        return () if found is None else (found,)

    def observe(self, deployment: Deployment, *, failed: bool, seconds: float, findings: int = 0) -> None:
        """Nothing is on trial here."""

    def checkout(self, deployment: Deployment, folder: Path) -> None:
        path = self._folder / deployment.model
        with verified_copy(path, _signature(path), self._trust, folder=folder.parent) as verified:
            if verified.manifest.root != deployment.digest:
                raise Conflict(f"the model {deployment.model} is another one since this process started")
            try:
                for entry in verified.path.iterdir():
                    entry.rename(folder / entry.name)
            except OSError:
                for entry in folder.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                raise

    def _read(self) -> list[Deployment]:
        return [self._deployment(path) for path in sorted(self._folder.iterdir()) if path.is_dir()]

    def _deployment(self, path: Path) -> Deployment:
        with (
            tempfile.TemporaryDirectory() as work,
            verified_copy(path, _signature(path), self._trust, folder=Path(work)) as verified,
        ):
            try:
                raw = (verified.path / _SERVING).read_bytes()
            except OSError as e:
                raise Invalid(f"{path}: there is no {_SERVING}") from e
            digest = verified.manifest.root
        return Deployment(self._environment, path.name, "unsafe-folder", path.name, 1, digest, _serving(path, raw))


def _serving(path: Path, raw: bytes) -> ServingConfiguration:
    try:
        serving = msgspec.json.decode(raw, type=ServingConfiguration)
    except msgspec.DecodeError as e:
        raise Invalid(f"{path / _SERVING}: {e}") from e
    problems = list(serving.problems())
    if problems:
        raise Invalid(f"{path / _SERVING} has problems:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return serving


def _signature(path: Path) -> Path:
    return path.with_name(path.name + ".sig")
