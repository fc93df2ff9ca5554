"""OpenAI's chat completions: `POST /v1/chat/completions`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vallum.gateway.document import encode_document
from vallum.gateway.protocols.fields import check_common, check_messages, json_schema, text_of_content, whole_number
from vallum.gateway.protocols.openai_errors import openai_error
from vallum.gateway.protocols.port import Delta, Path, PlainAnswer, Usage
from vallum.gateway.protocols.shapes import OfTexts
from vallum.gateway.refusals import Refused
from vallum.gateway.sse import render_event
from vallum.kernel.ids import new_id

__all__ = ["OpenAiChat"]

_WORDS_PER_CHUNK = 8


class OpenAiChat(OfTexts):
    name = "chat"
    path = "/chat/completions"
    provider_kinds = frozenset({"openai", "extractive"})

    def check(self, document: dict[str, Any]) -> None:
        check_common(document)
        check_messages(document)
        if document.get("stream"):
            # Usage comes with the last chunk only when asked for, and limits are charged by it.
            options = document.get("stream_options")
            document["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}

    def instructed(self, document: dict[str, Any], text: str) -> dict[str, Any]:
        return {**document, "messages": [{"role": "system", "content": text}, *document["messages"]]}

    def max_output_tokens(self, document: Mapping[str, Any]) -> int | None:
        return document.get("max_completion_tokens") or document.get("max_tokens")

    def question(self, document: Mapping[str, Any]) -> str:
        asked = [m for m in document["messages"] if m["role"] == "user"]
        return text_of_content(asked[-1].get("content")) if asked else ""

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        usage = answer.get("usage")
        if not isinstance(usage, dict):
            return None
        return Usage(whole_number(usage.get("prompt_tokens")), whole_number(usage.get("completion_tokens")))

    def schema(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        wanted = document.get("response_format")
        return json_schema(wanted, wanted.get("json_schema") if isinstance(wanted, dict) else None)

    def answers(self, answer: Mapping[str, Any]) -> list[str]:
        choices = (c.get("message") for c in answer.get("choices") or () if isinstance(c, dict))
        return [text_of_content(m["content"]) for m in choices if isinstance(m, dict) and m.get("content")]

    def is_answer(self, path: Path) -> bool:
        return path[1:2] == ("content",)

    def render_answer(self, answer: PlainAnswer) -> dict[str, Any]:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        return {
            **_head(answer.model, "chat.completion"),
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": _usage(answer.usage),
        }

    def render_stream(self, answer: PlainAnswer) -> Iterator[bytes]:
        head = _head(answer.model, "chat.completion.chunk")

        def chunk(delta: dict[str, Any], finish: str | None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return render_event("", encode_document({**head, "choices": [choice], "usage": None}))

        yield chunk({"role": "assistant", "content": ""}, None)
        words = answer.text.split(" ")
        for at in range(0, len(words), _WORDS_PER_CHUNK):
            piece = " ".join(words[at : at + _WORDS_PER_CHUNK])
            yield chunk({"content": piece if at == 0 else " " + piece}, None)
        yield chunk({}, "stop")
        yield render_event("", encode_document({**head, "choices": [], "usage": _usage(answer.usage)}))
        yield b"data: [DONE]\n\n"

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]:
        return openai_error(refused, entry_id)

    def render_error_event(self, refused: Refused, entry_id: str) -> bytes:
        return render_event("", encode_document(openai_error(refused, entry_id)))

    def is_last(self, name: str, data: bytes) -> bool:
        return data.strip() == b"[DONE]"

    def deltas(self, event: dict[str, Any]) -> Sequence[Delta]:
        found: list[Delta] = []
        for at, choice in enumerate(event.get("choices") or ()):
            if not isinstance(choice, dict):
                continue
            # Log probabilities repeat the text token by token, past what the guards hold back.
            if choice.get("logprobs"):
                choice["logprobs"] = None
            delta = choice.get("delta")
            if isinstance(delta, dict):
                _collect(delta, (_index(choice, at),), found)
        return found

    def ended(self, event: Mapping[str, Any]) -> Path | None:
        for at, choice in enumerate(event.get("choices") or ()):
            if isinstance(choice, dict) and choice.get("finish_reason"):
                return (_index(choice, at),)
        return None

    def is_empty(self, event: Mapping[str, Any]) -> bool:
        if event.get("usage") or not event.get("choices"):
            return False
        return all(
            isinstance(choice, dict)
            and not choice.get("finish_reason")
            and isinstance(choice.get("delta"), dict)
            and all(value == "" for value in choice["delta"].values())
            for choice in event["choices"]
        )

    def render_delta(self, like: Mapping[str, Any], path: Path, text: str) -> tuple[str, dict[str, Any]]:
        choice = {"index": path[0], "delta": _nest(path[1:], text), "finish_reason": None}
        head = {key: like[key] for key in ("id", "object", "created", "model") if key in like}
        return "", {**head, "choices": [choice]}


def _collect(value: dict[str, Any], path: Path, found: list[Delta]) -> None:
    """Every string of a delta but those that come once and whole."""
    for key, inner in value.items():
        if type(inner) is str:
            if key not in ("role", "id", "type"):
                found.append(Delta((*path, key), value, key, whole=key == "name"))
        elif type(inner) is dict:
            _collect(inner, (*path, key), found)
        elif type(inner) is list:
            for at, item in enumerate(inner):
                if type(item) is dict:
                    _collect(item, (*path, key, _index(item, at)), found)


def _index(item: Mapping[str, Any], at: int) -> int:
    index = item.get("index")
    return index if type(index) is int else at


def _nest(path: Path, text: str) -> Any:
    """`("tool_calls", 0, "function", "arguments")` and a text make the delta that adds the text there."""
    if not path:
        return text
    key, rest = path[0], path[1:]
    if rest and isinstance(rest[0], int):
        return {key: [{"index": rest[0], **_nest(rest[1:], text)}]}
    return {key: _nest(rest, text)}


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}


def _usage(usage: Usage) -> dict[str, int]:
    total = usage.input_tokens + usage.output_tokens
    return {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": total}
