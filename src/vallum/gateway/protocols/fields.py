"""Checks on the fields that the pipeline itself depends on; everything else is the provider's to judge."""

from collections.abc import Mapping
from typing import Any

from vallum.kernel.errors import Invalid

__all__ = ["check_common", "check_messages", "text_of_content", "whole_number"]

MAX_MODEL_CHARS = 128


def check_common(document: Mapping[str, Any]) -> None:
    """`model`, and where present `stream` and `max_tokens`. Raises Invalid."""
    model = document.get("model")
    if not isinstance(model, str) or not model or len(model) > MAX_MODEL_CHARS:
        raise Invalid(f"model: give the model's name, a string of 1 to {MAX_MODEL_CHARS} characters")
    if not isinstance(document.get("stream", False), bool | None):
        raise Invalid("stream: must be true or false")
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        limit = document.get(name)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise Invalid(f"{name}: must be a whole number of at least 1")


def check_messages(document: Mapping[str, Any]) -> None:
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages: give a list of at least one message")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Invalid(f"messages[{at}]: must be an object with a role")
        if not isinstance(message.get("content"), str | list | None):
            raise Invalid(f"messages[{at}].content: must be a string or a list of parts")


def text_of_content(content: Any) -> str:
    """The text of a message's content, whichever of the two forms it has."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def whole_number(value: Any) -> int:
    """A count out of somebody else's answer; anything odd counts as nothing."""
    return value if type(value) is int and 0 <= value < 10**12 else 0


def json_schema(wanted: Any, holder: Any) -> Mapping[str, Any] | None:
    """The schema of a request's output format. `holder` has it where `wanted` says that there is one.

    Raises Invalid for what is no schema.
    """
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        schema = wanted.get("schema")
        return schema if isinstance(schema, dict) else {}  # some servers take one there, too
    if kind != "json_schema":
        return None
    schema = holder.get("schema", True) if isinstance(holder, dict) else True
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, dict):
        raise Invalid("the output format's schema must be an object")
    return schema
