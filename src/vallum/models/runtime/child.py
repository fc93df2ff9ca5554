"""The process that holds one model: it shuts itself in, loads, says that it is ready, and answers until it is closed.

Started as `python -I -m vallum.models.runtime.child FD` with one end of a socket pair, an environment of thread counts
and nothing else: no keys, no settings, no other descriptor.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vallum.kernel.errors import VallumError
from vallum.models.runtime.model import InputTensor, ServingConfiguration
from vallum.models.runtime.sandbox import NoSandbox, Walls, bound, close_files, die_with_parent, enter
from vallum.models.runtime.wire import (
    HEAD,
    Answer,
    Ask,
    Failed,
    FromModel,
    Load,
    Ready,
    Tensor,
    decode_to_model,
    frame,
)

__all__ = ["main"]

_DTYPES = {
    "BOOL": "|b1", "UINT8": "|u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "|i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def main(fd: int) -> None:
    header, _ = _read(fd)
    load = decode_to_model(header)
    if not isinstance(load, Load):
        return
    try:
        walls = _shut_in(load)
    except (NoSandbox, OSError, ValueError) as e:
        _say(fd, Failed("sandbox", str(e)))
        return
    try:
        predict = _loaded(load.configuration, Path(load.folder))
        if load.sandboxed:
            close_files()
    except Exception as e:  # noqa: BLE001  whatever a library makes of the file, this process ends
        _say(fd, Failed("load", f"{type(e).__name__}: {e}"[:2000]))
        return
    _say(fd, Ready(walls.landlock, walls.seccomp, walls.namespaces))
    _serve(fd, load.configuration, predict)


def _shut_in(load: Load) -> Walls:
    limits = load.configuration.limits
    bound(limits.memory_mebibytes << 20, limits.threads)
    if load.sandboxed:
        return enter(Path(load.folder), load.parent)
    die_with_parent(load.parent)
    return Walls(0, False, False)


def _loaded(configuration: ServingConfiguration, folder: Path) -> Any:
    """The model, having answered once: what it imports late is imported while files can still be read."""
    from vallum.models.runtime.loaders import load_model

    predict = load_model(configuration, folder)
    _outputs(configuration, predict(_made_up(configuration)))
    return predict


def _made_up(configuration: ServingConfiguration) -> dict[str, Any]:
    """One row that the configuration allows."""
    import numpy as np

    made: dict[str, Any] = {}
    for tensor in configuration.inputs:
        shape = tuple(max(size, 1) for size in tensor.shape)
        if tensor.datatype == "BYTES":
            made[tensor.name] = np.full(shape, "a word", dtype=object)
        else:
            made[tensor.name] = np.full(shape, _allowed(tensor), dtype=_DTYPES[tensor.datatype])
    return made


def _allowed(tensor: InputTensor) -> float:
    low, high = tensor.minimum, tensor.maximum
    value = max(low if low is not None else 0.0, 0.0)
    return min(value, high) if high is not None else value


def _serve(fd: int, configuration: ServingConfiguration, predict: Any) -> None:
    types = {tensor.name: tensor.datatype for tensor in configuration.inputs}
    while True:
        header, body = _read(fd)
        asked = decode_to_model(header)
        if not isinstance(asked, Ask):
            return
        try:
            inputs = _inputs(asked, memoryview(body), types)
            begun = time.process_time_ns()
            found = predict(inputs)
            microseconds = (time.process_time_ns() - begun) // 1000
            tensors, numbers = _outputs(configuration, found)
        except Exception as e:  # noqa: BLE001  one input that a model cannot take is no end of the others
            _say(fd, Failed("ask", type(e).__name__))  # a library's message may quote the input, and this is logged
            continue
        _say(fd, Answer(tensors, microseconds), numbers)


def _inputs(asked: Ask, body: memoryview, types: Mapping[str, str]) -> dict[str, Any]:
    import numpy as np

    inputs: dict[str, Any] = {}
    at = 0
    for tensor in asked.tensors:
        if tensor.texts is not None:
            inputs[tensor.name] = np.array(tensor.texts, dtype=object).reshape(tensor.shape)
            continue
        numbers = np.frombuffer(body[at : at + tensor.size], _DTYPES[types[tensor.name]])
        inputs[tensor.name] = numbers.reshape(tensor.shape)
        at += tensor.size
    return inputs


def _outputs(configuration: ServingConfiguration, found: Mapping[str, Any]) -> tuple[list[Tensor], bytes]:
    """As the configuration says, whatever the model's own types are."""
    import numpy as np

    tensors: list[Tensor] = []
    pieces: list[bytes] = []
    for output in configuration.outputs:
        value = found[output.name]
        if output.datatype == "BYTES":
            texts = [str(one) for one in value.ravel().tolist()]
            tensors.append(Tensor(output.name, value.shape, 0, texts))
            continue
        numbers = np.ascontiguousarray(value, dtype=_DTYPES[output.datatype]).tobytes()
        tensors.append(Tensor(output.name, value.shape, len(numbers)))
        pieces.append(numbers)
    return tensors, pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read(fd: int) -> tuple[bytes, bytes]:
    """One frame. Ends the process when the other side has closed."""
    header_size, body_size = HEAD.unpack(_exactly(fd, HEAD.size))
    both = _exactly(fd, header_size + body_size)
    return both[:header_size], both[header_size:]


def _exactly(fd: int, size: int) -> bytes:
    piece = os.read(fd, size)
    if len(piece) == size:
        return piece
    pieces = bytearray(piece)
    while len(pieces) < size:
        if not piece:
            os._exit(0)
        piece = os.read(fd, min(size - len(pieces), 1 << 20))
        pieces += piece
    return bytes(pieces)


def _say(fd: int, header: FromModel, body: bytes = b"") -> None:
    left = memoryview(frame(header, body))
    while left:
        left = left[os.write(fd, left) :]


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (VallumError, OSError):
        sys.exit(1)
