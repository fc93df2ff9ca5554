"""What the shipped policies allow, as a table: a change of it is a change of who may do what."""

import re

import pytest

from vallum.kernel.actions import Action
from vallum.kernel.policy import (
    ROLES,
    AssetFacts,
    PolicyEngine,
    PolicySet,
    check_policies,
    decide,
    shipped_policies,
    shipped_schema,
    typical_kind,
    typical_request,
)
from vallum.kernel.values import AssetRef, Obligation, Subject, SubjectKind, TenantId

# A: allowed.  F: allowed with a fresh second factor.  -: denied.
MATRIX = """
                              administrator security data_steward ml_engineer approver auditor member provisioner nobody system
gateway:model:invoke                -          -          -            -         -        -      -         -        -      -
gateway:model:list                  -          -          -            -         -        -      -         -        -      -
inventory:application:read          A          A          A            A         A        A      -         -        -      A
inventory:provider:read             A          A          -            A         A        A      -         -        -      A
inventory:configuration:plan        A          A          -            A         A        -      -         -        -      A
inventory:configuration:apply       A          -          -            -         -        -      -         -        -      A
identity:key:read                   A          A          -            -         -        A      -         -        -      A
identity:key:issue                  A          -          -            -         -        -      -         -        -      A
identity:key:revoke                 A          A          -            -         -        -      -         -        -      A
identity:person:read                A          A          -            -         -        A      -         A        -      A
identity:person:invite              F          -          -            -         -        -      -         -        -      A
identity:person:disable             F          F          -            -         -        -      -         F        -      A
identity:person:unlock              F          -          -            -         -        -      -         -        -      A
identity:service:read               A          A          -            -         -        A      -         A        -      A
identity:service:create             F          -          -            -         -        -      -         -        -      A
identity:service:disable            A          A          -            -         -        -      -         A        -      A
identity:certificate:issue          F          -          -            -         -        -      -         -        -      A
identity:certificate:withdraw       A          A          -            -         -        -      -         -        -      A
identity:session:read               A          A          A            A         A        A      A         A        A      A
identity:session:prove              A          A          A            A         A        A      A         A        A      A
identity:session:share              F          F          F            F         F        F      F         F        F      A
identity:session:end                A          A          A            A         A        A      A         A        A      A
identity:grant:request              A          A          A            A         A        A      A         A        A      A
identity:grant:read                 A          A          -            -         A        A      -         -        -      A
identity:grant:approve              -          F          -            -         F        -      -         -        -      -
identity:grant:deny                 -          A          -            -         A        -      -         -        -      -
identity:grant:revoke               A          A          -            -         A        -      -         -        -      A
identity:delegation:create          F          F          F            F         F        F      F         F        F      -
identity:delegation:end             A          A          A            A         A        A      A         A        A      -
identity:account:read               A          A          A            A         A        A      A         A        A      -
identity:account:change             F          F          F            F         F        F      F         F        F      -
policy:set:read                     A          A          -            -         A        A      -         -        -      A
policy:set:apply                    -          -          -            -         -        -      -         -        -      A
policy:decision:explain             A          A          -            -         -        A      -         -        -      A
policy:change:propose               -          F          -            -         -        -      -         -        -      A
policy:change:approve               -          F          -            -         F        -      -         -        -      -
policy:change:deny                  -          A          -            -         A        -      -         -        -      -
ledger:entry:read                   A          A          A            -         A        A      -         -        -      A
ledger:content:read                 -          F          -            -         -        -      -         -        -      -
ledger:content:expire               -          -          -            -         -        -      -         -        -      A
ledger:content:erase                -          -          -            -         -        -      -         -        -      A
ledger:export:create                A          A          -            -         -        A      -         -        -      A
ledger:hold:set                     A          A          A            -         -        -      -         -        -      A
ledger:hold:read                    A          A          A            -         -        A      -         -        -      A
ledger:hold:end                     -          -          F            -         -        -      -         -        -      A
guards:finding:review               -          A          -            -         -        -      -         -        -      A
guards:case:read                    -          F          -            -         -        -      -         -        -      -
keys:keyset:read                    A          A          -            -         -        A      -         -        -      A
keys:keyset:rotate                  A          A          -            -         -        -      -         -        -      A
keys:keyset:schedule                A          -          -            -         -        -      -         -        -      A
keys:keyset:destroy                 F          -          -            -         -        -      -         -        -      A
keys:rotation:overdue               -          -          -            -         -        -      -         -        -      A
vault:secret:list                   A          A          -            -         -        A      -         -        -      A
vault:secret:put                    F          -          -            -         -        -      -         -        -      A
vault:secret:rollback               F          -          -            -         -        -      -         -        -      A
vault:secret:delete                 F          -          -            -         -        -      -         -        -      A
vault:secret:expire                 -          -          -            -         -        -      -         -        -      A
monitor:alert:raise                 -          -          -            -         -        -      -         -        -      A
monitor:alert:read                  A          A          -            -         -        A      -         -        -      A
monitor:alert:decide                F          F          -            -         -        -      -         -        -      A
respond:incident:open               -          -          -            -         -        -      -         -        -      A
models:model:read                   A          A          A            A         A        A      -         -        -      A
models:model:create                 A          -          -            A         -        -      -         -        -      A
models:version:read                 A          A          A            A         A        A      -         -        -      A
models:version:upload               -          -          -            A         -        -      -         -        -      A
models:version:download             -          -          -            A         -        -      -         -        -      A
models:version:review               -          F          F            -         F        -      -         -        -      -
models:version:revoke               F          F          F            -         F        -      -         -        -      A
models:version:attest               -          A          A            A         A        -      -         -        -      A
models:version:damaged              -          -          -            -         -        -      -         -        -      A
models:key:rotate                   F          F          -            -         -        -      -         -        -      A
models:key:revoke                   F          F          -            -         -        -      -         -        -      A
models:upload:expire                -          -          -            -         -        -      -         -        -      A
models:egress:read                  A          A          -            -         -        A      -         -        -      A
models:dependency:alert             -          -          -            -         -        -      -         -        -      A
releases:release:read               A          A          A            A         A        A      -         -        -      A
releases:release:build              -          -          -            A         -        -      -         -        -      A
releases:release:revoke             -          F          -            -         -        -      -         -        -      A
releases:evidence:data              -          -          F            -         -        -      -         -        -      -
releases:evidence:tests             -          -          -            A         -        -      -         -        -      A
releases:evidence:threats           -          F          -            -         -        -      -         -        -      -
releases:promotion:request          -          -          -            A         -        -      -         -        -      A
releases:promotion:approve          -          F          -            -         F        -      -         -        -      -
releases:promotion:deny             -          A          -            -         A        -      -         -        -      -
releases:promotion:cancel           -          -          -            A         -        -      -         -        -      A
releases:environment:read           A          A          A            A         A        A      -         -        -      A
releases:environment:rollback       F          F          -            F         -        -      -         -        -      A
releases:environment:verify         A          A          -            A         -        -      -         -        -      A
releases:environment:drift          -          -          -            -         -        -      -         -        -      A
releases:environment:heal           -          -          -            -         -        -      -         -        -      A
releases:canary:adopt               -          -          -            F         -        -      -         -        -      A
releases:canary:stop                A          A          -            A         -        -      -         -        -      A
releases:canary:fail                -          -          -            -         -        -      -         -        -      A
data:dataset:read                   A          A          A            A         A        A      -         -        -      A
data:dataset:create                 -          -          A            -         -        -      -         -        -      A
data:version:intake                 -          -          A            -         -        -      -         -        -      A
data:version:read                   -          -          A            A         -        -      -         -        -      A
data:version:export                 -          -          A            A         -        -      -         -        -      A
data:version:approve                -          -          F            -         F        -      -         -        -      -
data:version:use                    -          -          A            A         -        -      -         -        -      A
data:version:expire                 -          -          -            -         -        -      -         -        -      A
data:version:overdue                -          -          -            -         -        -      -         -        -      A
data:version:retire                 -          -          F            -         -        -      -         -        -      A
data:column:read                    -          -          A            A         -        -      -         -        -      A
data:quarantine:read                -          -          F            -         -        -      -         -        -      -
data:quarantine:release             -          -          F            -         -        -      -         -        -      -
data:quarantine:destroy             -          -          F            -         -        -      -         -        -      A
data:subject:erase                  -          -          F            -         -        -      -         -        -      A
data:erasure:read                   -          A          A            -         A        A      -         -        -      A
data:erasure:request                -          -          F            -         -        -      -         -        -      A
data:erasure:approve                -          -          F            -         F        -      -         -        -      -
data:erasure:cancel                 -          -          A            -         -        -      -         -        -      A
data:erasure:finish                 -          -          -            -         -        -      -         -        -      A
data:erasure:readmit                -          -          F            -         -        -      -         -        -      -
data:hold:set                       A          A          A            -         -        -      -         -        -      A
data:hold:release                   -          -          F            -         -        -      -         -        -      A
data:egress:read                    -          A          A            -         -        A      -         -        -      A
data:token:reveal                   -          -          F            -         -        -      -         -        -      -
data:key:rotate                     -          A          A            -         -        -      -         -        -      A
data:budget:set                     -          -          F            -         -        -      -         -        -      A
data:statistics:release             -          -          A            A         -        A      -         -        -      A
system:status:read                  A          A          A            A         A        A      -         -        -      A
"""  # noqa: E501  one line a right

DEFAULT = TenantId("default")
PEOPLE_ALONE = (
    "identity:grant:request",
    "identity:grant:approve",
    "identity:grant:deny",
    "identity:account:",
    "identity:delegation:",
    "policy:change:",
    "monitor:alert:decide",
    "releases:promotion:deny",
)


def table() -> dict[str, dict[str, str]]:
    head, *rows = (line.split() for line in MATRIX.strip().splitlines())
    return {action: dict(zip(head, cells, strict=True)) for action, *cells in rows}


def asset_for(action: str) -> AssetRef:
    return AssetRef(typical_kind(action), "vallum")


def subject_for(role: str, kind: SubjectKind = SubjectKind.PERSON, tenant: str = "default") -> Subject:
    if role == "system":
        return Subject(SubjectKind.SYSTEM, "vallum", TenantId(tenant))
    roles = frozenset() if role == "nobody" else frozenset({role})
    return Subject(kind, "somebody", TenantId(tenant), roles)


def test_the_table_names_every_action_and_role():
    rows = table()
    assert list(rows) == [str(action) for action in Action]
    assert all(set(row) == {*ROLES, "nobody", "system"} for row in rows.values())


def test_the_schema_names_every_action_and_no_other():
    assert set(re.findall(r'"([a-z]+:[a-z]+:[a-z]+)"', shipped_schema())) == {str(action) for action in Action}


def test_the_policies_name_only_actions_there_are():
    named = set(re.findall(r'Action::"([^"]+)"', "\n".join(shipped_policies().values())))
    assert named <= {str(action) for action in Action}


def test_the_shipped_policies_pass_their_own_check():
    check_policies(shipped_policies(), shipped_schema())


def test_each_shipped_policy_has_its_text_by_id(shipped):
    texts = shipped.texts()
    assert len(texts) == len(re.findall(r"^@id", "\n".join(shipped_policies().values()), re.MULTILINE))
    for name, policy in texts.items():
        assert policy.startswith(f'@id("{name}")')
        assert policy.endswith(";")
        assert len(re.findall(r"^(?:permit|forbid)\b", policy, re.MULTILINE)) == 1


@pytest.mark.parametrize("role", [*ROLES, "nobody", "system"])
def test_each_role_may_do_exactly_what_the_table_says(shipped, role):
    found = {}
    for action in Action:
        subject, asset = subject_for(role), asset_for(action)
        stale = decide(shipped, typical_request(subject, action, asset, mfa_fresh=False))
        fresh = decide(shipped, typical_request(subject, action, asset, mfa_fresh=True))
        if role == "system":  # proven by the root key, and always fresh (PolicyEngine)
            found[str(action)] = "A" if fresh.effect == "allow" else "-"
            continue
        found[str(action)] = {("allow", "allow"): "A", ("deny", "allow"): "F", ("deny", "deny"): "-"}[
            stale.effect, fresh.effect
        ]
        assert (Obligation.STEP_UP in stale.obligations) == (found[str(action)] == "F")
        assert not fresh.obligations
    assert found == {action: row[role] for action, row in table().items()}


@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_a_service_may_do_what_its_role_may_but_nothing_sensitive(shipped, role):
    """It has no second factor, so it is never told to step up either."""
    for action, row in table().items():
        subject = subject_for(role, SubjectKind.SERVICE)
        decision = decide(shipped, typical_request(subject, action, asset_for(action), mfa_fresh=False))
        ends_access = action == "identity:person:disable" and row[role] == "F"
        expected = ends_access or (row[role] == "A" and not action.startswith(PEOPLE_ALONE))
        assert (decision.effect == "allow") == expected, action
        assert not decision.obligations


@pytest.mark.parametrize("role", [*ROLES, "nobody", "system"])
def test_nobody_crosses_tenants(shipped, role):
    for action in Action:
        elsewhere = AssetRef(asset_for(action).kind, "elsewhere")  # the subject itself is in its own tenant
        for mine, theirs in (("default", "other"), ("other", "default"), ("default", "")):
            subject = subject_for(role, tenant=mine)
            request = typical_request(subject, action, elsewhere, mfa_fresh=True, asset_tenant=theirs)
            assert decide(shipped, request).effect == "deny"


def test_every_action_is_denied_to_an_application_but_its_two(shipped):
    application = Subject(SubjectKind.APPLICATION, "app", DEFAULT)
    for action in Action:
        kinds = ["System", "Ledger", "Model", "Application", "Keyset", "Secret", "PolicySet", "Provider", "ApiKey"]
        for kind in kinds:
            name = "app" if kind == "Application" else "m"
            request = typical_request(application, action, AssetRef(kind, name), mfa_fresh=True, models=("m",))
            expected = (str(action), kind) in {("gateway:model:invoke", "Model"), ("gateway:model:list", "Application")}
            assert (decide(shipped, request).effect == "allow") == expected, (action, kind)


@pytest.mark.parametrize("action", [Action.MODEL_INVOKE, Action.MODEL_LIST])
@pytest.mark.parametrize("role", [*ROLES, "nobody", "system"])
def test_nobody_else_uses_models(shipped, action, role):
    for kind in (SubjectKind.PERSON, SubjectKind.SERVICE):
        for asset in (AssetRef("Model", "m"), AssetRef("Application", "app")):
            request = typical_request(subject_for(role, kind), action, asset, mfa_fresh=True, models=("m",))
            assert decide(shipped, request).effect == "deny"


@pytest.mark.parametrize(
    ("enabled", "models", "model", "tenant", "effect"),
    [
        (True, ("m", "n"), "m", "default", "allow"),
        (True, ("m", "n"), "o", "default", "deny"),
        (True, (), "m", "default", "deny"),
        (True, ("M",), "m", "default", "deny"),
        (True, ("*",), "m", "default", "deny"),
        (False, ("m", "n"), "m", "default", "deny"),
        (True, ("m", "n"), "m", "other", "deny"),
    ],
)
def test_an_application_invokes_only_its_own_models_while_enabled(shipped, enabled, models, model, tenant, effect):
    subject = Subject(SubjectKind.APPLICATION, "app", DEFAULT)
    request = typical_request(
        subject,
        Action.MODEL_INVOKE,
        AssetRef("Model", model),
        mfa_fresh=False,
        models=models,
        enabled=enabled,
        asset_tenant=tenant,
    )
    assert decide(shipped, request).effect == effect


def test_an_application_lists_its_own_models_only(engine, assets):
    facts = {"owner": "o", "classification": "internal", "enabled": True, "models": ["m"]}
    mine, other = assets.add("Application", "app", **facts), assets.add("Application", "other", **facts)
    subject = Subject(SubjectKind.APPLICATION, "app", DEFAULT)
    assert engine.decide(subject, Action.MODEL_LIST, mine).effect == "allow"
    assert engine.decide(subject, Action.MODEL_LIST, other).effect == "deny"
    assets.add("Application", "app", **facts | {"enabled": False})
    assert engine.decide(subject, Action.MODEL_LIST, mine).effect == "deny"


def test_roles_add_up_and_unknown_ones_give_nothing(shipped):
    def may(action, *roles):
        subject = Subject(SubjectKind.PERSON, "somebody", DEFAULT, frozenset(roles))
        return decide(shipped, typical_request(subject, action, asset_for(action), mfa_fresh=True)).effect

    assert may(Action.POLICY_PROPOSE, "administrator") == "deny"
    assert may(Action.POLICY_PROPOSE, "administrator", "security") == "allow"
    assert may(Action.STATUS_READ, "root", "Administrator", "admin", "") == "deny"


def test_a_decision_names_the_policies_that_made_it(shipped):
    subject = subject_for("auditor")
    allowed = decide(shipped, typical_request(subject, Action.ENTRY_READ, AssetRef("Ledger", "v"), mfa_fresh=False))
    assert allowed.policies == ("auditor-reads-and-changes-nothing",)
    assert allowed.policy_set == shipped.digest
    crossed = typical_request(subject, Action.ENTRY_READ, AssetRef("Ledger", "v"), mfa_fresh=False, asset_tenant="x")
    assert decide(shipped, crossed).policies == ("nobody-crosses-tenants",)


def test_the_system_is_always_fresh(shipped, assets, clock):
    assets.add("System", "vallum")
    engine = PolicyEngine(PolicySet.parse(shipped_policies(), shipped_schema()), assets, clock)
    subject = Subject(SubjectKind.SYSTEM, "vallum", DEFAULT)
    assert engine.decide(subject, Action.SECRET_PUT, AssetRef("System", "vallum")).effect == "allow"
    assert AssetFacts().version == 0
