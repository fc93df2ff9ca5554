"""Changing policies by two people: proposing, reading what would change, approving, going back to an earlier set."""

from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.resources.policy_questions import everybody
from vallum.api.routing import EVIDENCE_SECONDS, Prepared, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Conflict, Invalid
from vallum.kernel.gate import Change
from vallum.kernel.policy import (
    PolicyChange,
    PolicyChangeRequest,
    PolicySet,
    SubjectChange,
    TextChange,
    changed_for,
    changed_texts,
    diff_policies,
)
from vallum.kernel.values import Subject

__all__ = ["ROUTES"]

_MAX_SUBJECTS = 100  # each takes some ten milliseconds
Text = Annotated[str, Meta(max_length=500)]
Short = Annotated[str, Meta(max_length=256)]


class PolicyProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole set as Cedar texts by file name; or the `digest` of one that was in force before, to go back to.

    `base` is the digest of the set that the files were edited from: refused when another is in force by now.
    """

    reason: Text
    files: dict[Annotated[str, Meta(max_length=128)], Annotated[str, Meta(max_length=1_048_576)]] | None = None
    digest: Short | None = None
    base: Short | None = None


class PolicyVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Text = ""


class PolicyChangeDetail(msgspec.Struct, frozen=True):
    """A proposal beside the set in force now.

    `texts` are the policies that differ: read them, for they may speak of somebody or something that no sample of
    decisions asks about. `changes` is what each role could do more or less, `subjects` the same of everybody there is,
    by name and with all of their roles; `complete` is False where there are too many to ask for all of them.
    """

    change: PolicyChangeRequest
    files: dict[str, str]
    texts: list[TextChange]
    changes: list[PolicyChange]
    subjects: list[SubjectChange]
    complete: bool


def check_proposal(services: Services, call: Call) -> Prepared:
    wanted = call.body
    if (wanted.files is None) == (wanted.digest is None):
        raise Invalid("give the files of a policy set, or the digest of an earlier one")
    files = wanted.files
    if files is None:
        with services.records.read() as conn:
            files = dict(services.policy_store.version(conn, wanted.digest).files)
    checked = services.policy_store.check(files)
    reason = {"reason": wanted.reason.encode()}
    return Prepared(reason, EVIDENCE_SECONDS, {"digest": checked.digest, "base": wanted.base or ""}, checked)


def propose_policy(services: Services, call: Call, change: Change) -> PolicyChangeRequest:
    in_force, base = services.policy_store.in_force(change.conn), call.body.base
    if base is not None and base != in_force:
        raise Conflict("other policies came into force after these were read: read them again and propose anew")
    checked: PolicySet = call.prepared.value
    return services.policy_changes.propose(change.conn, checked, in_force, _subject(call), call.body.reason)


def list_policy_changes(services: Services, call: Call) -> list[PolicyChangeRequest]:
    return services.policy_changes.list()


def read_policy_change(services: Services, call: Call) -> PolicyChangeDetail:
    change, files = services.policy_changes.change(call.path["id"])
    in_force = services.policy.policy_set
    changes = diff_policies(in_force.files, files)  # which checks them in a child process first
    proposed = PolicySet.parse(files, in_force.schema_text)
    subjects = list(islice(everybody(services), _MAX_SUBJECTS + 1))
    asked = subjects[:_MAX_SUBJECTS]
    return PolicyChangeDetail(
        change, files, changed_texts(in_force, proposed), changes, changed_for(in_force, proposed, asked),
        len(subjects) <= _MAX_SUBJECTS,
    )  # fmt: skip


def check_approved(services: Services, call: Call) -> Prepared:
    """Anew, for this release may judge otherwise than the one that it was proposed to."""
    change, files = services.policy_changes.change(call.path["id"])
    checked = services.policy_store.check(files)
    context = {"digest": checked.digest, "base": change.base, "proposed_by": change.proposed_by}
    return Prepared(context=context, value=checked)


def approve_policy_change(services: Services, call: Call, change: Change) -> PolicyChangeRequest:
    checked: PolicySet = call.prepared.value
    by, in_force = _subject(call), services.policy_store.in_force(change.conn)
    services.policy_changes.approve(change.conn, call.path["id"], by, in_force, call.body.note)
    services.policy_store.apply(change.conn, checked, by.render())
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
        body=PolicyProposal, max_body_bytes=2 << 20, answer=PolicyChangeRequest, status=201,
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
