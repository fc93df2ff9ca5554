"""Clean documents from the packages that the training has installed: what they say of themselves, licences, manuals,
docstrings, comments, code, settings and the documentation of services, as tools return them. Their text is not here.

Only packages of the lock files count, pinned there by digest, so that whatever else is installed changes nothing.
"""

import ast
import gzip
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from corpus import HERE

__all__ = ["locked", "locked_documents", "plain_name"]

_LOCKS = ("requirements-dev.lock", "requirements-training.lock")
_LEAST, _MOST = 120, 2500  # characters of an excerpt
_EACH = {  # excerpts of one kind from one package, at most: a few packages have as many pages as all others
    "description": 14, "licence": 8, "prose": 60, "docstring": 40, "comment": 14, "code": 14, "other code": 40,
    "markup": 60, "settings": 60, "service": 600,
}  # fmt: skip
_FILES = 40  # of a kind in one package that are opened
_FILE_BYTES = 2_000_000
_FILE_EXCERPTS, _CHARS_EACH = 6, 3000  # of one file: one for so many characters, and so many at most
_KINDS = {
    ".md": "prose", ".rst": "prose", ".txt": "prose", ".py": "code", ".c": "other code", ".h": "other code",
    ".cc": "other code", ".cpp": "other code", ".hpp": "other code", ".js": "other code", ".ts": "other code",
    ".css": "other code", ".sh": "other code", ".ps1": "other code", ".cmd": "other code", ".proto": "other code",
    ".pyx": "other code", ".f90": "other code", ".sql": "other code", ".html": "markup", ".xml": "markup",
    ".xsd": "markup", ".mako": "markup", ".json": "settings", ".toml": "settings", ".ini": "settings",
    ".cfg": "settings", ".yaml": "settings", ".yml": "settings", ".conf": "settings", ".csv": "settings",
    ".build": "settings", ".lark": "settings", ".license": "licence",
}  # fmt: skip
_LICENCE = re.compile(r"licen[cs]e|copying|notice|copyright|authors", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^[ \t]*#(?!!).*\n){4,}", re.MULTILINE)


def locked_documents(wanted: Callable[[str], bool], seed: int) -> list[str]:
    """Excerpts of the files of the wanted packages, by their names as an index gives them (small, with hyphens)."""
    found = []
    for name, distribution in sorted(locked().items()):
        if wanted(name):
            found += _of(distribution, random.Random(f"{seed} {name}"))
    return found


def locked() -> dict[str, Distribution]:
    """The packages of the lock files that are installed; says on stderr which are not."""
    root = HERE.parents[1]
    names = {
        plain_name(name)
        for lock in _LOCKS
        for name in re.findall(r"^([\w.-]+)==", (root / lock).read_text(), re.MULTILINE)
    }
    installed = {plain_name(d.metadata["Name"]): d for d in distributions()}
    absent = sorted(names - set(installed) - _ELSEWHERE)
    if absent:
        print(f"not installed, so the documents are not those of the shipped model: {absent}", file=sys.stderr)
    return {name: installed[name] for name in names & set(installed)}


_ELSEWHERE = {"async-timeout", "colorama", "httpx2-jsfetch", "pywin32"}  # for other systems and interpreters


def plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of(distribution: Distribution, chance: random.Random) -> Iterator[str]:
    by_kind: dict[str, list[str]] = {"description": [_clean(str(distribution.metadata.get_payload()))]}
    files: dict[str, list[Path]] = {}
    for file in sorted(distribution.files or (), key=str):
        kind = _kind(file.name, file.suffix.lower(), str(file))
        if kind:
            files.setdefault(kind, []).append(Path(str(distribution.locate_file(file))))
    for kind, paths in files.items():
        for path in chance.sample(paths, min(len(paths), _FILES)):
            for what, text in _texts(kind, path):
                by_kind.setdefault(what, []).append(text)
    for kind, texts in sorted(by_kind.items()):
        excerpts = [e for text in dict.fromkeys(texts) for e in _excerpts(text, chance)]
        yield from chance.sample(excerpts, min(len(excerpts), _EACH[kind]))


def _kind(name: str, suffix: str, path: str) -> str | None:
    if name.endswith(".json.gz"):
        return "service"
    if ".dist-info/" in path and not _LICENCE.search(path.partition(".dist-info/")[2]):
        return None
    if _LICENCE.search(name) and suffix not in (".py", ".json", ".pyc", ".gz"):
        return "licence"
    return _KINDS.get(suffix)


def _texts(kind: str, path: Path) -> Iterator[tuple[str, str]]:
    text = _read(path)
    if kind == "service":
        for said in _said(text):
            yield kind, said
    elif kind == "code":
        yield kind, text
        for said in _docstrings(text):
            yield "docstring", said
        for block in _COMMENT.findall(text):
            yield "comment", block
    else:
        yield kind, text


def _read(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
            return _clean(raw.read(_FILE_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ""


def _clean(text: str) -> str:
    return "" if "\0" in text else text.strip()


def _said(service: str) -> list[str]:
    """The documentation in a description of a service, in which each thing has its own."""
    return [json.loads(f'"{said}"') for said in re.findall(r'"documentation":"((?:[^"\\]|\\.){200,})"', service)]


def _docstrings(source: str) -> list[str]:
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in nodes if isinstance(node, kinds))
    return [text for text in found if text and len(text) >= _LEAST]


def _excerpts(text: str, chance: random.Random) -> list[str]:
    """Some of a text, each begun at a line, as a reader is shown a part of a file."""
    if sum(map(str.isalpha, text)) < 0.4 * len(text) or len(text) < _LEAST:
        return []
    found = []
    for _ in range(max(1, min(_FILE_EXCERPTS, len(text) // _CHARS_EACH))):
        length = chance.randint(_LEAST, _MOST)
        at = text.find("\n", chance.randrange(max(1, len(text) - length))) + 1 if len(text) > length else 0
        found.append(text[at : at + length])
    return [text for text in found if len(text) >= _LEAST]
