"""Deciding: Cedar behind a wrapper that allows only with no error and every entity known.

Cedar by itself skips a `forbid` whose condition errors, and evaluates requests about entities it was never told
of. Both could allow what nobody meant to, so any error and any unknown entity is a deny here, and the schema is
always given. Decisions are cached by everything that can influence them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import cedarpy
import msgspec

from vallum.kernel.clock import Clock
from vallum.kernel.policy.directory import AssetDirectory, AssetFacts, Value
from vallum.kernel.policy.policy_set import PolicySet
from vallum.kernel.values import AssetRef, Decision, Obligation, Subject, SubjectKind

__all__ = ["FORBIDDEN", "FRESH_SECONDS", "PolicyEngine", "PolicyRequest"]

FRESH_SECONDS = 300  # how long a second factor counts as fresh; long enough for one task, short for a stolen session
_NO_SUCH_ASSET = "there is no such asset"
FORBIDDEN = "forbidden by policy"
MAX_CACHED = 50_000  # some 40 MB of decisions; the oldest go first
MAX_BASIS_BYTES = 16_384  # of an entry's 64 KiB: an application with some hundred models

_ENTITY_TYPES: Mapping[SubjectKind, str] = {
    SubjectKind.PERSON: "Person",
    SubjectKind.SERVICE: "Service",
    SubjectKind.APPLICATION: "Application",
    SubjectKind.SYSTEM: "System",
}
_CONTEXTS: Mapping[tuple[bool, bool], str] = {
    (fresh, granted): f'{{"mfa_fresh": {str(fresh).lower()}, "by_grant": {str(granted).lower()}}}'
    for fresh in (False, True)
    for granted in (False, True)
}


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """Everything a decision depends on besides the policies; a logged one can be decided again."""

    subject: Subject
    subject_facts: AssetFacts | None  # known for applications only, whose models and state policy looks at
    action: str
    asset: AssetRef
    asset_facts: AssetFacts
    mfa_fresh: bool
    by_grant: bool = False  # whether the subject's roles hold one that was granted for the moment


@dataclass(slots=True)
class _InForce:
    """A policy set and the decisions it made; replaced together, so that no decision outlives its set."""

    policy_set: PolicySet
    decisions: dict[tuple[object, ...], Decision] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def keep(self, key: tuple[object, ...], decision: Decision) -> None:
        with self.lock:  # finding the oldest fails when another thread adds one meanwhile
            while len(self.decisions) >= MAX_CACHED:
                del self.decisions[next(iter(self.decisions))]
            self.decisions[key] = decision


class PolicyEngine:
    """Safe to share between threads: the set in force is swapped by one assignment."""

    def __init__(self, policy_set: PolicySet, directory: AssetDirectory, clock: Clock) -> None:
        self._in_force = _InForce(policy_set)
        self._directory = directory
        self._clock = clock

    @property
    def policy_set(self) -> PolicySet:
        return self._in_force.policy_set

    def replace(self, policy_set: PolicySet) -> None:
        self._in_force = _InForce(policy_set)

    def decide(self, subject: Subject, action: str, asset: AssetRef) -> Decision:
        """Allow or deny, with the policies that determined it. Never raises for an unknown subject or asset.

        Standing roles are asked first; a grant counts only where they do not suffice, one grant at a time.
        """
        decision = self._decide(subject, action, asset)
        if decision.effect == "allow" or not subject.grants or decision.obligations:
            return decision
        facts = self._directory.facts(asset)
        application = facts.attributes.get("application") if facts is not None else None
        for grant in subject.grants:
            if not grant.covers(asset, application):
                continue
            raised = replace(subject, roles=subject.roles | {grant.role})
            elevated = self._decide(raised, action, asset, by_grant=True)
            if elevated.effect == "allow" or elevated.obligations:
                return replace(elevated, grants=(grant.id,))
            if elevated.policies:  # a bound that the grant ran into says more than that nothing permits it
                decision = elevated
        return decision

    def _decide(self, subject: Subject, action: str, asset: AssetRef, *, by_grant: bool = False) -> Decision:
        in_force = self._in_force
        asset_facts = self._directory.facts(asset)
        if asset_facts is None:
            return _refused(_NO_SUCH_ASSET, in_force.policy_set)
        subject_facts = None
        if subject.kind is SubjectKind.APPLICATION:
            subject_facts = self._directory.facts(AssetRef("Application", subject.id))
            if subject_facts is None:
                return _refused("there is no such application", in_force.policy_set)
        fresh = self._is_fresh(subject)
        facts_version = subject_facts.version if subject_facts is not None else 0
        key = (
            subject.kind, subject.id, subject.tenant, subject.version, subject.roles, facts_version,
            action, asset.kind, asset.id, asset_facts.version, fresh, by_grant, subject.holder, subject.inviter,
            subject.on_behalf_of,
        )  # fmt: skip
        decision = in_force.decisions.get(key)
        if decision is None:
            request = PolicyRequest(subject, subject_facts, action, asset, asset_facts, fresh, by_grant)
            decision = replace(decide(in_force.policy_set, request), basis=_basis(request))
            if decision.effect == "deny" and asset_facts.attributes.get("tenant", subject.tenant) != subject.tenant:
                # Another tenant's, which sounds like what is not there; the entry still names the policy.
                decision = replace(decision, reason=_NO_SUCH_ASSET, obligations=frozenset())
            in_force.keep(key, decision)
        return decision

    def _is_fresh(self, subject: Subject) -> bool:
        """Whether a second factor was proven lately. The system subject is proven by the root key itself."""
        if subject.kind is SubjectKind.SYSTEM:
            return True
        if subject.mfa_at_seconds is None:
            return False
        return 0 <= self._clock.now().timestamp() - subject.mfa_at_seconds < FRESH_SECONDS


def decide(policy_set: PolicySet, request: PolicyRequest) -> Decision:
    """Decide without a cache. A denial that a fresh second factor would lift says so as an obligation."""
    principal = {"type": f"Vallum::{_ENTITY_TYPES[request.subject.kind]}", "id": request.subject.id}
    resource = {"type": f"Vallum::{request.asset.kind}", "id": request.asset.id}
    question: dict[str, object] = {
        "principal": principal,
        "action": {"type": "Vallum::Action", "id": str(request.action)},
        "resource": resource,
        "context": _context(request),
    }
    try:
        # Parsed apart from the evaluation, for a stale denial evaluates twice; held to the schema here, not there.
        entities = cedarpy.Entities.from_json_str(_entities(request, principal, resource), policy_set.schema)
        decision = _evaluate(policy_set, question, entities)
        if decision.effect == "allow" or request.mfa_fresh or request.subject.kind is not SubjectKind.PERSON:
            return decision
        if _evaluate(policy_set, {**question, "context": _CONTEXTS[True, request.by_grant]}, entities).effect == "deny":
            return decision
    except (ValueError, TypeError):
        # An action, entity or attribute that the schema does not have: nothing was decided, so nothing is allowed.
        return _refused("the policy engine could not decide", policy_set)
    return replace(decision, reason="this needs a fresh second factor", obligations=frozenset({Obligation.STEP_UP}))


def _context(request: PolicyRequest) -> str:
    behalf = request.subject.on_behalf_of
    if behalf is None:
        return _CONTEXTS[request.mfa_fresh, request.by_grant]
    person = {"__entity": {"type": "Vallum::Person", "id": behalf.id}}
    told = {"mfa_fresh": request.mfa_fresh, "by_grant": request.by_grant, "on_behalf_of": person}
    return msgspec.json.encode(told).decode()


def _basis(request: PolicyRequest) -> str:
    """What an entry does not say by itself. Empty where it is too much for one; such decisions cannot be replayed."""
    facts, behalf = request.subject_facts, request.subject.on_behalf_of
    known: dict[str, object] = {
        "asset": request.asset_facts.attributes,
        "by_grant": request.by_grant,
        "holder": request.subject.holder,
        "inviter": request.subject.inviter,
        "mfa_fresh": request.mfa_fresh,
        "roles": sorted(request.subject.roles),
        "subject": facts.attributes if facts is not None else None,
    }
    if behalf is not None:
        known["on_behalf_of"] = {
            "id": behalf.id,
            "tenant": behalf.tenant,
            "roles": sorted(behalf.roles),
            "holder": behalf.holder,
            "inviter": behalf.inviter,
        }
    told = msgspec.json.encode(known)
    return told.decode() if len(told) <= MAX_BASIS_BYTES else ""


def _evaluate(policy_set: PolicySet, question: dict[str, object], entities: cedarpy.Entities) -> Decision:
    return _read(cedarpy.is_authorized(question, policy_set.policies, entities, policy_set.schema), policy_set)


def _read(result: cedarpy.AuthzResult, policy_set: PolicySet) -> Decision:
    diagnostics, effect = result.diagnostics, result.decision
    named = diagnostics.id_annotations_by_reason
    policies = tuple(sorted(named.get(reason, reason) for reason in diagnostics.reasons))
    if effect is cedarpy.Decision.NoDecision:
        return _refused("the request does not fit the policy schema", policy_set)
    if diagnostics.errors:
        return Decision("deny", policies, "a policy failed while it was evaluated", policy_set.digest)
    if effect is cedarpy.Decision.Allow:
        return Decision("allow", policies, "permitted by policy", policy_set.digest)
    reason = FORBIDDEN if policies else "no policy permits it"
    return Decision("deny", policies, reason, policy_set.digest)


def _person(subject: Subject) -> dict[str, Value]:
    return {"tenant": subject.tenant, "holder": subject.holder, "inviter": subject.inviter}


def _parents(subject: Subject) -> list[dict[str, str]]:
    return [{"type": "Vallum::Role", "id": role} for role in sorted(subject.roles)]


def _refused(reason: str, policy_set: PolicySet) -> Decision:
    return Decision("deny", (), reason, policy_set.digest)


def _entities(request: PolicyRequest, principal: Mapping[str, str], resource: Mapping[str, str]) -> str:
    """The subject, whom it acts for, their roles and the asset, as Cedar's JSON.

    Raises ValueError for text that is not Unicode.
    """
    behalf = request.subject.on_behalf_of
    roles = sorted(request.subject.roles | behalf.roles if behalf is not None else request.subject.roles)
    attributes: dict[str, Value] = {"tenant": request.subject.tenant}
    if request.subject.kind is SubjectKind.PERSON:
        attributes |= _person(request.subject)
    if request.subject_facts is not None:
        attributes = {**request.subject_facts.attributes}
    entities: list[dict[str, Any]] = [
        {"uid": {"type": "Vallum::Role", "id": r}, "attrs": {}, "parents": []} for r in roles
    ]
    entities.append({"uid": principal, "attrs": attributes, "parents": _parents(request.subject)})
    if behalf is not None:
        uid = {"type": "Vallum::Person", "id": behalf.id}
        entities.append({"uid": uid, "attrs": _person(behalf), "parents": _parents(behalf)})
    if resource != principal:
        entities.append({"uid": resource, "attrs": {**request.asset_facts.attributes}, "parents": []})
    return msgspec.json.encode(entities).decode()
