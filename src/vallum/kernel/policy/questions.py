"""Questions about policies: who may do this, what may they do, was this decision right, which rights lie unused.

Every answer is decided by the engine itself, request by request, and never read off the policies' text: so it is what
would happen, bounds and exceptions included.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.policy.engine import PolicyRequest, decide
from vallum.kernel.policy.policy_set import PolicySet
from vallum.kernel.policy.rehearse import typical_kind, typical_request
from vallum.kernel.values import AssetRef, Decision, Obligation, Subject, SubjectKind, TenantId

__all__ = [
    "Answer",
    "Replay",
    "SubjectChange",
    "TextChange",
    "changed_for",
    "changed_texts",
    "droppable",
    "replay",
    "unused",
    "what_may",
    "who_may",
]


class Answer(msgspec.Struct, frozen=True):
    """`outcome` is allow, or `step_up` where a fresh second factor is wanted first; `policies` made it so."""

    subject: str
    action: str
    asset: str
    outcome: str
    policies: tuple[str, ...]


class SubjectChange(msgspec.Struct, frozen=True):
    """What one subject that exists may do before and after: deny, allow, or allow with a fresh second factor."""

    subject: str
    action: str
    asset: str
    before: str
    after: str


class TextChange(msgspec.Struct, frozen=True):
    """One policy by its id: `before` is empty for a new one, `after` for one that goes."""

    policy: str
    before: str
    after: str


class Replay(msgspec.Struct, frozen=True):
    """A logged decision, decided again from what its entry says, by the policies that its entry names."""

    entry_id: str
    policy_set: str
    logged: str
    decided: str
    logged_policies: tuple[str, ...]
    decided_policies: tuple[str, ...]
    same: bool


def who_may(
    policy_set: PolicySet,
    subjects: Iterable[tuple[Subject, AssetFacts | None]],
    action: str,
    asset: AssetRef,
    facts: AssetFacts,
) -> list[Answer]:
    """Those of `subjects` who may, each with its own facts where it is an application."""
    answers = []
    for subject, subject_facts in subjects:
        outcome = _outcome(policy_set, PolicyRequest(subject, subject_facts, action, asset, facts, False))
        if outcome is not None:
            answers.append(Answer(subject.render(), str(action), asset.render(), *outcome))
    return answers


def what_may(policy_set: PolicySet, subject: Subject, subject_facts: AssetFacts | None = None) -> list[Answer]:
    """Every action this subject may do on a typical asset of the kind it is about."""
    answers = []
    for action in Action:
        asset = AssetRef(_kind_for(subject, action), subject.id if subject.kind is SubjectKind.APPLICATION else "any")
        request = typical_request(subject, action, asset, mfa_fresh=False)
        if subject_facts is not None:
            models = subject_facts.attributes.get("models")
            if asset.kind == "Model" and isinstance(models, list) and models:
                asset = AssetRef("Model", str(models[0]))
                request = typical_request(subject, action, asset, mfa_fresh=False)
            facts = subject_facts if asset.kind == "Application" else request.asset_facts
            request = PolicyRequest(subject, subject_facts, action, asset, facts, False)
        outcome = _outcome(policy_set, request)
        if outcome is not None:
            answers.append(Answer(subject.render(), str(action), asset.kind, *outcome))
    return answers


def replay(
    entry_id: str,
    policy_set: PolicySet,
    logged: tuple[str, tuple[str, ...]],
    subject: str,
    tenant: str,
    action: str,
    asset: str,
    basis: str,
) -> Replay:
    """Decide again. `logged` is the entry's effect and policies. Raises NotFound for an entry without its basis."""
    try:
        known = json.loads(basis)
        kind, _, subject_id = subject.partition(":")
        asset_kind, _, asset_id = asset.partition(":")
        request = PolicyRequest(
            Subject(
                SubjectKind(kind),
                subject_id,
                TenantId(tenant),
                frozenset(known["roles"]),
                holder=known["holder"],
                inviter=known["inviter"],
                on_behalf_of=_behalf(known.get("on_behalf_of")),
            ),
            AssetFacts(known["subject"]) if known["subject"] is not None else None,
            action,
            AssetRef(asset_kind, asset_id),
            AssetFacts(known["asset"]),
            known["mfa_fresh"],
            known["by_grant"],
        )
    except (ValueError, KeyError, TypeError) as e:
        raise NotFound("that entry does not say what was decided on: nothing was asked of the policies") from e
    decision = decide(policy_set, request)
    effect, policies = logged
    same = (decision.effect, decision.policies) == (effect, policies)
    return Replay(entry_id, policy_set.digest, effect, decision.effect, policies, decision.policies, same)


def changed_texts(before: PolicySet, after: PolicySet) -> list[TextChange]:
    """Every policy that is new, gone or worded otherwise: what no sample of decisions could leave out."""
    old, new = before.texts(), after.texts()
    return [
        TextChange(name, old.get(name, ""), new.get(name, ""))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def changed_for(
    before: PolicySet, after: PolicySet, subjects: Iterable[tuple[Subject, AssetFacts | None]]
) -> list[SubjectChange]:
    """What each of these may do more or less, under their own names and with all of their roles together."""
    changes = []
    for subject, facts in subjects:
        old, new = (
            {(a.action, a.asset): a.outcome for a in what_may(policies, subject, facts)} for policies in (before, after)
        )
        changes += [
            SubjectChange(
                subject.render(), action, asset, old.get((action, asset), "deny"), new.get((action, asset), "deny")
            )
            for action, asset in sorted(old.keys() | new.keys())
            if old.get((action, asset)) != new.get((action, asset))
        ]
    return changes


def unused(allowed: Sequence[str], used: Iterable[str]) -> tuple[str, ...]:
    """What may be done and was not, in order."""
    seen = set(used)
    return tuple(action for action in allowed if action not in seen)


def droppable(policy_set: PolicySet, roles: Sequence[str], used: Iterable[str]) -> tuple[str, ...]:
    """The roles without which everything that was used could still be done, taken away one after the other."""
    kept, needed = list(roles), set(used)
    dropped = []
    for role in roles:
        rest = frozenset(kept) - {role}
        if needed <= _all_of(policy_set, rest) | _all_of(policy_set, frozenset()) and rest:
            kept.remove(role)
            dropped.append(role)
    return tuple(dropped)


def _behalf(known: Mapping[str, Any] | None) -> Subject | None:
    if known is None:
        return None
    return Subject(
        SubjectKind.PERSON,
        known["id"],
        TenantId(known["tenant"]),
        frozenset(known["roles"]),
        holder=known["holder"],
        inviter=known["inviter"],
    )


def _all_of(policy_set: PolicySet, roles: frozenset[str]) -> set[str]:
    subject = Subject(SubjectKind.PERSON, "somebody", TenantId("default"), roles)
    return {answer.action for answer in what_may(policy_set, subject)}


def _outcome(policy_set: PolicySet, request: PolicyRequest) -> tuple[str, tuple[str, ...]] | None:
    decision: Decision = decide(policy_set, request)
    if decision.effect == "allow":
        return "allow", decision.policies
    return ("step_up", decision.policies) if Obligation.STEP_UP in decision.obligations else None


def _kind_for(subject: Subject, action: str) -> str:
    special: Mapping[str, str] = {Action.MODEL_INVOKE: "Model", Action.MODEL_LIST: "Application"}
    return special.get(action) or typical_kind(action)
