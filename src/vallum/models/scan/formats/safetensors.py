"""Safetensors: a JSON header with each tensor's place, then the tensors, without gap, overlap or rest.

The header alone is read, so that a file's size costs nothing. Source: the format's description and the reference
reader's checks (huggingface/safetensors, `Metadata::validate`), which are all repeated here.
"""

import json
import re
from typing import Any

from vallum.models.scan.formats.executables import is_executable
from vallum.models.scan.formats.member_names import shown
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["SafetensorsInspector"]

_MAX_HEADER_BYTES = 100_000_000  # the reference reader's limit
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_CODE = re.compile(r"import\s|__\w+__|eval\(|exec\(|\{\{|\{%|<script|#!/|os\.system|subprocess|[A-Za-z0-9+/]{80}")
_ENCODED = re.compile(r"\s*[A-Za-z0-9+/=_\s-]{32,}")


class SafetensorsInspector:
    name = "safetensors"

    def recognises(self, blob: Blob) -> bool:
        head = blob.head(64)
        if len(head) < 10 or not (head[8:9] == b"{" or blob.name.endswith(".safetensors")):
            return False
        length = int.from_bytes(head[:8], "little")
        named = blob.name.endswith(".safetensors")
        return named or (re.match(rb'\{\s*(?:"|\}|$)', head[8:]) is not None and length < 1 << 48)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        length = int.from_bytes(blob.data[:8], "little")
        if length > _MAX_HEADER_BYTES or length + 8 > len(blob):
            text = f"a header of {length} bytes, in a file of {len(blob)}"
            scan.report(Verdict.BLOCK, "size-lie", blob.place, text)
            return
        try:
            header = json.loads(bytes(blob.data[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as e:
            twice = isinstance(e, _Duplicate)
            text = "a key twice: readers differ in which one they take" if twice else "its header is not JSON"
            scan.report(Verdict.BLOCK if twice else Verdict.REVIEW, "malformed", blob.place, text)
            return
        if not isinstance(header, dict):
            scan.report(Verdict.REVIEW, "malformed", blob.place, "its header is not a table of tensors")
            return
        metadata = header.pop("__metadata__", {})
        _judge_metadata(metadata, blob, scan)
        _judge_tensors(header, len(blob) - 8 - length, 8 + length, blob, scan)


class _Duplicate(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _Duplicate
    return table


def _judge_metadata(metadata: object, blob: Blob, scan: Scan) -> None:
    place = f"{blob.place}@__metadata__"
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        scan.report(Verdict.REVIEW, "malformed", place, "metadata other than texts")
        return
    for key, value in metadata.items():
        if _CODE.search(value) or _CODE.search(key) or _ENCODED.fullmatch(value):
            scan.descend(blob, f"@__metadata__.{shown(key)}", value.encode("utf-8", "replace"))


def _judge_tensors(header: dict[str, Any], size: int, start: int, blob: Blob, scan: Scan) -> None:
    extents = []
    for name, tensor in header.items():
        place = f"{blob.place}@{shown(name)}"
        extent = _extent(tensor)
        if extent is None:
            lies = _is_lie(tensor)
            verdict, technique = (Verdict.BLOCK, "size-lie") if lies else (Verdict.REVIEW, "malformed")
            scan.report(verdict, technique, place, "not a tensor's type, shape and place")
            return
        begin, end, said = extent
        if said != end - begin or end > size:
            text = f"bytes {begin} to {end} of {size}, for a shape that has {said}"
            scan.report(Verdict.BLOCK, "size-lie", place, text)
            return
        extents.append((begin, end, place))
        if is_executable(blob.data[start + begin : start + end]):
            scan.report(Verdict.BLOCK, "executable", place, "a tensor whose bytes are a program")
    at = 0
    for begin, end, place in sorted(extents):
        if begin < at:
            scan.report(Verdict.BLOCK, "size-lie", place, "it overlaps with another tensor")
        elif begin > at:
            _hidden(start + at, start + begin, blob, scan)
        at = max(at, end)
    if at < size:
        _hidden(start + at, start + size, blob, scan)


def _hidden(start: int, stop: int, blob: Blob, scan: Scan) -> None:
    text = f"{stop - start} bytes that belong to no tensor; a correct file has none"
    scan.report(Verdict.BLOCK, "hidden-payload", f"{blob.place}@{start}", text)
    scan.descend(blob, f"@{start}", blob.data[start:stop])


def _extent(tensor: object) -> tuple[int, int, int] | None:
    """Begin, end, and the number of bytes that type and shape ask for."""
    if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
        return None
    bits = _BITS.get(tensor["dtype"]) if isinstance(tensor["dtype"], str) else None
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    if bits is None or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or len(shape) > 64:
        return None
    count = 1
    for dimension in shape:
        count *= dimension
        if count >= 1 << 64:
            return None
    return (offsets[0], offsets[1], count * bits // 8) if count * bits % 8 == 0 else None


def _is_lie(tensor: object) -> bool:
    """Numbers that no tensor has, and that a careless reader would compute with: below zero, or past 64 bits."""
    if not isinstance(tensor, dict):
        return False
    numbers = [n for key in ("shape", "data_offsets") if isinstance(tensor.get(key), list) for n in tensor[key]]
    count = 1
    for dimension in tensor["shape"] if isinstance(tensor.get("shape"), list) else ():
        count *= dimension if isinstance(dimension, int) and abs(count) < 1 << 64 else 1
    return any(isinstance(n, int) and not 0 <= n < 1 << 63 for n in numbers) or count >= 1 << 63


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
