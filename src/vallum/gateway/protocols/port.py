"""What is different between the APIs that clients speak; the pipeline is the same for all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vallum.gateway.document import Place
from vallum.gateway.refusals import Refused
from vallum.guards import Channel

__all__ = ["Delta", "Path", "PlainAnswer", "Usage", "WireProtocol"]

Path = tuple[str | int, ...]  # which text of a stream a delta goes on with


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Delta:
    """One piece of a text that arrives in pieces; `container[key]` holds it."""

    path: Path
    container: dict[str, Any]
    key: str
    whole: bool = False  # it comes once, as a tool's name does; a second piece is refused

    @property
    def text(self) -> str:
        return str(self.container[self.key])

    def take(self) -> str:
        """The text, which the container no longer holds."""
        text = self.text
        self.container[self.key] = ""
        return text


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """An answer made here, for the built-in provider to speak every API."""

    model: str
    text: str
    usage: Usage


class WireProtocol(Protocol):
    """One endpoint of one API."""

    name: str  # the gen_ai.operation.name of OpenTelemetry, or close to it
    path: str  # below /v1, where it has one of its own
    provider_kinds: frozenset[str]
    takes_binary: bool  # bodies of JSON and of tensors after it
    has_tools: bool  # a request offers some, and an answer calls them

    def read(self, raw: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """The document of a body. Raises Invalid for one that holds none."""
        ...

    def check(self, document: dict[str, Any]) -> None:
        """Raises Invalid for a document that cannot be such a request, saying which field and what it must be."""
        ...

    def model(self, document: Mapping[str, Any]) -> str:
        """The name that the request asks for."""
        ...

    def places(self, document: dict[str, Any], channel: Channel) -> list[Place]:
        """Every text of a request, or of an answer, that guards look at."""
        ...

    def instructed(self, document: dict[str, Any], text: str) -> dict[str, Any]:
        """The request with `text` before its own instructions, as the provider gets it; as it is where there are none
        to give. What is given is left as it was."""
        ...

    def packed(self, answer: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
        """The answer in binary, and how long the JSON in front of it is; None for JSON alone."""
        ...

    def max_output_tokens(self, document: Mapping[str, Any]) -> int | None: ...

    def question(self, document: Mapping[str, Any]) -> str:
        """The newest words of the user, for the built-in provider."""
        ...

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        """From an answer or an event of a stream."""
        ...

    def render_answer(self, answer: PlainAnswer) -> dict[str, Any]: ...

    def render_stream(self, answer: PlainAnswer) -> Iterator[bytes]: ...

    def render_error(self, refused: Refused, entry_id: str | None) -> dict[str, Any]: ...

    def render_error_event(self, refused: Refused, entry_id: str) -> bytes: ...

    def schema(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The JSON Schema that the request asks the answer to keep; an empty one for any JSON, None for none."""
        ...

    def answers(self, answer: Mapping[str, Any]) -> list[str]:
        """What the model said, without tool calls and refusals: what a schema is about. What is empty says nothing.

        An event of a stream has some where it says a text whole, as its end often does.
        """
        ...

    # Streams.

    def is_answer(self, path: Path) -> bool:
        """Whether a text of a stream is one of `answers`."""
        ...

    def is_last(self, name: str, data: bytes) -> bool:
        """Whether nothing follows this event: it leaves only after the entry is durable."""
        ...

    def deltas(self, event: dict[str, Any]) -> Sequence[Delta]: ...

    def ended(self, event: Mapping[str, Any]) -> Path | None:
        """The prefix of the paths that get no more text after this event; None when it ends none."""
        ...

    def is_empty(self, event: Mapping[str, Any]) -> bool:
        """Whether an event whose deltas were emptied says nothing else, and may be left out."""
        ...

    def render_delta(self, like: Mapping[str, Any], path: Path, text: str) -> tuple[str, dict[str, Any]]:
        """An event that goes on with `path`, with the identifying fields of `like`: its name and its document."""
        ...
