"""What several protocols have in common: JSON, documents whose every string is a text, endpoints that never stream."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vallum.gateway.document import Place, decode_document, text_places
from vallum.gateway.protocols.port import Delta, Path, PlainAnswer
from vallum.gateway.refusals import Refused
from vallum.guards import Channel
from vallum.kernel.errors import Invalid

__all__ = ["InJson", "OfTexts", "Unstreamed"]


class InJson:
    """A body is one JSON object, and so is an answer."""

    takes_binary = False

    def read(self, raw: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        return decode_document(raw)

    def packed(self, answer: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
        return None


class OfTexts(InJson):
    """The document names its model, and any string anywhere in it is a text."""

    has_tools = True

    def model(self, document: Mapping[str, Any]) -> str:
        return str(document["model"])

    def places(self, document: dict[str, Any], channel: Channel) -> list[Place]:
        return text_places(document, channel)


class Unstreamed(InJson):
    """It has no stream, and no text of its own that a schema or the built-in provider could be about."""

    name: str
    has_tools = False

    def instructed(self, document: dict[str, Any], text: str) -> dict[str, Any]:
        return document

    def max_output_tokens(self, document: Mapping[str, Any]) -> int | None:
        return 0

    def question(self, document: Mapping[str, Any]) -> str:
        return ""

    def schema(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return None

    def answers(self, answer: Mapping[str, Any]) -> list[str]:
        return []

    def is_answer(self, path: Path) -> bool:
        return False

    def render_answer(self, answer: PlainAnswer) -> dict[str, Any]:
        raise Invalid(f"the built-in provider makes no {self.name}")

    def render_stream(self, answer: PlainAnswer) -> Iterator[bytes]:
        raise Invalid(f"{self.name} do not stream")

    def render_error_event(self, refused: Refused, entry_id: str) -> bytes:
        return b""

    def is_last(self, name: str, data: bytes) -> bool:
        return False

    def deltas(self, event: dict[str, Any]) -> Sequence[Delta]:
        return ()

    def ended(self, event: Mapping[str, Any]) -> Path | None:
        return None

    def is_empty(self, event: Mapping[str, Any]) -> bool:
        return False

    def render_delta(self, like: Mapping[str, Any], path: Path, text: str) -> tuple[str, dict[str, Any]]:
        raise Invalid(f"{self.name} do not stream")
