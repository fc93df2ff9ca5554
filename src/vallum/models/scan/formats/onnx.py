"""ONNX: a protobuf of graphs. Read by hand, with a bound for everything, because the file chooses every length.

Answers tensor data that is fetched from outside of the model's folder (CWE-22), operators of foreign libraries,
tensors whose data does not fit their shape (CWE-131) and content in fields that ONNX does not have.
Source: onnx/onnx.proto (IR version 13).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from vallum.models.scan.formats.member_names import is_outside, shown
from vallum.models.scan.languages.callables import named_callable
from vallum.models.scan.languages.carried_values import CarriedValues
from vallum.models.scan.languages.jinja import judge_template
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["External", "Field", "MalformedModel", "OnnxInspector", "external_data", "message_fields", "text_of_field"]

_MAX_DEPTH = 32
_MAX_FIELDS = 4_000_000
_KNOWN_DOMAINS = frozenset({
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
    "com.microsoft.nchwc", "com.ms.internal.nhwc",
})  # fmt: skip
# Libraries of operators that are widely used; a person decides whether this one is expected.
_THIRD_DOMAINS = re.compile(
    r"(?:ai\.onnx\.contrib|com\.microsoft\..+|com\.nvidia.*|trt.*|TRT.*|org\.pytorch.*|pytorch.*|pkg\..+|mmdeploy|mmcv"
    r"|com\.amd.*|com\.intel.*|com\.qti.*|com\.qualcomm.*|com\.ms\..+|vitis.*|ai\.graphcore|quant_ops|qonnx.*|brevitas.*|onnx\.brevitas"
    r"|finn\..+|fastertransformer|nchw.*|custom_domain)\Z"
)  # fmt: skip
_CALLS_PYTHON = re.compile(r"\A(?:Py(?:Op|Func|CustomOp|ThonOp)?\w*|Python\w*|\w*(?:Shell|Subprocess|Popen)\w*)\Z")
_ACTS = re.compile(
    r"(?:System|Shell|Exec(?!ut)|Execute|Command|Process(?=\Z)|Download|Socket|Http|Url|File|Python|PyFunc|PyOp|Payload)"
)
# A description is a field of nearly every message.
_DESCRIPTIONS = {"model": 6, "graph": 10, "node": 6, "attribute": 13, "tensor": 12, "function": 8}
_MAX_SAID_BYTES = 4096
_ACTIVE = re.compile(
    r"(?i)<script\b|<(?:iframe|object|embed)\b[^>]{0,300}\b(?:src|srcdoc|data)\s*=|\bjavascript:[^\s\"']"
    r"|<[a-z][^>]{0,300}\bon(?:load|error|click|mouseover|begin|focus|toggle|animationstart)\s*="
)
_MAX_UNKNOWN_BYTES = 256
_MAX_EXTERNAL = 100_000
# The first byte of a model: its version, a text, a number, or a message.
_FIRST = frozenset((0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72))
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8,
}  # fmt: skip
# What each message has: its field numbers, and of which message those are that are messages.
_MESSAGES: dict[str, tuple[range, dict[int, str]]] = {
    "model": (range(1, 27), {7: "graph", 8: "opset", 14: "entry", 20: "training", 25: "function"}),
    "graph": (range(1, 17), {1: "node", 5: "tensor", 15: "sparse", 16: "entry"}),
    "node": (range(1, 11), {5: "attribute", 9: "entry"}),
    "attribute": (range(1, 24), {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"}),
    "function": (range(1, 15), {7: "node", 9: "opset", 11: "attribute", 14: "entry"}),
    "training": (range(1, 5), {1: "graph", 2: "graph", 3: "entry", 4: "entry"}),
    "sparse": (range(1, 4), {1: "tensor", 2: "tensor"}),
    "opset": (range(1, 3), {}),
    "entry": (range(1, 3), {}),
    "tensor": (range(1, 17), {16: "entry"}),
}


class MalformedModel(Exception):
    """A message that does not end where it says."""


class Field(NamedTuple):
    """`value` is the number, or the bytes; `at` is where the field starts."""

    at: int
    number: int
    value: int | memoryview


class OnnxInspector:
    name = "onnx"

    def recognises(self, blob: Blob) -> bool:
        """The name; or a model's fields, in whichever order, that fit to the end: a graph, and the sets it is of."""
        head = blob.head(16)
        if blob.name.endswith(".onnx"):
            return len(head) > 0
        return len(head) == 16 and head[0] in _FIRST and _fits(blob)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        try:
            _Model(blob, scan).judge()
        except MalformedModel as e:
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"not a whole ONNX model: {e}")


def _fits(blob: Blob) -> bool:
    try:
        fields = [field for field, _ in zip(message_fields(blob.data), range(10_000), strict=False)]
        sets = [field.value for field in fields if field.number == 8 and isinstance(field.value, memoryview)]
        # Other messages have texts there.
        readable = all({field.number for field in message_fields(value)} <= {1, 2} for value in sets)
    except MalformedModel:
        return False
    return any(field.number == 7 for field in fields) and bool(sets) and readable


class External(NamedTuple):
    """Data of one tensor in another file, by a path from the model's folder. A length of 0 is not said."""

    location: str
    offset: int
    length: int


def external_data(blob: Blob) -> list[External]:
    """What a model refers to that is in its folder; empty for what is no model. What is outside is its own finding."""
    found: list[External] = []
    with suppress(MalformedModel):
        _Model(blob, _Silent(), found).judge()
    return found


class _Silent:
    """A `Scan` that keeps nothing."""

    def report(self, verdict: Verdict, technique: str, place: str, explanation: str) -> None: ...

    def descend(self, parent: Blob, member: str, data: bytes | memoryview) -> None: ...

    def vouch(self, path: str) -> None: ...

    def may_go_on(self) -> bool:
        return True

    def may_unpack(self, size: int) -> bool:
        return size <= 0


def message_fields(data: memoryview) -> Iterator[Field]:
    """The fields of one message, in order, without a copy. Raises MalformedModel on the way."""
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not number or number > 1 << 29:
            raise MalformedModel("a field without a number")
        value: int | memoryview
        if kind == 0:
            value, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind, -1)
            if kind == 2:
                size, at = _varint(data, at)
            if size < 0 or size > len(data) - at:
                raise MalformedModel("a field that does not end where it says")
            value = data[at : at + size]
            at += size
        yield Field(start, number, value)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise MalformedModel("a number that does not end")


class _Model:
    def __init__(self, blob: Blob, scan: Scan, found: list[External] | None = None) -> None:
        self._blob, self._scan = blob, scan
        self._found = [] if found is None else found
        self._carried = CarriedValues(scan)
        self._count = 0
        self._own_domains: set[str] = set()
        self._calls: dict[str, set[str]] = {}
        self._reported: set[str] = set()

    def judge(self) -> None:
        graphs = 0
        for field in self._each(self._blob.data):
            if field.number == 25 and isinstance(field.value, memoryview):
                named = {f.number: f.value for f in self._each(field.value) if f.number in (1, 10)}
                name = f"{text_of_field(named.get(10))}:{text_of_field(named.get(1))}"
                self._own_domains.add(name)
                self._calls[name] = self._called(field.value)
            graphs += field.number == 7
        if graphs != 1:
            text = f"{graphs} graphs: a model has one, and readers differ in which one of several they take"
            verdict = Verdict.BLOCK if graphs else Verdict.REVIEW
            self._scan.report(verdict, "malformed", self._blob.place, text)
        self._message("model", self._blob.data, "", 0)
        if (endless := _called_by_itself(self._calls)) is not None:
            text = f"the function `{shown(endless)}` calls itself, and whoever unfolds it never ends"
            self._scan.report(Verdict.BLOCK, "archive-bomb", self._blob.place, text)

    def _each(self, data: memoryview) -> Iterator[Field]:
        for field in message_fields(data):
            self._count += 1
            if self._count > _MAX_FIELDS:
                raise MalformedModel("more fields than are looked at")
            yield field

    def _called(self, function: memoryview) -> set[str]:
        """The operators that a function's own nodes ask for."""
        called = set()
        for field in self._each(function):
            if field.number == 7 and isinstance(field.value, memoryview):
                values = {f.number: f.value for f in self._each(field.value) if f.number in (4, 7)}
                called.add(f"{text_of_field(values.get(7))}:{text_of_field(values.get(4))}")
        return called

    def _message(self, kind: str, data: memoryview, path: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise MalformedModel("graphs nested too deep")
        numbers, messages = _MESSAGES[kind]
        seen = []
        for field in self._each(data):
            if field.number not in numbers:
                self._unknown(kind, field, path)
            elif field.number in messages:
                if not isinstance(field.value, memoryview):
                    raise MalformedModel(f"a number in the place of a {messages[field.number]}")
                inner = messages[field.number]
                self._message(inner, field.value, f"{path}/{inner}" if depth < 6 else path, depth + 1)
            if field.number == _DESCRIPTIONS.get(kind):
                self._said(f"{path}/doc_string", field.value)
            if kind in ("tensor", "node", "entry"):
                seen.append(field)
        if kind == "tensor":
            self._tensor(seen, path)
        elif kind == "node":
            self._node(seen, path)
        elif kind == "entry":
            self._entry(seen, path)

    def _unknown(self, kind: str, field: Field, path: str) -> None:
        if isinstance(field.value, memoryview) and len(field.value) > _MAX_UNKNOWN_BYTES:
            place = f"{self._blob.place}@{path}/{field.number}"
            text = f"{len(field.value)} bytes in a field that a {kind} does not have"
            self._scan.report(Verdict.REVIEW, "hidden-payload", place, text)
            self._scan.descend(self._blob, f"@{path}/{field.number}", field.value)

    def _node(self, fields: list[Field], path: str) -> None:
        values = {field.number: field.value for field in fields if field.number in (4, 7)}
        domain, operator = text_of_field(values.get(7)), text_of_field(values.get(4))
        if (domain in ("", "ai.onnx", "com.microsoft") and _ACTS.search(operator)) or _CALLS_PYTHON.search(operator):
            text = f"{shown(operator)} of {shown(domain)!r}: named for running code or reaching out"
            self._scan.report(Verdict.BLOCK, "onnx-custom-operator", f"{self._blob.place}@{path}", text)
            return
        if domain == "com.microsoft" and operator == "EPContext":
            self._compiled(fields, path)
        if domain in _KNOWN_DOMAINS or f"{domain}:{operator}" in self._own_domains or domain in self._reported:
            return
        self._reported.add(domain)
        text = f"{shown(operator)} of {shown(domain)!r}: whoever loads it needs a native library for that"
        verdict = Verdict.REVIEW if _THIRD_DOMAINS.match(domain) else Verdict.BLOCK  # default deny: it is native code
        self._scan.report(verdict, "onnx-custom-operator", f"{self._blob.place}@{path}", text)

    def _compiled(self, fields: list[Field], path: str) -> None:
        """A part that was compiled for one device: its program is in the node, or in a file that the node names."""
        for field in fields:
            if field.number != 5 or not isinstance(field.value, memoryview):
                continue
            values = {f.number: f.value for f in self._each(field.value) if f.number in (1, 4)}
            program = values.get(4)
            if text_of_field(values.get(1)) != "ep_cache_context" or not isinstance(program, memoryview):
                continue
            place = text_of_field(program)
            if len(program) > 4096 or not place.isprintable():
                self._scan.descend(self._blob, "@ep_cache_context", program)
            elif is_outside(place) or "://" in place:
                self._external(f"its compiled part is at {shown(place)!r}, outside of the folder", path)
        text = "a part that is compiled for one device: what it does is not seen here"
        self._scan.report(Verdict.REVIEW, "onnx-custom-operator", f"{self._blob.place}@{path}", text)

    def _entry(self, fields: list[Field], path: str) -> None:
        """A long or strange text of the metadata is looked at as a file of its own."""
        if path.endswith("/tensor/entry"):
            return
        values = {field.number: field.value for field in fields}
        value = values.get(2)
        self._said(f"{path}.{shown(text_of_field(values.get(1)))}", value)
        if isinstance(value, memoryview) and (len(value) > 1024 or bytes(value[:2]) in (b"#!", b"\x80\x04", b"PK")):
            self._scan.descend(self._blob, f"@metadata.{shown(text_of_field(values.get(1)))}", value)

    def _said(self, where: str, value: int | memoryview | None) -> None:
        """A text for people or tools, which a tool may show as mark-up, fill in as a template, or evaluate."""
        if not isinstance(value, memoryview) or not 4 < len(value) <= _MAX_SAID_BYTES:
            return
        text, place = text_of_field(value), f"{self._blob.place}@{where}"
        if "/node" not in where and "/tensor" not in where:  # those have the lines that they were exported from
            self._carried.judge("metadata", text, place)
        judge_template(text, place, self._scan, is_template=False)
        if (named := named_callable(text)) is not None:
            self._scan.report(Verdict.BLOCK, "config-executes", place, f"it names `{named[:120]}`, which runs or opens")
        if (found := _ACTIVE.search(text)) is not None:
            self._scan.report(Verdict.BLOCK, "script", place, f"mark-up that runs: {shown(found[0])}")

    def _tensor(self, fields: list[Field], path: str) -> None:
        dims: list[int] = []
        values: dict[int, int | memoryview] = {}
        external: dict[str, str] = {}
        for field in fields:
            if field.number == 1:
                dims += _numbers(field.value)
            elif field.number == 13 and isinstance(field.value, memoryview):
                pair = {f.number: f.value for f in self._each(field.value)}
                key = text_of_field(pair.get(1))
                if key in external:
                    self._external("two places for one tensor's data", path)
                external[key] = text_of_field(pair.get(2))
            else:
                values[field.number] = field.value
        path = f"{path}:{shown(text_of_field(values.get(8)))}"
        count = 1
        for size in dims:
            count *= size
        if any(size >= 1 << 63 for size in dims) or count >= 1 << 63:
            text = "a shape with a negative or impossible size"
            self._scan.report(Verdict.BLOCK, "size-lie", f"{self._blob.place}@{path}", text)
            return
        kind = values.get(2)
        bits = _BITS.get(kind, 0) if isinstance(kind, int) else 0
        if external or values.get(14) == 1:
            self._outside(external, count * bits // 8, path)
        raw = values.get(9)
        if isinstance(raw, memoryview) and bits and len(raw) != -(-count * bits // 8):
            text = f"{len(raw)} bytes of data, for a shape that has {-(-count * bits // 8)}"
            self._scan.report(Verdict.BLOCK, "size-lie", f"{self._blob.place}@{path}", text)

    def _outside(self, external: dict[str, str], size: int, path: str) -> None:
        location = external.get("location", "")
        if not location or is_outside(location) or re.search(r"://|[%$]|\A~", location):
            self._external(f"its data is at {shown(location)!r}, outside of the model's folder", path)
            return
        for key in ("offset", "length"):
            value = external.get(key, "0")
            if not value.isascii() or not value.isdigit() or len(value) > 15:
                self._external(f"its {key} is {shown(value)!r}", path)
                return
        length = int(external.get("length", "0"))
        if len(self._found) < _MAX_EXTERNAL:
            self._found.append(External(location, int(external.get("offset", "0")), length or size))
        if length and size and length != size:
            text = f"{length} bytes in another file, for a shape that has {size}"
            self._scan.report(Verdict.BLOCK, "size-lie", f"{self._blob.place}@{path}", text)

    def _external(self, text: str, path: str) -> None:
        self._scan.report(Verdict.BLOCK, "onnx-external-data", f"{self._blob.place}@{path}", text)


def _called_by_itself(calls: dict[str, set[str]]) -> str | None:
    """A function that is reached from itself, looking at each once."""
    done: set[str] = set()
    for name in calls:
        open_: list[tuple[str, Iterator[str]]] = [(name, iter(calls[name]))]
        path = {name}
        while open_ and name not in done:
            current, rest = open_[-1]
            for called in rest:
                if called in path:
                    return called
                if called in calls and called not in done:
                    open_.append((called, iter(calls[called])))
                    path.add(called)
                    break
            else:
                open_.pop()
                path.discard(current)
                done.add(current)
    return None


def text_of_field(value: int | memoryview | None) -> str:
    return bytes(value[:4096]).decode("utf-8", "replace") if isinstance(value, memoryview) else ""


def _numbers(value: int | memoryview) -> list[int]:
    """One number, or several packed."""
    if isinstance(value, int):
        return [value]
    numbers: list[int] = []
    at = 0
    while at < len(value) and len(numbers) < 64:
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers
