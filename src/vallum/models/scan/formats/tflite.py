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
            scan.report(Verdict.REVIEW, "malformed", blob.place, text)
            return
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
