"""Holding a request's tensors to what the model takes, and packing them; unpacking what it gives.

Everything is checked here, in the gateway, before the model's process sees a byte: names, datatypes, shapes, lengths,
ranges, what is missing. A refusal names the input, the element's place and what is allowed, and never the value. The
work is linear in the elements, and the bounds on those are looked at before the elements are.
"""

import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, isfinite, nan, prod
from typing import Any

from vallum.models.runtime.errors import InputRefused
from vallum.models.runtime.model import INTEGER_RANGES, InputTensor, OutputTensor, ServingConfiguration
from vallum.models.runtime.process import RawOutput

__all__ = ["DATATYPES", "NUMBER_CODES", "Given", "Inputs", "Packed", "flattened", "take_inputs", "unpack"]

NUMBER_CODES = {
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP32": "f", "FP64": "d",
}  # fmt: skip
DATATYPES = frozenset({"BOOL", "FP16", "BYTES", *NUMBER_CODES})
_LARGEST = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": 1.7976931348623157e308}
_NUMBERS, _WHOLE, _TRUTHS, _TEXTS = {float, int}, {int}, {bool}, {str}
_PLAIN = {float, int, bool, type(None)}


@dataclass(frozen=True, slots=True)
class Given:
    """One tensor as a request says it; nothing is checked but that `data` is `flattened`."""

    name: str
    datatype: str
    shape: Sequence[Any]
    data: list[Any]


@dataclass(frozen=True, slots=True)
class Packed:
    """One checked tensor: numbers as the model's process reads them, or texts."""

    shape: tuple[int, ...]
    numbers: bytes
    texts: list[str] | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a model is asked. `values` are the numbers, flat, of each input that has some."""

    rows: int
    tensors: Mapping[str, Packed]
    values: tuple[Sequence[float], ...]

    def vectors(self, rows: Sequence[int]) -> list[list[float]]:
        """The numbers of some rows, over all inputs."""
        vectors = []
        for row in rows:
            vector: list[float] = []
            for values in self.values:
                width = len(values) // self.rows
                vector += values[row * width : (row + 1) * width]
            vectors.append(vector)
        return vectors


def take_inputs(configuration: ServingConfiguration, given: Sequence[Given]) -> Inputs:
    """Raises InputRefused."""
    declared = {tensor.name: tensor for tensor in configuration.inputs}
    by_name: dict[str, Given] = {}
    for number, one in enumerate(given):
        if one.name not in declared:
            raise InputRefused(f"inputs, number {number}: there is no input of that name; {_names(declared)}")
        if one.name in by_name:
            raise InputRefused(f"inputs.{one.name}: give it once")
        by_name[one.name] = one
    rows = _rows(configuration, by_name)
    tensors: dict[str, Packed] = {}
    values: list[Sequence[float]] = []
    for name, tensor in declared.items():
        if name in by_name:
            data, shape = by_name[name].data, tuple(by_name[name].shape)
            if by_name[name].datatype != tensor.datatype:
                raise InputRefused(f"inputs.{name}.datatype: must be {tensor.datatype}")
            if len(data) != prod(shape):
                raise _wrong_length(f"inputs.{name}")
        elif tensor.required:
            raise InputRefused(f"inputs.{name}: the model needs this input")
        else:  # an input whose values may all be missing
            shape = (rows, *tensor.shape[1:])
            data = [None] * prod(shape)
        data = _allowed(tensor, data)
        if tensor.datatype == "BYTES":
            tensors[name] = Packed(shape, b"", data)
        else:
            tensors[name] = Packed(shape, _packed(tensor.datatype, data), None)
            values.append(data)
    return Inputs(rows, tensors, tuple(values))


def _rows(configuration: ServingConfiguration, given: Mapping[str, Given]) -> int:
    """How many, from shapes alone: their lengths are not known to be true yet, but nothing large is made of them."""
    limits = configuration.limits
    rows, elements = None, 0
    for tensor in configuration.inputs:
        one = given.get(tensor.name)
        if one is None:
            continue
        shape = one.shape
        if len(shape) != len(tensor.shape) or not all(
            type(size) is int and (0 < size <= limits.max_elements if wanted == -1 else size == wanted)
            for size, wanted in zip(shape, tensor.shape, strict=True)
        ):
            raise InputRefused(f"inputs.{tensor.name}.shape: must be {_shape(tensor)}")
        if rows not in (None, shape[0]):
            raise InputRefused(f"inputs.{tensor.name}.shape: every input has the same number of rows, its first size")
        rows = shape[0]
        elements += prod(shape)
    if rows is None:
        raise InputRefused(f"inputs: give the model's inputs; {_names({t.name: t for t in configuration.inputs})}")
    if rows > limits.max_rows:
        raise InputRefused(f"inputs: {limits.max_rows} rows are allowed in one request")
    if elements > limits.max_elements:
        raise InputRefused(f"inputs: {limits.max_elements} elements are allowed in one request")
    return int(rows)


def flattened(where: str, datatype: str, shape: Sequence[Any], data: list[Any]) -> list[Any]:
    """The elements in one list, of a tensor whose data is flat or nests as its shape does; no text among numbers.

    Raises InputRefused. Costs no more than the data is long, whatever the shape says.
    """
    if data and type(data[0]) is list:
        if not shape or len(data) != shape[0]:
            raise _wrong_length(where)
        for size in shape[1:]:
            if not all(type(one) is list and len(one) == size for one in data):
                raise _wrong_length(where)
            data = list(chain.from_iterable(data))
    kinds = set(map(type, data))
    if not kinds <= (_TEXTS if datatype == "BYTES" else _PLAIN):
        what = "must be a text" if datatype == "BYTES" else "must be no text and nothing nested"
        allowed = _TEXTS if datatype == "BYTES" else _PLAIN
        raise InputRefused(f"{where}, element {_first(type(one) not in allowed for one in data)}: {what}")
    return data


def _wrong_length(where: str) -> InputRefused:
    return InputRefused(f"{where}.data: as many elements as its shape says, in one list or in lists as the shape nests")


def _allowed(tensor: InputTensor, data: list[Any]) -> list[Any]:
    """The elements, NaN for missing ones. Sets and extremes first: the loop that finds the place is for refusals."""
    kinds = set(map(type, data))
    if tensor.datatype == "BYTES":
        if kinds != _TEXTS:
            raise _at(tensor, _first(type(one) is not str for one in data), "must be a text")
        if max(map(len, data)) * 4 > tensor.max_length:  # as UTF-8 a character is four bytes at most
            for at, text in enumerate(data):
                if len(text.encode()) > tensor.max_length:
                    raise _at(tensor, at, f"must be at most {tensor.max_length} bytes as UTF-8")
        return data
    if tensor.datatype == "BOOL":
        if kinds != _TRUTHS:
            raise _at(tensor, _first(type(one) is not bool for one in data), "must be true or false")
        return data
    if tensor.datatype.startswith("FP"):
        return _allowed_floats(tensor, data, kinds)
    if kinds != _WHOLE:
        raise _at(tensor, _first(type(one) is not int for one in data), "must be a whole number")
    _within(tensor, data, *INTEGER_RANGES[tensor.datatype])
    return data


def _allowed_floats(tensor: InputTensor, data: list[Any], kinds: set[type]) -> list[float]:
    missing = type(None) in kinds
    if not kinds <= (_NUMBERS | {type(None)}):
        wrong = _first(type(one) is not float and type(one) is not int and one is not None for one in data)
        raise _at(tensor, wrong, "must be a number" + (", or null where missing" if tensor.allow_missing else ""))
    if missing and not tensor.allow_missing:
        raise _at(tensor, _first(one is None for one in data), "must not be missing")
    largest = _LARGEST[tensor.datatype]
    if not missing:
        _within(tensor, data, -largest, largest)
        return data
    present = [one for one in data if one is not None]
    if present:
        _within(tensor, [0 if one is None else one for one in data], -largest, largest, skip=data)
    return [nan if one is None else one for one in data]


def _within(tensor: InputTensor, data: list[Any], least: float, most: float, skip: list[Any] | None = None) -> None:
    """`skip` holds None where an element is missing. No NaN is among them: JSON has none."""
    low = least if tensor.minimum is None else max(least, tensor.minimum)
    high = most if tensor.maximum is None else min(most, tensor.maximum)
    if skip is None and low <= min(data) and max(data) <= high:
        return
    for at, one in enumerate(data):
        if (skip is None or skip[at] is not None) and not low <= one <= high:
            raise _at(tensor, at, f"must be from {low:g} to {high:g}")


def _packed(datatype: str, data: list[Any]) -> bytes:
    if datatype == "BOOL":
        return bytes(data)
    if datatype == "FP16":
        return struct.pack(f"<{len(data)}e", *data)
    return array(NUMBER_CODES[datatype], data).tobytes()  # little-endian as every processor is that has a sandbox here


def unpack(output: OutputTensor, raw: RawOutput, first: int, rows: int) -> tuple[list[int], list[Any]]:
    """The shape and the elements of some rows; None for a number that JSON does not have."""
    shape = [rows, *raw.shape[1:]]
    width = prod(raw.shape[1:])
    if output.datatype == "BYTES":
        return shape, raw.texts[first * width : (first + rows) * width]
    size = len(raw.numbers) // raw.shape[0]
    numbers = raw.numbers[first * size : (first + rows) * size]
    if output.datatype == "BOOL":
        return shape, [one != 0 for one in numbers]
    if output.datatype == "FP16":
        values: list[Any] = list(struct.unpack(f"<{len(numbers) // 2}e", numbers))
    else:
        unpacked: array[Any] = array(NUMBER_CODES[output.datatype])
        unpacked.frombytes(numbers)
        values = unpacked.tolist()
    if output.datatype.startswith("FP") and not isfinite(sum(values)):
        values = [one if -inf < one < inf else None for one in values]
    return shape, values


def _at(tensor: InputTensor, at: int, what: str) -> InputRefused:
    return InputRefused(f"inputs.{tensor.name}, element {at}: {what}")


def _first(wrong: Iterator[bool]) -> int:
    return next(at for at, is_wrong in enumerate(wrong) if is_wrong)


def _shape(tensor: InputTensor) -> str:
    return "[" + ", ".join("any" if size == -1 else str(size) for size in tensor.shape) + "]"


def _names(declared: Mapping[str, InputTensor]) -> str:
    names = list(declared)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"it takes {shown}"
