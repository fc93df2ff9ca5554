"""GGUF, versions 1 to 3: typed metadata, then each tensor's shape and place, then the tensors.

Counts and lengths come from the file, so each is held against what the file has left before it is used (CWE-131).
Chat templates are programs: they go to the template's inspector. Source: ggml's docs/gguf.md.
"""

import struct
from typing import NamedTuple

from vallum.models.scan.formats.member_names import shown
from vallum.models.scan.languages.callables import named_callable
from vallum.models.scan.languages.carried_values import CarriedValues
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["GgufInspector"]

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_MAX_NESTING = 4
_MAX_COUNT = 1 << 20  # of keys and tensors; the largest models have some thousands
_MAX_STRINGS = 1 << 22  # a vocabulary has some hundred thousand
# Elements and bytes of one block of each of ggml's types (ggml_type, in order; None: withdrawn).
_BLOCKS: tuple[tuple[int, int] | None, ...] = (
    (1, 4), (1, 2), (32, 18), (32, 20), None, None, (32, 22), (32, 24), (32, 34), (32, 36), (256, 84), (256, 110),
    (256, 144), (256, 176), (256, 210), (256, 292), (256, 66), (256, 74), (256, 98), (256, 50), (32, 18), (256, 110),
    (256, 82), (256, 136), (1, 1), (1, 2), (1, 4), (1, 8), (1, 8), (256, 56), (1, 2), None, None, None, (256, 54),
    (256, 66), None, None, None, (32, 17),
)  # fmt: skip


class _Malformed(Exception):
    pass


class _Tensor(NamedTuple):
    name: str
    offset: int
    size: int | None


class GgufInspector:
    name = "gguf"

    def recognises(self, blob: Blob) -> bool:
        return blob.head(4) in (b"GGUF", b"FUGG")

    def inspect(self, blob: Blob, scan: Scan) -> None:
        try:
            _File(blob, scan).judge()
        except (_Malformed, struct.error) as e:
            text = str(e) if isinstance(e, _Malformed) else "it ends in the middle"
            scan.report(Verdict.BLOCK, "size-lie", blob.place, text)


class _File:
    def __init__(self, blob: Blob, scan: Scan) -> None:
        self._blob, self._scan, self._data = blob, scan, blob.data
        self._carried = CarriedValues(scan)
        self._at = 4
        little = struct.unpack_from("<L", blob.data, 4)[0]
        self._order = "<" if little < 1 << 16 else ">"
        self._wide = True
        self._strings = 0
        self._alignment = 32

    def judge(self) -> None:
        version = self._number("L")
        if version not in (1, 2, 3):
            self._scan.report(Verdict.REVIEW, "malformed", self._blob.place, f"version {version} of the format")
            return
        self._wide = version > 1
        tensors, keys = self._length(), self._length()
        if max(tensors, keys) > _MAX_COUNT:
            raise _Malformed(f"{tensors} tensors and {keys} keys")
        seen: set[str] = set()
        for _ in range(keys):
            key = self._text(65535)
            if key in seen:
                text = "a key twice: readers differ in which one they take"
                self._scan.report(Verdict.BLOCK, "malformed", f"{self._blob.place}@{shown(key)}", text)
            seen.add(key)
            self._value(key, self._number("L"))
        self._tensors([self._tensor() for _ in range(tensors)])

    def _number(self, kind: str) -> int:
        value = struct.unpack_from(self._order + kind, self._data, self._at)[0]
        self._at += struct.calcsize(self._order + kind)
        return int(value)

    def _length(self) -> int:
        return self._number("Q" if self._wide else "L")

    def _skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise _Malformed(f"at {self._at}, {size} bytes that the file does not have")
        self._at += size

    def _bytes(self) -> memoryview:
        size = self._length()
        start = self._at
        self._skip(size)
        return self._data[start : self._at]

    def _text(self, most: int) -> str:
        text = self._bytes()
        if len(text) > most:
            raise _Malformed(f"a name of {len(text)} bytes")
        return bytes(text).decode("utf-8", "replace")

    def _value(self, key: str, kind: int) -> None:
        if kind == _STRING:
            self._judge_text(key, self._bytes())
        elif kind == _ARRAY:
            self._array(key, 1)
        elif key == "general.alignment" and kind == 4:
            self._alignment = self._number("L")
            if not 8 <= self._alignment <= 1 << 16 or self._alignment % 8:
                raise _Malformed(f"an alignment of {self._alignment}")
        else:
            self._skip(self._fixed(kind))

    def _array(self, key: str, depth: int) -> None:
        kind, count = self._number("L"), self._length()
        if kind in _SIZES:
            self._skip(count * _SIZES[kind])
            return
        if depth > _MAX_NESTING or count > len(self._data) - self._at:
            raise _Malformed(f"an array of {count}, {depth} deep")
        self._strings += count
        if self._strings > _MAX_STRINGS:
            raise _Malformed(f"more than {_MAX_STRINGS} texts")
        for _ in range(count):
            if kind == _STRING:
                text = self._bytes()
                if "template" in key or len(text) > 4096:
                    self._judge_text(key, text)
            elif kind == _ARRAY:
                self._array(key, depth + 1)
            else:
                raise _Malformed(f"a value of type {kind}")

    def _fixed(self, kind: int) -> int:
        if kind not in _SIZES:
            raise _Malformed(f"a value of type {kind}")
        return _SIZES[kind]

    def _judge_text(self, key: str, text: memoryview) -> None:
        """Templates always; other texts when they could be more than a word."""
        if "chat_template" in key or b"{{" in (value := bytes(text[: 1 << 20])) or b"{%" in value:
            self._scan.descend(self._blob, f"metadata@{shown(key)}.jinja", text)
            return
        if len(text) <= 4096:
            said, place = value.decode("utf-8", "replace"), f"{self._blob.place}@{shown(key)}"
            self._carried.judge("metadata", said, place)
            if (named := named_callable(said)) is not None:
                what = f"it names `{named[:120]}`, which runs or opens"
                self._scan.report(Verdict.BLOCK, "config-executes", place, what)
        if len(text) > 4096 or value.startswith((b"\x80", b"\x7fELF", b"PK", b"#!", b"MZ")):
            self._scan.descend(self._blob, f"metadata@{shown(key)}", text)

    def _tensor(self) -> _Tensor:
        name, dimensions = self._text(65535), self._number("L")
        if dimensions > 8:
            raise _Malformed(f"a tensor of {dimensions} dimensions")
        count = 1
        for _ in range(dimensions):
            count *= self._length()
        kind, offset = self._number("L"), self._number("Q")
        block = _BLOCKS[kind] if kind < len(_BLOCKS) else None
        if block is None:
            return _Tensor(name, offset, None)
        return _Tensor(name, offset, -(-count // block[0]) * block[1])

    def _tensors(self, tensors: list[_Tensor]) -> None:
        start = -(-self._at // self._alignment) * self._alignment
        padding = self._data[self._at : start]
        if bytes(padding).strip(b"\0"):
            self._hidden(self._at, start)
        unknown = [tensor for tensor in tensors if tensor.size is None]
        for tensor in unknown[:1]:
            text = "a tensor of a type that is not known here, so that its size cannot be checked"
            self._scan.report(Verdict.REVIEW, "unknown-format", f"{self._blob.place}@{shown(tensor.name)}", text)
        if len({tensor.name for tensor in tensors}) != len(tensors):
            self._scan.report(Verdict.BLOCK, "malformed", self._blob.place, "two tensors of one name")
        at = 0
        for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size or 0)):
            place = f"{self._blob.place}@{shown(tensor.name)}"
            size = tensor.size or 0
            if tensor.offset % self._alignment or start + tensor.offset + size > max(len(self._data), start):
                text = f"{size} bytes at {tensor.offset}: behind the end, or not aligned"
                self._scan.report(Verdict.BLOCK, "size-lie", place, text)
                return
            if tensor.offset < at:
                self._scan.report(Verdict.BLOCK, "size-lie", place, "it overlaps with another tensor")
            elif not unknown:
                self._gap(start + at, start + tensor.offset)
            at = max(at, tensor.offset + size)
        if not unknown:
            self._gap(start + at, len(self._data))

    def _gap(self, start: int, stop: int) -> None:
        """Zeros up to the next aligned place are padding; whatever else is there belongs to nobody."""
        aligned = min(stop, start + self._alignment - 1 - (start - 1) % self._alignment)
        if start < aligned and not bytes(self._data[start:aligned]).strip(b"\0"):
            start = aligned
        if start < stop:
            self._hidden(start, stop)

    def _hidden(self, start: int, stop: int) -> None:
        text = f"{stop - start} bytes that belong to no tensor"
        self._scan.report(Verdict.REVIEW, "hidden-payload", f"{self._blob.place}@{start}", text)
        self._scan.descend(self._blob, f"@{start}", self._data[start:stop])
