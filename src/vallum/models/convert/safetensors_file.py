"""Writing a safetensors file, and holding what was written against its source, bit by bit."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from struct import Struct

from vallum.kernel.errors import IntegrityError
from vallum.models.convert.torch_state import State

__all__ = ["verify_safetensors", "write_safetensors"]

_LENGTH = Struct("<Q")


def write_safetensors(state: State, file: Path, metadata: Mapping[str, str]) -> None:
    """The largest elements first, so that every tensor is aligned, as the reference writer does it."""
    order = sorted(state.tensors, key=lambda name: (-state.tensors[name].item, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for name in order:
        tensor = state.tensors[name]
        place = [at, at + tensor.size]
        header[name] = {"dtype": tensor.kind, "shape": list(tensor.shape), "data_offsets": place}
        at = place[1]
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with file.open("xb") as out:
        out.write(_LENGTH.pack(len(raw)) + raw)
        for name in order:
            out.write(state.content(state.tensors[name]))


def verify_safetensors(state: State, file: Path) -> int:
    """How many tensors there are, each the same bits as in `state`. Raises IntegrityError for the first that is not."""
    with file.open("rb") as written:
        (length,) = _LENGTH.unpack(written.read(8))
        header = json.loads(written.read(length))
        header.pop("__metadata__", None)
        if set(header) != set(state.tensors):
            raise IntegrityError("the file that was written does not have the tensors of its source")
        for name, tensor in state.tensors.items():
            begin, end = header[name]["data_offsets"]
            written.seek(8 + length + begin)
            said = (header[name]["dtype"], tuple(header[name]["shape"]))
            same = sha256(written.read(end - begin)).digest() == sha256(state.content(tensor)).digest()
            if not same or said != (tensor.kind, tensor.shape):
                raise IntegrityError(f"the tensor `{name[:80]}` was not written as it was read")
    return len(header)
