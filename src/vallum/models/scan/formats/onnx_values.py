"""What an ONNX graph takes and gives, read from the file alone: no library of the format, and no model, is loaded.

The file chooses every length: the scanner's own reader bounds them, and only the two lists are looked into.
Source: onnx/onnx.proto (ValueInfoProto, TypeProto).
"""

from typing import NamedTuple

from vallum.models.scan.formats.onnx import MalformedModel, message_fields, text_of_field

__all__ = ["GraphValue", "graph_values"]

_GRAPH, _WEIGHT, _SPARSE_WEIGHT, _INPUT, _OUTPUT = 7, 5, 15, 11, 12
_TENSOR_NAME, _SPARSE_VALUES = 8, 1
_MAX_VALUES, _MAX_DIMENSIONS = 1024, 64


class GraphValue(NamedTuple):
    """`element` is ONNX's number of an element type, 0 for what is no tensor; -1 in `shape` is a length that the file
    leaves open, and a `shape` of None one that it does not say at all."""

    name: str
    element: int
    shape: tuple[int, ...] | None


def graph_values(data: memoryview) -> tuple[list[GraphValue], list[GraphValue]]:
    """What has to be given, and what is answered; a weight that is listed with the inputs is neither.

    Raises MalformedModel, for more than 1,024 of either, too.
    """
    graphs = _messages(data, _GRAPH)
    if len(graphs) != 1:
        raise MalformedModel(f"{len(graphs)} graphs")
    weights: set[str] = set()
    takes: list[GraphValue] = []
    gives: list[GraphValue] = []
    for field in message_fields(graphs[0]):
        if field.number not in (_WEIGHT, _SPARSE_WEIGHT, _INPUT, _OUTPUT) or not isinstance(field.value, memoryview):
            continue
        if field.number == _WEIGHT:
            weights.add(_named(field.value, _TENSOR_NAME))
        elif field.number == _SPARSE_WEIGHT:
            weights.update(_named(one, _TENSOR_NAME) for one in _messages(field.value, _SPARSE_VALUES))
        else:
            held = takes if field.number == _INPUT else gives
            held.append(_value(field.value))
            if len(held) > _MAX_VALUES:
                raise MalformedModel(f"more than {_MAX_VALUES} inputs or outputs")
    return [one for one in takes if one.name not in weights], gives


def _value(message: memoryview) -> GraphValue:
    element, shape = 0, None
    for kind in _messages(message, 2):
        for tensor in _messages(kind, 1):
            for field in message_fields(tensor):
                if field.number == 1 and isinstance(field.value, int):
                    element = field.value
                elif field.number == 2 and isinstance(field.value, memoryview):
                    shape = _shape(field.value)
    return GraphValue(_named(message, 1), element, shape)


def _shape(message: memoryview) -> tuple[int, ...]:
    sizes = []
    for dimension in _messages(message, 1):
        said = [one.value for one in message_fields(dimension) if one.number == 1 and isinstance(one.value, int)]
        sizes.append(said[-1] if said and 0 < said[-1] < 1 << 31 else -1)
        if len(sizes) > _MAX_DIMENSIONS:
            raise MalformedModel(f"more than {_MAX_DIMENSIONS} dimensions")
    return tuple(sizes)


def _messages(data: memoryview, number: int) -> list[memoryview]:
    return [one.value for one in message_fields(data) if one.number == number and isinstance(one.value, memoryview)]


def _named(data: memoryview, number: int) -> str:
    return next((text_of_field(one.value) for one in message_fields(data) if one.number == number), "")
