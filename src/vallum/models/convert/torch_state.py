"""A torch state dict's tensors, read without torch and without running anything of its pickle.

The scanner's symbolic machine follows the pickle; the handful of functions that rebuild tensors are understood by name,
and every other call makes the value opaque. Reads torch.save's zip format and the one of before 1.6.
Source: torch/serialization.py, torch/_utils.py.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO

from vallum.kernel.errors import Invalid
from vallum.models.scan.pickles.machine import Broken, Machine
from vallum.models.scan.pickles.values import OPAQUE, Global, Made, Persistent, Span

__all__ = ["State", "Tensor", "read_state"]

_MAX_TENSORS = 1_000_000
_MAX_DEPTH = 16
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What torch calls it, what safetensors does, and bytes of one.
_TYPES = {
    "Float": ("F32", 4), "float32": ("F32", 4), "float": ("F32", 4), "Double": ("F64", 8), "float64": ("F64", 8),
    "Half": ("F16", 2), "float16": ("F16", 2), "BFloat16": ("BF16", 2), "bfloat16": ("BF16", 2), "Long": ("I64", 8),
    "int64": ("I64", 8), "Int": ("I32", 4), "int32": ("I32", 4), "Short": ("I16", 2), "int16": ("I16", 2),
    "Char": ("I8", 1), "int8": ("I8", 1), "Byte": ("U8", 1), "uint8": ("U8", 1), "Bool": ("BOOL", 1),
    "bool": ("BOOL", 1), "uint16": ("U16", 2), "uint32": ("U32", 4), "uint64": ("U64", 8),
    "float8_e4m3fn": ("F8_E4M3", 1),
    "float8_e5m2": ("F8_E5M2", 1), "ComplexFloat": ("C64", 8), "complex64": ("C64", 8),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Storage:
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage: `offset` and `strides` count elements, `item` bytes of one."""

    kind: str
    item: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: str

    @property
    def size(self) -> int:
        """In bytes."""
        return prod(self.shape) * self.item


@dataclass(frozen=True, slots=True)
class State:
    """`left_out` names what is no tensor, and so has no place in a file of tensors."""

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...]
    storages: Callable[[str], bytes] = field(repr=False)

    def content(self, tensor: Tensor) -> bytes:
        """Its elements, in order. Raises Invalid for a view that leads out of its storage."""
        try:
            data = memoryview(self.storages(tensor.storage))
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as e:
            raise Invalid(f"its storage `{tensor.storage[:40]}` is not there, or damaged") from e
        if not prod(tensor.shape):
            return b""
        last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
        if (last + 1) * tensor.item > len(data):
            raise Invalid(f"a tensor's view leads out of its storage `{tensor.storage[:40]}`: the file is damaged")
        return b"".join(_pieces(data, tensor))


def read_state(file: BinaryIO) -> State:
    """Raises Invalid for what is no state dict, or no file of torch's."""
    try:
        if file.read(len(_MAGIC)) == _MAGIC:
            file.seek(0)
            return _legacy(file.read())
        file.seek(0)
        return _zipped(file)
    except Broken as e:
        raise Invalid(f"its pickle cannot be read: {e.reason}, at {e.position}") from e
    except (zipfile.BadZipFile, KeyError, NotImplementedError) as e:
        raise Invalid("it is neither of torch.save's two formats: save it with torch.save, and convert that") from e


def _zipped(file: BinaryIO) -> State:
    archive = zipfile.ZipFile(file)
    (root,) = {name.split("/", 1)[0] for name in archive.namelist()} or {""}
    names = set(archive.namelist())
    if f"{root}/byteorder" in names and archive.read(f"{root}/byteorder").strip() != b"little":
        raise Invalid("its numbers are big-endian: save it again on another machine")
    machine = _Reading(archive.read(f"{root}/data.pkl"))
    machine.run()
    tensors, left_out = _flattened(machine.result)
    return State(tensors, left_out, lambda key: archive.read(f"{root}/data/{key}"))


def _legacy(data: bytes) -> State:
    position, results, sizes = 0, [], {}
    for _ in range(5):
        machine = _Reading(data, position)
        position = machine.run()
        results.append(machine.result)
        sizes.update(machine.sizes)
    if results[2] != {"protocol_version": 1001} and not isinstance(results[2], dict):
        raise Invalid("its header is not torch's")
    places = {}
    for key in results[4] if isinstance(results[4], list) else ():
        count = int.from_bytes(data[position : position + 8], "little")
        if key not in sizes or count < 0 or position + 8 + count * sizes[key] > len(data):
            raise Invalid("a storage that does not fit: the file is damaged")
        places[key] = (position + 8, position + 8 + count * sizes[key])
        position = places[key][1]
    tensors, left_out = _flattened(results[3])
    return State(tensors, left_out, lambda key: data[slice(*places[key])])


class _Reading(Machine):
    """Keeps every item, where a scan keeps only what a judgement needs."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self.sizes: dict[str, int] = {}
        self._bytes = data
        super().__init__(data, _Rebuilding(self), start)

    def _keep(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target.extend(items)
        elif type(target) is dict:
            for key, value in zip(items[::2], items[1::2], strict=False):
                name = self.text(key)
                target[name if name is not None else f"#{len(target)}"] = value

    def text(self, value: Any) -> str | None:
        if isinstance(value, Span):
            return self._bytes[value.start : value.end].decode("utf-8", "replace")
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


class _Rebuilding:
    """An observer that knows what rebuilds a tensor."""

    def __init__(self, machine: _Reading) -> None:
        self._machine = machine

    def reached(self, found: Global, position: int) -> bool:
        return False

    def unnamed(self, position: int, what: str) -> None:
        raise Broken(position, what)

    def odd(self, position: int, reason: str) -> None:
        raise Broken(position, reason)

    def built(self, target: Any, state: Any, position: int, after: int) -> int:
        return after

    def called(self, callee: Any, arguments: Any, position: int, opcode: str) -> Any:
        if not isinstance(callee, Global) or not isinstance(arguments, tuple):
            return OPAQUE
        match callee.full, arguments:
            case "collections.OrderedDict" | "builtins.dict", ():
                return {}
            case "torch._utils._rebuild_tensor_v2", (storage, offset, shape, strides, *_):
                return self._tensor(storage, offset, shape, strides, None, position)
            case "torch._utils._rebuild_tensor_v3", (storage, offset, shape, strides, _, _, kind, *_):
                return self._tensor(storage, offset, shape, strides, kind, position)
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", (tensor, *_):
                return tensor
            case "torch._tensor._rebuild_from_type_v2", (Global() as inner, _, tuple() as given, *_):
                return self.called(inner, given, position, opcode)
        return Made(callee, ())

    def _tensor(self, given: Any, offset: Any, shape: Any, strides: Any, kind: Any, position: int) -> Any:
        storage = self._storage(given)
        name = kind.name if isinstance(kind, Global) else storage.kind if storage else ""
        known = _TYPES.get(name)
        if storage is None or known is None or not _counts(shape) or not _counts(strides) or not _counts((offset,)):
            return OPAQUE
        if len(shape) != len(strides):
            raise Broken(position, "a tensor with other strides than dimensions")
        return Tensor(known[0], known[1], shape, strides, offset, storage.key)

    def _storage(self, given: Any) -> _Storage | None:
        match given:
            case Persistent(pid=("storage", Global(name=name), key, *_)) if isinstance(key, str):
                kind = name.removesuffix("Storage")
                self._machine.sizes[key] = _TYPES.get(kind, ("", 1))[1]
                return _Storage(kind, key)
        return None


def _counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _flattened(result: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Mappings in mappings by names with points, in order."""
    if not isinstance(result, dict):
        raise Invalid("it is not a state dict but an object: save `model.state_dict()`, and convert that")
    tensors: dict[str, Tensor] = {}
    left_out: list[str] = []
    waiting: list[tuple[str, Any, int]] = [(key, value, 0) for key, value in reversed(result.items())]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, Tensor):
            if name in tensors or len(tensors) >= _MAX_TENSORS:
                raise Invalid(f"two tensors of the name `{name[:80]}`, or too many of them")
            tensors[name] = value
        elif isinstance(value, dict) and depth < _MAX_DEPTH and value:
            waiting += [(f"{name}.{key}", inner, depth + 1) for key, inner in reversed(value.items())]
        else:
            left_out.append(name)
    if not tensors:
        raise Invalid("it holds no tensors that safetensors can hold")
    return tensors, tuple(left_out)


def _pieces(data: memoryview, tensor: Tensor) -> Iterator[bytes]:
    """Runs of elements that lie one after another, in the order of the indices."""
    run, dimensions = 1, len(tensor.shape)
    while dimensions and (tensor.strides[dimensions - 1] == run or tensor.shape[dimensions - 1] == 1):
        dimensions -= 1
        run *= tensor.shape[dimensions]
    places = [tensor.offset]
    for size, stride in zip(tensor.shape[:dimensions], tensor.strides[:dimensions], strict=True):
        places = [place + index * stride for place in places for index in range(size)]
    length = run * tensor.item
    for place in places:
        yield bytes(data[place * tensor.item : place * tensor.item + length])
