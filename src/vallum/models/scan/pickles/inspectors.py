"""Formats that are pickles or hold them: plain and joblib's, torch's of before 1.6, numpy's arrays, and those hidden.

Torch's zip archives and compressed joblib files come in pieces, from the inspectors that open them. `pickle-inside`
looks through every other format for a pickle that would run something: content appended to weights, a polyglot.
"""

import ast
import re
from collections.abc import Sequence
from typing import Any

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.machine import OPCODES
from vallum.models.scan.pickles.probing import probe
from vallum.models.scan.pickles.reader import find_hidden, hidden_budget, item_size, read_one, read_stream
from vallum.models.scan.pickles.values import Global, Persistent
from vallum.models.scan.port import Blob, Inspector, Scan

__all__ = ["HiddenPickleInspector", "NumpyInspector", "PickleInspector", "TorchLegacyInspector", "inspectors"]

_HEADER = re.compile(rb"\x80[\x00-\x05]")
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_START = re.compile(rb"\x80.\x8a\n" + _TORCH_MAGIC.to_bytes(10, "little") + rb"\.", re.DOTALL)
_FIRST_OPCODES = frozenset(b"cio(]})\x8c\x95\x8e\x8d\x8fXBCUTSVILFGJKMNP\x88\x89\x8a\x8b\x96\x97\x82\x83\x84gh0")
_NAMES = re.compile(rb"[ci][^\s,;:()\"']+\n[^\s,;:()\"']+\n")
_LONG_ENOUGH = 1 << 16  # bytes read as opcodes without an error; no text gets that far
_CALL = re.compile(rb"[A-Za-z_]\w*\s*\(|\(\s*lambda\b")  # a header is a literal, in which nothing is called
_MAX_NUMPY_HEADER = 1 << 16  # numpy's own limit is 10,000
_STORAGE_BYTES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
    "Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "Untyped": 1,
    "QUInt4x2": 1, "QUInt2x4": 1,
}  # fmt: skip


def inspectors() -> Sequence[Inspector]:
    return (PickleInspector(), TorchLegacyInspector(), NumpyInspector(), HiddenPickleInspector())


def _is_pickle(blob: Blob) -> bool:
    head = blob.head(32)
    if _TORCH_START.match(head):
        return False
    if _HEADER.match(head):
        return len(head) < 3 or head[2] in OPCODES  # another format's length may start like one
    # Protocols 0 and 1 have no mark. Text may start as one by chance, and does not get as far as a call or a STOP.
    if not head or head[0] not in _FIRST_OPCODES:
        return False
    seen = probe(blob.data, 0)
    if head[:1] == b"P":  # an id that only a loader of its own knows; and how every zip archive begins
        return seen.calls > 0 and seen.blocks > 0
    if head[:1] in b"ci" and not _NAMES.match(blob.head(256)):
        # A table's heading: what it would import is no name, so that nothing that comes behind is ever reached.
        return seen.capable > 0 and seen.calls > 0
    return (
        bool(seen.calls)
        or (seen.complete and seen.end > 1)
        or (
            # A list of words that begin with `c` reads as globals, of names that no pickler writes.
            seen.end > _LONG_ENOUGH and (seen.capable > 0 or not seen.blocks)
        )
    )


class PickleInspector:
    name = "pickle"

    def recognises(self, blob: Blob) -> bool:
        return _is_pickle(blob)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        read_stream(blob, scan)


class TorchLegacyInspector:
    """Magic number, protocol, system, object and storage keys are a pickle each; then each storage with its length."""

    name = "torch-legacy"

    def recognises(self, blob: Blob) -> bool:
        return _TORCH_START.match(blob.head(32)) is not None

    def inspect(self, blob: Blob, scan: Scan) -> None:
        position: int | None = 0
        keys: Any = None
        storages: dict[str, int] = {}
        for _ in range(5):
            if position is None:
                return
            position, machine = read_one(blob, scan, position)
            keys = machine.result
            for pid in machine.persistent:
                _remember_storage(pid, storages)
        if position is None:
            return
        if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
            scan.report(
                Verdict.REVIEW, "pickle-malformed", f"{blob.place}@{position}", "storages that nothing refers to"
            )
            return
        for key in keys:
            count = int.from_bytes(blob.data[position : position + 8], "little")
            position += 8 + count * storages[key]
            if position > len(blob):
                scan.report(Verdict.BLOCK, "size-lie", f"{blob.place}@{position}", "a storage longer than the file")
                return
        if position < len(blob):
            _report_rest(blob, scan, position)


def _remember_storage(pid: Persistent, storages: dict[str, int]) -> None:
    match pid.pid:
        case ("storage", Global(name=name), str(key), *_):
            storages[key] = _STORAGE_BYTES.get(name.removesuffix("Storage"), 1)


def _report_rest(blob: Blob, scan: Scan, position: int) -> None:
    place = f"{blob.place}@{position}"
    scan.report(Verdict.REVIEW, "hidden-payload", place, f"{len(blob) - position} bytes after the end")
    scan.descend(blob, f"rest@{position}", blob.data[position:])


class NumpyInspector:
    name = "numpy"

    def recognises(self, blob: Blob) -> bool:
        return blob.head(6) == b"\x93NUMPY"

    def inspect(self, blob: Blob, scan: Scan) -> None:
        head = blob.head(12)
        wide = len(head) > 6 and head[6] >= 2
        start = 12 if wide else 10
        size = int.from_bytes(head[8:start], "little")
        if len(head) < start or head[6] not in (1, 2, 3) or size > _MAX_NUMPY_HEADER or start + size > len(blob):
            scan.report(Verdict.REVIEW, "malformed", blob.place, "a numpy header that does not fit")
            return
        try:
            header = ast.literal_eval(bytes(blob.data[start : start + size]).decode("utf-8").strip())
            shape, descriptor = header["shape"], header["descr"]
            if set(header) != {"shape", "descr", "fortran_order"}:
                raise ValueError("other keys")
        except (ValueError, SyntaxError, KeyError, TypeError) as e:
            verdict = Verdict.BLOCK if _CALL.search(blob.data[start : start + size]) else Verdict.REVIEW
            scan.report(verdict, "malformed", blob.place, f"a numpy header that is none: {type(e).__name__}")
            return
        self._elements(blob, scan, start + size, shape, descriptor)

    def _elements(self, blob: Blob, scan: Scan, start: int, shape: Any, descriptor: Any) -> None:
        item = _descriptor_size(descriptor)
        if item == -1:
            self._objects(blob, scan, start)
            return
        if item is None or not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            scan.report(Verdict.BLOCK, "malformed", blob.place, "a shape or type that no array has")
            return
        expected = item
        for length in shape:
            expected *= length
        if expected > len(blob) - start:
            scan.report(Verdict.BLOCK, "size-lie", blob.place, "an array that is longer than the file")
        elif expected < len(blob) - start:
            _report_rest(blob, scan, start + expected)

    def _objects(self, blob: Blob, scan: Scan, start: int) -> None:
        """A finding of its own even where its pickle is harmless: whoever loads it has allowed pickles."""
        seen = probe(blob.data, start, len(blob))
        harmful = seen.blocks > 0
        scan.report(
            Verdict.BLOCK if harmful else Verdict.REVIEW, "object-array", blob.place, "its elements are Python objects"
        )
        read_stream(blob, scan, start)


def _descriptor_size(descriptor: Any, depth: int = 0) -> int | None:
    if isinstance(descriptor, str):
        return item_size(descriptor)
    if not isinstance(descriptor, list) or depth > 8:
        return None
    total = 0
    for field in descriptor:
        if not isinstance(field, tuple) or len(field) not in (2, 3):
            return None
        size = _descriptor_size(field[1], depth + 1)
        if size is None or size == -1:
            return size
        for length in field[2] if len(field) == 3 and isinstance(field[2], tuple) else ():
            size *= length if isinstance(length, int) else 1
        total += size
    return total


class HiddenPickleInspector:
    """Any other format. Recognises only what would run something: a pickle of plain data may lie anywhere by chance."""

    name = "pickle-inside"

    def recognises(self, blob: Blob) -> bool:
        if _TORCH_START.match(blob.head(32)) or _is_pickle(blob):
            return False  # read in full, trailing content included
        budget = hidden_budget(len(blob))
        return next(find_hidden(blob.data, 0, budget, blob.starts), None) is not None or budget.steps <= 0

    def inspect(self, blob: Blob, scan: Scan) -> None:
        offset = next(find_hidden(blob.data, 0, hidden_budget(len(blob)), blob.starts), None)
        if offset is None:
            scan.report(Verdict.REVIEW, "limit", blob.place, "more possible pickles than are looked at")
            return
        place = f"{blob.place}@{offset}"
        scan.report(Verdict.BLOCK, "hidden-payload", place, "a pickle that runs code, inside of something else")
        read_one(blob, scan, offset)
