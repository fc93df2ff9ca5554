"""Tensor data of ONNX models in files beside them: it is there, and as long as the models say.

Answers sizes that make a loader read past what there is (CWE-131), and models whose data comes from somewhere else.
"""

from collections.abc import Mapping
from posixpath import dirname, join, normpath

from vallum.models.scan.formats.member_names import shown
from vallum.models.scan.formats.onnx import OnnxInspector, external_data
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["OnnxData"]


class OnnxData:
    name = "onnx-data"

    def inspect_repository(self, files: Mapping[str, Blob], scan: Scan) -> None:
        if len(files) < 2:
            return  # a file alone says nothing of what is beside it
        inspector = OnnxInspector()
        for path, blob in files.items():
            if not inspector.recognises(blob):
                continue
            said: set[str] = set()
            for location, offset, length in external_data(blob):
                if location in said:
                    continue
                beside = files.get(normpath(join(dirname(path), location)))
                if beside is None:
                    said.add(location)
                    text = f"data of its tensors is in `{shown(location)[:120]}`, which is not there"
                    scan.report(Verdict.REVIEW, "onnx-external-data", path, text)
                elif offset + length > len(beside):
                    said.add(location)
                    text = f"{offset + length} bytes of `{shown(location)[:120]}`, which has {len(beside)}"
                    scan.report(Verdict.BLOCK, "size-lie", path, text)
