"""A serving configuration for a classifier of images that nobody declared one for, and how it takes its images.

Read from the file's own words, for asking a model on one's own machine and for nothing else: what a model is served
as is what somebody approved (`model.py`). Where the file leaves more than one reading open, it is refused with the
option that decides.
"""

import mmap
from pathlib import Path
from typing import Literal, get_args

import msgspec

from vallum.kernel.errors import Invalid
from vallum.models.runtime.model import Datatype, InputTensor, OutputTensor, ServingConfiguration
from vallum.models.scan.formats.onnx import MalformedModel
from vallum.models.scan.formats.onnx_values import GraphValue, graph_values

__all__ = [
    "ANSWER",
    "Layout",
    "configuration_of_onnx",
    "configuration_of_skops",
    "layout_of",
    "one_image",
    "read_configuration",
]

Layout = Literal["flat", "rows", "channels-first", "channels-last"]
"""How one image lies in the input: one row of numbers (channels last within), rows of pixels without channels,
channels before or behind them."""

_ELEMENTS: dict[int, Datatype] = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES", 10: "FP16",
    11: "FP64", 12: "UINT32", 13: "UINT64",
}  # fmt: skip
ANSWER = "answer"  # the output of a graph that was not declared
_MAX_DECLARED_BYTES = 1 << 20


def read_configuration(file: Path) -> ServingConfiguration:
    """A declared one, as a release holds it. Raises Invalid with every problem."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_DECLARED_BYTES + 1)
        if len(raw) > _MAX_DECLARED_BYTES:
            raise Invalid(f"{file}: a serving configuration has at most {_MAX_DECLARED_BYTES} bytes")
        serving = msgspec.json.decode(raw, type=ServingConfiguration)
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"{file} is no serving configuration: {e}") from e
    problems = list(serving.problems())
    if problems:
        raise Invalid(f"{file} has problems:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return serving


def configuration_of_onnx(file: Path, image: tuple[int, int, int], layout: str, output: str) -> ServingConfiguration:
    """`image` is (height, width, channels); an empty `layout` or `output` is decided by the graph.

    Raises Invalid where the graph takes something else than images of that size, or gives no label for each.
    """
    takes, gives = _values_of(file)
    if len(takes) != 1:
        raise Invalid(f"{file.name} takes {len(takes)} inputs: a model of images takes one")
    shape = takes[0].shape
    datatype = _ELEMENTS.get(takes[0].element, "BYTES")
    if datatype == "BYTES":
        raise Invalid(f"the input {takes[0].name} of {file.name} takes no numbers")
    chosen = layout_of(shape, image, layout)
    rows = shape[0] if shape else -1
    return _checked(
        ServingConfiguration(
            format="onnx", file=file.name, outputs=(_onnx_output(gives, output, file.name),),
            inputs=(InputTensor(takes[0].name, datatype, (rows, *one_image(chosen, image))),),
        )
    )  # fmt: skip


def configuration_of_skops(
    file: Path, image: tuple[int, int, int], layout: str, *, texts: bool, trusted: tuple[str, ...]
) -> ServingConfiguration:
    """Of a scikit-learn classifier, whose `predict` gives the label: a text or a whole number. Raises Invalid."""
    chosen = layout_of(None, image, layout or "flat")
    return _checked(
        ServingConfiguration(
            format="sklearn", file=file.name, trusted=trusted,
            inputs=(InputTensor("images", "FP64", (-1, *one_image(chosen, image))),),
            outputs=(OutputTensor("label", "BYTES" if texts else "INT64", "label"),),
        )
    )  # fmt: skip


def one_image(layout: Layout, image: tuple[int, int, int]) -> tuple[int, ...]:
    height, width, channels = image
    match layout:
        case "flat":
            return (height * width * channels,)
        case "rows":
            return (height, width)
        case "channels-first":
            return (channels, height, width)
        case "channels-last":
            return image


def layout_of(shape: tuple[int, ...] | None, image: tuple[int, int, int], wanted: str) -> Layout:
    """The one that makes images of (height, width, channels) fit `shape`, whose first dimension counts rows.

    Raises Invalid where none does, or where several do and none is `wanted`.
    """
    layouts: tuple[Layout, ...] = get_args(Layout)
    if wanted and wanted not in layouts:
        raise Invalid(f"--layout: {', '.join(layouts)}")
    fitting = [one for one in layouts if (one != "rows" or image[2] == 1) and _fits(shape, one_image(one, image))]
    if wanted:
        fitting = [one for one in fitting if one == wanted]
    if len(fitting) == 1:
        return fitting[0]
    takes = "any" if shape is None else " by ".join("any" if size == -1 else str(size) for size in shape)
    given = " by ".join(map(str, image))
    if fitting:
        raise Invalid(f"the model takes {takes}, which leaves open how images lie in it: --layout {', '.join(fitting)}")
    raise Invalid(
        f"the model takes {takes} (the first counts images), and the images are {given} (height, width, channels): "
        "bring them to its size, channels last" + (f", or another --layout than {wanted}" if wanted else "")
    )


def _fits(shape: tuple[int, ...] | None, one: tuple[int, ...]) -> bool:
    if shape is None:
        return True
    return len(shape) == len(one) + 1 and all(size in (-1, wanted) for size, wanted in zip(shape[1:], one, strict=True))


def _values_of(file: Path) -> tuple[list[GraphValue], list[GraphValue]]:
    try:
        with (
            file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as data,
        ):  # fmt: skip
            try:
                return graph_values(data)
            except MalformedModel as e:
                why = str(e)  # without the traceback, whose frames hold pieces of the map
    except (OSError, ValueError) as e:
        raise Invalid(f"{file.name} cannot be read: {e}") from e
    raise Invalid(f"{file.name} is not a whole ONNX model: {why}")


def _onnx_output(gives: list[GraphValue], wanted: str, file: str) -> OutputTensor:
    """A label for each image where there is one; else scores of each label, the largest of which counts."""
    labels = [one for one in gives if _ELEMENTS.get(one.element, "FP32")[:2] != "FP" and _is_column(one.shape)]
    scores = [one for one in gives if _ELEMENTS.get(one.element, "")[:2] == "FP" and _is_table(one.shape)]
    names = ", ".join(one.name for one in gives[:20])
    if wanted:
        labels = [one for one in labels if one.name == wanted]
        scores = [one for one in scores if one.name == wanted]
    one_of = labels or scores
    if not one_of:
        what = f"its output {wanted} is neither" if wanted else "it gives neither"
        raise Invalid(f"{file}: {what}, a label for each image or scores of each label; it gives {names}")
    if len(one_of) > 1:
        raise Invalid(f"{file} gives several of them: choose with --output, of {names}")
    value = one_of[0]
    shape = value.shape or ((-1,) if labels else (-1, -1))
    return OutputTensor(ANSWER, _ELEMENTS[value.element], "label" if labels else "values", value.name, shape)


def _is_column(shape: tuple[int, ...] | None) -> bool:
    return shape is None or len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _is_table(shape: tuple[int, ...] | None) -> bool:
    return shape is None or (len(shape) == 2 and shape[1] != 1)


def _checked(made: ServingConfiguration) -> ServingConfiguration:
    """Held to what a declared one is held to: names are the file's own."""
    try:
        return msgspec.convert(msgspec.to_builtins(made), ServingConfiguration)
    except msgspec.ValidationError as e:
        raise Invalid(f"{made.file} cannot be served as it is: {e}; declare it with --serving, or rename it") from e
