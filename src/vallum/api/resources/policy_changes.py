"""Changing policies by two people: proposing, reading what would change, approving, going back to an earlier set."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.gate import Change
from vallum.kernel.policy import PolicyChange, PolicyChangeRequest, PolicySet, diff_policies
from vallum.kernel.values import Subject

__all__ = ["ROUTES"]

Text = Annotated[str, Meta(max_length=500)]
Short = Annotated[str, Meta(max_length=256)]


class PolicyProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole set as Cedar texts by file name; or the `digest` of one that was in force before, to go back to."""

    reason: Text
    files: dict[Annotated[str, Meta(max_length=128)], Annotated[str, Meta(max_length=1_048_576)]] | None = None
    digest: Short | None = None


class PolicyVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Text = ""


class PolicyChangeDetail(msgspec.Struct, frozen=True):
    """`changes` is who could do what more or less, beside the set in force now."""

    change: PolicyChangeRequest
    files: dict[str, str]
    changes: list[PolicyChange]


@dataclass(frozen=True, slots=True)
class CheckedChange:
    """A proposed set, checked anew for this release before it is put in force."""

    policy_set: PolicySet


def check_proposal(services: Services, call: Call) -> PolicySet:
    wanted = call.body
    if (wanted.files is None) == (wanted.digest is None):
        raise Invalid("give the files of a policy set, or the digest of an earlier one")
    files = wanted.files
    if files is None:
        with services.records.read() as conn:
            files = dict(services.policy_store.version(conn, wanted.digest).files)
    return services.policy_store.check(files)


def propose_policy(services: Services, call: Call, change: Change) -> PolicyChangeRequest:
    with_digest = services.policy_store.in_force(change.conn)
    return services.policy_changes.propose(change.conn, call.prepared, with_digest, _subject(call), call.body.reason)


def list_policy_changes(services: Services, call: Call) -> list[PolicyChangeRequest]:
    return services.policy_changes.list()


def read_policy_change(services: Services, call: Call) -> PolicyChangeDetail:
    change, files = services.policy_changes.change(call.path["id"])
    return PolicyChangeDetail(change, files, diff_policies(services.policy.policy_set.files, files))


def check_approved(services: Services, call: Call) -> CheckedChange:
    _, files = services.policy_changes.change(call.path["id"])
    return CheckedChange(services.policy_store.check(files))


def approve_policy_change(services: Services, call: Call, change: Change) -> PolicyChangeRequest:
    checked: CheckedChange = call.prepared
    by, in_force = _subject(call), services.policy_store.in_force(change.conn)
    services.policy_changes.approve(change.conn, call.path["id"], by, in_force, call.body.note)
    services.policy_store.apply(change.conn, checked.policy_set, by.render())
    return services.policy_changes.one(change.conn, call.path["id"])


def deny_policy_change(services: Services, call: Call, change: Change) -> PolicyChangeRequest:
    services.policy_changes.deny(change.conn, call.path["id"], _subject(call), call.body.note)
    return services.policy_changes.one(change.conn, call.path["id"])


def withdraw_policy_change(services: Services, call: Call, change: Change) -> PolicyChangeRequest:
    services.policy_changes.withdraw(change.conn, call.path["id"], _subject(call))
    return services.policy_changes.one(change.conn, call.path["id"])


def _subject(call: Call) -> Subject:
    if call.subject is None:
        raise Invalid("policies are changed by somebody")
    return call.subject


ROUTES = (
    Route(
        method="GET", path="/policy/changes", name="list_policy_changes", summary="Proposed policies, newest first",
        access="read", action=Action.POLICY_READ, asset=system, perform=list_policy_changes,
        answer=list[PolicyChangeRequest],
    ),
    Route(
        method="POST", path="/policy/changes", name="propose_policy",
        summary="Propose policies, or an earlier set again",
        access="change", action=Action.POLICY_PROPOSE, asset=system, prepare=check_proposal, perform=propose_policy,
        body=PolicyProposal, answer=PolicyChangeRequest, status=201,
    ),
    Route(
        method="GET", path="/policy/changes/{id}", name="read_policy_change",
        summary="A proposal, its files, and the decisions it would change",
        access="read", action=Action.POLICY_READ, asset=system, perform=read_policy_change, answer=PolicyChangeDetail,
    ),
    Route(
        method="POST", path="/policy/changes/{id}/approval", name="approve_policy_change",
        summary="Put proposed policies in force",
        access="change", action=Action.POLICY_APPROVE, asset=named("PolicyChange", "id"), prepare=check_approved,
        perform=approve_policy_change, body=PolicyVerdict, answer=PolicyChangeRequest,
    ),
    Route(
        method="POST", path="/policy/changes/{id}/denial", name="deny_policy_change",
        summary="Refuse proposed policies",
        access="change", action=Action.POLICY_DENY, asset=named("PolicyChange", "id"), perform=deny_policy_change,
        body=PolicyVerdict, answer=PolicyChangeRequest,
    ),
    Route(
        method="DELETE", path="/policy/changes/{id}", name="withdraw_policy_change", summary="Withdraw your proposal",
        access="change", action=Action.POLICY_PROPOSE, asset=system, perform=withdraw_policy_change,
        answer=PolicyChangeRequest,
    ),
)  # fmt: skip
