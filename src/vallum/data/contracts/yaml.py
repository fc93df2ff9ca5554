"""YAML, bounded: plain maps, lists and scalars, with the line of each. Everything else of YAML is refused.

Aliases (a kilobyte of them is a gigabyte of data), tags (which name constructors), merges and repeated keys have no
place in a contract. Bounds hold while reading, before anything is built. JSON is YAML.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from vallum.kernel.errors import Invalid

__all__ = ["MAX_BYTES", "BadYaml", "Document", "parse_yaml", "render_yaml"]

MAX_BYTES = 1 << 20
_MAX_DEPTH = 24  # the standard itself nests about ten deep
_MAX_NODES = 100_000
_MAX_NUMBER = 40  # characters; longer ones are text: int() of a megabyte of digits takes minutes
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}

Path = tuple[str | int, ...]


class BadYaml(Invalid):
    """Not YAML, or more of it than a contract needs. Names the line."""

    code = "bad_contract"


@dataclass(frozen=True, slots=True)
class Document:
    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of what stands at the path, or of the nearest that holds it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse_yaml(raw: bytes) -> Document:
    """One document. Dates stay text. Raises BadYaml."""
    import yaml

    if len(raw) > MAX_BYTES:
        raise BadYaml(f"larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadYaml(f"line {raw.count(10, 0, e.start) + 1}: is not UTF-8") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark is not None else 1
        raise BadYaml(f"line {line}: is not YAML: {e.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        raise BadYaml(f"is not YAML ({type(e).__name__})") from None
    return Document(builder.value, builder.lines)


def render_yaml(value: Any) -> bytes:
    import yaml

    dumped: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return dumped.encode()


class _Builder:
    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[Path, int] = {}
        self._open: list[Any] = []  # the maps and lists around, outermost first
        self._keys: list[str | None] = []  # for each, the key that waits for its value
        self._path: list[str | int] = []
        self._nodes = self._documents = 0

    def take(self, event: Any) -> None:
        import yaml

        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise BadYaml(f"line {line}: aliases (*) are not read here: write it out")
        if getattr(event, "anchor", None) is not None:
            raise BadYaml(f"line {line}: anchors (&) are not read here")
        if getattr(event, "tag", None) is not None:
            raise BadYaml(f"line {line}: tags (!) are not read here")
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise BadYaml(f"line {line}: a second document begins: a file holds one")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                opened: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                self._add(opened, line)
                self._open.append(opened)
                self._keys.append(None)
                if len(self._open) > _MAX_DEPTH:
                    raise BadYaml(f"line {line}: nested more than {_MAX_DEPTH} deep")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._open.pop()
                self._keys.pop()
                if self._path:
                    self._path.pop()
            case yaml.ScalarEvent():
                self._scalar(event, line)

    def _scalar(self, event: Any, line: int) -> None:
        if self._open and isinstance(self._open[-1], dict) and self._keys[-1] is None:
            if event.value == "<<":
                raise BadYaml(f"line {line}: merges (<<) are not read here: write it out")
            if event.value in self._open[-1]:
                raise BadYaml(f"line {line}: {event.value[:80]} stands twice in one map")
            self._keys[-1] = event.value
            return
        self._add(event.value if event.style else _resolved(event.value), line)
        if self._path:
            self._path.pop()

    def _add(self, value: Any, line: int) -> None:
        """Put a value in its place. The path then leads to it, until it ends."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise BadYaml(f"line {line}: more than {_MAX_NODES} values")
        if not self._open:
            self.value = value
            self.lines[()] = line
            return
        around = self._open[-1]
        if isinstance(around, list):
            self._path.append(len(around))
            around.append(value)
        else:
            key = self._keys[-1]
            if key is None:
                raise BadYaml(f"line {line}: a key is a word, not a map or a list")
            self._path.append(key)
            around[key] = value
            self._keys[-1] = None
        self.lines[tuple(self._path)] = line


def _resolved(text: str) -> Any:
    """YAML 1.2's core schema, but for octal, hexadecimal, infinities and NaN, which stay text."""
    if text.lower() in _WORDS and text in (text.lower(), text.upper(), text.capitalize()):
        return _WORDS[text.lower()]
    if len(text) <= _MAX_NUMBER:
        if _INTEGER.match(text):
            return int(text)
        if _NUMBER.match(text) and math.isfinite(float(text)):
            return float(text)
    return text
