"""Files of nothing but numbers, which have no format of their own: what they are, another file beside them says.

A checkpoint's index or an ONNX model names them and says which bytes of them are which tensor. When that is all of
them, they are vouched for: their content was looked at like any, and is understood. Answers content that is kept in a
data file beside the tensors.
"""

from collections.abc import Iterable, Mapping
from posixpath import dirname, join, normpath

from vallum.models.scan.formats.onnx import OnnxInspector, external_data
from vallum.models.scan.formats.tensor_table import shards_in_index
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["TensorData"]

_WINDOW = 1 << 20


class TensorData:
    name = "tensor-data"

    def inspect_repository(self, files: Mapping[str, Blob], scan: Scan) -> None:
        if len(files) < 2:
            return
        onnx = OnnxInspector()
        for path, blob in files.items():
            if path.endswith(".index"):
                self._checkpoint(path, blob, files, scan)
            elif path.endswith(".onnx") and onnx.recognises(blob):
                parts: dict[str, list[tuple[int, int]]] = {}
                for location, offset, length in external_data(blob):
                    beside = normpath(join(dirname(path), location))
                    parts.setdefault(beside, []).append((offset, length))
                for beside, extents in parts.items():
                    if beside in files and _covers(extents, files[beside]):
                        scan.vouch(beside)

    def _checkpoint(self, path: str, blob: Blob, files: Mapping[str, Blob], scan: Scan) -> None:
        count, shards = shards_in_index(blob)
        for number in range(min(count, len(files))):
            beside = f"{path.removesuffix('.index')}.data-{number:05}-of-{count:05}"
            extents = [(offset, size) for shard, offset, size in shards if shard == number]
            if beside not in files:
                text = f"its data in `{beside[-120:]}` is not there"
                scan.report(Verdict.REVIEW, "malformed", path, text)
            elif any(offset + size > len(files[beside]) for offset, size in extents):
                scan.report(Verdict.BLOCK, "size-lie", path, f"a tensor that is longer than `{beside[-120:]}`")
            elif _covers(extents, files[beside]):
                scan.vouch(beside)


def _covers(extents: Iterable[tuple[int, int]], blob: Blob) -> bool:
    """All of it; between the tensors, and behind them, there are only zeros."""
    at = 0
    for offset, size in sorted(extents):
        if offset > at and not _is_zero(blob.data[at:offset]):
            return False
        at = max(at, offset + size)
    return at <= len(blob) and _is_zero(blob.data[at:])


def _is_zero(gap: memoryview) -> bool:
    return not any(bytes(gap[at : at + _WINDOW]).strip(b"\0") for at in range(0, len(gap), _WINDOW))
