"""A request's or answer's JSON, and every piece of text in it.

The document that was inspected is the document that is sent on: it is decoded once and encoded again, so that no
duplicate key, odd escape or unknown field reaches the other side unseen. Text is found wherever it stands, not
only where an API's manual puts it: a key nobody documents is a way out like any other.
"""

import base64
import re
from typing import Any

import msgspec

from vallum.guards import Channel, Segment
from vallum.kernel.errors import Invalid

__all__ = ["Place", "decode_document", "encode_document", "segments_of", "text_places"]

MAX_DEPTH = 64  # real requests nest about ten deep

Document = dict[str, Any]

_decode = msgspec.json.Decoder().decode
encode_document = msgspec.json.Encoder().encode

# Values of closed vocabularies that nearly every message has: they hold nothing.
_VOCABULARY = frozenset(
    {"system", "developer", "user", "assistant", "tool", "function", "text", "input_text", "output_text", "image_url",
     "message", "list", "stop", "length", "tool_calls", "tool_use", "tool_result", "end_turn", "max_tokens",
     "content_filter", "stop_sequence", "completed", "in_progress", "chat.completion", "chat.completion.chunk",
     "object", "string", "array", "number", "integer", "boolean", "auto", "none", "low", "high", "response",
     "embedding", "json_object", "json_schema", "content_block_delta", "text_delta", "input_json_delta",
     "response.output_text.delta"}
)  # fmt: skip
# Fields of the APIs, whose names need no look; the name of any other field is a text like any other.
_FIELD_NAMES = frozenset(
    {"role", "content", "model", "messages", "choices", "index", "delta", "finish_reason", "id", "object", "created",
     "usage", "message", "type", "text", "stream", "system_fingerprint", "logprobs", "name", "tools", "tool_calls",
     "function", "arguments", "parameters", "properties", "description", "required", "tool_call_id", "tool_choice",
     "stream_options", "include_usage", "max_tokens", "max_completion_tokens", "max_output_tokens", "temperature",
     "top_p", "stop", "seed", "user", "metadata", "input", "instructions", "system", "output", "status", "stop_reason",
     "stop_sequence", "annotations", "refusal", "image_url", "url", "source", "media_type", "data", "input_tokens",
     "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens", "service_tier", "response_format",
     "content_block", "partial_json", "item_id", "output_index", "content_index", "sequence_number", "item", "part"}
)  # fmt: skip
# Those whose value names something: a model, a type, a tool.
_NAMING_FIELDS = frozenset(
    {"model", "type", "name", "format", "id", "user", "effort", "detail", "service_tier", "status", "tool_call_id",
     "call_id", "tool_use_id", "encoding_format", "language", "voice", "$ref", "verbosity", "summary"}
)  # fmt: skip
_ONE_WORD = re.compile(r"\S{1,128}")
# How images, audio and documents begin. Base64 that begins otherwise is text like any other.
_MEDIA_MAGIC = (
    b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF", b"%PDF-", b"PK\x03\x04", b"OggS", b"ID3",
    b"\xff\xfb", b"\xff\xf3", b"fLaC", b"\x1aE\xdf\xa3",
)  # fmt: skip
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_DATA_HEAD = re.compile(r"data:[\w.+-]{1,64}/[\w.+-]{1,64}(?:;[\w.=-]{1,64}){0,4};base64,", re.ASCII)
_MIN_ENCODED_CHARS = 24
_MIN_MEDIA_CHARS = 256  # smaller is worth a look anyway
_MIN_NUMBER = 10**8  # a card or account number may travel as a number
MAX_PARTS = 200_000  # strings, numbers and names in one document; a real one has thousands at most

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
    if len(raw) > MAX_PARTS and raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_PARTS:
        raise NotADocument(f"the body has more than {MAX_PARTS} parts")  # before each of them takes memory
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

    __slots__ = ("channel", "container", "head", "key", "text")

    def __init__(
        self, container: Any, key: str | int | None, text: str, channel: Channel, head: str | None = None
    ) -> None:
        self.container = container
        self.key = key  # None: the text is a key of `container`
        self.text = text
        self.channel = channel
        self.head = head  # not None: the text stands there as base64 behind this

    @property
    def is_field(self) -> bool:
        """Whether it names something: a key, or one word in a field for that. What is said stands elsewhere."""
        return self.key is None or (self.key in _NAMING_FIELDS and _ONE_WORD.fullmatch(self.text) is not None)

    def replace(self, text: str) -> None:
        if self.key is None:
            number, name = 1, text
            while name in self.container:  # two names that become one would lose a value
                number, name = number + 1, f"{text}_{number + 1}"
            self.container[name] = self.container.pop(self.text)
        elif self.head is not None:
            self.container[self.key] = self.head + base64.b64encode(text.encode("utf-8", "replace")).decode()
        else:
            self.container[self.key] = text


def text_places(document: Document, channel: Channel) -> list[Place]:
    """Every text of the document, outermost first. Raises NotADocument for one that nests too deeply."""
    found: list[Place] = []
    _walk(document, channel, found, 0)
    return found


def segments_of(places: list[Place], source: str) -> list[Segment]:
    return [Segment(p.text, p.channel, source, p.channel is Channel.SYSTEM, p.is_field) for p in places]


def _walk(value: Any, channel: Channel, found: list[Place], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotADocument("the body nests too deeply")
    if type(value) is dict:
        role = value.get("role")
        if type(role) is str and depth <= _MESSAGE_DEPTH:
            channel = _ROLE_CHANNELS.get(role, channel)
        kind = value.get("type")
        if type(kind) is str:
            channel = _TYPE_CHANNELS.get(kind, channel)
        for key, inner in value.items():
            if type(inner) is str:
                if inner and inner not in _VOCABULARY:
                    _add(value, key, inner, _channel_of(key, channel, depth), found)
            elif type(inner) is dict or type(inner) is list:
                _walk(inner, _channel_of(key, channel, depth), found, depth + 1)
            else:
                _add_number(value, key, inner, channel, found)
            if key not in _FIELD_NAMES:
                found.append(Place(value, None, key, channel))
    elif type(value) is list:
        for at, inner in enumerate(value):
            if type(inner) is str:
                if inner:
                    _add(value, at, inner, channel, found)
            elif type(inner) is dict or type(inner) is list:
                _walk(inner, channel, found, depth + 1)
            elif type(inner) is not float or abs(inner) >= _MIN_NUMBER:  # an embedding is thousands of small floats
                _add_number(value, at, inner, channel, found)


# Who speaks is said by the request itself and by its messages. What says so further in is somebody's text: a tool
# result that calls itself the system is a tool result.
_MESSAGE_DEPTH = 2


def _channel_of(key: str, channel: Channel, depth: int) -> Channel:
    return _KEY_CHANNELS.get(key, channel) if depth == 0 else channel


def _add(container: Any, key: str | int, text: str, channel: Channel, found: list[Place]) -> None:
    """A text, and what it says where it is base64 of readable text; nothing, where it is an image or a file."""
    if len(text) >= _MIN_ENCODED_CHARS and (text.startswith("data:") or " " not in text[:64]):
        head = _DATA_HEAD.match(text)
        encoded = text[head.end() :] if head else text
        if _BASE64.fullmatch(encoded):
            inner = _text_in(encoded)
            is_large = head is not None or len(encoded) > _MIN_MEDIA_CHARS
            if inner is None and is_large and _is_media(_decoded(encoded[:64])):
                return
            if inner is not None:
                found.append(Place(container, key, inner, channel, head.group() if head else ""))
    found.append(Place(container, key, text, channel))


def _is_media(start: bytes) -> bool:
    return start.startswith(_MEDIA_MAGIC) or start[4:8] == b"ftyp"


def _text_in(encoded: str) -> str | None:
    """What base64 says when that is readable text, as a secret would be that somebody wrapped."""
    try:
        text = _decoded(encoded).decode()
    except UnicodeDecodeError:
        return None
    return text if text and (text.isprintable() or text.replace("\n", "").replace("\r", "").isprintable()) else None


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4))
    except ValueError:
        return b""


def _add_number(container: Any, key: str | int, number: Any, channel: Channel, found: list[Place]) -> None:
    if type(number) is float and number.is_integer():
        number = int(number)
    if type(number) is int and not -_MIN_NUMBER < number < _MIN_NUMBER:
        found.append(Place(container, key, str(number), channel))


def _short(error: Exception) -> str:
    """The decoder's own words, which name a place and never quote the body."""
    return str(error)[:200]
