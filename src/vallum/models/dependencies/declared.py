"""What the files beside a model say that it needs: requirements, locks, environments, and what frameworks write.

Each reader takes text and gives dependencies and what it could not read; a line that nobody understands is never just
passed over. Files are read to a bound, none is executed, and `-r` leads to no file outside of the folder.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from vallum.models.dependencies.model import CannotTell
from vallum.models.facts import Dependency
from vallum.models.plain_yaml import NotPlainYaml, parse_yaml
from vallum.models.strict_json import NotStrictJson, parse_strict_json

__all__ = ["MAX_FILE_BYTES", "Declared", "declared_at", "declares_dependencies", "read_small_file"]

MAX_FILE_BYTES = 16 << 20
_MAX_FILES = 100
_MAX_INCLUDES = 20
_MAX_DEPTH = 12
_REQUIREMENTS = re.compile(r"[\w.-]*requirements[\w.-]*\.(?:txt|in)\Z", re.IGNORECASE)
# The packages whose versions MLflow's flavours and Hugging Face's configurations name.
FRAMEWORKS: Mapping[str, str] = {
    "sklearn_version": "scikit-learn",
    "xgb_version": "xgboost",
    "lgb_version": "lightgbm",
    "catboost_version": "catboost",
    "pytorch_version": "torch",
    "torch_version": "torch",
    "onnx_version": "onnx",
    "keras_version": "keras",
    "tf_version": "tensorflow",
    "transformers_version": "transformers",
    "diffusers_version": "diffusers",
    "sentence_transformers_version": "sentence-transformers",
    "statsmodels_version": "statsmodels",
    "prophet_version": "prophet",
    "spacy_version": "spacy",
    "mlflow_version": "mlflow",
    "_sklearn_version": "scikit-learn",
}


class Declared(msgspec.Struct, frozen=True):
    """`files` were read; each dependency names its file in `declared_in`."""

    dependencies: tuple[Dependency, ...]
    cannot_tell: tuple[CannotTell, ...]
    files: tuple[str, ...]


Found = Iterator[Dependency | CannotTell]


def declared_at(path: Path) -> Declared:
    """A folder's files, those of the folders in it, or one file.

    Never raises for what a file says: what cannot be read is in `cannot_tell`. Raises OSError for a path that is none.
    """
    folder, names = (path.parent, [path.name]) if not path.is_dir() else (path, list(_names(path)))
    if not path.is_dir():
        path.lstat()
    found: dict[Dependency | CannotTell, None] = {}
    read: list[str] = []
    if len(names) > _MAX_FILES:
        found[CannotTell(str(path.name), f"more than {_MAX_FILES} files declare dependencies")] = None
    for name in names[:_MAX_FILES]:
        reader = _reader(name) or (_requirements if not path.is_dir() else None)
        if reader is None:
            continue
        read.append(name)
        found |= dict.fromkeys(_read(folder, name, reader))
    return Declared(
        tuple(one for one in found if isinstance(one, Dependency)),
        tuple(one for one in found if isinstance(one, CannotTell)),
        tuple(read),
    )


def declares_dependencies(path: str) -> bool:
    """Whether `declared_at` would read that file of a model, by its path there."""
    return path.count("/") < 2 and _reader(path) is not None


def read_small_file(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """A regular file's bytes, no link's. Raises OSError, and ValueError for one that is larger or no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        raw = opened.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"it is larger than {limit >> 20} MiB")
    return raw


def _names(folder: Path) -> Iterator[str]:
    """Files that declare something, by their path in the folder, in order; links are followed nowhere."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=False):
        depth = len(Path(root).relative_to(folder).parts)
        folders[:] = [name for name in folders if not name.startswith(".")] if depth < _MAX_DEPTH else []
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in names if _reader(name)]
    yield from sorted(found)


def _reader(path: str) -> "Reader | None":
    name = path.rpartition("/")[2]
    if name in _READERS:
        return _READERS[name]
    if name.startswith("pylock.") and name.endswith(".toml"):
        return _pylock
    return _requirements if _REQUIREMENTS.match(name) else None


def _read(folder: Path, name: str, reader: "Reader") -> Found:
    try:
        text = read_small_file(folder / name).decode("utf-8-sig")
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is no text" if isinstance(e, UnicodeError) else str(e)
        yield CannotTell(name, f"it cannot be read: {reason}", name)
        return
    try:
        yield from reader(text, name, folder)
    except (NotPlainYaml, NotStrictJson, tomllib.TOMLDecodeError, RecursionError, _Unreadable) as e:
        yield CannotTell(name, f"it cannot be read: {e}"[:300], name)


class _Unreadable(Exception):
    """The file parses, and is not what its name says."""


# pip's requirements.


def _requirements(text: str, name: str, folder: Path, seen: set[str] | None = None, depth: int = 0) -> Found:
    seen = {name} if seen is None else seen
    for line in _logical_lines(text):
        option, _, rest = line.partition(" ")
        if option.startswith("--") and "=" in option:
            option, _, rest = line.partition("=")
        rest = rest.strip()
        if option in ("-r", "--requirement", "-c", "--constraint"):
            yield from _included(rest, name, folder, seen, depth)
        elif option.startswith(("-r", "-c")) and len(option) > 2:
            yield from _included(option[2:], name, folder, seen, depth)
        elif option in ("-e", "--editable"):
            yield CannotTell(rest[:200], "it is installed from its source: no advisory names its version", name)
        elif option in ("-i", "--index-url", "--extra-index-url", "-f", "--find-links"):
            yield CannotTell(option, "packages come from another index, where names may mean other packages", name)
        elif option.startswith("-"):
            continue  # how to install, and not what
        else:
            yield _requirement(line, name)


def _logical_lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        line = re.sub(r"(?:^|\s)#.*", "", line)
        line = re.split(r"\s--(?:hash|config-settings|global-option)\b", line)[0].strip()
        if line:
            yield line


def _included(target: str, name: str, folder: Path, seen: set[str], depth: int) -> Found:
    """Each file once: one that includes itself twice would be read without end."""
    path = PurePosixPath(name).parent / target
    outside = path.is_absolute() or ".." in path.parts or ":" in target or not target
    if depth >= _MAX_INCLUDES or outside or _leads_out(folder, path.as_posix()):
        yield CannotTell(target[:200] or "-r", "it leads out of the folder, or too deep", name)
        return
    inner = path.as_posix()
    if inner not in seen:
        seen.add(inner)
        yield from _read(folder, inner, lambda text, at, where: _requirements(text, at, where, seen, depth + 1))


def _leads_out(folder: Path, inner: str) -> bool:
    """By a link on the way: what lies outside is nobody's to be shown."""
    try:
        return not (folder / inner).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle; a name that is none
        return True


def _requirement(line: str, declared_in: str) -> Dependency | CannotTell:
    try:
        said = Requirement(line)
    except InvalidRequirement:
        reason = "it is no requirement of a package (PEP 508): a path, a URL without a name, or a mistake"
        return CannotTell(line[:200], reason, declared_in)
    name = canonicalize_name(said.name)
    if said.url:
        return Dependency(name, source=said.url[:500], declared_in=declared_in)
    return Dependency(name, _pin(said.specifier), str(said.specifier), declared_in=declared_in)


def _pin(specifiers: SpecifierSet) -> str:
    """The one version that fits, or nothing."""
    exact = {one.version for one in specifiers if one.operator in ("==", "===") and not one.version.endswith(".*")}
    return exact.pop() if len(exact) == 1 else ""


# Locks.


def _toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _tables(said: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    listed = said.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _Unreadable(f"its {name} are no list of packages")
    yield from listed


def _locked(package: Mapping[str, Any], source: str, declared_in: str) -> Dependency | CannotTell:
    name, version = package.get("name"), package.get("version", "")
    if not isinstance(name, str) or not name or not isinstance(version, str):
        return CannotTell("a package", "it has no name, or a version that is none", declared_in)
    return Dependency(canonicalize_name(name), version, source=source[:500], declared_in=declared_in)


def _poetry_lock(text: str, name: str, folder: Path) -> Found:
    for package in _tables(_toml(text), "package"):
        source = package.get("source")
        url = f"{source.get('type', '')}+{source.get('url', '')}" if isinstance(source, dict) else ""
        yield _locked(package, url, name)


def _uv_lock(text: str, name: str, folder: Path) -> Found:
    for package in _tables(_toml(text), "package"):
        source = package.get("source")
        kinds = dict(source) if isinstance(source, dict) else {"source": "not stated"}
        if kinds.keys() & {"virtual"} or kinds.get("editable") == ".":
            continue  # the project itself
        public = kinds.get("registry") == "https://pypi.org/simple"
        yield _locked(package, "" if public else next((f"{k}+{v}" for k, v in kinds.items()), ""), name)


def _pylock(text: str, name: str, folder: Path) -> Found:
    """PEP 751."""
    for package in _tables(_toml(text), "packages"):
        direct = next((kind for kind in ("vcs", "directory", "archive") if kind in package), "")
        place = package.get(direct)
        url = place.get("url") or place.get("path") if isinstance(place, dict) else ""
        index = package.get("index", "https://pypi.org/simple")
        if not direct and isinstance(index, str) and not index.startswith("https://pypi.org/simple"):
            direct, url = "index", index
        yield _locked(package, f"{direct}+{url}" if direct else "", name)


def _pipfile_lock(text: str, name: str, folder: Path) -> Found:
    said = parse_strict_json(text.encode(), max_bytes=MAX_FILE_BYTES)
    for group in ("default", "develop"):
        packages = said.get(group, {}) if isinstance(said, dict) else None
        if not isinstance(packages, dict):
            raise _Unreadable("it has no packages")
        for package, how in packages.items():
            version = how.get("version") if isinstance(how, dict) else None
            if isinstance(version, str) and how.get("index", "pypi") == "pypi":
                yield _requirement(f"{package}{version}", name)
            else:
                yield Dependency(canonicalize_name(package), source="not from the public index", declared_in=name)


def _pyproject(text: str, name: str, folder: Path) -> Found:
    said = _toml(text)
    project, tool = said.get("project", {}), said.get("tool", {})
    if not isinstance(project, dict) or not isinstance(tool, dict):
        raise _Unreadable("its project is no table")
    if "dependencies" in (project.get("dynamic") or ()):
        yield CannotTell("dependencies", "they are decided when it is built", name)
    extras = project.get("optional-dependencies", {})
    for listed in (project.get("dependencies", []), *(extras.values() if isinstance(extras, dict) else [extras])):
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise _Unreadable("its dependencies are no list")
        for one in listed:
            yield _requirement(one, name)
    poetry = tool.get("poetry")
    needed = poetry.get("dependencies", {}) if isinstance(poetry, dict) else {}
    for package, how in needed.items() if isinstance(needed, dict) else ():
        if package != "python":
            yield _poetry_dependency(package, how, name)


def _poetry_dependency(package: str, how: object, declared_in: str) -> Dependency:
    wanted = how.get("version", "") if isinstance(how, dict) else how
    kinds = [kind for kind in ("git", "path", "url", "source", "file") if isinstance(how, dict) and kind in how]
    source = f"{kinds[0]}+{how[kinds[0]]}"[:500] if isinstance(how, dict) and kinds else ""
    text = wanted if isinstance(wanted, str) else ""
    pinned = re.fullmatch(r"(?:==\s*)?(\d[\w.!+-]*)", text)
    return Dependency(
        canonicalize_name(package), pinned.group(1) if pinned else "", text[:200], source, declared_in=declared_in
    )


def _setup(text: str, name: str, folder: Path) -> Found:
    if re.search(r"\b(?:install_requires|extras_require|setup_requires)\b", text):
        yield CannotTell("dependencies", "they are decided by code or settings that are not read here", name)


# Environments, and what frameworks write.


def _conda(text: str, name: str, folder: Path) -> Found:
    said = parse_yaml(text).get("dependencies")
    for one in said if isinstance(said, list) else ():
        if isinstance(one, dict) and isinstance(one.get("pip"), list):
            yield from _requirements("\n".join(str(line) for line in one["pip"]), name, folder)
        elif isinstance(one, str) and one.strip():
            yield _conda_package(one.strip(), name)
        else:
            yield CannotTell("dependencies", "a part of it is neither a package nor a list for pip", name)


def _conda_package(text: str, declared_in: str) -> Dependency:
    """`channel::name=version=build`, where one `=` pins by prefix and two pin exactly."""
    package = text.rpartition("::")[2]
    found = re.match(r"([\w.-]+)\s*(.*)\Z", package, re.DOTALL)
    name, rest = (found.group(1), found.group(2)) if found else (package[:200], "")
    pinned = re.fullmatch(r"={1,2}\s*(\d[\w.!+-]*)(?:=[\w.*-]+)?", rest)
    version = pinned.group(1) if pinned else ""
    return Dependency(canonicalize_name(name), version, rest[:200], declared_in=declared_in, ecosystem="conda")


def _python_env(text: str, name: str, folder: Path) -> Found:
    said = parse_yaml(text)
    for group in ("build_dependencies", "dependencies"):
        listed = said.get(group)
        lines = [str(line) for line in listed] if isinstance(listed, list) else []
        yield from _requirements("\n".join(lines), name, folder)


def _mlmodel(text: str, name: str, folder: Path) -> Found:
    said = parse_yaml(text)
    flavours = said.get("flavors")
    parts = [said, *(flavours.values() if isinstance(flavours, dict) else ())]
    yield from _framework_versions([part for part in parts if isinstance(part, dict)], name)


def _config(text: str, name: str, folder: Path) -> Found:
    said = parse_strict_json(text.encode(), max_bytes=MAX_FILE_BYTES)
    if isinstance(said, dict):
        yield from _framework_versions([said], name)


def _framework_versions(parts: list[dict[str, Any]], name: str) -> Found:
    for part in parts:
        for key, package in FRAMEWORKS.items():
            version = part.get(key)
            if isinstance(version, str) and version:
                yield Dependency(package, version, declared_in=name)


Reader = Callable[[str, str, Path], Found]
_READERS: Mapping[str, Reader] = {
    "poetry.lock": _poetry_lock,
    "uv.lock": _uv_lock,
    "pylock.toml": _pylock,
    "Pipfile.lock": _pipfile_lock,
    "pyproject.toml": _pyproject,
    "setup.py": _setup,
    "setup.cfg": _setup,
    "conda.yaml": _conda,
    "conda.yml": _conda,
    "environment.yaml": _conda,
    "environment.yml": _conda,
    "python_env.yaml": _python_env,
    "MLmodel": _mlmodel,
    "config.json": _config,
    "model_index.json": _config,
}
