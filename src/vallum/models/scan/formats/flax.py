"""Flax: parameters as MessagePack, in which arrays are an extension of their own; nothing that runs.

Every length is held against what is left, every array against its type and shape, and what is behind the one table is
judged as a file of its own. Other extensions are what only some program of somebody's can read.
Source: the MessagePack specification; google/flax, flax/serialization.py (extensions 1 to 3).
"""

import struct
from math import prod
from typing import NamedTuple

from vallum.models.scan.formats.executables import is_executable
from vallum.models.scan.formats.member_names import shown
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["FlaxInspector"]

_MAX_DEPTH = 64
_MAX_VALUES = 2_000_000
_LONG_BYTES = 512  # for a text: it is looked at by itself
_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_ITEM_BYTES = {
    "bool": 1, "int4": 1, "uint4": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
    "int64": 8, "uint64": 8, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3b11fnuz": 1, "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
# By its first byte: how many bytes of a number follow, or of a length, and what it is the length of.
_FIXED = {
    0xC0: 0,
    0xC2: 0,
    0xC3: 0,
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}
_TEXTS, _BYTES = {0xD9: 1, 0xDA: 2, 0xDB: 4}, {0xC4: 1, 0xC5: 2, 0xC6: 4}
_LISTS, _TABLES = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


class _Malformed(Exception):
    pass


class _Lie(Exception):
    """An array whose bytes do not fit its type and shape."""


class _Head(NamedTuple):
    """Of a value: what it is, where its content begins, and its length in bytes or, of a list or table, in values."""

    kind: str
    at: int
    size: int
    code: int = 0


class FlaxInspector:
    name = "flax"

    def recognises(self, blob: Blob) -> bool:
        """A table whose first key is a text of ASCII, with a table or an array behind it."""
        data = blob.data
        try:
            table = _head(data, 0)
            if table.kind != "table" or not table.size:
                return False
            key = _head(data, table.at)
            text = bytes(data[key.at : key.at + key.size])
            if key.kind != "text" or not text or not text.isascii() or not text.decode().isprintable():
                return False
            return _head(data, key.at + key.size).kind in ("table", "extension", "plain", "list")
        except _Malformed:
            return False

    def inspect(self, blob: Blob, scan: Scan) -> None:
        try:
            end = _Reader(blob, scan).value(0, "", 0)
        except _Lie as e:
            scan.report(Verdict.BLOCK, "size-lie", blob.place, str(e))
            return
        except _Malformed as e:
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"not whole parameters of Flax: {e}")
            return
        if end < len(blob):
            text = f"{len(blob) - end} bytes behind the parameters"
            scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{end}", text)
            scan.descend(blob, f"@{end}", blob.data[end:])


class _Reader:
    def __init__(self, blob: Blob, scan: Scan) -> None:
        self._blob, self._scan, self._data = blob, scan, blob.data
        self._values = 0

    def value(self, at: int, name: str, depth: int) -> int:
        """Where the value ends that begins there."""
        self._values += 1
        if (
            depth > _MAX_DEPTH
            or self._values > _MAX_VALUES
            or (self._values % 4096 == 0 and not self._scan.may_go_on())
        ):
            raise _Malformed("too deep, or more values than are looked at")
        found = _head(self._data, at)
        match found.kind:
            case "table":
                return self._table(found, name, depth)
            case "list":
                at = found.at
                for _ in range(found.size):
                    at = self.value(at, name, depth + 1)
                return at
            case "text":
                self._text(found, name)
            case "bytes":
                self._scan.descend(self._blob, f"@{shown(name)}", self._content(found))
            case "extension":
                self._extension(found, name)
        return found.at + found.size

    def _table(self, found: _Head, name: str, depth: int) -> int:
        at, seen = found.at, set()
        for _ in range(found.size):
            key = _head(self._data, at)
            if key.kind != "text":
                raise _Malformed("a key that is no text")
            own = self._text(key, name)
            if own in seen:
                raise _Malformed(f"{shown(own)!r} twice: readers differ in which one they take")
            seen.add(own)
            at = self.value(key.at + key.size, f"{name}.{own[:80]}" if name else own[:80], depth + 1)
        return at

    def _text(self, found: _Head, name: str) -> str:
        content = self._content(found)
        try:
            text = str(content, "utf-8")
        except UnicodeDecodeError:
            raise _Malformed("a text that is not UTF-8") from None
        if len(content) > _LONG_BYTES:
            self._scan.descend(self._blob, f"@{shown(name)}", content)
        return text

    def _extension(self, found: _Head, name: str) -> None:
        place = f"{self._blob.place}@{shown(name)}"
        if found.code in (_ARRAY, _SCALAR):
            if is_executable(_array(self._content(found), place)):
                self._scan.report(Verdict.BLOCK, "executable", place, "an array whose bytes are a program")
        elif found.code != _COMPLEX or len(self._content(found)) > 19:
            text = f"an extension {found.code}, which is none of Flax's"
            self._scan.report(Verdict.REVIEW, "unknown-format", place, text)

    def _content(self, found: _Head) -> memoryview:
        return self._data[found.at : found.at + found.size]


def _array(data: memoryview, place: str) -> memoryview:
    """Its bytes: it is a shape, a type's name and these. Raises _Lie, _Malformed."""
    outer = _head(data, 0)
    shape = _head(data, outer.at)
    if (outer.kind, outer.size, shape.kind) != ("list", 3, "list") or shape.size > 64:
        raise _Malformed("an array without shape, type and bytes")
    at, dimensions = shape.at, []
    for _ in range(shape.size):
        one = _head(data, at)
        dimensions.append(_count(data, at, one))
        at = one.at + one.size
    kind = _head(data, at)
    content = _head(data, kind.at + kind.size)
    if kind.kind != "text" or content.kind != "bytes" or content.at + content.size != len(data):
        raise _Malformed("an array without shape, type and bytes")
    item = _ITEM_BYTES.get(bytes(data[kind.at : kind.at + kind.size]).decode("ascii", "replace"))
    if item is None:
        raise _Malformed("an array of no known type")
    if prod(dimensions) * item != content.size:
        raise _Lie(f"{place}: {content.size} bytes, for a shape that has {prod(dimensions) * item}")
    return data[content.at :]


def _count(data: memoryview, at: int, head: _Head) -> int:
    """An unsigned number that is a dimension."""
    if data[at] < 0x80:
        return data[at]
    if not 0xCC <= data[at] <= 0xCF:
        raise _Malformed("a dimension that is no number")
    return int.from_bytes(data[head.at : head.at + head.size], "big")


def _head(data: memoryview, at: int) -> _Head:
    """Raises _Malformed for what does not fit into `data`; of a list or table only that its values could."""
    try:
        first = data[at]
        at += 1
        if first < 0x80 or first >= 0xE0:
            return _Head("plain", at, 0)
        if first in _FIXED:
            return _fitting(data, _Head("plain", at, _FIXED[first]))
        if 0xA0 <= first < 0xC0:
            return _fitting(data, _Head("text", at, first & 0x1F))
        if first < 0xA0:
            return _fitting(data, _Head("table" if first < 0x90 else "list", at, first & 0x0F))
        if first in _FIXED_EXTENSIONS:
            return _fitting(data, _Head("extension", at + 1, _FIXED_EXTENSIONS[first], data[at]))
        for kind, lengths in (
            ("text", _TEXTS), ("bytes", _BYTES), ("list", _LISTS), ("table", _TABLES), ("extension", _EXTENSIONS)
        ):  # fmt: skip
            if (wide := lengths.get(first)) is not None:
                size = struct.unpack_from({1: ">B", 2: ">H", 4: ">L"}[wide], data, at)[0]
                at += wide
                coded = kind == "extension"
                return _fitting(data, _Head(kind, at + coded, size, data[at] if coded else 0))
    except (IndexError, struct.error):
        raise _Malformed("it ends in the middle of a value") from None
    raise _Malformed(f"a value of kind {first:#x}")


def _fitting(data: memoryview, head: _Head) -> _Head:
    if head.size > len(data) - head.at:
        raise _Malformed("a length behind the end")
    return head
