"""What the gateway and a model's process say to each other over a socket pair: frames of a header and plain numbers.

A frame is the header's length, the body's length (32 bits each, little-endian), the header in MessagePack, the body.
A tensor is its elements in C order, little-endian; of BYTES a list of strings in the header. What comes back is held to
what was asked before anybody uses it, since the process that says it may be the model's.
"""

import struct
from typing import Literal

import msgspec

from vallum.models.runtime.model import ServingConfiguration

__all__ = [
    "HEAD",
    "ITEM_SIZES",
    "Answer",
    "Ask",
    "Failed",
    "FromModel",
    "Load",
    "Ready",
    "Tensor",
    "ToModel",
    "decode_from_model",
    "decode_to_model",
    "frame",
]

HEAD = struct.Struct("<II")
ITEM_SIZES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
    "FP16": 2, "FP32": 4, "FP64": 8,
}  # fmt: skip


class Tensor(msgspec.Struct, frozen=True, array_like=True):
    """Its numbers are the next `size` bytes of the body; `texts` are there for BYTES only."""

    name: str
    shape: tuple[int, ...]
    size: int
    texts: list[str] | None = None


class Load(msgspec.Struct, frozen=True, array_like=True, tag="load"):
    configuration: ServingConfiguration
    folder: str
    parent: int
    sandboxed: bool


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    tensors: list[Tensor]


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    landlock: int
    seccomp: bool
    namespaces: bool


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """`microseconds` is processor time of the model alone."""

    tensors: list[Tensor]
    microseconds: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """`why` is of the model's own process: for the operator's log, and of no answer."""

    what: Literal["sandbox", "load", "ask"]
    why: str


ToModel = Load | Ask
FromModel = Ready | Answer | Failed

_encode = msgspec.msgpack.Encoder().encode
decode_to_model = msgspec.msgpack.Decoder(ToModel).decode
decode_from_model = msgspec.msgpack.Decoder(FromModel).decode


def frame(header: ToModel | FromModel, body: bytes = b"") -> bytes:
    encoded = _encode(header)
    return HEAD.pack(len(encoded), len(body)) + encoded + body
