"""Guarding a stream: its events in, and of each only what may leave.

Texts that arrive in pieces are held back by a StreamInspector each; everything else in an event is inspected whole.
A path that ended gets no more text: a stream that goes on with it is cut, since its client would join what was
judged apart.
"""

from collections.abc import Iterator
from typing import Any

from vallum.gateway.document import decode_document, encode_document, text_places
from vallum.gateway.protocols import Usage, WireProtocol
from vallum.gateway.protocols.port import Delta, Path
from vallum.gateway.refusals import Refused
from vallum.gateway.sse import Event, render_event
from vallum.guards import (
    Channel,
    Counted,
    Finding,
    GuardRunner,
    Mode,
    Restorer,
    Segment,
    StreamInspector,
    Structure,
    Tokens,
)
from vallum.guards.structure import KINDS as STRUCTURE_KINDS
from vallum.kernel.errors import Invalid

__all__ = ["StreamGuard"]

_MAX_KEPT_WHOLE = 4096  # distinct short texts remembered as clean: ids and names that every event repeats


class StreamGuard:
    """One stream. `findings`, `usage` and `texts` grow as it goes; `blocked` stays once set."""

    def __init__(
        self,
        protocol: WireProtocol,
        runner: GuardRunner,
        source: str,
        max_chars: int,
        tokens: Tokens | None = None,
        structure: GuardRunner | None = None,
    ) -> None:
        """`tokens` are the stand-ins of the request: they leave as the values that its caller sent.

        `structure` judges what the model says once it is whole, as it would leave; where that may block, nothing of
        it leaves before.
        """
        self._structure = structure
        self._holds = structure is not None and _may_block(structure)
        self._held: dict[Path, list[str]] = {}
        self._judged: set[str] = {""}  # answers whose structure was judged
        self._tokens = tokens or Tokens()
        self._restorers: dict[Path, Restorer] = {}
        self._protocol = protocol
        self._runner = runner
        self._source = source
        self._max_chars = max_chars
        self.chars = 0
        self._inspectors: dict[Path, StreamInspector] = {}
        self._ended: list[Path] = []
        self._clean: set[str] = set()
        self._last_event: dict[str, Any] = {}
        self._clean_event: dict[str, Any] = {}  # the last one inspected, without its pieces of text
        self.findings: list[Counted] = []
        self.blocked = False
        self.usage: Usage | None = None
        self.texts: dict[Path, list[str]] = {}

    @property
    def waits(self) -> bool:
        """Whether judging a piece may take its time: then it is no work for an event loop's thread."""
        return self._runner.waits or self._structure is not None

    @property
    def budget_seconds(self) -> float:
        return self._runner.budget_seconds

    def give_up(self) -> None:
        """Nobody waits for the guards any longer: nothing more leaves."""
        self._note(self._runner.unfinished().findings, blocked=True)

    def feed(self, event: Event) -> list[bytes]:
        """What of this event may leave now, in order. Raises Refused for a stream that must be cut."""
        document = _decode(event.data)
        self._last_event = document
        frames: list[bytes] = []
        ended = None
        try:
            deltas = self._protocol.deltas(document)
            texts = [delta.take() for delta in deltas]
            is_new = document != self._clean_event  # most events differ in nothing but the piece of text they bring
            if is_new:
                self._note_usage(document)
                ended = self._protocol.ended(document)
        except (TypeError, AttributeError, KeyError, ValueError):
            raise _garbage("the provider sent an event of no known shape") from None
        if is_new:
            self._clean_event = {}
            self._inspect_rest(document)
            if self.blocked:
                return []
            if ended is None:
                self._clean_event = decode_document(encode_document(document))
        released = 0
        for delta, text in zip(deltas, texts, strict=True):
            released += self._inspect_delta(delta, text)
            if self.blocked:
                return []
        if ended is not None:
            # What this very event says belongs before what was held: its own piece goes out with the rest.
            for delta in deltas:
                frames += self._split_off(document, delta)
            frames += self._end(document, ended)
            if self.blocked:
                return []
        if released or not deltas or not self._protocol.is_empty(document):
            frames.append(render_event(event.name, encode_document(document)))
        return frames

    def finish(self) -> list[bytes]:
        """The stream is over: judge and release what was held."""
        return self._end(self._last_event, ())

    def answer(self) -> dict[str, str]:
        """Each text of the answer as it left."""
        return {"/".join(map(str, path)): "".join(pieces) for path, pieces in list(self.texts.items())}

    # Texts in pieces.

    def _inspect_delta(self, delta: Delta, text: str) -> int:
        """How many characters may leave now; the delta holds them."""
        self.chars += len(text)
        if self.chars > self._max_chars:
            message = "the answer is longer than this gateway lets through"
            raise Refused(502, "stream_too_long", message, outcome="stream_too_long")
        too_much = self._runner.too_much(self.chars) if len(self._inspectors) > 1 else None
        if too_much is not None and too_much.action == "block":  # each text by itself may be small enough
            self._note(too_much.findings, blocked=True)
            return 0
        if self._ended and any(delta.path[: len(path)] == path for path in self._ended):
            raise _garbage("the provider went on with a text it had ended")
        if delta.whole:
            return self._inspect_whole(delta, text)
        inspector = self._inspectors.get(delta.path)
        if inspector is None:
            inspector = self._inspectors[delta.path] = StreamInspector(self._runner)
        released = inspector.feed(text)
        if released.findings or released.blocked:
            self._note(released.findings, blocked=released.blocked)
        if released.text:
            self.texts.setdefault(delta.path, []).append(released.text)
        leaving = self._hold(delta.path, self._restored(delta.path, released.text))
        delta.container[delta.key] = leaving
        return len(leaving)

    def _hold(self, path: Path, text: str) -> str:
        """What of a text may leave before its structure is known."""
        if self._structure is None or not self._protocol.is_answer(path):
            return text
        self._held.setdefault(path, []).append(text)
        return "" if self._holds else text

    def _judge_structure(self, path: Path) -> str:
        """The text has ended: what of it was held, when it keeps the structure or nobody minds."""
        whole = "".join(self._held.pop(path, ()))
        if self._structure is None or not whole:
            return ""
        self._judge_whole(self._structure, [whole])
        return whole if self._holds and not self.blocked else ""

    def _inspect_whole(self, delta: Delta, text: str) -> int:
        inspection = self._runner.inspect([Segment(text, Channel.MODEL, self._source)], answer=True)
        self._note(inspection.findings, blocked=inspection.action == "block")
        delta.container[delta.key] = self._tokens.restore(inspection.texts[0])
        if text:
            self._ended.append(delta.path)
        return len(text)

    def _restored(self, path: Path, text: str, *, final: bool = False) -> str:
        if not self._tokens:
            return text
        restorer = self._restorers.setdefault(path, Restorer(self._tokens))
        return restorer.feed(text) + (restorer.finish() if final else "")

    def _split_off(self, document: dict[str, Any], delta: Delta) -> Iterator[bytes]:
        """An event that both goes on with a text and ends it: the text goes first, by itself."""
        if delta.text:
            name, event = self._protocol.render_delta(document, delta.path, delta.text)
            delta.container[delta.key] = ""
            yield render_event(name, encode_document(event))

    def _end(self, like: dict[str, Any], prefix: Path) -> list[bytes]:
        frames: list[bytes] = []
        for path in [p for p in self._inspectors if p[: len(prefix)] == prefix]:
            released = self._inspectors.pop(path).finish()
            self._note(released.findings, blocked=released.blocked)
            if self.blocked:
                return []
            if released.text:
                self.texts.setdefault(path, []).append(released.text)
            leaving = self._hold(path, self._restored(path, released.text, final=True)) + self._judge_structure(path)
            if self.blocked:
                return []
            if leaving:
                name, event = self._protocol.render_delta(like, path, leaving)
                frames.append(render_event(name, encode_document(event)))
        self._ended.append(prefix)
        return frames

    # Everything else.

    def _inspect_rest(self, document: dict[str, Any]) -> None:
        """Everything in the event but its pieces of text, which were taken out."""
        for place in text_places(document, Channel.MODEL):
            text = place.text
            if text in self._clean:
                continue
            inspection = self._runner.inspect([Segment(text, Channel.MODEL, self._source)], answer=True)
            self._note(inspection.findings, blocked=inspection.action == "block")
            leaving = self._tokens.restore(inspection.texts[0])
            if leaving != text:
                place.replace(leaving)
            elif inspection.action == "allow" and len(text) <= 256 and len(self._clean) < _MAX_KEPT_WHOLE:
                self._clean.add(text)
        if self._structure is not None:
            self._judge_whole(self._structure, self._protocol.answers(document))

    def _judge_whole(self, structure: GuardRunner, texts: list[str]) -> None:
        """An event that says an answer whole: some clients read it there."""
        fresh = [Segment(text, Channel.MODEL, self._source) for text in texts if text not in self._judged]
        if fresh:
            self._judged.update(segment.text for segment in fresh)
            inspection = structure.inspect(fresh, answer=True)
            self._note(inspection.findings, blocked=inspection.action == "block")

    def _note(self, findings: tuple[Counted, ...], *, blocked: bool) -> None:
        self.findings += findings
        self.blocked = self.blocked or blocked

    def _note_usage(self, document: dict[str, Any]) -> None:
        usage = self._protocol.usage(document)
        if usage is not None:
            before = self.usage or Usage(0, 0)
            self.usage = Usage(
                max(usage.input_tokens, before.input_tokens), max(usage.output_tokens, before.output_tokens)
            )


def _may_block(structure: GuardRunner) -> bool:
    found = (Finding(Structure.name, Structure.version, kind, 0, 1) for kind in STRUCTURE_KINDS)
    return any(structure.mode_of(finding, Channel.MODEL) is Mode.BLOCK for finding in found)


def _decode(data: bytes) -> dict[str, Any]:
    try:
        return decode_document(data)
    except Invalid:
        raise _garbage("the provider sent an event that is not JSON") from None


def _garbage(message: str) -> Refused:
    return Refused(502, "upstream_garbage", message, outcome="upstream_garbage")
