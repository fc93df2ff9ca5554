"""A sequence of layers over the numbers of a safetensors file, on numpy alone: what a `torch` model is served as.

The file holds tensors and no program, so there is nothing in it to execute: a header of JSON and numbers, which are
held to what the header says of them. The declared architecture is all that computes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import prod, sqrt
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from vallum.kernel.errors import Invalid
from vallum.models.runtime.model import Activation, Conv2d, Flatten, Layer, Linear, Normalisation, Pool2d

__all__ = ["build_network", "read_safetensors"]

Array = np.ndarray[Any, np.dtype[Any]]
Step = Callable[[Array], Array]

MAX_HEADER_BYTES = 100_000_000  # of the format's own reference implementation
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}


def read_safetensors(path: Path) -> dict[str, Array]:
    """Every tensor by name. Raises Invalid for a file that is not what the format says."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or size > min(MAX_HEADER_BYTES, len(raw) - 8):
        raise Invalid("the safetensors file is shorter than its header says")
    try:
        header = json.loads(raw[8 : 8 + size])
    except (ValueError, RecursionError) as e:
        raise Invalid("the header of the safetensors file is not JSON") from e
    if not isinstance(header, dict):
        raise Invalid("the header of the safetensors file is not an object")
    data = memoryview(raw)[8 + size :]
    return {name: _tensor(name, about, data) for name, about in header.items() if name != "__metadata__"}


def _tensor(name: str, about: Any, data: memoryview) -> Array:
    match about:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if (
            dtype in _TYPES and all(type(size) is int and size >= 0 for size in shape)
        ):
            kind = np.dtype(_TYPES[dtype])
            if 0 <= begin <= end <= len(data) and end - begin == prod(shape) * kind.itemsize:
                return np.frombuffer(data[begin:end], kind).reshape(shape)
    raise Invalid(f"the tensor {name[:100]} is not where or what the header of the safetensors file says")


def build_network(layers: Sequence[Layer], tensors: Mapping[str, Array]) -> Step:
    """What computes the answer from the input. Raises Invalid for a tensor that is missing or does not fit."""
    used: set[str] = set()

    def take(name: str, dimensions: int) -> Array:
        found = tensors.get(name)
        if found is None or found.ndim != dimensions:
            raise Invalid(f"the architecture needs a tensor {name} with {dimensions} dimensions, and there is none")
        used.add(name)
        return found.astype(np.float32)

    steps = [_step(layer, take) for layer in layers]
    left = {name for name in tensors if not name.endswith(".num_batches_tracked")} - used
    if left:
        raise Invalid(f"the architecture leaves tensors of the file out: {', '.join(sorted(left)[:5])}")

    def run(given: Array) -> Array:
        for step in steps:
            given = step(given)
        return given

    return run


def _step(layer: Layer, take: Callable[[str, int], Array]) -> Step:
    match layer:
        case Linear():
            weight = np.ascontiguousarray(take(layer.name + ".weight", 2).T)
            bias = take(layer.name + ".bias", 1) if layer.bias else np.zeros(weight.shape[1], np.float32)
            return lambda x: x @ weight + bias
        case Conv2d():
            kernel = take(layer.name + ".weight", 4)
            bias = take(layer.name + ".bias", 1) if layer.bias else np.zeros(kernel.shape[0], np.float32)
            return lambda x: _convolved(x, kernel, bias, layer.stride, layer.padding)
        case Normalisation():
            scale = take(layer.name + ".weight", 1) / np.sqrt(take(layer.name + ".running_var", 1) + layer.epsilon)
            shift = take(layer.name + ".bias", 1) - take(layer.name + ".running_mean", 1) * scale
            return lambda x: x * _beside(scale, x) + _beside(shift, x)
        case Pool2d():
            return lambda x: _pooled(x, layer)
        case Activation():
            return _ACTIVATIONS[layer.kind]
        case Flatten():
            return lambda x: x.reshape(len(x), -1)
        case _:
            assert_never(layer)


def _beside(values: Array, x: Array) -> Array:
    """Along the second dimension."""
    return values.reshape((1, -1, *(1,) * (x.ndim - 2)))


def _convolved(x: Array, kernel: Array, bias: Array, stride: int, padding: int) -> Array:
    height, width = kernel.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    rows, channels, high, wide = windows.shape[:4]
    flat: Array = windows.transpose(0, 2, 3, 1, 4, 5).reshape(rows * high * wide, channels * height * width)
    found: Array = flat @ kernel.reshape(len(kernel), -1).T + bias
    return found.reshape(rows, high, wide, len(kernel)).transpose(0, 3, 1, 2)


def _pooled(x: Array, layer: Pool2d) -> Array:
    rows, channels, height, width = x.shape
    high, wide = height // layer.size, width // layer.size
    tiles = x[:, :, : high * layer.size, : wide * layer.size]
    tiles = tiles.reshape(rows, channels, high, layer.size, wide, layer.size)
    pooled: Array = tiles.max(axis=(3, 5)) if layer.kind == "max" else tiles.mean(axis=(3, 5))
    return pooled


def _gelu(x: Array) -> Array:
    """By the normal distribution itself, as torch does by default; the error function by Abramowitz and Stegun 7.1.26,
    within 1.5e-7, which is what a float32 holds."""
    z = np.abs(x) / sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf: Array = np.sign(x) * (1 - series * np.exp(-z * z))
    found: Array = x * 0.5 * (1 + erf)
    return found


def _softmax(x: Array) -> Array:
    raised: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    found: Array = raised / raised.sum(axis=-1, keepdims=True)
    return found


def _sigmoid(x: Array) -> Array:
    found: Array = 0.5 * (1 + np.tanh(0.5 * x))  # without overflow on either side
    return found


_ACTIVATIONS: Mapping[str, Step] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "softmax": _softmax,
}
