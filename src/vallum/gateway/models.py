"""`GET /v1/models`: what an application may ask for, in the shape of whichever SDK asks."""

from collections.abc import Mapping
from typing import Any

from vallum.gateway.authentication import Authenticator
from vallum.gateway.body import read_headers
from vallum.gateway.document import encode_document
from vallum.gateway.exchange import Exchange
from vallum.gateway.protocols import AnthropicMessages, OpenAiChat
from vallum.gateway.refusals import Refused, refusal_of
from vallum.gateway.release import Reply, Send
from vallum.gateway.released import Released
from vallum.inventory import Inventory
from vallum.kernel.actions import Action
from vallum.kernel.errors import VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.ledger.writer import LedgerWriter
from vallum.kernel.values import AssetRef, Decision, Subject

__all__ = ["ModelList"]

_EPOCH_TEXT = "1970-01-01T00:00:00Z"  # a name that leads somewhere has no birthday; the SDKs want one


class ModelList:
    def __init__(
        self, authenticator: Authenticator, gate: Gate, writer: LedgerWriter, inventory: Inventory, released: Released
    ) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._writer = writer
        self._inventory = inventory
        self._released = released

    async def handle(self, raw_headers: list[tuple[bytes, bytes]], name: str | None, send: Send) -> None:
        """All of them, or the one named."""
        protocol = AnthropicMessages() if _wants_anthropic(raw_headers) else OpenAiChat()
        exchange = Exchange(protocol, {})
        reply = Reply(exchange, send)
        names = await self.listed(exchange, reply, raw_headers, name)
        if names is None:
            return
        render = _anthropic if isinstance(protocol, AnthropicMessages) else _openai
        await reply.json(200, encode_document(render(names, name)))

    async def listed(
        self, exchange: Exchange, reply: Reply, raw_headers: list[tuple[bytes, bytes]], name: str | None
    ) -> list[str] | None:
        """The names that whoever asks may use, recorded; None once the refusal has been sent, of an unlisted `name`
        too."""
        try:
            exchange.headers = read_headers(raw_headers)
            exchange.subject = await self._authenticator.authenticate(exchange.headers)
        except VallumError as e:
            refused = refusal_of(e)
            try:
                exchange.has_entry = await self._authenticator.record_failure(exchange.entry_id, refused, "models")
            except VallumError as unrecorded:
                refused = refusal_of(unrecorded)
            await reply.error(refused)
            return None
        try:
            names = await self._admit(exchange.subject, exchange.entry_id)
            if name is not None and name not in names:
                raise Refused(404, "model_not_found", "this application has no model of that name", outcome="invalid")
        except VallumError as e:
            await reply.error(refusal_of(e))
            return None
        return names

    async def _admit(self, subject: Subject, entry_id: str) -> list[str]:
        asset = AssetRef("Application", subject.id)
        decision = self._gate.decide(subject, Action.MODEL_LIST, asset)
        await self._writer.record(
            EntryDraft(
                entry_id=entry_id,
                tenant=subject.tenant,
                kind="decision",
                subject=subject.render(),
                credential=subject.credential,
                action=Action.MODEL_LIST.value,
                asset=asset.render(),
                effect=decision.effect,
                outcome="ok" if decision.effect == "allow" else "denied",
                policies=decision.policies,
                policy_set=decision.policy_set,
                reason=decision.reason,
                context=_context(subject, decision),
            )
        )
        if decision.effect != "allow":
            raise Refused(403, "denied", decision.reason, outcome="denied")
        application = self._inventory.application(subject.id)
        if application is not None:
            application, _ = self._released.application(subject.id, application)
        own = set(application.models) if application is not None else set()
        return sorted(own if subject.models is None else own & subject.models)


def _context(subject: Subject, decision: Decision) -> dict[str, str | int]:
    behalf = {"on_behalf_of": subject.on_behalf_of.render()} if subject.on_behalf_of is not None else {}
    return {**behalf, **({"basis": decision.basis} if decision.basis else {})}


def _wants_anthropic(raw_headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"anthropic-version" for name, _ in raw_headers)


def _openai(names: list[str], name: str | None) -> Mapping[str, Any]:
    models = [{"id": n, "object": "model", "created": 0, "owned_by": "vallum"} for n in names if name in (None, n)]
    return models[0] if name is not None else {"object": "list", "data": models}


def _anthropic(names: list[str], name: str | None) -> Mapping[str, Any]:
    models = [
        {"type": "model", "id": n, "display_name": n, "created_at": _EPOCH_TEXT} for n in names if name in (None, n)
    ]
    if name is not None:
        return models[0]
    first, last = (names[0], names[-1]) if names else (None, None)
    return {"data": models, "has_more": False, "first_id": first, "last_id": last}
