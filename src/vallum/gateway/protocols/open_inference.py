"""The Open Inference Protocol, version 2 (KServe, Triton): `POST /v2/models/{name}[/versions/{version}]/infer`.

Tensors in JSON or in the binary extension (`binary_tensors`), both ways. Errors have the protocol's own `error`, with
Vallum's `code` and the entry's id beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vallum.gateway.document import Place, decode_document
from vallum.gateway.protocols.binary_tensors import HEADER, SIZE, packed_answer, read_binary
from vallum.gateway.protocols.predictive import Prediction, Predictive, Served, texts_in
from vallum.gateway.refusals import Refused
from vallum.guards import Channel
from vallum.models.runtime.errors import InputRefused
from vallum.models.runtime.model import ServingConfiguration
from vallum.models.runtime.tensors import DATATYPES, Given, flattened

__all__ = ["OpenInference", "open_inference_error"]

_MAX_TENSORS = 1024
_MAX_NAME_CHARS = 128
_TENSORS = frozenset({"inputs", "outputs"})
_TOP = frozenset({"id", "parameters", "inputs", "outputs"})
_INPUT = frozenset({"name", "datatype", "shape", "data", "parameters"})
_OUTPUT = frozenset({"name", "parameters"})


class OpenInference(Predictive):
    """For one request: the path has said which model."""

    name = "infer"
    path = ""

    takes_binary = True

    def __init__(self, model: str, version: int | None = None) -> None:
        self._model = model
        self.version = version
        self._all_binary = False
        self._as: dict[str, bool] = {}  # what the request says of an output: as bytes, or not

    def read(self, raw: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        said = headers.get(HEADER)
        return decode_document(raw) if said is None else read_binary(raw, said)

    def packed(self, answer: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
        if not self._all_binary and not any(self._as.values()):
            return None
        return packed_answer(answer, lambda name: self._as.get(name, self._all_binary))

    def model(self, document: Mapping[str, Any]) -> str:
        return self._model

    def places(self, document: dict[str, Any], channel: Channel) -> list[Place]:
        """Texts alone: nobody walks through the numbers, which are most of it. What we answer around them is ours."""
        found: list[Place] = []
        if channel is Channel.USER:
            for key in document.keys() - _TENSORS:
                found += _own(document, key, channel)
        for tensor in (*document.get("inputs", ()), *document.get("outputs", ())):
            if channel is Channel.USER:
                found += _own(tensor, "name", channel)
                if "parameters" in tensor:
                    found += _own(tensor, "parameters", channel)
            if tensor.get("datatype") == "BYTES":
                found += texts_in({"data": tensor["data"]}, channel)
        return found

    def check(self, document: dict[str, Any]) -> None:
        """Its form. Afterwards each tensor's data is one flat list, without anything nested in it."""
        _only(document, _TOP, "the request")
        if not isinstance(document.get("id", ""), str) or len(document.get("id", "")) > _MAX_NAME_CHARS:
            raise InputRefused(f"id: a string of at most {_MAX_NAME_CHARS} characters")
        _parameters(document, "")
        self._all_binary = _flag(document, "binary_data_output", "") or False
        for number, tensor in enumerate(_objects(document, "inputs", least=1)):
            where = f"inputs, number {number}"
            _only(tensor, _INPUT, where)
            _named(tensor, where)
            if not isinstance(tensor.get("datatype"), str) or tensor["datatype"] not in DATATYPES:
                raise InputRefused(f"{where}.datatype: one of {', '.join(sorted(DATATYPES))}")
            if not isinstance(tensor.get("shape"), list) or len(tensor["shape"]) > 8:
                raise InputRefused(f"{where}.shape: a list of at most 8 sizes")
            if isinstance(tensor.get("parameters"), dict) and SIZE in tensor["parameters"]:
                raise InputRefused(f"{where}: tensors in binary need the header {HEADER}")
            if not isinstance(tensor.get("data"), list):
                raise InputRefused(f"{where}.data: a list")
            _parameters(tensor, where)
            tensor["data"] = flattened(where, tensor["datatype"], tensor["shape"], tensor["data"])
        for number, output in enumerate(_objects(document, "outputs", least=0)):
            where = f"outputs, number {number}"
            _only(output, _OUTPUT, where)
            _named(output, where)
            _parameters(output, where)
            as_bytes = _flag(output, "binary_data", where)
            if as_bytes is not None:
                self._as[output["name"]] = as_bytes

    def tensors(self, document: Mapping[str, Any], serving: ServingConfiguration) -> list[Given]:
        return [Given(one["name"], one["datatype"], one["shape"], one["data"]) for one in document["inputs"]]

    def wanted(self, document: Mapping[str, Any]) -> Sequence[str]:
        return [output["name"] for output in document.get("outputs", ())]

    def render(self, document: Mapping[str, Any], served: Served, predictions: Sequence[Prediction]) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "model_name": served.model_name,
            "model_version": str(served.version),
            "parameters": {"entry": served.entry_id},
            "outputs": [
                {"name": one.name, "datatype": one.datatype, "shape": one.shape, "data": one.values}
                for one in predictions
            ],
        }
        if document.get("id"):
            answer["id"] = document["id"]
        return answer

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        return open_inference_error(refused, entry_id)


def open_inference_error(refused: Refused, entry_id: str | None) -> dict[str, Any]:
    return {"error": refused.message, "code": refused.error_code, "entry": entry_id}


def _own(holder: dict[str, Any], key: str, channel: Channel) -> list[Place]:
    """The texts of one field, in their own places."""
    places = texts_in({key: holder[key]}, channel)
    for place in places:
        if place.key == key and isinstance(holder[key], str):
            place.container = holder
    return places


def _only(document: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """A name that is none of the protocol's would be ignored: somebody expects something of it."""
    if not document.keys() <= known:
        raise InputRefused(f"{where} has a field that is none of the protocol's: {', '.join(sorted(known))}")


def _objects(document: Mapping[str, Any], key: str, *, least: int) -> list[dict[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not least <= len(found) <= _MAX_TENSORS:
        raise InputRefused(f"{key}: a list of {least} to {_MAX_TENSORS} tensors")
    if not all(type(one) is dict for one in found):
        raise InputRefused(f"{key}: an object for each tensor")
    return found


def _named(tensor: Mapping[str, Any], where: str) -> None:
    name = tensor.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME_CHARS:
        raise InputRefused(f"{where}.name: a string of 1 to {_MAX_NAME_CHARS} characters")


def _flag(holder: Mapping[str, Any], name: str, where: str) -> bool | None:
    said = holder.get("parameters", {}).get(name)
    if said is not None and type(said) is not bool:
        raise InputRefused(f"{where}.parameters.{name}: true or false".lstrip("."))
    return said


def _parameters(holder: Mapping[str, Any], where: str) -> None:
    if not isinstance(holder.get("parameters", {}), dict):
        raise InputRefused(f"{where}.parameters: an object".lstrip("."))
