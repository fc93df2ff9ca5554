"""Policies: those in force, putting others in force, and why a decision falls as it does."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Prepared, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.gate import Change
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.policy import PolicySet, shipped_schema
from vallum.kernel.values import AssetRef, Subject, SubjectKind, TenantId

__all__ = ["ROUTES", "subject_of"]

Text = Annotated[str, Meta(max_length=256)]


class PolicyFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cedar texts by file name: the whole set, since applying replaces it."""

    files: dict[Annotated[str, Meta(max_length=128)], Annotated[str, Meta(max_length=1_048_576)]]


class PolicyInForce(msgspec.Struct, frozen=True):
    digest: str
    files: dict[str, str]
    schema: str


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either an `entry` that was logged, or who (`application:NAME`, `person:ID`, `service:ID`), what, on which."""

    entry: Text | None = None
    subject: Text | None = None
    action: Text | None = None
    asset: Text | None = None
    mfa_fresh: bool = False


class Explanation(msgspec.Struct, frozen=True):
    """`policies` are the texts of those that determined the answer, by id; none on a default deny."""

    subject: str
    action: str
    asset: str
    effect: str
    reason: str
    obligations: tuple[str, ...]
    policy_set: str
    policies: dict[str, str]


def read_policy(services: Services, call: Call) -> PolicyInForce:
    policy_set = services.policy.policy_set
    return PolicyInForce(policy_set.digest, dict(policy_set.files), shipped_schema())


def check_policy(services: Services, call: Call) -> Prepared:
    checked = services.policy_store.check(call.body.files)
    return Prepared(context={"digest": checked.digest}, value=checked)


def apply_policy(services: Services, call: Call, change: Change) -> PolicyInForce:
    checked: PolicySet = call.prepared.value
    services.policy_store.apply(change.conn, checked, call.subject.render() if call.subject is not None else "")
    return PolicyInForce(checked.digest, dict(checked.files), shipped_schema())


def explain(services: Services, call: Call) -> Explanation:
    question = call.body
    if question.entry is not None:
        return _explain_entry(services, question.entry)
    if question.subject is None or question.action is None or question.asset is None:
        raise Invalid("give an entry, or a subject, an action and an asset")
    if question.action not in set(Action):
        raise Invalid(f"action: there are {', '.join(Action)}")
    kind, _, asset_id = question.asset.partition(":")
    if not asset_id:
        raise Invalid("asset: write KIND:ID, as in Model:handbook")
    subject = subject_of(services, question.subject, mfa_fresh=question.mfa_fresh)
    decision = services.policy.decide(subject, question.action, AssetRef(kind, asset_id))
    texts = services.policy.policy_set.texts()
    return Explanation(
        question.subject, question.action, question.asset, decision.effect, decision.reason,
        tuple(sorted(decision.obligations)), decision.policy_set, _texts(texts, decision.policies),
    )  # fmt: skip


def _explain_entry(services: Services, entry_id: str) -> Explanation:
    """With the policies that were in force then."""
    with services.records.read() as conn:
        entry = services.ledger.entry(conn, entry_id)
        texts = services.policy_store.version(conn, entry.policy_set).texts() if entry.policy_set else {}
    return Explanation(
        entry.subject, entry.action, entry.asset, entry.effect, entry.reason, (), entry.policy_set,
        _texts(texts, entry.policies),
    )  # fmt: skip


def _texts(texts: Mapping[str, str], policies: tuple[str, ...]) -> dict[str, str]:
    return {name: texts.get(name, "") for name in policies}


def subject_of(services: Services, text: str, *, mfa_fresh: bool) -> Subject:
    """The subject a question is about, as it is now; nobody is signed in by asking. Raises NotFound, Invalid."""
    kind, _, name = text.partition(":")
    tenant = TenantId(DEFAULT_TENANT)
    if kind == "application":
        return Subject(SubjectKind.APPLICATION, name, tenant, frozenset({"application"}))
    if kind == "person":
        person = services.identity.people.person(name)
        at = int(services.clock.now().timestamp()) if mfa_fresh else None
        roles = frozenset(person.roles)
        return Subject(
            SubjectKind.PERSON, name, TenantId(person.tenant), roles, version=person.version, mfa_at_seconds=at,
            holder=person.holder,
        )  # fmt: skip
    if kind == "service":
        service = services.identity.services.service(name)
        return Subject(
            SubjectKind.SERVICE, name, TenantId(service.tenant), frozenset(service.roles), version=service.version
        )
    raise Invalid("subject: write application:NAME, person:ID or service:ID")


ROUTES = (
    Route(
        method="GET", path="/policy", name="read_policy", summary="The policies in force",
        access="read", action=Action.POLICY_READ, asset=system, perform=read_policy, answer=PolicyInForce,
    ),
    Route(
        method="PUT", path="/policy", name="apply_policy", summary="Put these policies in force",
        access="change", action=Action.POLICY_APPLY, asset=system,
        prepare=check_policy, perform=apply_policy,
        body=PolicyFiles, max_body_bytes=2 << 20, answer=PolicyInForce,
    ),
    Route(
        method="POST", path="/policy/explanations", name="explain_decision", summary="Why a decision falls as it does",
        access="read", action=Action.POLICY_EXPLAIN, asset=system, perform=explain,
        body=Question, answer=Explanation,
    ),
)  # fmt: skip
