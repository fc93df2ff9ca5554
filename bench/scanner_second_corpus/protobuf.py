"""Protocol buffers, written by hand: field numbers of TensorFlow's and ONNX's messages, from their .proto files."""

import struct

__all__ = ["field", "function", "graph", "node", "saved_model", "tensor_of_text", "varint"]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: "int | float | str | bytes") -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def _attribute(name: str, value: bytes) -> bytes:
    return field(5, field(1, name) + field(2, value))


def tensor_of_text(text: str) -> bytes:
    return field(8, field(1, 7) + field(2, b"") + field(8, text))  # AttrValue.tensor of one string


def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    """A NodeDef; attributes are AttrValue messages."""
    body = field(1, name) + field(2, op) + b"".join(field(3, one) for one in inputs)
    return body + b"".join(_attribute(key, value) for key, value in attributes.items())


def constant(name: str, text: str) -> bytes:
    return node(name, "Const", dtype=field(6, 7), value=tensor_of_text(text))


def function(name: str, *nodes: bytes) -> bytes:
    return field(1, field(1, name)) + b"".join(field(3, one) for one in nodes)


def graph(*nodes: bytes, functions: tuple[bytes, ...] = ()) -> bytes:
    body = b"".join(field(1, one) for one in nodes)
    if functions:
        body += field(2, b"".join(field(1, one) for one in functions))
    return body + field(4, field(1, 1882))


def saved_model(inside: bytes, tag: str = "serve") -> bytes:
    signature = field(5, field(1, "serving_default") + field(2, field(3, "tensorflow/serving/predict")))
    return field(1, 1) + field(2, field(1, field(4, tag)) + field(2, inside) + signature)
