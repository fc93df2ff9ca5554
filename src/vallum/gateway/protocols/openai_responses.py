"""OpenAI's responses: `POST /v1/responses`. Its stream names its events, and repeats each text whole at its end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vallum.gateway.document import encode_document
from vallum.gateway.protocols.fields import check_common, json_schema, text_of_content, whole_number
from vallum.gateway.protocols.openai_errors import openai_error
from vallum.gateway.protocols.port import Delta, Path, PlainAnswer, Usage
from vallum.gateway.protocols.shapes import OfTexts
from vallum.gateway.refusals import Refused
from vallum.gateway.sse import render_event
from vallum.kernel.errors import Invalid
from vallum.kernel.ids import new_id

__all__ = ["OpenAiResponses"]

_LAST = frozenset({"response.completed", "response.failed", "response.incomplete", "response.cancelled"})
_PLACE_KEYS = ("item_id", "output_index", "content_index", "summary_index")
_CHUNK_CHARS = 48


class OpenAiResponses(OfTexts):
    name = "responses"
    path = "/responses"
    provider_kinds = frozenset({"openai", "extractive"})

    def check(self, document: dict[str, Any]) -> None:
        check_common(document)
        if not isinstance(document.get("input"), str | list | None):
            raise Invalid("input: must be a text or a list of items")
        for name in ("previous_response_id", "conversation"):
            if document.get(name) is not None:
                raise Invalid(f"{name}: what a provider keeps belongs to no application here; send the conversation")
        if document.get("background"):
            raise Invalid("background: an answer fetched later would pass no guard; leave it out")

    def instructed(self, document: dict[str, Any], text: str) -> dict[str, Any]:
        own = document.get("instructions")
        return {**document, "instructions": f"{text}\n\n{own}" if own else text}

    def max_output_tokens(self, document: Mapping[str, Any]) -> int | None:
        return document.get("max_output_tokens")

    def question(self, document: Mapping[str, Any]) -> str:
        given = document.get("input")
        if isinstance(given, str):
            return given
        asked = [item for item in given or () if isinstance(item, dict) and item.get("role") == "user"]
        return text_of_content(asked[-1].get("content")) if asked else ""

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        response = answer.get("response")
        usage = (response if isinstance(response, dict) else answer).get("usage")
        if not isinstance(usage, dict):
            return None
        return Usage(whole_number(usage.get("input_tokens")), whole_number(usage.get("output_tokens")))

    def schema(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        text = document.get("text")
        wanted = text.get("format") if isinstance(text, dict) else None
        return json_schema(wanted, wanted)

    def answers(self, answer: Mapping[str, Any]) -> list[str]:
        whole = answer.get("response")
        items = [*((whole if isinstance(whole, dict) else answer).get("output") or ()), answer.get("item")]
        found: list[str] = []
        for item in items:
            content = item.get("content") if isinstance(item, dict) else None
            found += [content] if isinstance(content, str) else _output_texts(content)
        found += _output_texts([answer.get("part")])
        if answer.get("type") == "response.output_text.done" and isinstance(answer.get("text"), str):
            found.append(answer["text"])
        return found

    def is_answer(self, path: Path) -> bool:
        return path[:1] == ("response.output_text.delta",)

    def render_answer(self, answer: PlainAnswer) -> dict[str, Any]:
        return _response(answer, "completed", [_message(new_id("msg"), answer.text, "completed")])

    def render_stream(self, answer: PlainAnswer) -> Iterator[bytes]:
        item = new_id("msg")
        whole = self.render_answer(answer)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        part = {"type": "output_text", "text": "", "annotations": []}
        place = {"item_id": item, "output_index": 0, "content_index": 0}
        whole["output"] = [_message(item, answer.text, "completed")]
        events: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": begun}),
            ("response.in_progress", {"response": begun}),
            ("response.output_item.added", {"output_index": 0, "item": _message(item, None, "in_progress")}),
            ("response.content_part.added", {**place, "part": part}),
        ]
        for at in range(0, len(answer.text), _CHUNK_CHARS):
            delta = {**place, "delta": answer.text[at : at + _CHUNK_CHARS], "logprobs": []}
            events.append(("response.output_text.delta", delta))
        events += [
            ("response.output_text.done", {**place, "text": answer.text, "logprobs": []}),
            ("response.content_part.done", {**place, "part": {**part, "text": answer.text}}),
            ("response.output_item.done", {"output_index": 0, "item": whole["output"][0]}),
            ("response.completed", {"response": whole}),
        ]
        for number, (name, fields) in enumerate(events):
            yield render_event(name, encode_document({"type": name, "sequence_number": number, **fields}))

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        return openai_error(refused, entry_id)

    def render_error_event(self, refused: Refused, entry_id: str) -> bytes:
        fields = {"type": "error", "code": refused.error_code, "message": refused.message, "param": None}
        return render_event("error", encode_document({**fields, **openai_error(refused, entry_id)}))

    def is_last(self, name: str, data: bytes) -> bool:
        return name in _LAST

    def deltas(self, event: dict[str, Any]) -> Sequence[Delta]:
        if event.get("logprobs"):
            event["logprobs"] = []
        if isinstance(event.get("delta"), str):
            return (Delta((_kind(event), *_place(event)), event, "delta"),)
        return _begun(event)

    def ended(self, event: Mapping[str, Any]) -> Path | None:
        kind = event.get("type")
        if kind in _LAST:
            return ()
        if isinstance(kind, str) and kind.endswith(".done") and kind != "response.output_item.done":
            return (kind.removesuffix(".done") + ".delta", *_place(event))
        return None

    def is_empty(self, event: Mapping[str, Any]) -> bool:
        return event.get("delta") == ""

    def render_delta(self, like: Mapping[str, Any], path: Path, text: str) -> tuple[str, dict[str, Any]]:
        kind = str(path[0])
        fields = {str(path[at]): path[at + 1] for at in range(1, len(path), 2)}
        return kind, {"type": kind, "sequence_number": like.get("sequence_number", 0), **fields, "delta": text}


def _begun(event: dict[str, Any]) -> Sequence[Delta]:
    """The texts that an event begins, which its deltas go on with: usually empty, and not to be taken on trust."""
    kind, part, item = event.get("type"), event.get("part"), event.get("item")
    if kind == "response.content_part.added" and isinstance(part, dict):
        pieces = [("text", "output_text"), ("refusal", "refusal")]
        return [
            Delta((f"response.{name}.delta", *_place(event)), part, key)
            for key, name in pieces
            if isinstance(part.get(key), str)
        ]
    if kind == "response.reasoning_summary_part.added" and isinstance(part, dict) and isinstance(part.get("text"), str):
        return [Delta(("response.reasoning_summary_text.delta", *_place(event)), part, "text")]
    if kind == "response.output_item.added" and isinstance(item, dict) and isinstance(item.get("arguments"), str):
        place = _place({"item_id": item.get("id"), "output_index": event.get("output_index")})
        return [Delta(("response.function_call_arguments.delta", *place), item, "arguments")]
    return ()


def _kind(event: Mapping[str, Any]) -> str:
    kind = event.get("type")
    return kind if isinstance(kind, str) else ""


def _place(event: Mapping[str, Any]) -> Path:
    """The identifying fields, names and values in turn."""
    return tuple(part for key in _PLACE_KEYS if isinstance(event.get(key), str | int) for part in (key, event[key]))


def _message(item_id: str, text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def _response(answer: PlainAnswer, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    usage = answer.usage
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def _output_texts(parts: Any) -> list[str]:
    said = (part for part in parts or () if isinstance(part, dict) and part.get("type") == "output_text")
    return [part["text"] for part in said if isinstance(part.get("text"), str)]
