"""What lies on the symbolic machine's stack: Python's own values where they are known, and these where they are not."""

from dataclasses import dataclass
from typing import Any

__all__ = ["OPAQUE", "Global", "Made", "Opaque", "Persistent", "Span", "render"]


class Opaque:
    """A value of which nothing needs to be known: a large number, a set, a buffer from outside."""

    __slots__ = ()


OPAQUE = Opaque()


@dataclass(slots=True, eq=False)
class Global:
    """What `find_class(module, name)` would return; `name` may be dotted, as protocol 4 allows."""

    module: str
    name: str

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Made:
    """What a call would return. `state` is that of the last BUILD."""

    callee: Any
    arguments: Any
    state: Any = None


@dataclass(slots=True, eq=False)
class Persistent:
    """What a loader would look up by an id of its own, as torch does with its storages."""

    pid: Any


@dataclass(slots=True, eq=False)
class Span:
    """A long string: where it lies in the input, so that nothing large is copied."""

    start: int
    end: int
    text: bool


def render(value: Any, depth: int = 2) -> str:
    """Short and bounded, for an explanation. Never calls into anything that a pickle brought along."""
    if isinstance(value, Global):
        return value.full[:120]
    if isinstance(value, Made):
        return f"{render(value.callee, depth - 1)}(…)" if depth else "…"
    if isinstance(value, str | bytes):
        return repr(value[:60])
    if isinstance(value, int | float):
        return repr(value) if not isinstance(value, int) or value.bit_length() < 64 else "a large number"
    if isinstance(value, tuple):
        return f"({', '.join(render(v, depth - 1) for v in value[:4])})" if depth else "(…)"
    return {list: "[…]", dict: "{…}", type(None): "None", Span: "a long string"}.get(type(value), "…")
