"""How a predictive model is served, as a release's manifest declares it: the values, and every rule about one of them.

Nothing here loads anything, and nothing comes from the model's own file: what a model takes, gives and may cost is
what somebody approved, whatever its file says of itself. Datatypes and shapes are those of the Open Inference
Protocol, version 2.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "INTEGER_RANGES",
    "Activation",
    "Batching",
    "Conv2d",
    "Datatype",
    "Extraction",
    "Flatten",
    "InputTensor",
    "Layer",
    "Linear",
    "ModelFormat",
    "Normalisation",
    "OutputPolicy",
    "OutputTensor",
    "Pool2d",
    "QueryBudget",
    "ServingConfiguration",
    "ServingLimits",
]

ModelFormat = Literal["onnx", "sklearn", "xgboost", "lightgbm", "torch"]
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
INTEGER_RANGES: dict[str, tuple[int, int]] = {
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
}

TensorName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$")]
FileName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}){0,15}$")
]
MaybeFileName = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,254}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}){0,15})?$")
]
TypeName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){1,15}$")]
Shape = Annotated[tuple[Annotated[int, Meta(ge=-1, le=2**31)], ...], Meta(min_length=1, max_length=8)]
Size = Annotated[int, Meta(ge=1, le=2**24)]


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class InputTensor(_Declared, frozen=True):
    """One input. The first dimension of `shape` counts rows; -1 is any length.

    `minimum` and `maximum` bound each number. Missing is NaN, or null in JSON, of floating-point inputs only.
    """

    name: TensorName
    datatype: Datatype
    shape: Shape
    required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allow_missing: bool = False
    max_length: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096  # UTF-8 bytes of one string of BYTES

    def problems(self) -> Iterator[str]:
        if any(size == 0 for size in self.shape):
            yield "shape: a dimension is at least 1, or -1 for any"
        if self.datatype in ("BYTES", "BOOL") and (self.minimum is not None or self.maximum is not None):
            yield f"minimum, maximum: {self.datatype} has no order"
        bounds = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if not all(map(isfinite, bounds)):
            yield "minimum, maximum: a finite number each"
        elif len(bounds) == 2 and bounds[0] > bounds[1]:
            yield "minimum: larger than the maximum"
        if not self.required and (not self.allow_missing or -1 in self.shape[1:]):
            yield "required: only an input whose values may be missing, and of a known shape, may be left out"
        if self.allow_missing and not self.datatype.startswith("FP"):
            yield f"allow_missing: {self.datatype} has no value that means missing"


class OutputTensor(_Declared, frozen=True):
    """One output. `role` says what it tells, and so what the output policy does to it.

    Of an ONNX model `source` is the name of the graph's output (empty: the same name). In the other formats the role
    decides where it comes from: `label` and `values` from predict, `probabilities` from predict_proba, `logits` from
    what lies before them.
    """

    name: TensorName
    datatype: Datatype
    role: Literal["label", "values", "probabilities", "logits"] = "values"
    source: str = ""
    shape: Shape = (-1,)


class OutputPolicy(_Declared, frozen=True):
    """What leaves. Fewer digits, classes and scores teach a copy of the model less.

    `round_digits` is of digits after the point. `top_k` keeps the largest probabilities of each row, and 0 stands for
    the others; `withhold` leaves whole outputs out by their role.
    """

    round_digits: Annotated[int, Meta(ge=0, le=15)] | None = 4
    top_k: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    withhold: tuple[Literal["logits", "probabilities", "values", "label"], ...] = ("logits",)


class Batching(_Declared, frozen=True):
    """Requests that wait together are one call of the model. `max_waiting` requests wait; more are refused."""

    max_rows: Annotated[int, Meta(ge=1, le=65_536)] = 64
    max_wait_milliseconds: Annotated[float, Meta(ge=0, le=1000)] = 0.0  # 0: with what is waiting already
    max_waiting: Annotated[int, Meta(ge=1, le=65_536)] = 256


class ServingLimits(_Declared, frozen=True):
    """Of one request and of the process that holds the model."""

    max_rows: Annotated[int, Meta(ge=1, le=1_000_000)] = 1024
    max_elements: Annotated[int, Meta(ge=1, le=2**26)] = 1_048_576  # over all inputs of a request
    memory_mebibytes: Annotated[int, Meta(ge=64, le=1_048_576)] = 1024
    load_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    threads: Annotated[int, Meta(ge=1, le=256)] = 1


class QueryBudget(_Declared, frozen=True):
    """How many rows one subject may ask about; None leaves one out."""

    rows_per_hour: Annotated[int, Meta(ge=1, le=10**12)] | None = None
    rows_per_day: Annotated[int, Meta(ge=1, le=10**12)] | None = None


class Extraction(_Declared, frozen=True):
    """What is done about a subject whose queries look made to copy the model.

    `reference` is a JSON file in the model's folder, a list of rows as the model meets them: of its training data, say.
    `false_alarms` is the budget: the chance that a subject is ever suspected, over all gateway processes, although its
    queries come as the reference does, each kind at most `tolerance` times as often. Suspicion ends after `hours`.
    """

    mode: Literal["off", "alert", "refuse"] = "off"
    reference: MaybeFileName = ""
    false_alarms: Annotated[float, Meta(gt=0, le=0.5)] = 0.001
    tolerance: Annotated[float, Meta(ge=1, le=100)] = 2.0
    hours: Annotated[int, Meta(ge=1, le=8760)] = 24


class Linear(_Declared, frozen=True, tag_field="layer", tag="linear"):
    """`weight` is (outputs, inputs), as torch keeps it; `name` is its prefix in the file: NAME.weight, NAME.bias."""

    name: str
    bias: bool = True


class Conv2d(_Declared, frozen=True, tag_field="layer", tag="conv2d"):
    """Over (rows, channels, height, width)."""

    name: str
    stride: Annotated[int, Meta(ge=1, le=64)] = 1
    padding: Annotated[int, Meta(ge=0, le=64)] = 0
    bias: bool = True


class Normalisation(_Declared, frozen=True, tag_field="layer", tag="batch_norm"):
    """Batch normalisation as it is after training, over the second dimension."""

    name: str
    epsilon: Annotated[float, Meta(gt=0, lt=1)] = 1e-5


class Pool2d(_Declared, frozen=True, tag_field="layer", tag="pool2d"):
    kind: Literal["max", "average"]
    size: Annotated[int, Meta(ge=1, le=256)]


class Activation(_Declared, frozen=True, tag_field="layer", tag="activation"):
    kind: Literal["relu", "tanh", "sigmoid", "gelu", "softmax"]


class Flatten(_Declared, frozen=True, tag_field="layer", tag="flatten"):
    """Everything behind the rows in one dimension."""


Layer = Linear | Conv2d | Normalisation | Pool2d | Activation | Flatten


class ServingConfiguration(_Declared, frozen=True):
    """One model's, whole. `file` is inside of the model's folder.

    A safetensors file holds numbers without a shape of computation, so a `torch` model declares `architecture`, a
    sequence of layers; another one is exported to ONNX. `trusted` names the types that a skops file may hold
    beyond those that skops itself trusts: `sklearn.tree._tree.Tree` of forests, say.
    """

    format: ModelFormat
    file: FileName
    inputs: Annotated[tuple[InputTensor, ...], Meta(min_length=1, max_length=1024)]
    outputs: Annotated[tuple[OutputTensor, ...], Meta(min_length=1, max_length=64)]
    timeout_seconds: Annotated[float, Meta(gt=0, le=600)] = 5.0
    batching: Batching = Batching()
    limits: ServingLimits = ServingLimits()
    output_policy: OutputPolicy = OutputPolicy()
    query_budget: QueryBudget = QueryBudget()
    extraction: Extraction = Extraction()
    architecture: Annotated[tuple[Layer, ...], Meta(max_length=256)] = ()
    trusted: Annotated[tuple[TypeName, ...], Meta(max_length=256)] = ()

    def problems(self) -> Iterator[str]:
        """What does not fit together. Each part by itself is valid already."""
        for kind, names in (("inputs", [i.name for i in self.inputs]), ("outputs", [o.name for o in self.outputs])):
            yield from (f"{kind}: {name} is declared more than once" for name in _twice(names))
        for tensor in self.inputs:
            yield from (f"inputs.{tensor.name}.{problem}" for problem in tensor.problems())
        if bool(self.architecture) != (self.format == "torch"):
            yield "architecture: a torch model needs one, and no other has one"
        if self.trusted and self.format != "sklearn":
            yield "trusted: of scikit-learn models in the skops format only"
        if self.format != "onnx":
            yield from self._tabular_problems()
        if (self.extraction.mode == "off") != (not self.extraction.reference):
            yield "extraction: a mode needs a reference to hold queries against, and a reference needs a mode"
        withheld = set(self.output_policy.withhold)
        if all(output.role in withheld for output in self.outputs):
            yield "output_policy.withhold: every output is withheld, so no request would have an answer"

    def _tabular_problems(self) -> Iterator[str]:
        """Everything but ONNX takes one matrix: one input, or several whose columns stand beside each other."""
        if any(output.source for output in self.outputs):
            yield "outputs.source: of ONNX models only; elsewhere the role says where an output comes from"
        strings = [tensor.name for tensor in self.inputs if tensor.datatype == "BYTES"]
        if strings and (self.format != "sklearn" or len(self.inputs) > 1):
            yield f"inputs.{strings[0]}: text is the only input of a scikit-learn model, or of an ONNX model"
        if len(self.inputs) > 1:
            for tensor in self.inputs:
                if not tensor.required:
                    yield f"inputs.{tensor.name}.required: a column that may be left out has no place among the others"
                if len(tensor.shape) > 2 or -1 in tensor.shape[1:]:
                    yield f"inputs.{tensor.name}.shape: (-1,) or (-1, columns), beside others"


def _twice(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
