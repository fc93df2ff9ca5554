"""TensorFlow Lite: a flatbuffer. Operators that are not built in need code that somebody has to bring.

Source: tensorflow/lite/schema/schema.fbs: a model's field 1 are its operator codes, and their field 1 the custom names.
"""

import re
import struct

from vallum.models.scan.formats.member_names import shown
from vallum.models.scan.formats.tensorflow import judge_operator
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["TfliteInspector"]

_MAX_OPERATORS = 10_000
# Of TensorFlow's and MediaPipe's own kernels.
_USUAL = re.compile(
    r"TFLite_\w+|edgetpu-custom-op|Convolution2DTransposeBias|MaxPoolingWithArgmax2D|MaxUnpooling2D|TransformTensorBilinear|TransformLandmarks|Landmarks2TransformMatrix"
    r"|AudioSpectrogram|Mfcc|RFFT2D|Numeric\w*|tftext:\w+|StablehloComposite\w*|odml\.\w+|aeq\.\w+|Delegate\w*|ethos-u|vsi-npu|Sentencepiece\w*|Wordpiece\w*|Regex\w*|seq_flow_lite:\w+"
)
_OPERATORS, _CUSTOM_NAME = 1, 1
_SUBGRAPHS, _BUFFERS = 2, 4  # of a model
_TENSORS, _INPUTS, _OUTPUTS, _NODES = 0, 1, 2, 3  # of a subgraph; a node's fields 1 and 2 are its inputs and outputs
_SHAPE, _TYPE, _BUFFER, _SPARSITY = 0, 1, 2, 6  # of a tensor
_BYTES_OF_TYPE = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2, 18: 2}
_MAX_TABLES = 1_000_000


class TfliteInspector:
    name = "tflite"

    def recognises(self, blob: Blob) -> bool:
        return bytes(blob.data[4:8]) == b"TFL3"

    def inspect(self, blob: Blob, scan: Scan) -> None:
        """Metadata that is appended as a zip archive is the zip inspector's, which knows this format's habit."""
        try:
            names = _custom_operators(blob.data)
        except (struct.error, ValueError):
            text = "a flatbuffer whose offsets lead out of the file"
            scan.report(Verdict.BLOCK, "malformed", blob.place, text)
            return
        try:
            lie = _Structure(blob.data).lie()
        except (struct.error, ValueError):
            lie = "tables whose offsets lead out of the file"
        if lie is not None:
            scan.report(Verdict.BLOCK, "size-lie", blob.place, lie)
        for name in sorted(names)[:20]:
            text = f"the operator {shown(name)!r} is not one of TensorFlow Lite's own"
            verdict = verdict_on_custom(name)
            scan.report(verdict, "tensorflow-operator", blob.place, text)


def verdict_on_custom(name: str) -> Verdict:
    """`Flex` is TensorFlow's own operator of that name; others are native code that somebody has to bring."""
    if name.startswith("Flex"):
        verdict, _ = judge_operator(name.removeprefix("Flex"))
        return Verdict.BLOCK if verdict is Verdict.BLOCK else Verdict.REVIEW
    return Verdict.REVIEW if _USUAL.match(name) else Verdict.BLOCK


def _custom_operators(data: memoryview) -> set[str]:
    names = set()
    model = struct.unpack_from("<L", data, 0)[0]
    codes = _field(data, model, _OPERATORS)
    if codes is None:
        raise ValueError("no operators")
    codes += _unsigned(data, codes)
    count = _unsigned(data, codes)
    if count > _MAX_OPERATORS:
        raise ValueError("too many operators")
    for index in range(count):
        at = codes + 4 + 4 * index
        name = _field(data, at + _unsigned(data, at), _CUSTOM_NAME)
        if name is not None:
            name += _unsigned(data, name)
            length = _unsigned(data, name)
            if name + 4 + length > len(data):
                raise ValueError("a name behind the end")
            names.add(bytes(data[name + 4 : name + 4 + min(length, 256)]).decode("utf-8", "replace"))
    return names


class _Structure:
    """What an interpreter takes on trust: places in other tables, and how much data a tensor has."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._model = _unsigned(data, 0)
        self._left = _MAX_TABLES

    def lie(self) -> str | None:
        """The first; None when all fits. Raises ValueError or struct.error for offsets that lead out."""
        kinds = self._vector(self._model, _OPERATORS)[1]
        sizes = []
        for buffer in self._tables(self._model, _BUFFERS):
            at, size = self._vector(buffer, 0)
            outside, length = self._number(buffer, 1, "<Q"), self._number(buffer, 2, "<Q")
            if at + size > len(self._data) or (outside > 1 and outside + length > len(self._data)):
                return "a buffer that is longer than the file"
            sizes.append(length if outside > 1 else size)
        for subgraph in self._tables(self._model, _SUBGRAPHS):
            tensors = self._tables(subgraph, _TENSORS)
            for tensor in tensors:
                if (lie := self._of_tensor(tensor, sizes)) is not None:
                    return lie
            places = [*self._places(subgraph, _INPUTS), *self._places(subgraph, _OUTPUTS)]
            for node in self._tables(subgraph, _NODES):
                if self._number(node, 0, "<L") >= kinds:
                    return "an operator of no kind that the model has"
                places += [*self._places(node, 1), *self._places(node, 2)]
            if any(not -1 <= place < len(tensors) for place in places):
                return "an operator on a tensor that the model does not have"
        return None

    def _of_tensor(self, tensor: int, sizes: list[int]) -> str | None:
        buffer = self._number(tensor, _BUFFER, "<L")
        if buffer >= max(1, len(sizes)):
            return "a tensor in a buffer that the model does not have"
        needed = _BYTES_OF_TYPE.get(self._number(tensor, _TYPE, "<b"), 0)
        for length in self._places(tensor, _SHAPE):
            if length < -1:
                return "a shape with a negative size"
            needed *= length
        held = sizes[buffer] if sizes else 0
        if held and needed > held and _field(self._data, tensor, _SPARSITY) is None:
            return f"{held} bytes of data, for a shape that has {needed}"
        return None

    def _number(self, table: int, field: int, form: str) -> int:
        at = _field(self._data, table, field)
        return 0 if at is None else int(struct.unpack_from(form, self._data, at)[0])

    def _vector(self, table: int, field: int) -> tuple[int, int]:
        """Where its first element is, and how many there are."""
        at = _field(self._data, table, field)
        if at is None:
            return 0, 0
        at += _unsigned(self._data, at)
        return at + 4, _unsigned(self._data, at)

    def _tables(self, table: int, field: int) -> list[int]:
        at, count = self._counted(table, field)
        return [place + _unsigned(self._data, place) for place in range(at, at + 4 * count, 4)]

    def _places(self, table: int, field: int) -> tuple[int, ...]:
        at, count = self._counted(table, field)
        return struct.unpack_from(f"<{count}l", self._data, at) if count else ()

    def _counted(self, table: int, field: int) -> tuple[int, int]:
        at, count = self._vector(table, field)
        self._left -= count + 1
        if at + 4 * count > len(self._data) or self._left < 0:
            raise ValueError("more than the file has")
        return at, count


def _unsigned(data: memoryview, at: int) -> int:
    return int(struct.unpack_from("<L", data, at)[0])


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Where a table's field is, by its table of offsets; None when it has none."""
    offsets = table - struct.unpack_from("<l", data, table)[0]
    if offsets < 0:
        raise ValueError("offsets before the start")
    size = struct.unpack_from("<H", data, offsets)[0]
    if 4 + 2 * number + 2 > size:
        return None
    offset = struct.unpack_from("<H", data, offsets + 4 + 2 * number)[0]
    return table + offset if offset else None
