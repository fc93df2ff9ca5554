"""Server-sent events, as far as the inference APIs use them (WHATWG HTML, section 9.2).

Answers an upstream that sends one endless line, garbage, or bytes that are no UTF-8: each ends the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vallum.kernel.errors import Invalid

__all__ = ["Event", "EventReader", "render_event"]

MAX_EVENT_BYTES = 4_194_304  # a whole answer comes as one event at the end of a Responses stream


class StreamMalformed(Invalid):
    """The upstream's stream is not one of events."""

    code = "upstream_garbage"


@dataclass(frozen=True, slots=True)
class Event:
    name: str  # empty when the stream names none
    data: bytes


class EventReader:
    """Bytes in, as they arrive; whole events out."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Raises StreamMalformed for an event that is too large."""
        buffer = self._buffer + chunk
        if b"\r" in buffer:
            # A CR at the very end may be half of a CRLF; it waits.
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer[: len(buffer) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *frames, self._buffer = buffer.split(b"\n\n")
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise StreamMalformed("the provider sent an event that does not end")
        for frame in frames:
            event = _parse(frame)
            if event is not None:
                yield event

    def finish(self) -> Iterator[Event]:
        """The last event, where the stream ended without its blank line."""
        event = _parse(self._buffer.replace(b"\r", b"\n"))
        self._buffer = b""
        if event is not None:
            yield event


def render_event(name: str, data: bytes) -> bytes:
    if name:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"


def _parse(frame: bytes) -> Event | None:
    """None for a comment or a frame without data, which clients drop too."""
    if frame.startswith(b"data: ") and b"\n" not in frame:  # as nearly all of OpenAI's are
        return Event("", frame[6:])
    name = b""
    lines: list[bytes] = []
    for line in frame.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip()
    if not lines:
        return None
    return Event(name.decode("utf-8", "replace"), b"\n".join(lines))
