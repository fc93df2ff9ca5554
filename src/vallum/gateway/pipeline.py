"""The pipeline: the same stages for every endpoint, and an entry for every way a request can end.

authenticate, read, authorise, limit, inspect input, route, call, inspect output, record, release. An answer (of a
stream, its last event) leaves only when its entry is durable; what cannot be recorded is not answered. A client
that goes away takes its upstream request with it.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeVar

from vallum.gateway.authentication import Authenticator
from vallum.gateway.body import ClientGone, read_body, read_headers
from vallum.gateway.document import Place, decode_document, encode_document, segments_of
from vallum.gateway.exchange import Exchange
from vallum.gateway.guarding import Guarding
from vallum.gateway.limits import Limiter
from vallum.gateway.protocols import Usage, WireProtocol
from vallum.gateway.protocols.binary_tensors import HEADER as INFERENCE_HEADER
from vallum.gateway.providers import Call, ProviderPool, UpstreamStream
from vallum.gateway.refusals import Refused, refusal_of
from vallum.gateway.release import Reply
from vallum.gateway.released import Released, check_called, check_offered
from vallum.gateway.sse import Event, EventReader, render_event
from vallum.gateway.streaming import StreamGuard
from vallum.gateway.telemetry import Telemetry
from vallum.gateway.waiting import Waiting
from vallum.guards import Channel, GuardRunner, Inspection, Segment
from vallum.inventory import Application, Inventory
from vallum.kernel.actions import Action
from vallum.kernel.errors import VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.ledger.writer import LedgerWriter
from vallum.kernel.values import AssetRef, Subject

__all__ = ["Pipeline"]

_log = logging.getLogger("vallum.gateway")

T = TypeVar("T")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CHARS_PER_TOKEN = 4
_LARGE_BYTES = 65_536  # a millisecond's parsing; more goes to a thread
_WORTH_CHARS = 40  # a shorter instruction or passage is no measure of an answer
_LARGE_CHARS = 8_192
_MANY_SEGMENTS = 1_000
_PASSED_HEADERS = ("anthropic-beta",)
_PASSED_VALUE = re.compile(r"[a-z0-9-]{1,64}(?:, ?[a-z0-9-]{1,64}){0,15}")  # names of features, and nothing else


class Pipeline:
    """For one event loop."""

    def __init__(
        self, *, authenticator: Authenticator, gate: Gate, writer: LedgerWriter, inventory: Inventory,
        released: Released, limiter: Limiter, guarding: Guarding, pool: ProviderPool, telemetry: Telemetry,
        max_body_bytes: int, read_timeout_seconds: float, max_stream_chars: int,
    ) -> None:  # fmt: skip
        self._authenticator = authenticator
        self._gate = gate
        self._writer = writer
        self._inventory = inventory
        self._released = released
        self._limiter = limiter
        self._guarding = guarding
        self._pool = pool
        self._telemetry = telemetry
        self._max_body_bytes = max_body_bytes
        self._read_timeout_seconds = read_timeout_seconds
        self._max_stream_chars = max_stream_chars
        self._waiting = Waiting()

    async def close(self) -> None:
        await self._waiting.close()

    async def handle(
        self, protocol: WireProtocol, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        exchange = Exchange(protocol, {})
        reply = Reply(exchange, send)
        self._telemetry.begun()
        try:
            exchange.headers = read_headers(scope["headers"])
            exchange.subject = await self._authenticator.authenticate(exchange.headers)
        except Exception as e:  # noqa: BLE001  an outermost request loop: whatever happened, the client is told
            await self._turn_away(exchange, reply, e)
        else:
            await self._carry(exchange, reply, receive)
        finally:
            self._telemetry.ended(exchange)

    async def _carry(self, exchange: Exchange, reply: Reply, receive: Receive) -> None:
        """A subject is known: from here on every end leaves an entry."""
        watch: asyncio.Task[None] | None = None
        try:
            await self._read(exchange, receive)
            watch = _watch(exchange, receive)
            await self._admit(exchange)
            if exchange.streams:
                await self._stream(exchange, reply)
            else:
                await self._answer(exchange, reply)
        except asyncio.CancelledError:
            _forget_cancellation()
            await self._end_unanswered(exchange, "client_gone" if exchange.client_gone else "cancelled")
        except ClientGone:
            await self._end_unanswered(exchange, "client_gone")
        except Exception as e:  # noqa: BLE001  an outermost request loop: whatever happened, it is recorded and told
            await self._refuse(exchange, reply, e)
        finally:
            if watch is not None:
                watch.cancel()
            await self._give_back(exchange)

    # Stages before the call.

    async def _read(self, exchange: Exchange, receive: Receive) -> None:
        binary = exchange.protocol.takes_binary and INFERENCE_HEADER in exchange.headers
        raw = await read_body(
            receive, exchange.headers, self._max_body_bytes, self._read_timeout_seconds, binary=binary
        )  # fmt: skip
        if len(raw) > _LARGE_BYTES:
            await asyncio.to_thread(_take_up, exchange, raw)
        else:
            _take_up(exchange, raw)

    async def _admit(self, exchange: Exchange) -> None:
        self._authorise(exchange)
        await self._limit(exchange)
        await self._inspect_input(exchange)
        self._route(exchange)

    def _authorise(self, exchange: Exchange) -> None:
        subject, name = _known(exchange.subject), exchange.model_name
        declared = self._inventory.application(subject.id)
        if declared is not None:
            exchange.application, exchange.released = self._released.application(subject.id, declared)
        exchange.model_is_known = self._inventory.model(name) is not None
        decision = exchange.decision = self._gate.decide(subject, Action.MODEL_INVOKE, AssetRef("Model", name))
        # The application's own list holds whatever policies permit beyond it.
        application = exchange.application
        listed = application is not None and name in application.models
        listed = listed and (subject.models is None or name in subject.models)
        if decision.effect == "allow" and listed:
            if exchange.released is not None and exchange.protocol.has_tools:
                check_offered(exchange.document, exchange.released.tools)
            return
        if not listed:
            message = "model: this application has no model of that name; GET /v1/models lists those it has"
            raise Refused(404, "model_not_found", message, outcome="denied")
        raise Refused(403, "denied", decision.reason, outcome="denied")

    async def _limit(self, exchange: Exchange) -> None:
        application, subject = _known(exchange.application), _known(exchange.subject)
        model = _known(self._inventory.model(exchange.model_name))
        exchange.held = await self._limiter.take(
            subject.id, application, subject.credential or "", exchange.model_name, model,
            exchange.chars + len(_prompt(exchange)), exchange.protocol.max_output_tokens(exchange.document),
        )  # fmt: skip

    async def _inspect_input(self, exchange: Exchange) -> None:
        application = _known(exchange.application)
        if not self._guarding.is_built(application):  # some hundred milliseconds, or a model to load
            await asyncio.to_thread(self._guarding.build, application)
        runner = self._guarding.input(application)
        segments = segments_of(exchange.places, _known(exchange.subject).id)
        inspection = await self._inspect(exchange, runner, segments, exchange.chars)
        exchange.findings += inspection.findings
        exchange.inspected = True
        if inspection.action == "block":
            exchange.blocked = True
            raise Refused(400, "request_blocked", _blocked_by("request", inspection), outcome="blocked")
        exchange.tokens = inspection.tokens
        if self._guarding.judges_structure(application):
            await self._take_structure(exchange)  # as the caller wrote it, which is how the answer will leave
        if inspection.action == "redact":
            _replace(exchange.places, inspection.texts, 400, "request_blocked")

    async def _take_structure(self, exchange: Exchange) -> None:
        """A schema is its caller's, and may be large: others are answered while it is read."""
        schema = exchange.protocol.schema(exchange.document)
        if schema is not None:
            schema = decode_document(encode_document(schema))
            application = _known(exchange.application)
            exchange.structure = await asyncio.to_thread(self._guarding.structure, application, schema)

    def _route(self, exchange: Exchange) -> None:
        """The model asked for, then its fallbacks: of those, the ones policy allows and this endpoint can reach."""
        subject = _known(exchange.subject)
        allowed = _models(_known(exchange.application), subject)
        for candidate in self._pool.candidates(exchange.model_name, allowed):
            if candidate.provider.kind not in exchange.protocol.provider_kinds:
                continue
            if candidate.model_name != exchange.model_name:
                asset = AssetRef("Model", candidate.model_name)
                if self._gate.decide(subject, Action.MODEL_INVOKE, asset).effect != "allow":
                    continue
            exchange.candidates.append(candidate)
        if not exchange.candidates:
            message = "model: this one does not answer at this endpoint; use another"
            raise Refused(400, "wrong_endpoint", message, outcome="invalid")

    # An answer in one piece.

    async def _answer(self, exchange: Exchange, reply: Reply) -> None:
        exchange.answered_by, answer = await self._pool.call(exchange.candidates, _call(exchange))
        try:
            document = decode_document(answer.body)
        except VallumError:
            message = "the provider's answer is not a JSON object"
            raise Refused(502, "upstream_garbage", message, outcome="upstream_garbage") from None
        if exchange.released is not None and exchange.protocol.has_tools:
            check_called(document, exchange.released.tools)
        before = len(exchange.findings)
        try:
            await self._inspect_output(exchange, document)
        finally:
            answer.judged(len(exchange.findings) - before)
        exchange.usage = exchange.protocol.usage(document) or _estimated(exchange, len(answer.body))
        exchange.answer = encode_document(document)
        await self._record(exchange)  # with stand-ins: the ledger's contents need no value that a provider may not see
        body = _restored(exchange, document)
        packed = exchange.protocol.packed(document)
        if packed is None:
            await reply.json(200, body)
        else:
            await reply.tensors(*packed)

    async def _inspect_output(self, exchange: Exchange, document: dict[str, Any]) -> None:
        places = exchange.protocol.places(document, Channel.MODEL)
        runner = self._output_guards(exchange)
        chars = sum(len(place.text) for place in places)
        segments = segments_of(places, _known(exchange.answered_by).provider_name)
        inspection = await self._inspect(exchange, runner, segments, chars, answer=True)
        exchange.findings += inspection.findings
        if inspection.action == "block":
            exchange.blocked = True
            raise Refused(422, "answer_blocked", _blocked_by("answer", inspection), outcome="blocked")
        if inspection.action == "redact":
            _replace(places, inspection.texts, 422, "answer_blocked")
        if exchange.structure is not None:
            await self._check_structure(exchange, exchange.structure, document)

    async def _check_structure(self, exchange: Exchange, structure: GuardRunner, document: dict[str, Any]) -> None:
        """As it leaves: what was taken out must not have broken it either."""
        source = _known(exchange.answered_by).provider_name
        said = (exchange.tokens.restore(text) for text in exchange.protocol.answers(document))
        answers = [Segment(text, Channel.MODEL, source) for text in said]
        inspection = await self._inspect(exchange, structure, answers, 0, answer=True)
        exchange.findings += inspection.findings
        if inspection.action == "block":
            exchange.blocked = True
            raise Refused(422, "answer_blocked", _blocked_by("answer", inspection), outcome="blocked")

    async def _inspect(
        self, exchange: Exchange, runner: GuardRunner, segments: list[Segment], chars: int, *, answer: bool = False
    ) -> Inspection:
        """What is long, or waits for others, is inspected beside the event loop: others are answered meanwhile."""
        if runner.waits:
            name = _known(exchange.subject).id
            try:
                return await self._waiting.run(name, runner.budget_seconds, runner.inspect, segments, answer=answer)
            except TimeoutError:
                return runner.unfinished()
        if chars > _LARGE_CHARS or len(segments) > _MANY_SEGMENTS:
            return await asyncio.to_thread(runner.inspect, segments, answer=answer)
        return runner.inspect(segments, answer=answer)

    def _output_guards(self, exchange: Exchange) -> GuardRunner:
        instructions = _texts(exchange, Channel.SYSTEM)
        if len(_prompt(exchange)) >= _WORTH_CHARS:
            instructions.append(_prompt(exchange))
        passages = _texts(exchange, Channel.RETRIEVED) + _texts(exchange, Channel.TOOL)
        return self._guarding.output(_known(exchange.application), instructions, passages)

    # A stream.

    async def _stream(self, exchange: Exchange, reply: Reply) -> None:
        async with self._pool.stream(exchange.candidates, _call(exchange)) as (candidate, stream):
            exchange.answered_by = candidate
            runner = self._output_guards(exchange)
            guard = StreamGuard(
                exchange.protocol, runner, candidate.provider_name, self._max_stream_chars,
                exchange.tokens, exchange.structure,
            )  # fmt: skip
            try:
                last = await self._pass_on(exchange, reply, guard, stream)
            finally:
                exchange.findings += guard.findings
                exchange.usage = guard.usage or _estimated(exchange, guard.chars)
                exchange.answer = encode_document(guard.answer())
        await self._record(exchange)
        await reply.last_events(last)

    async def _pass_on(
        self, exchange: Exchange, reply: Reply, guard: StreamGuard, stream: UpstreamStream
    ) -> list[bytes]:
        """Everything but the last event goes out; that one comes back, to wait for the entry."""
        async for events in _events(stream.chunks):
            frames: list[bytes] = []
            for event in events:
                if exchange.released is not None:
                    _check_event(event, exchange.released.tools)
                is_last = exchange.protocol.is_last(event.name, event.data)
                if is_last and event.data.strip() == b"[DONE]":
                    frames += await self._judge_piece(exchange, guard, guard.finish)
                    frames.append(render_event(event.name, event.data))
                else:
                    frames += await self._judge_piece(exchange, guard, guard.feed, event)
                if guard.blocked:
                    exchange.blocked = True
                    raise Refused(422, "answer_blocked", "a guard blocked the rest of the answer", outcome="blocked")
                if is_last:
                    return frames
            if frames:
                await reply.events(frames)
        raise Refused(502, "stream_cut", "the provider ended its stream too soon", outcome="stream_cut")

    async def _judge_piece(
        self, exchange: Exchange, guard: StreamGuard, work: Callable[..., list[bytes]], *args: Event
    ) -> list[bytes]:
        if not guard.waits:
            return work(*args)
        try:
            return await self._waiting.run(_known(exchange.subject).id, guard.budget_seconds, work, *args)
        except TimeoutError:
            guard.give_up()
            return []

    # Ends.

    async def _record(self, exchange: Exchange) -> None:
        """Return once durable. Raises Unavailable, and nothing has left then."""
        request = encode_document(exchange.document) if exchange.inspected and not exchange.blocked else b""
        draft = exchange.draft(request)
        exchange.recorded = True  # before waiting: whoever is cancelled here has an entry, and needs no second
        try:
            await self._writer.record(draft)
        except VallumError:
            exchange.recorded = False
            raise

    async def _refuse(self, exchange: Exchange, reply: Reply, error: Exception) -> None:
        refused = refusal_of(error)
        if refused.error_code == "internal":
            _log.error("%s: %s", exchange.entry_id, type(error).__name__, exc_info=error)
        already = exchange.recorded
        exchange.status, exchange.outcome = refused.status, refused.outcome
        if not already:
            try:
                await self._record(exchange)
            except VallumError as e:
                _log.error("%s: no entry could be written", exchange.entry_id)
                refused = refusal_of(e)
                exchange.status, exchange.outcome = refused.status, "unrecorded"
        await reply.error(refused)

    async def _end_unanswered(self, exchange: Exchange, outcome: str) -> None:
        """Nobody waits for an answer any more; the entry is owed all the same."""
        if exchange.recorded:
            return
        exchange.status, exchange.outcome = 499, outcome
        try:
            await self._record(exchange)
        except VallumError:
            _log.error("%s: no entry could be written", exchange.entry_id)

    async def _turn_away(self, exchange: Exchange, reply: Reply, error: Exception) -> None:
        """Nobody is proven to be asking."""
        refused = refusal_of(error)
        exchange.status, exchange.outcome = refused.status, refused.outcome
        try:
            exchange.has_entry = await self._authenticator.record_failure(
                exchange.entry_id, refused, exchange.protocol.name
            )
        except VallumError as e:
            refused = refusal_of(e)
            exchange.status, exchange.outcome = refused.status, "unrecorded"
        await reply.error(refused)

    async def _give_back(self, exchange: Exchange) -> None:
        held = exchange.held
        if held is None:
            return
        try:
            await self._limiter.release(held)
            if exchange.usage is not None:
                model = (exchange.answered_by or exchange.candidates[0]).model
                await self._limiter.settle(held, model, exchange.usage.input_tokens, exchange.usage.output_tokens)
        except VallumError:
            _log.warning("%s: the counters did not answer; its leases end by themselves", exchange.entry_id)


def _take_up(exchange: Exchange, raw: bytes) -> None:
    exchange.document = exchange.protocol.read(raw, exchange.headers)
    exchange.protocol.check(exchange.document)
    exchange.places = exchange.protocol.places(exchange.document, Channel.USER)
    exchange.chars = sum(len(place.text) for place in exchange.places)
    exchange.model_name = exchange.protocol.model(exchange.document)


def _replace(places: list[Place], texts: Sequence[str], status: int, code: str) -> None:
    """Put each changed text in its place.

    Raises Refused where a text and what is encoded in it both changed: one would undo the other.
    """
    changed: set[tuple[int, object]] = set()
    for place, text in zip(places, texts, strict=True):
        if text == place.text:
            continue
        at = (id(place.container), place.key)
        if at in changed and place.key is not None:
            raise Refused(
                status, code, "a text and the base64 in it both hold something to take out", outcome="blocked"
            )
        changed.add(at)
        place.replace(text)


def _restored(exchange: Exchange, document: dict[str, Any]) -> bytes:
    if not exchange.tokens:
        return exchange.answer
    for place in exchange.protocol.places(document, Channel.MODEL):
        text = exchange.tokens.restore(place.text)
        if text != place.text:
            place.replace(text)
    return encode_document(document)


def _texts(exchange: Exchange, channel: Channel) -> list[str]:
    return [place.text for place in exchange.places if place.channel is channel and len(place.text) >= _WORTH_CHARS]


def _prompt(exchange: Exchange) -> str:
    return exchange.released.prompt if exchange.released is not None else ""


def _check_event(event: Event, allowed: frozenset[str]) -> None:
    """A name comes whole in the event that begins a call; what is no JSON the guard refuses."""
    if b"_call" in event.data or b"tool_use" in event.data or b"\\u" in event.data:
        try:
            document = decode_document(event.data)
        except VallumError:
            return
        check_called(document, allowed)


def _models(application: Application, subject: Subject) -> frozenset[str]:
    """The application's, or those of them that the key is for."""
    own = frozenset(application.models)
    return own if subject.models is None else own & subject.models


def _call(exchange: Exchange) -> Call:
    passed = {name: exchange.headers[name] for name in _PASSED_HEADERS if name in exchange.headers}
    headers = {n: v for n, v in passed.items() if _PASSED_VALUE.fullmatch(v)}
    subject = _known(exchange.subject)
    prompt = _prompt(exchange)
    document = exchange.protocol.instructed(exchange.document, prompt) if prompt else exchange.document
    person = subject.on_behalf_of  # who stays on one side of a trial; what names nobody is divided one by one
    return Call(
        exchange.protocol, document, exchange.model_name, headers,
        subject.id, exchange.entry_id if person is None else person.render(), exchange.entry_id, exchange.findings,
        exchange.served,
    )  # fmt: skip


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Event]]:
    """Those that each piece of the stream completes."""
    reader = EventReader()
    async for chunk in chunks:
        yield list(reader.feed(chunk))
    yield list(reader.finish())


def _watch(exchange: Exchange, receive: Receive) -> "asyncio.Task[None]":
    """Cancel the request's own task when the client goes away."""
    carrying = asyncio.current_task()

    async def watch() -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                exchange.client_gone = True
                if carrying is not None:
                    carrying.cancel()
                return

    return asyncio.create_task(watch())


def _forget_cancellation() -> None:
    """The cancellation was for the work, which has stopped; what is still owed (the entry) goes on undisturbed."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _blocked_by(what: str, inspection: Inspection) -> str:
    kinds = sorted({f"{f.guard}/{f.kind}" for f in inspection.findings if f.action == "block"})
    return f"a guard blocked this {what}: {', '.join(kinds)}"


def _estimated(exchange: Exchange, answer_chars: int) -> Usage:
    """For a provider that does not count: about four characters a token."""
    return Usage(exchange.chars // _CHARS_PER_TOKEN, answer_chars // _CHARS_PER_TOKEN)


def _known(value: T | None) -> T:
    """A stage set this before; that it did not is a defect, and refuses."""
    if value is None:
        raise RuntimeError("a stage of the pipeline was skipped")
    return value
