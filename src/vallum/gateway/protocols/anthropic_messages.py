"""Anthropic's messages: `POST /v1/messages`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vallum.gateway.document import encode_document
from vallum.gateway.protocols.fields import check_common, check_messages, json_schema, text_of_content, whole_number
from vallum.gateway.protocols.port import Delta, Path, PlainAnswer, Usage
from vallum.gateway.protocols.shapes import OfTexts
from vallum.gateway.refusals import Refused
from vallum.gateway.sse import render_event
from vallum.kernel.errors import Invalid
from vallum.kernel.ids import new_id

__all__ = ["AnthropicMessages"]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_CHUNK_CHARS = 48


class AnthropicMessages(OfTexts):
    name = "messages"
    path = "/messages"
    provider_kinds = frozenset({"anthropic", "extractive"})

    def check(self, document: dict[str, Any]) -> None:
        check_common(document)
        check_messages(document)
        if document.get("max_tokens") is None:
            raise Invalid("max_tokens: give the most tokens the answer may have")

    def instructed(self, document: dict[str, Any], text: str) -> dict[str, Any]:
        own = document.get("system")
        if isinstance(own, list):
            return {**document, "system": [{"type": "text", "text": text}, *own]}
        return {**document, "system": f"{text}\n\n{own}" if own else text}

    def max_output_tokens(self, document: Mapping[str, Any]) -> int | None:
        return document.get("max_tokens")

    def question(self, document: Mapping[str, Any]) -> str:
        asked = [m for m in document["messages"] if m["role"] == "user"]
        return text_of_content(asked[-1].get("content")) if asked else ""

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        message = answer.get("message")
        usage = (message if isinstance(message, dict) else answer).get("usage")
        if not isinstance(usage, dict):
            return None
        return Usage(whole_number(usage.get("input_tokens")), whole_number(usage.get("output_tokens")))

    def schema(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        config = document.get("output_config")
        named = config.get("format") if isinstance(config, dict) else None
        wanted = named or document.get("output_format")
        return json_schema(wanted, wanted)

    def answers(self, answer: Mapping[str, Any]) -> list[str]:
        whole = answer.get("message")
        content = (whole if isinstance(whole, dict) else answer).get("content")
        if isinstance(content, str):
            return [content]
        blocks = (block for block in content or () if isinstance(block, dict))
        return [b["text"] for b in blocks if b.get("type") == "text" and isinstance(b.get("text"), str)]

    def is_answer(self, path: Path) -> bool:
        return path[1:] == ("text_delta", "text")

    def render_answer(self, answer: PlainAnswer) -> dict[str, Any]:
        return {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": [{"type": "text", "text": answer.text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens},
        }

    def render_stream(self, answer: PlainAnswer) -> Iterator[bytes]:
        whole = self.render_answer(answer)
        usage = {"input_tokens": answer.usage.input_tokens, "output_tokens": 0}
        begun = {**whole, "content": [], "stop_reason": None, "usage": usage}
        yield _event("message_start", {"message": begun})
        yield _event("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
        for at in range(0, len(answer.text), _CHUNK_CHARS):
            delta = {"type": "text_delta", "text": answer.text[at : at + _CHUNK_CHARS]}
            yield _event("content_block_delta", {"index": 0, "delta": delta})
        yield _event("content_block_stop", {"index": 0})
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        yield _event("message_delta", {"delta": stop, "usage": {"output_tokens": answer.usage.output_tokens}})
        yield _event("message_stop", {})

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        kind = _ERROR_TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "api_error")
        error = {"type": kind, "message": refused.message, "code": refused.error_code, "entry": entry_id}
        return {"type": "error", "error": error, "request_id": entry_id}

    def render_error_event(self, refused: Refused, entry_id: str) -> bytes:
        return render_event("error", encode_document(self.render_error(refused, entry_id)))

    def is_last(self, name: str, data: bytes) -> bool:
        return name == "message_stop"

    def deltas(self, event: dict[str, Any]) -> Sequence[Delta]:
        delta = event.get("delta")
        if event.get("type") == "content_block_start":
            return _begun(event)
        if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return ()
        index, kind = event.get("index"), delta.get("type")
        place = (index if type(index) is int else 0, kind if isinstance(kind, str) else "")
        # A signature comes whole, and is no text; it is looked at whole like everything else.
        keys = [key for key, value in delta.items() if isinstance(value, str) and key not in ("type", "signature")]
        return [Delta((*place, key), delta, key) for key in keys]

    def ended(self, event: Mapping[str, Any]) -> Path | None:
        if event.get("type") == "content_block_stop":
            index = event.get("index")
            return (index if type(index) is int else 0,)
        return () if event.get("type") == "message_stop" else None

    def is_empty(self, event: Mapping[str, Any]) -> bool:
        if event.get("type") != "content_block_delta":
            return False
        return all(key == "type" or value == "" for key, value in event["delta"].items())

    def render_delta(self, like: Mapping[str, Any], path: Path, text: str) -> tuple[str, dict[str, Any]]:
        delta = {"type": path[1], str(path[2]): text}
        return "content_block_delta", {"type": "content_block_delta", "index": path[0], "delta": delta}


def _begun(event: dict[str, Any]) -> Sequence[Delta]:
    """The text that a block begins with, which its deltas go on with: usually empty, and not to be taken on trust."""
    block, index = event.get("content_block"), event.get("index")
    if not isinstance(block, dict):
        return ()
    place = index if type(index) is int else 0
    return [
        Delta((place, f"{key}_delta", key), block, key)
        for key in ("text", "thinking")
        if isinstance(block.get(key), str)
    ]


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return render_event(name, encode_document({"type": name, **fields}))
