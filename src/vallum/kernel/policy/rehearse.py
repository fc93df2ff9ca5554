"""Rehearsing policies: cases that must hold, why a decision falls as it does, and what a change would change."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.policy.engine import PolicyRequest, decide
from vallum.kernel.policy.policy_set import PolicySet, check_policies, completed, shipped_schema
from vallum.kernel.values import AssetRef, Decision, Obligation, Subject, SubjectKind, TenantId

__all__ = [
    "ROLES",
    "CaseResult",
    "PolicyChange",
    "check_cases",
    "diff_policies",
    "permitted",
    "typical_kind",
    "typical_request",
]

ROLES = ("administrator", "security", "data_steward", "ml_engineer", "approver", "auditor", "member", "provisioner")

_TYPICAL_ASSETS: Mapping[str, str] = {  # of an action, or of all in an area; else the platform itself
    "ledger": "Ledger",
    "guards": "Guard",
    "identity:grant:approve": "Grant",
    "identity:grant:deny": "Grant",
    "identity:grant:revoke": "Grant",
    "identity:delegation:create": "Application",
    "models:dependency:alert": "ModelVersion",
    "models:version:attest": "ModelVersion",
    "models:version:damaged": "ModelVersion",
    "models:version:download": "ModelVersion",
    "models:version:read": "ModelVersion",
    "models:version:review": "ModelVersion",
    "models:version:revoke": "ModelVersion",
    "models:version:upload": "RegisteredModel",
    "monitor:alert:decide": "Alert",
    "policy:change:approve": "PolicyChange",
    "policy:change:deny": "PolicyChange",
    # Releases.
    **dict.fromkeys(
        ("releases:promotion:approve", "releases:promotion:deny", "releases:promotion:cancel"), "Promotion"
    ),
    **{f"releases:evidence:{kind}": "Release" for kind in ("data", "tests", "threats")},
    "releases:release:revoke": "Release",
    **{f"releases:environment:{verb}": "Environment" for verb in ("rollback", "verify", "drift", "heal")},
    **{f"releases:canary:{verb}": "Environment" for verb in ("adopt", "stop", "fail")},
    "releases:promotion:request": "Environment",
    # Data sets.
    **dict.fromkeys(
        (
            "data:version:intake",
            "data:subject:erase",
            "data:hold:set",
            "data:hold:release",
            "data:token:reveal",
            "data:key:rotate",
            "data:budget:set",
        ),
        "DataSet",
    ),
    "data:statistics:release": "DataSetVersion",
    **{f"data:version:{verb}": "DataSetVersion" for verb in ("read", "export", "approve", "use", "overdue", "retire")},
    **{f"data:quarantine:{verb}": "QuarantineCase" for verb in ("read", "release", "destroy")},
    "data:column:read": "DataColumn",
    **{f"data:erasure:{verb}": "SubjectErasure" for verb in ("approve", "cancel", "finish", "readmit")},
}


class _Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case of a cases file."""

    name: str
    action: str
    asset: str
    expect: str
    subject: str = "person:somebody"
    roles: tuple[str, ...] = ()
    mfa_fresh: bool = False
    models: tuple[str, ...] = ()
    enabled: bool = True
    tenant: str = "default"
    asset_tenant: str = "default"
    on_behalf_of: tuple[str, ...] | None = None  # the roles of the person that an application acts for


class _Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: tuple[_Case, ...]


class CaseResult(msgspec.Struct, frozen=True):
    name: str
    passed: bool
    expected: str
    decided: str
    reason: str
    policies: tuple[str, ...]


class PolicyChange(msgspec.Struct, frozen=True):
    """What `role` may do before and after: deny, allow, or allow with a fresh second factor."""

    role: str
    action: str
    asset_kind: str
    before: str
    after: str


def typical_kind(action: str) -> str:
    """The kind of asset that people are asked about with this action."""
    return _TYPICAL_ASSETS.get(action) or _TYPICAL_ASSETS.get(action.partition(":")[0], "System")


def typical_request(
    subject: Subject,
    action: str,
    asset: AssetRef,
    *,
    mfa_fresh: bool,
    models: tuple[str, ...] = (),
    enabled: bool = True,
    asset_tenant: str = "default",
) -> PolicyRequest:
    """A request about things that need not exist, with the attributes the schema asks for."""
    application: dict[str, Any] = {
        "owner": "owner",
        "classification": "internal",
        "enabled": enabled,
        "models": list(models),
    }
    subject_facts = None
    if subject.kind is SubjectKind.APPLICATION:
        subject_facts = AssetFacts({"tenant": subject.tenant, **application})
    attributes: dict[str, Any] = {"tenant": asset_tenant}
    if asset.kind == "Application":
        attributes |= application
    if asset.kind in ("Person", "PolicyChange", "Alert"):
        attributes["holder"] = "somebody else"
    if asset.kind == "Person":
        attributes["inviter"] = ""
    if asset.kind == "ApiKey":
        attributes["application"] = "application"
    if asset.kind == "Grant":
        attributes |= {"holder": "somebody else", "role": "administrator", "break_glass": False}
    if asset.kind in ("Release", "Promotion"):
        attributes |= {"holder": "somebody else", "classification": "internal"}
        if asset.kind == "Release":
            attributes |= {"product": "product", "risk_class": "limited"}
        else:
            attributes |= {"builder": "somebody else", "environment": "prod"}
    if asset.kind == "Environment":
        attributes |= {"name": asset.id, "last": True}
    if asset.kind == "Model":
        attributes |= {"name": asset.id, "provider": "provider", "classification": "internal"}
    if asset.kind in ("RegisteredModel", "ModelVersion"):
        attributes |= {"owner": "owner", "holder": "somebody else", "classification": "internal"}
        attributes["risk_class"] = "limited"
    if asset.kind == "ModelVersion":
        attributes |= {"model": "model", "state": "available", "verdict": "pass"}
    if asset.kind in ("DataSet", "DataSetVersion", "DataColumn", "QuarantineCase"):
        attributes |= {"owner": "owner", "holder": "somebody else", "classification": "internal"}
        if asset.kind != "DataColumn":
            attributes["held"] = False
        if asset.kind != "DataSet":
            attributes["dataset"] = "dataset"
        if asset.kind in ("DataSetVersion", "QuarantineCase"):
            attributes["state"] = "available" if asset.kind == "DataSetVersion" else "open"
        if asset.kind == "DataColumn":
            attributes |= {"column": "column", "purpose": "purpose"}
        if asset.kind == "DataSetVersion":
            attributes |= {"approved": False, "purpose": "purpose"}
    if asset.kind == "SubjectErasure":
        attributes |= {"holder": "somebody else", "state": "requested"}
    return PolicyRequest(subject, subject_facts, action, asset, AssetFacts(attributes), mfa_fresh)


def check_cases(files: Mapping[str, str], cases_toml: str) -> list[CaseResult]:
    """Decide every case of a TOML file. Raises Invalid for a file that is none, PolicyRefused for bad policies."""
    try:
        cases = msgspec.convert(tomllib.loads(cases_toml), _Cases).case
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as e:
        raise Invalid(f"the cases do not fit: {e}; write [[case]] tables with name, action, asset and expect") from e
    schema, files = shipped_schema(), completed(files)
    check_policies(files, schema)
    policy_set = PolicySet.parse(files, schema)
    return [_check(policy_set, case) for case in cases]


def _check(policy_set: PolicySet, case: _Case) -> CaseResult:
    kind, _, subject_id = case.subject.partition(":")
    asset_kind, _, asset_id = case.asset.partition(":")
    if kind not in set(SubjectKind) or not subject_id or not asset_id or case.expect not in ("allow", "deny"):
        raise Invalid(f"case {case.name}: subject is kind:id, asset is Kind:id, expect is allow or deny")
    tenant, behalf = TenantId(case.tenant), None
    if case.on_behalf_of is not None:
        behalf = Subject(SubjectKind.PERSON, "somebody", tenant, frozenset(case.on_behalf_of), holder="somebody")
    subject = Subject(SubjectKind(kind), subject_id, tenant, frozenset(case.roles), on_behalf_of=behalf)
    request = typical_request(
        subject,
        case.action,
        AssetRef(asset_kind, asset_id),
        mfa_fresh=case.mfa_fresh,
        models=case.models,
        enabled=case.enabled,
        asset_tenant=case.asset_tenant,
    )
    decision = decide(policy_set, request)
    return CaseResult(
        case.name, decision.effect == case.expect, case.expect, decision.effect, decision.reason, decision.policies
    )


def diff_policies(before: Mapping[str, str], after: Mapping[str, str]) -> list[PolicyChange]:
    """Every role and action whose outcome differs. Raises PolicyRefused when `after` could not be put in force."""
    schema, after = shipped_schema(), completed(after)
    check_policies(after, schema)
    old, new = PolicySet.parse(before, schema), PolicySet.parse(after, schema)
    changes = []
    for role, request in _matrix():
        was, would = _outcome(decide(old, request)), _outcome(decide(new, request))
        if was != would:
            changes.append(PolicyChange(role, str(request.action), request.asset.kind, was, would))
    return changes


def permitted(
    policy_set: PolicySet, roles: frozenset[str], *, by_grant: bool = False, kind: str | None = None
) -> tuple[str, ...]:
    """The actions that a person with these roles may do with a fresh second factor, on a typical asset or on `kind`."""
    subject = Subject(SubjectKind.PERSON, "somebody", TenantId("default"), roles)
    found = []
    for action in Action:
        request = typical_request(subject, action, AssetRef(kind or typical_kind(action), "vallum"), mfa_fresh=True)
        if decide(policy_set, replace(request, by_grant=by_grant)).effect == "allow":
            found.append(str(action))
    return tuple(found)


def _matrix() -> Iterator[tuple[str, PolicyRequest]]:
    for action in Action:
        if action in (Action.MODEL_INVOKE, Action.MODEL_LIST):
            subject = Subject(SubjectKind.APPLICATION, "app", TenantId("default"), frozenset({"application"}))
            asset = AssetRef("Model", "model") if action is Action.MODEL_INVOKE else AssetRef("Application", "app")
            yield "application", typical_request(subject, action, asset, mfa_fresh=False, models=("model",))
            continue
        for role in ROLES:
            subject = Subject(SubjectKind.PERSON, "somebody", TenantId("default"), frozenset({role}))
            yield role, typical_request(subject, action, AssetRef(typical_kind(action), "vallum"), mfa_fresh=False)


def _outcome(decision: Decision) -> str:
    if Obligation.STEP_UP in decision.obligations:
        return "allow with a fresh second factor"
    return decision.effect
