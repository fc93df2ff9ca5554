"""OpenAI's embeddings: `POST /v1/embeddings`. Texts in, numbers out; it never streams."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vallum.gateway.protocols.fields import check_common, whole_number
from vallum.gateway.protocols.openai_errors import openai_error
from vallum.gateway.protocols.port import Delta, Path, PlainAnswer, Usage
from vallum.gateway.refusals import Refused
from vallum.kernel.errors import Invalid

__all__ = ["OpenAiEmbeddings"]


class OpenAiEmbeddings:
    name = "embeddings"
    path = "/embeddings"
    provider_kinds = frozenset({"openai"})

    def check(self, document: dict[str, Any]) -> None:
        check_common(document)
        given = document.get("input")
        if not isinstance(given, str | list) or not given:
            raise Invalid("input: give a text, or a list of texts")
        if isinstance(given, list) and not all(isinstance(text, str) for text in given):
            raise Invalid("input: give texts; what tokens say cannot be inspected")
        if document.get("stream"):
            raise Invalid("stream: embeddings do not stream")

    def max_output_tokens(self, document: Mapping[str, Any]) -> int | None:
        return 0

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        usage = answer.get("usage")
        return Usage(whole_number(usage.get("prompt_tokens")), 0) if isinstance(usage, dict) else None

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        return openai_error(refused, entry_id)

    # It has no text of its own and no stream.

    def question(self, document: Mapping[str, Any]) -> str:
        return ""

    def schema(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return None

    def answers(self, answer: Mapping[str, Any]) -> list[str]:
        return []

    def is_answer(self, path: Path) -> bool:
        return False

    def render_answer(self, answer: PlainAnswer) -> dict[str, Any]:
        raise Invalid("the built-in provider makes no embeddings")

    def render_stream(self, answer: PlainAnswer) -> Iterator[bytes]:
        raise Invalid("embeddings do not stream")

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
        raise Invalid("embeddings do not stream")
