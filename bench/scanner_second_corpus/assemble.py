"""An assembler of pickles: values, references and calls that need not exist here are written opcode by opcode.

`pickle.dumps` only writes what it can import and look up; an attacker writes the bytes. What stands in a value:
Ref names a global, Call calls one, New and Build make an object and set its state, Raw stands for opcodes.
"""

import pickle
import struct
from dataclasses import dataclass

__all__ = ["Build", "Call", "Dropped", "New", "NewEx", "Raw", "Ref", "method", "planted", "text", "written"]


class _Written:
    __slots__ = ()


class Raw(_Written):
    def __init__(self, ops: bytes) -> None:
        self.ops = ops

    @classmethod
    def of(cls, value: object) -> "Raw":
        """The opcodes of a real value: protocol 2 has no frames, so that they stand anywhere."""
        return cls(pickle.dumps(value, 2)[2:-1])


class Ref(_Written):
    def __init__(self, dotted: str, name: str = "") -> None:
        self.module, self.name = (dotted, name) if name else tuple(dotted.rsplit(".", 1))


class Call(_Written):
    def __init__(self, callee: "str | _Written", *args: object) -> None:
        self.callee = Ref(callee) if isinstance(callee, str) else callee
        self.args = args


class New(_Written):
    def __init__(self, cls: "str | _Written", *args: object) -> None:
        self.cls = Ref(cls) if isinstance(cls, str) else cls
        self.args = args


@dataclass(frozen=True)
class NewEx(_Written):
    cls: object
    args: tuple[object, ...]
    kwargs: dict[str, object]


@dataclass(frozen=True)
class Build(_Written):
    made: object
    state: object


@dataclass(frozen=True)
class Dropped(_Written):
    """Done and taken from the stack: only `kept` is in the result."""

    done: object
    kept: object


def text(value: str, protocol: int) -> bytes:
    if protocol == 0:
        return b"V" + value.encode("raw-unicode-escape").replace(b"\n", b"\\u000a") + b"\n"
    data = value.encode("utf-8", "surrogatepass")
    if protocol >= 4 and len(data) < 256:
        return b"\x8c" + bytes([len(data)]) + data
    return b"X" + struct.pack("<I", len(data)) + data


def _number(value: int, protocol: int) -> bytes:
    if protocol == 0:
        return b"I%d\n" % value
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else b"I%d\n" % value


def _ops(value: object, protocol: int, stacked: bool) -> bytes:
    def many(values: object) -> bytes:
        return b"".join(_ops(one, protocol, stacked) for one in values)  # type: ignore[attr-defined]

    match value:
        case Raw():
            return value.ops
        case Ref():
            if stacked:
                return text(value.module, 4) + text(value.name, 4) + b"\x93"
            return b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n"
        case Call():
            return _ops(value.callee, protocol, stacked) + b"(" + many(value.args) + b"tR"
        case New():
            return _ops(value.cls, protocol, stacked) + b"(" + many(value.args) + b"t\x81"
        case NewEx():
            return many((value.cls, value.args, value.kwargs)) + b"\x92"
        case Build():
            return many((value.made, value.state)) + b"b"
        case Dropped():
            return many((value.done,)) + b"0" + many((value.kept,))
        case None:
            return b"N"
        case bool():
            return (b"\x88" if value else b"\x89") if protocol >= 2 else (b"I01\n" if value else b"I00\n")
        case int():
            return _number(value, protocol)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return text(value, protocol)
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case tuple():
            return b"(" + many(value) + b"t"
        case list():
            return b"(l" if not value and protocol == 0 else b"(" + many(value) + b"l"
        case dict():
            return b"(" + b"".join(many(pair) for pair in value.items()) + b"d"
    raise TypeError(f"no opcodes for {type(value)}")


def written(value: object, protocol: int = 4, *, stacked: bool | None = None, framed: bool = False) -> bytes:
    """The whole pickle of `value`; `stacked` writes globals as STACK_GLOBAL, as protocol 4 and later do."""
    body = _ops(value, protocol, protocol >= 4 if stacked is None else stacked) + b"."
    if framed:
        body = b"\x95" + struct.pack("<Q", len(body)) + body
    return (b"\x80" + bytes([protocol]) if protocol >= 2 else b"") + body


def method(owner: object, name: str, *args: object) -> Call:
    """Call a method of something that stands on the stack, by operator.methodcaller."""
    return Call(Call("operator.methodcaller", name, *args), owner)


def planted(payload: object, around: object, key: str = "_extra") -> Raw:
    """A real dictionary of weights that holds the payload under one more key."""
    inside = pickle.dumps(around, 2)[2:-1]
    return Raw(inside + _ops(key, 4, True) + _ops(payload, 4, True) + b"s")
