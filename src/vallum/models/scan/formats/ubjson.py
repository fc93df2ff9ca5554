"""Universal Binary JSON, in which XGBoost saves: values and typed arrays, which nothing executes.

Every length is held against what the file has left; what is behind the one value is judged as a file of its own.
Source: ubjson.org, draft 12.
"""

import sys
from array import array
from collections.abc import Sequence

from vallum.models.scan.formats.boosting import judge_boosted
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["UbjsonInspector"]

_INTEGERS = {0x69: 1, 0x55: 1, 0x49: 2, 0x6C: 4, 0x4C: 8}  # i U I l L
_FIXED = _INTEGERS | {0x64: 4, 0x44: 8, 0x43: 1, 0x5A: 0, 0x54: 0, 0x46: 0, 0x4E: 0}  # d D C Z T F N
_FORMATS = {0x69: "b", 0x55: "B", 0x49: "h", 0x6C: "i", 0x4C: "q"}
_MAX_DEPTH = 64
_MAX_VALUES = 4_000_000


class _Malformed(Exception):
    pass


class UbjsonInspector:
    name = "ubjson"

    def recognises(self, blob: Blob) -> bool:
        """A table whose first key has a length in binary, which no text has."""
        head = blob.head(12)
        return len(head) == 12 and head[:1] == b"{" and head[1] in _INTEGERS and head[2] < 0x20 and head[10] >= 0x20

    def inspect(self, blob: Blob, scan: Scan) -> None:
        reader = _Reader(blob.data)
        try:
            end = reader.value(reader.kind(0), 1, 0)
        except (_Malformed, IndexError) as e:
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"not whole binary JSON: {e}")
            return
        judge_boosted(_document(blob.data), blob, scan)
        if end < len(blob):
            text = f"{len(blob) - end} bytes behind the value"
            scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{end}", text)
            scan.descend(blob, f"@{end}", blob.data[end:])


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._values = 0

    def kind(self, at: int) -> int:
        return self._data[at]

    def value(self, kind: int, at: int, depth: int) -> int:
        """Where the value of that kind ends whose content is at `at`."""
        self._values += 1
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            raise _Malformed("too deep or too many values")
        if kind in _FIXED:
            return self._skip(at, _FIXED[kind])
        if kind in b"SH":
            return self._text(at)
        if kind in b"[{":
            return self._container(kind == 0x7B, at, depth)
        raise _Malformed(f"a value of kind {kind:#x}")

    def _container(self, table: bool, at: int, depth: int) -> int:
        kind = count = None
        if self.kind(at) == 0x24:  # $
            kind, at = self.kind(at + 1), at + 2
        if self.kind(at) == 0x23:  # #
            count, at = self._length(at + 1)
        elif kind is not None:
            raise _Malformed("a kind without a count")
        if kind is not None and count is not None and kind in _FIXED and not table:
            return self._skip(at, count * _FIXED[kind])
        close = 0x7D if table else 0x5D
        left = count
        while left is None or left > 0:
            if left is None and self.kind(at) == close:
                return at + 1
            if table:
                at = self._text(at)
            at = self.value(self.kind(at), at + 1, depth + 1) if kind is None else self.value(kind, at, depth + 1)
            left = None if left is None else left - 1
        return at

    def _length(self, at: int) -> tuple[int, int]:
        size = _INTEGERS.get(self.kind(at))
        if size is None:
            raise _Malformed("a length that is no number")
        value = int.from_bytes(self._data[at + 1 : at + 1 + size], "big")
        return value, self._skip(at + 1, size)

    def _text(self, at: int) -> int:
        size, at = self._length(at)
        return self._skip(at, size)

    def _skip(self, at: int, size: int) -> int:
        if size > len(self._data) - at:
            raise _Malformed("a length behind the end")
        return at + size


def _document(data: memoryview) -> object:
    """The value itself, of bytes whose lengths and depth the reader has found to fit."""
    return _Values(data).value(data[0], 1)[0]


class _Values:
    def __init__(self, data: memoryview) -> None:
        self._data = data

    def value(self, kind: int, at: int) -> tuple[object, int]:
        if kind in _FIXED:
            return self._numbers(kind, 1, at)[0], at + _FIXED[kind]
        if kind in b"SH":
            return self._text(at)
        return self._container(kind == 0x7B, at)

    def _container(self, table: bool, at: int) -> tuple[object, int]:
        kind = count = None
        if self._data[at] == 0x24:
            kind, at = self._data[at + 1], at + 2
        if self._data[at] == 0x23:
            count, at = self._count(at + 1)
        if kind in _FIXED and count is not None and not table:
            return self._numbers(kind, count, at), at + count * _FIXED[kind]
        keys: list[str] = []
        values: list[object] = []
        while len(values) != count:
            if count is None and self._data[at] == (0x7D if table else 0x5D):
                at += 1
                break
            if table:
                key, at = self._text(at)
                keys.append(key)
            item, at = self.value(self._data[at], at + 1) if kind is None else self.value(kind, at)
            values.append(item)
        return (dict(zip(keys, values, strict=True)) if table else values), at

    def _numbers(self, kind: int, count: int, at: int) -> Sequence[int]:
        """Of others than whole numbers only how many there are."""
        if kind not in _FORMATS:
            return range(count)
        numbers = array(_FORMATS[kind], bytes(self._data[at : at + count * _FIXED[kind]]))
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers

    def _count(self, at: int) -> tuple[int, int]:
        end = at + 1 + _INTEGERS[self._data[at]]
        return int.from_bytes(self._data[at + 1 : end], "big"), end

    def _text(self, at: int) -> tuple[str, int]:
        size, at = self._count(at)
        return bytes(self._data[at : at + size]).decode("utf-8", "replace"), at + size
