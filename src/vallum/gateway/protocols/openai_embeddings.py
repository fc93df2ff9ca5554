"""OpenAI's embeddings: `POST /v1/embeddings`. Texts in, numbers out; it never streams."""

from collections.abc import Mapping
from typing import Any

from vallum.gateway.protocols.fields import check_common, whole_number
from vallum.gateway.protocols.openai_errors import openai_error
from vallum.gateway.protocols.port import Usage
from vallum.gateway.protocols.shapes import OfTexts, Unstreamed
from vallum.gateway.refusals import Refused
from vallum.kernel.errors import Invalid

__all__ = ["OpenAiEmbeddings"]


class OpenAiEmbeddings(OfTexts, Unstreamed):
    name = "embeddings"
    has_tools = False
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

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        usage = answer.get("usage")
        return Usage(whole_number(usage.get("prompt_tokens")), 0) if isinstance(usage, dict) else None

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        return openai_error(refused, entry_id)
