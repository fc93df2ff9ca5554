"""The OpenAI-style helper: `POST /v1/predictions` with `model` and `input`, rows as an application has them.

A row is an object of inputs by name, or, for a model with one input, that input's elements or text by themselves. The
answer is an OpenAI list, one object a row. Nothing of it is OpenAI's own: their SDKs reach it by `client.post`.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any

from vallum.gateway.document import Place
from vallum.gateway.protocols.fields import check_common
from vallum.gateway.protocols.openai_errors import openai_error
from vallum.gateway.protocols.predictive import Prediction, Predictive, Served, texts_in
from vallum.gateway.refusals import Refused
from vallum.guards import Channel
from vallum.models.runtime.errors import InputRefused
from vallum.models.runtime.model import InputTensor, ServingConfiguration
from vallum.models.runtime.tensors import Given, flattened

__all__ = ["OpenAiPredictions"]

_MAX_ROWS = 65_536
_TOP = frozenset({"model", "input", "user"})


class OpenAiPredictions(Predictive):
    name = "predictions"
    path = "/predictions"

    def model(self, document: Mapping[str, Any]) -> str:
        return str(document["model"])

    def places(self, document: dict[str, Any], channel: Channel) -> list[Place]:
        return texts_in(document if channel is Channel.USER else {"data": document["data"]}, channel)

    def check(self, document: dict[str, Any]) -> None:
        check_common(document)
        if not document.keys() <= _TOP:
            raise InputRefused(f"the request has a field that is none of {', '.join(sorted(_TOP))}")
        rows = document.get("input")
        if not isinstance(rows, list) or not 1 <= len(rows) <= _MAX_ROWS:
            raise InputRefused(f"input: a list of 1 to {_MAX_ROWS} rows")
        if not isinstance(document.get("user", ""), str):
            raise InputRefused("user: a string")

    def tensors(self, document: Mapping[str, Any], serving: ServingConfiguration) -> list[Given]:
        rows: list[Any] = document["input"]
        if not all(type(row) is dict for row in rows):
            if len(serving.inputs) != 1 or any(type(row) is dict for row in rows):
                names = ", ".join(tensor.name for tensor in serving.inputs[:20])
                raise InputRefused(f"input: an object for each row, with {names}")
            return [_tensor(serving.inputs[0], rows)]
        declared = {tensor.name for tensor in serving.inputs}
        for at, row in enumerate(rows):
            if not row.keys() <= declared:
                raise InputRefused(f"input, row {at}: has a name that is none of the model's inputs")
        given = []
        for tensor in serving.inputs:
            if not any(tensor.name in row for row in rows):
                continue  # left out of every row: whether it may be is for the tensors' own check to say
            for at, row in enumerate(rows):
                if tensor.name not in row:
                    raise InputRefused(f"input, row {at}: {tensor.name} is missing; write null where it may be")
            given.append(_tensor(tensor, [row[tensor.name] for row in rows]))
        return given

    def wanted(self, document: Mapping[str, Any]) -> Sequence[str]:
        return ()

    def render(self, document: Mapping[str, Any], served: Served, predictions: Sequence[Prediction]) -> dict[str, Any]:
        data: list[dict[str, Any]] = [{"object": "prediction", "index": at} for at in range(served.rows)]
        for one in predictions:
            width = prod(one.shape[1:])
            for at, row in enumerate(data):
                values = one.values[at * width : (at + 1) * width]
                row[one.name] = values[0] if len(one.shape) == 1 else values
        return {
            "object": "list",
            "model": served.model_name,
            "version": served.version,
            "data": data,
            "entry": served.entry_id,
        }

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        return openai_error(refused, entry_id)


def _tensor(tensor: InputTensor, rows: list[Any]) -> Given:
    """A row of one element may stand without a list round it."""
    inner = tensor.shape[1:]
    if prod(inner) == 1 and not any(type(row) is list for row in rows):
        data = rows
        shape = [len(rows), *inner]
    else:
        if not all(type(row) is list for row in rows):
            raise InputRefused(f"input: {tensor.name} is a list in each row")
        first = rows[0]
        shape = [len(rows), *_shape(first, len(inner))]
        if len(inner) > 1 and -1 not in inner and type(first[0] if first else None) is not list:
            shape = [len(rows), *inner]  # a row's elements in one list
            if any(type(one) is list for one in chain.from_iterable(rows)):
                raise InputRefused(f"input: {tensor.name} is one list in each row, or nests in each as its shape does")
            data = list(chain.from_iterable(rows))
        else:
            data = rows
    where = f"input: {tensor.name}"
    return Given(tensor.name, tensor.datatype, shape, flattened(where, tensor.datatype, shape, data))


def _shape(row: Any, dimensions: int) -> list[int]:
    """As the first row nests; the others are held to it."""
    shape = []
    for _ in range(dimensions):
        if type(row) is not list:
            break
        shape.append(len(row))
        row = row[0] if row else None
    return shape
