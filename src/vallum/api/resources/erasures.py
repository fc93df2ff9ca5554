"""Erasing a person from everything: asked for with a preview, approved by somebody else, reported with a signature."""

from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.resources.data import DataReason, SignedReport
from vallum.api.routing import Prepared, Route
from vallum.data.subjects import PreparedRequest, SubjectErasure
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid, Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.values import Subject

__all__ = ["ROUTES"]

_ONE = "/erasures/{erasure}"
_ERASURE = named("SubjectErasure", "erasure")


class RequestErasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`identifiers` are what the person is known by: addresses, numbers, full names; they are kept sealed until it is
    done. `reference` names the request, and is kept."""

    identifiers: Annotated[tuple[Annotated[str, Meta(min_length=3, max_length=320)], ...], Meta(min_length=1)]
    reference: Annotated[str, Meta(min_length=1, max_length=200)]


def look(services: Services, call: Call) -> Prepared:
    """Before the transaction: everything there is is read through."""
    found = services.subject_erasures.look(call.body.identifiers, call.body.reference)
    told = {"places": len(found.found), "found": sum(one.count for one in found.found)}
    return Prepared(context=told, value=found)


def request(services: Services, call: Call, change: Change) -> SubjectErasure:
    found: PreparedRequest = call.prepared.value
    return services.subject_erasures.request(change.conn, found, _by(call))


def list_erasures(services: Services, call: Call) -> list[SubjectErasure]:
    with services.records.read() as conn:
        return services.subject_erasures.erasures(conn)


def read_erasure(services: Services, call: Call) -> SubjectErasure:
    with services.records.read() as conn:
        return services.subject_erasures.erasure(conn, call.path["erasure"])


def check_reason(services: Services, call: Call) -> Prepared:
    services.subject_erasures.check_words_of(call.path["erasure"], call.body.reason)
    return Prepared()


def approve(services: Services, call: Call, change: Change) -> SubjectErasure:
    return services.subject_erasures.approve(change.conn, call.path["erasure"], _by(call), call.body.reason)


def cancel(services: Services, call: Call, change: Change) -> SubjectErasure:
    return services.subject_erasures.cancel(change.conn, call.path["erasure"], _by(call), call.body.reason)


def readmit(services: Services, call: Call, change: Change) -> SubjectErasure:
    return services.subject_erasures.readmit(change.conn, call.path["erasure"], call.body.reason)


def check_data_reason(services: Services, call: Call) -> Prepared:
    if services.data.erased.names(call.path["erasure"], call.body.reason):
        raise Invalid("reason: it is kept, so that it says why and not whom")
    return Prepared()


def readmit_to_data_set(services: Services, call: Call, change: Change) -> None:
    services.data.erased.forget(change.conn, call.path["erasure"], call.path["name"])


def read_report(services: Services, call: Call) -> SignedReport:
    with services.records.read() as conn:
        report, envelope = services.subject_erasures.signed_report(conn, call.path["erasure"])
    return SignedReport(report.decode(), envelope.decode())


def _by(call: Call) -> Subject:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject


ROUTES = (
    Route(
        method="POST", path="/erasures", name="request_erasure",
        summary="Ask for a person's erasure from everything, and see what would go; nothing goes yet",
        access="change", action=Action.ERASURE_REQUEST, asset=system, prepare=look, perform=request,
        body=RequestErasure, answer=SubjectErasure, status=201, takes_long=True,
        context=lambda path, body: {"reference": body.reference, "identifiers": len(body.identifiers)},
    ),
    Route(
        method="GET", path="/erasures", name="list_erasures", summary="Erasures of people, the newest first",
        access="read", action=Action.ERASURE_READ, asset=system, perform=list_erasures, answer=list[SubjectErasure],
    ),
    Route(
        method="GET", path=_ONE, name="read_erasure", summary="An erasure: what was found, what went, what is held",
        access="read", action=Action.ERASURE_READ, asset=_ERASURE, perform=read_erasure, answer=SubjectErasure,
    ),
    Route(
        method="POST", path=_ONE + "/approval", name="approve_erasure",
        summary="Approve an erasure that somebody else asked for: it is carried out from now on",
        access="change", action=Action.ERASURE_APPROVE, asset=_ERASURE, prepare=check_reason,
        perform=approve, body=DataReason,
        answer=SubjectErasure, context=lambda path, body: {"reason": body.reason},
    ),
    Route(
        method="POST", path=_ONE + "/cancellation", name="cancel_erasure",
        summary="Let a request for an erasure go before anybody approved it",
        access="change", action=Action.ERASURE_CANCEL, asset=_ERASURE, prepare=check_reason,
        perform=cancel, body=DataReason,
        answer=SubjectErasure, context=lambda path, body: {"reason": body.reason},
    ),
    Route(
        method="POST", path=_ONE + "/readmission", name="readmit_erased_subject",
        summary="Let intake take somebody in again who was erased, and gave consent anew",
        access="change", action=Action.ERASURE_READMIT, asset=_ERASURE, prepare=check_reason, perform=readmit,
        body=DataReason, answer=SubjectErasure, context=lambda path, body: {"reason": body.reason},
    ),
    Route(
        method="POST", path="/data-sets/{name}/erasures/{erasure}/readmission", name="readmit_to_data_set",
        summary="Let intake of a data set take somebody in again whose rows were erased from it",
        access="change", action=Action.ERASURE_READMIT, asset=named("DataSet", "name"), prepare=check_data_reason,
        perform=readmit_to_data_set, body=DataReason, status=204,
        context=lambda path, body: {"erasure": path["erasure"][:64], "reason": body.reason},
    ),
    Route(
        method="GET", path=_ONE + "/report", name="read_erasure_report",
        summary="The report of an erasure that is done, signed",
        access="read", action=Action.ERASURE_READ, asset=_ERASURE, perform=read_report, answer=SignedReport,
    ),
)  # fmt: skip
