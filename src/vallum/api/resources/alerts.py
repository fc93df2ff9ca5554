"""Alerts: what watching found unusual, and what people said of it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.values import Subject
from vallum.monitor import Alert, DetectorTally, Verdict

__all__ = ["ROUTES"]

Note = Annotated[str, Meta(max_length=500)]


class AlertQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Literal["open", "acknowledged", "closed"] | None = None
    subject: Annotated[str, Meta(max_length=256)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class Acknowledge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Note = ""


class Close(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`verdict` says what it was: expected, a false alarm, or an incident."""

    verdict: Verdict
    note: Note = ""


def list_alerts(services: Services, call: Call) -> list[Alert]:
    return services.alerts.list(state=call.query.state, subject=call.query.subject, limit=call.query.limit)


def tally_alerts(services: Services, call: Call) -> list[DetectorTally]:
    return services.alerts.tally()


def read_alert(services: Services, call: Call) -> Alert:
    return services.alerts.alert(call.path["id"])


def acknowledge(services: Services, call: Call, change: Change) -> Alert:
    return services.alerts.acknowledge(change.conn, call.path["id"], _by(call), call.body.note)


def close(services: Services, call: Call, change: Change) -> Alert:
    return services.alerts.close(change.conn, call.path["id"], _by(call), call.body.verdict, call.body.note)


def _by(call: Call) -> Subject:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject


ROUTES = (
    Route(
        method="GET", path="/alerts", name="list_alerts", summary="What was unusual about accounts; open ones first",
        access="read", action=Action.ALERT_READ, asset=system, perform=list_alerts, query=AlertQuery,
        answer=list[Alert],
    ),
    Route(
        method="GET", path="/alerts/tally", name="tally_alerts",
        summary="Each detector's budget, and what people said of its alerts",
        access="read", action=Action.ALERT_READ, asset=system, perform=tally_alerts, answer=list[DetectorTally],
    ),
    Route(
        method="GET", path="/alerts/{id}", name="read_alert", summary="One alert",
        access="read", action=Action.ALERT_READ, asset=named("Alert", "id"), perform=read_alert, answer=Alert,
    ),
    Route(
        method="POST", path="/alerts/{id}/acknowledgement", name="acknowledge_alert", summary="Say that you look at it",
        access="change", action=Action.ALERT_DECIDE, asset=named("Alert", "id"), perform=acknowledge,
        body=Acknowledge, answer=Alert,
    ),
    Route(
        method="POST", path="/alerts/{id}/closure", name="close_alert", summary="Say what it was",
        access="change", action=Action.ALERT_DECIDE, asset=named("Alert", "id"), perform=close,
        body=Close, answer=Alert, context=lambda path, body: {"verdict": body.verdict},
    ),
)  # fmt: skip
