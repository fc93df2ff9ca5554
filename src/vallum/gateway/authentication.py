"""Which application is asking, by its API key or by a token that says for whom; and an entry for those that cannot say.

A flood of bad keys must not become a flood of entries: the first of each second is recorded at once, the others
are counted into the next.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic

from vallum.gateway.refusals import Refused
from vallum.kernel.actions import Action
from vallum.kernel.errors import Unauthenticated, VallumError
from vallum.kernel.identity import ApiKeys, Delegations
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.ledger.writer import LedgerWriter
from vallum.kernel.values import Subject

__all__ = ["Authenticator"]

_WINDOW_SECONDS = 1.0
_JWT = "eyJ"  # how the base64url of a JSON object begins; no API key does


class Authenticator:
    """For one event loop."""

    def __init__(self, api_keys: ApiKeys, delegations: Delegations, writer: LedgerWriter) -> None:
        self._api_keys = api_keys
        self._delegations = delegations
        self._writer = writer
        self._uncounted = 0
        self._next_at = 0.0
        self._flush: asyncio.Task[None] | None = None

    async def authenticate(self, headers: Mapping[str, str]) -> Subject:
        """The application whose key or token this is. Raises Unauthenticated."""
        secret = _key_in(headers)
        known: ApiKeys | Delegations = self._delegations if secret.startswith(_JWT) else self._api_keys
        subject = known.recognise(secret)
        if subject is None:
            subject = await asyncio.to_thread(known.authenticate, secret)
        return subject

    async def record_failure(self, entry_id: str, refused: Refused, endpoint: str) -> bool:
        """True when it has an entry of that id; False when it is counted into another. Raises Unavailable."""
        now = monotonic()
        if now < self._next_at:
            self._uncounted += 1
            if self._flush is None or self._flush.done():
                self._flush = asyncio.create_task(self._record_the_rest(endpoint, self._next_at - now))
            return False
        self._next_at = now + _WINDOW_SECONDS
        await self._writer.record(_draft(entry_id, refused.outcome, endpoint, self._taken() + 1))
        return True

    async def close(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
        if self._uncounted:
            await self._writer.record(_draft(None, "unauthenticated", "-", self._taken()))

    async def _record_the_rest(self, endpoint: str, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        attempts = self._taken()
        try:
            await self._writer.record(_draft(None, "unauthenticated", endpoint, attempts))
        except VallumError:
            self._uncounted += attempts  # they go into the next that succeeds

    def _taken(self) -> int:
        attempts, self._uncounted = self._uncounted, 0
        return attempts


def _key_in(headers: Mapping[str, str]) -> str:
    given = headers.get("x-api-key", "")
    bearer = headers.get("authorization", "")
    if bearer:
        scheme, _, token = bearer.partition(" ")
        if scheme.lower() != "bearer" or (given and given != token.strip()):
            raise Unauthenticated("send the API key as Authorization: Bearer, or as x-api-key")
        given = token.strip()
    if not given:
        raise Unauthenticated("send an API key, as Authorization: Bearer or as x-api-key")
    return given


def _draft(entry_id: str | None, outcome: str, endpoint: str, attempts: int) -> EntryDraft:
    return EntryDraft(
        entry_id=entry_id,
        tenant=DEFAULT_TENANT,
        kind="inference",
        subject="nobody",
        action=Action.MODEL_INVOKE.value,
        asset="Model:-",
        effect="deny",
        outcome=outcome,
        reason="no valid API key was presented",
        context={"endpoint": endpoint, "attempts": attempts},
    )
