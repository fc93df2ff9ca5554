"""Just-in-time access: asking, deciding, ending, and breaking the glass."""

from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import EVIDENCE_SECONDS, Prepared, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.gate import Change
from vallum.kernel.identity import Grant
from vallum.kernel.identity.grants import GrantState
from vallum.kernel.identity.roles import check_roles
from vallum.kernel.ids import new_id
from vallum.kernel.ledger.entry import EntryDraft
from vallum.kernel.policy import permitted
from vallum.kernel.values import AssetRef, Subject, SubjectKind

__all__ = ["ROUTES"]

Short = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=500)]


class AccessRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`asset` is `Kind:id` or `Kind:*`; without it, whatever the role covers."""

    role: Short
    seconds: Annotated[int, Meta(ge=1, le=1 << 31)]
    reason: Text
    asset: Short = ""
    break_glass: bool = False
    start_after_seconds: Annotated[int, Meta(ge=0, le=604_800)] = 0


class AccessDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Text = ""


class GrantQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Short | None = None


class GrantDetail(msgspec.Struct, frozen=True):
    """`gains` are the actions that the role adds to what its asker may do anyway, by the policies in force."""

    grant: Grant
    standing_roles: tuple[str, ...]
    gains: tuple[str, ...]


def keep_reason(services: Services, call: Call) -> Prepared:
    """Prepared beside the entry: the auditor reads why, and nobody can say afterwards that it was another reason.

    Raises Invalid for a request that would give nothing, so that nobody waits for it.
    """
    wanted, person = call.body, _person(call)
    check_roles([wanted.role])
    if wanted.asset:
        _check_asset(services, wanted.asset)
    if not _gains(services, person.roles, wanted.role, wanted.asset):
        where = f" on {wanted.asset}" if wanted.asset else ""
        raise Invalid(f"the role {wanted.role} adds nothing{where} to what you may do anyway")
    grant_id = new_id("grt")
    return Prepared({"reason": wanted.reason.encode()}, EVIDENCE_SECONDS, {"grant": grant_id}, grant_id)


def request_access(services: Services, call: Call, change: Change) -> Grant:
    wanted = call.body
    return services.identity.grants.request(
        change.conn,
        _person(call),
        wanted.role,
        wanted.seconds,
        wanted.reason,
        asset=wanted.asset,
        break_glass=wanted.break_glass,
        start_after_seconds=wanted.start_after_seconds,
        grant_id=call.prepared.value,
    )


def list_own_grants(services: Services, call: Call) -> list[Grant]:
    return services.identity.grants.list(_person(call).id)


def list_grants(services: Services, call: Call) -> list[Grant]:
    if call.query.state is not None and call.query.state not in get_args(GrantState):
        raise Invalid(f"state: there are {', '.join(get_args(GrantState))}")
    found = services.identity.grants.list(waiting=call.query.state == "waiting")
    return found if call.query.state is None else [grant for grant in found if grant.state == call.query.state]


def read_grant(services: Services, call: Call) -> GrantDetail:
    grant = services.identity.grants.grant(call.path["id"])
    standing = services.identity.people.person(grant.requester_id).roles
    return GrantDetail(grant, standing, _gains(services, frozenset(standing), grant.role, grant.asset))


def _gains(services: Services, standing: frozenset[str], role: str, asset: str) -> tuple[str, ...]:
    """What `role` adds, on the kind of asset that it would be held for; on any, where that is empty."""
    policy_set, kind = services.policy.policy_set, asset.partition(":")[0] or None
    before = permitted(policy_set, standing, kind=kind)
    after = permitted(policy_set, standing | {role}, by_grant=True, kind=kind)
    return tuple(action for action in after if action not in before)


def _check_asset(services: Services, asset: str) -> None:
    """Raises Invalid for what does not exist: nobody should approve a slip of the pen."""
    kind, _, name = asset.partition(":")
    known = services.directory.kinds()
    if kind not in known:
        raise Invalid(f"asset: KIND:ID, where KIND is one of {', '.join(sorted(known))}")
    if name != "*" and services.directory.facts(AssetRef(kind, name)) is None:
        raise Invalid(f"asset: there is no {asset}")


def name_grant(services: Services, call: Call) -> Prepared:
    """What is decided on, in the entry itself: rows may be edited by whoever holds the database."""
    grant = services.identity.grants.grant(call.path["id"])
    return Prepared(
        context={
            "requester": f"person:{grant.requester_id}", "role": grant.role, "asset": grant.asset,
            "seconds": grant.seconds, "break_glass": int(grant.break_glass),
        }
    )  # fmt: skip


def approve_grant(services: Services, call: Call, change: Change) -> Grant:
    by = _person(call)
    grant = services.identity.grants.approve(change.conn, call.path["id"], by, call.body.note)
    if grant.break_glass:
        _open_incident(services, change, grant, by)
    return grant


def deny_grant(services: Services, call: Call, change: Change) -> Grant:
    return services.identity.grants.deny(change.conn, call.path["id"], _person(call), call.body.note)


def end_own_grant(services: Services, call: Call, change: Change) -> Grant:
    return services.identity.grants.end(change.conn, call.path["id"], _person(call), own=True)


def revoke_grant(services: Services, call: Call, change: Change) -> Grant:
    if call.subject is None:
        raise Invalid("grants are revoked by somebody")
    return services.identity.grants.end(change.conn, call.path["id"], call.subject, own=False)


def _open_incident(services: Services, change: Change, grant: Grant, by: Subject) -> None:
    """In the same transaction: nobody breaks the glass without one. Whatever responds follows the ledger."""
    draft = EntryDraft(
        tenant=grant.tenant,
        kind="incident",
        subject=by.render(),
        credential=by.credential,
        action=Action.INCIDENT_OPEN.value,
        asset=f"Grant:{grant.id}",
        effect="allow",
        outcome="open",
        reason="the glass was broken: two people gave one of them a role in an emergency",
        context={
            "cause": "break_glass", "severity": "high", "role": grant.role, "seconds": grant.seconds,
            "requester": f"person:{grant.requester_id}", "caused_by": change.receipt.entry_id,
        },
        contents={"reason": grant.reason.encode()},
        retention_seconds=EVIDENCE_SECONDS,
    )  # fmt: skip
    services.ledger.append(change.conn, [draft])


def _person(call: Call) -> Subject:
    if call.subject is None or call.subject.kind is not SubjectKind.PERSON:
        raise Invalid("this is for people who are signed in: vallum login")
    return call.subject


ROUTES = (
    Route(
        method="POST", path="/grants", name="request_access", summary="Ask for a role for a while",
        access="change", action=Action.GRANT_REQUEST, asset=system, prepare=keep_reason, perform=request_access,
        body=AccessRequest, answer=Grant, status=201,
        context=lambda path, body: {
            "role": body.role[:64], "seconds": body.seconds, "asset": body.asset[:200],
            "break_glass": int(body.break_glass),
        },
    ),
    Route(
        method="GET", path="/grants/own", name="list_own_grants", summary="What you asked for, and what became of it",
        access="read", action=Action.GRANT_REQUEST, asset=system, perform=list_own_grants, answer=list[Grant],
    ),
    Route(
        method="DELETE", path="/grants/own/{id}", name="end_own_grant",
        summary="Withdraw your request, or give your grant back early",
        access="change", action=Action.GRANT_REQUEST, asset=system, perform=end_own_grant, answer=Grant,
        context=lambda path, body: {"grant": path["id"][:64]},
    ),
    Route(
        method="GET", path="/grants", name="list_grants", summary="Everybody's requests and grants, newest first",
        access="read", action=Action.GRANT_READ, asset=system, perform=list_grants, query=GrantQuery,
        answer=list[Grant],
    ),
    Route(
        method="GET", path="/grants/{id}", name="read_grant", summary="A request, and what it would add",
        access="read", action=Action.GRANT_READ, asset=named("Grant", "id"), perform=read_grant, answer=GrantDetail,
    ),
    Route(
        method="POST", path="/grants/{id}/approval", name="approve_grant", summary="Give somebody what they asked for",
        access="change", action=Action.GRANT_APPROVE, asset=named("Grant", "id"), prepare=name_grant,
        perform=approve_grant,
        body=AccessDecision, answer=Grant,
    ),
    Route(
        method="POST", path="/grants/{id}/denial", name="deny_grant", summary="Refuse what somebody asked for",
        access="change", action=Action.GRANT_DENY, asset=named("Grant", "id"), prepare=name_grant,
        perform=deny_grant,
        body=AccessDecision, answer=Grant,
    ),
    Route(
        method="DELETE", path="/grants/{id}", name="revoke_grant", summary="End somebody's grant now",
        access="change", action=Action.GRANT_REVOKE, asset=named("Grant", "id"), prepare=name_grant,
        perform=revoke_grant, answer=Grant,
    ),
)  # fmt: skip
