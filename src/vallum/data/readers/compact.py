"""Structures of Apache Thrift's compact protocol, as Parquet's footers and page headers are: parsed without knowing
their fields, and rendered again.

A footer comes from whoever sends the file: depth and lengths are held to what is there before anything is read by them.
Source: apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Sequence
from typing import Any

__all__ = ["BINARY", "I32", "I64", "LIST", "STRUCT", "Items", "Struct", "parse_struct", "render_struct"]

_TWICE = "a field twice"
_MAX_DEPTH = 16  # the format's own structures nest to eight
_TRUE, _FALSE = 1, 2
_BYTES = (1, 2, 3)  # one each; booleans too, where they stand in a list
_INTEGERS = (4, 5, 6)
I32, I64, _DOUBLE, BINARY, LIST, _SET, STRUCT = 5, 6, 7, 8, 9, 10, 12


class Items(list[Any]):
    """A list's or set's values, all of one kind."""

    __slots__ = ("of",)

    def __init__(self, of: int, values: Sequence[Any] = ()) -> None:
        super().__init__(values)
        self.of = of


class Struct(dict[int, Any]):
    """Values by their fields' numbers; `kinds` says what each is on the wire, in their order. A double is its eight
    bytes. Small on purpose: a footer may hold millions of empty ones."""

    __slots__ = ("kinds",)

    def __init__(self) -> None:
        super().__init__()
        self.kinds = b""

    def put(self, number: int, kind: int, value: Any) -> None:
        """Raises ValueError for a field that is there: of two, readers may take the one or the other."""
        if number in self:
            raise ValueError(_TWICE)
        self[number] = value
        self.kinds += bytes([kind])

    def only(self, *numbers: int) -> "Struct":
        """A copy with those fields alone, as far as they are there."""
        kept = Struct()
        for (number, value), kind in zip(self.items(), self.kinds, strict=True):
            if number in numbers:
                kept.put(number, kind, value)
        return kept


def parse_struct(raw: bytes, at: int = 0, depth: int = 0) -> tuple[Struct, int]:
    """What stands at `at`, and where it ends. Raises ValueError or IndexError for bytes that are none."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    found, kinds, number = Struct(), bytearray(), 0
    while True:
        head, at = raw[at], at + 1
        if head == 0:
            found.kinds = bytes(kinds)
            return found, at
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(raw, at)
        if kind in (_TRUE, _FALSE):
            value: Any = kind == _TRUE
        else:
            value, at = _value(raw, at, kind, depth)
        if number in found:
            raise ValueError(_TWICE)
        found[number] = value
        kinds.append(kind)


def render_struct(struct: Struct) -> bytes:
    """What `parse_struct` parses to the same."""
    out, before = bytearray(), 0
    for (number, value), kind in zip(struct.items(), struct.kinds, strict=True):
        if kind in (_TRUE, _FALSE):
            kind = _TRUE if value else _FALSE
        if 0 < number - before <= 15:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            out += _rendered_number(_zigzag(number))
        if kind not in (_TRUE, _FALSE):
            out += _rendered(kind, value)
        before = number
    return bytes(out) + b"\x00"


def _value(raw: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _signed(raw, at)
    if kind in _BYTES:
        return raw[at], at + 1
    if kind == _DOUBLE:
        return raw[at : _within(raw, at + 8)], at + 8
    if kind == BINARY:
        length, at = _number(raw, at)
        return raw[at : _within(raw, at + length)], at + length
    if kind in (LIST, _SET):
        return _items(raw, at, depth)
    if kind == STRUCT:
        return parse_struct(raw, at, depth + 1)
    raise ValueError("a map, or a kind that there is not: Parquet has neither")


def _items(raw: bytes, at: int, depth: int) -> tuple[Items, int]:
    head, at = raw[at], at + 1
    count, items = head >> 4, Items(head & 15)
    if count == 15:
        count, at = _number(raw, at)
    for _ in range(count):
        item, at = _value(raw, at, items.of, depth + 1)
        items.append(item)
    return items, at


def _rendered(kind: int, value: Any) -> bytes:
    if kind in _BYTES:
        return bytes([value])
    if kind in _INTEGERS:
        return _rendered_number(_zigzag(value))
    if kind == _DOUBLE:
        return bytes(value)
    if kind == BINARY:
        return _rendered_number(len(value)) + bytes(value)
    if kind == STRUCT:
        return render_struct(value)
    count = len(value)
    head = bytes([count << 4 | value.of]) if count < 15 else bytes([0xF0 | value.of]) + _rendered_number(count)
    return head + b"".join(_rendered(value.of, item) for item in value)


def _within(raw: bytes, at: int) -> int:
    """Without it, a list of a billion numbers that are not there would be counted through."""
    if at > len(raw):
        raise IndexError("beyond the end")
    return at


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, at = raw[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _signed(raw: bytes, at: int) -> tuple[int, int]:
    value, at = raw[at], at + 1
    if value > 127:  # few are: a footer of many columns is mostly small numbers, and read number by number
        value, at = _number(raw, at - 1)
    return (value >> 1) ^ -(value & 1), at


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _rendered_number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
