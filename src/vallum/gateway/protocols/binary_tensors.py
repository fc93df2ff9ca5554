"""The binary tensor extension of the Open Inference Protocol, as Triton and KServe's clients speak it.

A body is the JSON document, as long as the header `Inference-Header-Content-Length` says, and then the elements of each
tensor with a `binary_data_size`, in order, little-endian; of BYTES each behind its length in 32 bits. Elements become
the lists that JSON would have had: one form to check, to inspect and to record. NaN is a missing value.
"""

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from typing import Any

from vallum.gateway.document import MAX_PARTS, decode_document, encode_document
from vallum.models.runtime.errors import InputRefused
from vallum.models.runtime.tensors import NUMBER_CODES
from vallum.models.runtime.wire import ITEM_SIZES

__all__ = ["HEADER", "SIZE", "packed_answer", "read_binary"]

HEADER = "inference-header-content-length"
SIZE = "binary_data_size"
_MAX_TENSORS = 1024
_LENGTH = struct.Struct("<I")


def read_binary(raw: bytes, said: str) -> dict[str, Any]:
    """The document with its elements in it; their number against the shape is for others to check.

    Raises InputRefused, and NotADocument. Costs no more than the body is long, whatever sizes it claims.
    """
    length = int(said) if said.isdecimal() and len(said) <= 10 else -1
    if not 0 < length <= len(raw):
        raise InputRefused(f"{HEADER}: the length of the JSON in front of the tensors, within the body")
    document = decode_document(raw[:length])
    tensors = document.get("inputs")
    given = tensors if isinstance(tensors, list) and len(tensors) <= _MAX_TENSORS else []
    rest, elements = memoryview(raw)[length:], 0
    for number, tensor in enumerate(given):
        parameters = tensor.get("parameters") if type(tensor) is dict else None
        if not isinstance(parameters, dict) or SIZE not in parameters:
            continue
        where = f"inputs, number {number}"
        size = parameters.pop(SIZE)
        if type(size) is not int or not 0 <= size <= len(rest):
            raise InputRefused(f"{where}: {SIZE} must be the tensor's length in bytes, of those that follow the JSON")
        if "data" in tensor:
            raise InputRefused(f"{where}: give its data as JSON or as bytes, not twice")
        tensor["data"] = _elements(where, tensor.get("datatype"), rest[:size])
        rest, elements = rest[size:], elements + len(tensor["data"])
        if elements > MAX_PARTS:
            raise InputRefused(f"inputs: at most {MAX_PARTS} elements in one request")
    if rest:
        raise InputRefused(f"{len(rest)} bytes follow the tensors: no {SIZE} says whose they are")
    return document


def packed_answer(answer: Mapping[str, Any], is_binary: Callable[[str], bool]) -> tuple[bytes, bytes]:
    """The body and the header's value. `is_binary` says which outputs leave as bytes."""
    outputs, tail = [], []
    for output in answer["outputs"]:
        if not is_binary(output["name"]):
            outputs.append(output)
            continue
        tensor = _bytes_of(output["datatype"], output["data"])
        head = {key: value for key, value in output.items() if key != "data"}
        outputs.append({**head, "parameters": {SIZE: len(tensor)}})
        tail.append(tensor)
    document = encode_document({**answer, "outputs": outputs})
    return document + b"".join(tail), b"%d" % len(document)


def _elements(where: str, datatype: Any, raw: memoryview) -> list[Any]:
    if datatype == "BYTES":
        return _texts(where, raw)
    size = ITEM_SIZES.get(datatype) if isinstance(datatype, str) else None
    if size is None:
        raise InputRefused(f"{where}.datatype: BYTES or one of {', '.join(sorted(ITEM_SIZES))}")
    if len(raw) % size:
        raise InputRefused(f"{where}: its bytes are no whole number of {datatype} elements")
    if len(raw) // size > MAX_PARTS:
        raise InputRefused(f"{where}: at most {MAX_PARTS} elements in one request")
    if datatype == "BOOL":
        if not set(raw) <= {0, 1}:
            raise InputRefused(f"{where}: a BOOL is a byte of 0 or 1")
        return [one == 1 for one in raw]
    if datatype == "FP16":
        values: list[Any] = list(struct.unpack(f"<{len(raw) // 2}e", raw))
    else:
        numbers: array[Any] = array(NUMBER_CODES[datatype])
        numbers.frombytes(raw)  # little-endian as every processor is that has a sandbox here
        values = numbers.tolist()
    if datatype.startswith("FP") and any(map(isnan, values)):
        values = [None if isnan(one) else one for one in values]
    return values


def _texts(where: str, raw: memoryview) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(raw):
        if at + 4 > len(raw) or len(found) >= MAX_PARTS:
            raise InputRefused(f"{where}: each text stands behind its length in 4 bytes, at most {MAX_PARTS} of them")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4
        if length > len(raw) - at:
            raise InputRefused(f"{where}, element {len(found)}: is longer than what is left of the tensor")
        try:
            found.append(str(raw[at : at + length], "utf-8"))
        except UnicodeDecodeError:
            raise InputRefused(f"{where}, element {len(found)}: must be a text in UTF-8") from None
        at += length
    return found


def _bytes_of(datatype: str, values: Sequence[Any]) -> bytes:
    """NaN for a number that JSON would not have had."""
    if datatype == "BYTES":
        texts = [one.encode() for one in values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    if datatype == "BOOL":
        return bytes(values)
    numbers = [nan if one is None else one for one in values]
    if datatype == "FP16":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    return array(NUMBER_CODES[datatype], numbers).tobytes()
