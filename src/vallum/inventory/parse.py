"""From files to a Configuration: every problem at once, each with its place."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from vallum.inventory.model import Application, Configuration, Model, Name, Provider
from vallum.kernel.errors import Invalid

__all__ = ["ConfigurationRefused", "parse_files", "read_files"]

MAX_FILES = 1000
MAX_FILE_BYTES = 1_048_576  # a declaration is a kilobyte; refuse what cannot be one before parsing it

MAX_ALL_CHARS = 1_048_576
MAX_DOTS = 100  # in a line; the parser's work on dotted keys grows with the square of their parts

_KINDS: Mapping[str, Any] = {"providers": Provider, "models": Model, "applications": Application}


class ConfigurationRefused(Invalid):
    """The files have problems; the message lists every one."""

    code = "configuration_refused"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("the configuration has problems:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


def read_files(path: Path) -> dict[str, str]:
    """The text of one `.toml` file, or of every one below a folder, by relative name. Raises Invalid."""
    if path.is_file():
        return {path.name: _read(path)}
    if not path.is_dir():
        raise Invalid(f"{path} is neither a file nor a folder")
    found = sorted(p for p in path.rglob("*.toml") if p.is_file())
    if not found:
        raise Invalid(f"{path} holds no .toml file")
    if len(found) > MAX_FILES:
        raise Invalid(f"{path} holds {len(found)} files, more than {MAX_FILES}")
    return {str(p.relative_to(path)): _read(p) for p in found}


def parse_files(files: Mapping[str, str]) -> Configuration:
    """Raises ConfigurationRefused that lists every problem. Whether the parts fit together is `Inventory.plan`'s."""
    if sum(map(len, files.values())) > MAX_ALL_CHARS:
        raise ConfigurationRefused([f"the files hold more than {MAX_ALL_CHARS} characters together"])
    problems: list[str] = []
    built: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    declared_in: dict[tuple[str, str], str] = {}
    for file, text in files.items():
        for kind, name, value in _declarations(file, text, problems):
            if (kind, name) in declared_in:
                problems.append(f"{file}: {kind}.{name} is declared in {declared_in[kind, name]} too")
                continue
            declared_in[kind, name] = file
            try:
                msgspec.convert(name, Name)
                built[kind][name] = msgspec.convert(value, _KINDS[kind])
            except msgspec.ValidationError as e:
                problems.append(f"{file}: {kind}.{name}: {_hint(str(e))}")
    if problems:
        raise ConfigurationRefused(problems)
    return Configuration(**built)


def _declarations(file: str, text: str, problems: list[str]) -> list[tuple[str, str, Any]]:
    if any(line.count(".") > MAX_DOTS for line in text.splitlines()):
        problems.append(f"{file}: a line holds more than {MAX_DOTS} dots: write it as several")
        return []
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # a number too long to read is a ValueError of its own
        problems.append(f"{file}: not TOML ({e})")
        return []
    found = []
    for kind, entries in tree.items():
        if kind not in _KINDS or not isinstance(entries, dict):
            problems.append(f"{file}: {kind}: write tables named [providers.NAME], [models.NAME], [applications.NAME]")
            continue
        found += [(kind, name, value) for name, value in entries.items()]
    return found


def _hint(problem: str) -> str:
    if "unknown field `api_key`" in problem or "unknown field `key`" in problem:
        return problem + ": put the key into the vault (vallum secrets put NAME --for …) and write secret = NAME"
    return problem


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise Invalid(f"{path} cannot be read: {e.strerror}") from e
    if len(raw) > MAX_FILE_BYTES:
        raise Invalid(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise Invalid(f"{path} is not UTF-8") from e
