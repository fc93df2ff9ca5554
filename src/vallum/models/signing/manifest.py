"""What a model is made of: its files by name and SHA-256, and nothing else in its folder.

Answers files that are changed, added, taken away or renamed, and what no digest shows: links, devices, folders without
files, and files that may be executed. Files are hashed side by side, each read once; `hashlib` lets other threads run.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vallum.kernel.errors import IntegrityError, Invalid

__all__ = ["Difference", "Manifest", "ModelDiffers", "Resource", "differences", "hash_model"]

_CHUNK_BYTES = 1 << 20
_MAX_FILES = 100_000


class Sink(Protocol):
    """Gets one file's bytes as they are hashed."""

    def write(self, chunk: bytes) -> object: ...


@dataclass(frozen=True, slots=True)
class Resource:
    """One file: its path in the model with `/`, and its SHA-256 in lower-case hexadecimal."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`resources` are sorted by name. `root` is the SHA-256 over their digests, in that order."""

    model: str
    resources: tuple[Resource, ...]

    @property
    def root(self) -> str:
        whole = hashlib.sha256()
        for resource in self.resources:
            whole.update(bytes.fromhex(resource.digest))
        return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` is changed, missing, extra, link, special, executable or empty-folder."""

    kind: str
    name: str


class ModelDiffers(IntegrityError):
    """The model is not what was signed: `differences` are all of them, sorted by name."""

    code = "model_differs"

    def __init__(self, found: Sequence[Difference]) -> None:
        shown = ", ".join(f"{one.kind} {one.name}" for one in found[:10])
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        super().__init__(f"the model is not what was signed: {shown}{more}")
        self.differences = tuple(found)


def hash_model(
    path: Path,
    *,
    without: Path | None = None,
    threads: int | None = None,
    sink: Callable[[str], AbstractContextManager[Sink]] | None = None,
) -> tuple[Manifest, tuple[Difference, ...]]:
    """The files of a model, `without` its signature; and what should not be in a model at all.

    `sink` gives, for a file's name, a context whose `write` gets the very bytes that are hashed. Raises Invalid for a
    path that is none, OSError for a file that cannot be read.
    """
    if not path.exists() or path.is_symlink():
        raise Invalid(f"{path}: there is no such model, or it is a link")
    if path.is_file():
        return Manifest(path.name, (Resource(path.name, _hash(path, path.name, sink)),)), ()
    found: list[Difference] = []
    files = sorted(_files(path, without.absolute() if without is not None else None, found), key=lambda one: one[0])
    if len(files) > _MAX_FILES:
        raise Invalid(f"{path}: more than {_MAX_FILES} files are no model")
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda one: _hash(one[1], one[0], sink), files)
        resources = tuple(Resource(name, digest) for (name, _), digest in zip(files, digests, strict=True))
    return Manifest(path.resolve().name, resources), tuple(sorted(found, key=lambda one: one.name))


def differences(signed: Manifest, present: Manifest, others: Sequence[Difference] = ()) -> list[Difference]:
    """What of `present` is not as `signed`, with `others` found beside it; sorted by name."""
    wanted = {resource.name: resource.digest for resource in signed.resources}
    there = {resource.name: resource.digest for resource in present.resources}
    found = [Difference("missing", name) for name in wanted.keys() - there.keys()]
    found += [Difference("extra", name) for name in there.keys() - wanted.keys()]
    found += [Difference("changed", name) for name in wanted.keys() & there.keys() if wanted[name] != there[name]]
    return sorted([*found, *others], key=lambda one: (one.name, one.kind))


def _files(folder: Path, without: Path | None, found: list[Difference]) -> Iterator[tuple[str, Path]]:
    for root, folders, names in os.walk(folder, followlinks=False):
        for name in [*folders, *names]:
            path = Path(root) / name
            relative, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found.append(Difference("link", relative))
            elif stat.S_ISREG(mode):
                if mode & 0o111:
                    found.append(Difference("executable", relative))
                if path.absolute() != without:
                    yield relative, path
            elif not stat.S_ISDIR(mode):
                found.append(Difference("special", relative))
            elif not any(path.iterdir()):
                found.append(Difference("empty-folder", relative))


def _hash(path: Path, name: str, sink: Callable[[str], AbstractContextManager[Sink]] | None) -> str:
    """Opened without following a link that took the file's place meanwhile."""
    digest = hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as opened:
        if sink is None:
            buffer = bytearray(_CHUNK_BYTES)
            view = memoryview(buffer)
            while size := opened.readinto(view):
                digest.update(view[:size])
            return digest.hexdigest()
        with sink(name) as out:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
    return digest.hexdigest()
