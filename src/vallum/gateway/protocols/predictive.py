"""What the two endpoints of predictive models have in common: tensors in, tensors out, and no stream.

Their numbers are numbers: no guard reads a feature as if it were a card's. Their texts (BYTES tensors, parameters,
names that are none) pass the same guards as any other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vallum.gateway.document import Place, text_places
from vallum.gateway.protocols.port import Usage, WireProtocol
from vallum.gateway.protocols.shapes import Unstreamed
from vallum.guards import Channel
from vallum.models.runtime.model import ServingConfiguration
from vallum.models.runtime.tensors import Given

__all__ = ["Prediction", "Predictive", "PredictiveProtocol", "Served"]

# A tensor's or column's own name, and a datatype: short, and of the characters of names.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/-]{1,32}", re.ASCII)
_NAMING = frozenset({"name", "datatype", "model"})


@dataclass(frozen=True, slots=True)
class Prediction:
    """One output as it leaves."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Served:
    """What answered, and the entry that says so."""

    model_name: str  # as the client asked for it
    version: int
    rows: int
    entry_id: str


class PredictiveProtocol(WireProtocol, Protocol):
    version: int | None  # the only one that may answer, where the client names one

    def tensors(self, document: Mapping[str, Any], serving: ServingConfiguration) -> list[Given]:
        """What is asked, as the request says it. Raises InputRefused for rows that make no tensors."""
        ...

    def wanted(self, document: Mapping[str, Any]) -> Sequence[str]:
        """The outputs asked for by name; none for all."""
        ...

    def render(
        self, document: Mapping[str, Any], served: Served, predictions: Sequence[Prediction]
    ) -> dict[str, Any]: ...


class Predictive(Unstreamed):
    version: int | None = None
    provider_kinds = frozenset({"releases"})

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        return Usage(0, 0)  # no tokens: requests are counted, and rows by the model's own budget


def texts_in(document: dict[str, Any], channel: Channel) -> list[Place]:
    """Every text but short names: no number is one."""
    return [place for place in text_places(document, channel) if not _is_plain(place)]


def _is_plain(place: Place) -> bool:
    if place.key is None or place.key in _NAMING:
        return _PLAIN.fullmatch(place.text) is not None
    return type(place.container[place.key]) is not str
