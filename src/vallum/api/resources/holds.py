"""Legal hold on what was asked and answered: contents of exchanges that neither time nor an erasure removes."""

from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import ledger
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.ledger.holds import ContentHold, end_hold, list_holds, place_hold

__all__ = ["ROUTES"]

Reason = Annotated[str, Meta(min_length=10, max_length=1000)]
Time = Annotated[str, Meta(max_length=40)]


class HoldContents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`subject` is whose exchanges, `application:app_…` or `person:per_…` (who asked, or for whom), all without.
    `since` and `until` (a day, or RFC 3339; the latter not included) are when they were, ever without."""

    reason: Reason
    subject: Annotated[str, Meta(max_length=160)] = ""
    since: Time = ""
    until: Time = ""


class EndHold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason


def place(services: Services, call: Call, change: Change) -> ContentHold:
    asked = call.body
    return place_hold(
        change.conn, services.clock, _by(call), asked.reason, subject=asked.subject, since=asked.since,
        until=asked.until,
    )  # fmt: skip


def list_all(services: Services, call: Call) -> list[ContentHold]:
    with services.records.read() as conn:
        return list_holds(conn)


def end(services: Services, call: Call, change: Change) -> ContentHold:
    return end_hold(change.conn, services.clock, call.path["hold"], _by(call), call.body.reason)


def _by(call: Call) -> str:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject.render()


ROUTES = (
    Route(
        method="POST", path="/exchange-holds", name="hold_exchanges",
        summary="Put exchanges under legal hold: what was asked and answered is neither erased nor expires",
        access="change", action=Action.CONTENT_HOLD, asset=ledger, perform=place, body=HoldContents,
        answer=ContentHold, status=201,
        context=lambda path, body: {
            "reason": body.reason, "whose": body.subject or "everybody", "since": body.since, "until": body.until,
        },
    ),
    Route(
        method="GET", path="/exchange-holds", name="list_exchange_holds",
        summary="Legal holds on exchanges, the newest first, those that are over included",
        access="read", action=Action.CONTENT_HOLD_READ, asset=ledger, perform=list_all, answer=list[ContentHold],
    ),
    Route(
        method="POST", path="/exchange-holds/{hold}/end", name="end_exchange_hold",
        summary="End a legal hold on exchanges: what it alone kept goes when its time says so",
        access="change", action=Action.CONTENT_HOLD_END, asset=ledger, perform=end, body=EndHold, answer=ContentHold,
        context=lambda path, body: {"hold": path["hold"][:64], "reason": body.reason},
    ),
)  # fmt: skip
