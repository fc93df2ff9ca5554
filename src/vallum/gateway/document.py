"""A request's or answer's JSON, and every piece of text in it.

The document that was inspected is the document that is sent on: it is decoded once and encoded again, so that no
duplicate key, odd escape or unknown field reaches the other side unseen. Text is found wherever it stands, not
only where an API's manual puts it: a key nobody documents is a way out like any other.
"""

from typing import Any

import msgspec

from vallum.guards import Channel, Segment
from vallum.kernel.errors import Invalid

__all__ = ["Place", "decode_document", "encode_document", "segments_of", "text_places"]

MAX_DEPTH = 64  # real requests nest about ten deep

Document = dict[str, Any]

_decode = msgspec.json.Decoder().decode
encode_document = msgspec.json.Encoder().encode

# Closed vocabularies of the APIs: too short to hold anything, and in every message.
_VOCABULARY_KEYS = frozenset({"role", "type", "object", "finish_reason", "stop_reason", "status", "detail"})
_MAX_VOCABULARY_CHARS = 32
# Where images, audio and files travel as base64. What is not base64 there is text like any other.
_BINARY_KEYS = frozenset(
    {"url", "image_url", "data", "file_data", "b64_json", "encrypted_content", "signature", "embedding"}
)
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-\r\n")
_MIN_BINARY_CHARS = 256  # shorter is worth a look anyway
# Fields that nearly every document has: no need to look at their names again.
_FIELD_NAMES = frozenset(
    {"role", "content", "model", "messages", "choices", "index", "delta", "finish_reason", "id", "object", "created",
     "usage", "message", "type", "text", "stream", "system_fingerprint", "logprobs"}
)  # fmt: skip
_MIN_NUMBER = 10**8  # a card or account number may travel as a number

_ROLE_CHANNELS = {
    "system": Channel.SYSTEM,
    "developer": Channel.SYSTEM,
    "user": Channel.USER,
    "assistant": Channel.MODEL,
    "tool": Channel.TOOL,
    "function": Channel.TOOL,
}
_TYPE_CHANNELS = {
    "tool_result": Channel.TOOL,
    "function_call_output": Channel.TOOL,
    "search_result": Channel.RETRIEVED,
    "document": Channel.RETRIEVED,
}
_KEY_CHANNELS = {"system": Channel.SYSTEM, "instructions": Channel.SYSTEM, "tools": Channel.SYSTEM}


class NotADocument(Invalid):
    """The body is not one JSON object."""

    code = "invalid_json"


def decode_document(raw: bytes) -> Document:
    """One JSON object, nested at most MAX_DEPTH deep. Raises NotADocument that says what is wrong."""
    try:
        document = _decode(raw)
    except RecursionError:
        raise NotADocument("the body nests too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as e:
        raise NotADocument(f"the body is not valid JSON: {_short(e)}") from None
    if not isinstance(document, dict):
        raise NotADocument("the body must be a JSON object")
    return document


class Place:
    """One piece of text and where it stands, so that it can be replaced."""

    __slots__ = ("channel", "container", "key", "text")

    def __init__(self, container: Any, key: str | int | None, text: str, channel: Channel) -> None:
        self.container = container
        self.key = key  # None: the text is a key of `container`
        self.text = text
        self.channel = channel

    def replace(self, text: str) -> None:
        if self.key is None:
            self.container[text] = self.container.pop(self.text)
        else:
            self.container[self.key] = text


def text_places(document: Document, channel: Channel) -> list[Place]:
    """Every text of the document, outermost first. Raises NotADocument for one that nests too deeply."""
    found: list[Place] = []
    _walk(document, channel, found, 0)
    return found


def segments_of(places: list[Place], source: str) -> list[Segment]:
    return [Segment(p.text, p.channel, source, p.channel is Channel.SYSTEM) for p in places]


def _walk(value: Any, channel: Channel, found: list[Place], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotADocument("the body nests too deeply")
    if type(value) is dict:
        role = value.get("role")
        if type(role) is str:
            channel = _ROLE_CHANNELS.get(role, channel)
        kind = value.get("type")
        if type(kind) is str:
            channel = _TYPE_CHANNELS.get(kind, channel)
        for key, inner in value.items():
            if type(inner) is str:
                if key in _VOCABULARY_KEYS and len(inner) <= _MAX_VOCABULARY_CHARS:
                    continue
                if key in _BINARY_KEYS and len(inner) >= _MIN_BINARY_CHARS and _is_binary(inner):
                    continue
                if inner:
                    found.append(Place(value, key, inner, _KEY_CHANNELS.get(key, channel)))
            elif type(inner) is dict or type(inner) is list:
                _walk(inner, _KEY_CHANNELS.get(key, channel), found, depth + 1)
            elif type(inner) is int and not -_MIN_NUMBER < inner < _MIN_NUMBER:
                found.append(Place(value, key, str(inner), channel))
            if key not in _FIELD_NAMES and (len(key) > _MAX_VOCABULARY_CHARS or not key.isidentifier()):
                found.append(Place(value, None, key, channel))
    elif type(value) is list:
        for at, inner in enumerate(value):
            if type(inner) is str:
                if inner:
                    found.append(Place(value, at, inner, channel))
            elif type(inner) is dict or type(inner) is list:
                _walk(inner, channel, found, depth + 1)
            elif type(inner) is float:
                break  # an embedding; its numbers are no text
            elif type(inner) is int and not -_MIN_NUMBER < inner < _MIN_NUMBER:
                found.append(Place(value, at, str(inner), channel))


def _is_binary(text: str) -> bool:
    """Base64, with or without a data URL's head."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if len(head) > 128 or not head.endswith(";base64"):
            return False
    return _BASE64.issuperset(text)


def _short(error: Exception) -> str:
    """The decoder's own words, which name a place and never quote the body."""
    return str(error)[:200]
