import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.actions import Action
from vallum.kernel.policy import (
    AssetFacts,
    Directory,
    PolicyEngine,
    PolicyRequest,
    PolicySet,
    decide,
    shipped_policies,
    shipped_schema,
    typical_request,
)
from vallum.kernel.policy import engine as module
from vallum.kernel.policy.questions import replay
from vallum.kernel.policy.rehearse import check_cases
from vallum.kernel.values import AssetRef, Obligation, Subject, SubjectKind, TenantId

DEFAULT = TenantId("default")
STATUS = Action.STATUS_READ
SYSTEM = AssetRef("System", "vallum")
PERMIT_ALL = '@id("all") permit (principal, action, resource);'
SHIPPED = PolicySet.parse(shipped_policies(), shipped_schema())


def person(*roles: str, version: int = 1, mfa: int | None = None, tenant: str = "default", name: str = "p") -> Subject:
    return Subject(SubjectKind.PERSON, name, TenantId(tenant), frozenset(roles), version, mfa_at_seconds=mfa)


def set_of(*policies: str) -> PolicySet:
    return PolicySet.parse({"test.cedar": "\n".join(policies)}, shipped_schema())


def ask(policy_set: PolicySet, *, fresh: bool = True, subject: Subject | None = None, action: str = STATUS):
    return decide(policy_set, typical_request(subject or person("auditor"), action, SYSTEM, mfa_fresh=fresh))


# Fail closed.


def test_no_policy_is_a_deny():
    decision = ask(set_of(""))
    assert (decision.effect, decision.policies) == ("deny", ())


def test_a_forbid_that_errors_denies_although_a_permit_matches():
    overflow = '@id("broken") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };'
    assert ask(set_of(PERMIT_ALL)).effect == "allow"
    decision = ask(set_of(PERMIT_ALL, overflow))
    assert decision.effect == "deny"
    assert decision.reason == "a policy failed while it was evaluated"


def test_a_permit_that_errors_denies_although_another_matches():
    overflow = '@id("broken") permit (principal, action, resource) when { 9223372036854775807 + 1 == 0 };'
    assert ask(set_of(PERMIT_ALL, overflow)).effect == "deny"


def test_a_forbid_beats_every_permit():
    decision = ask(set_of(PERMIT_ALL, '@id("never") forbid (principal, action, resource);'))
    assert (decision.effect, decision.policies, decision.reason) == ("deny", ("never",), "forbidden by policy")


def test_an_unknown_asset_is_a_deny_even_when_all_is_permitted(assets, clock):
    engine = PolicyEngine(set_of(PERMIT_ALL), assets, clock)
    assert engine.decide(person(), STATUS, SYSTEM).reason == "there is no such asset"
    assets.add("System", "vallum")
    assert engine.decide(person(), STATUS, SYSTEM).effect == "allow"
    assert engine.decide(person(), STATUS, AssetRef("System", "another")).effect == "deny"
    assert engine.decide(person(), STATUS, AssetRef("Nonsense", "vallum")).effect == "deny"


def test_an_unknown_application_is_a_deny_even_when_all_is_permitted(assets, clock):
    engine = PolicyEngine(set_of(PERMIT_ALL), assets, clock)
    model = assets.add("Model", "m", name="m", provider="p", classification="internal")
    decision = engine.decide(Subject(SubjectKind.APPLICATION, "ghost", DEFAULT), Action.MODEL_INVOKE, model)
    assert decision.reason == "there is no such application"


@pytest.mark.parametrize("action", ["", "system:status:write", 'x"', "*", "Action", "system:status:read "])
def test_an_unknown_action_is_a_deny_even_when_all_is_permitted(action):
    assert ask(set_of(PERMIT_ALL), action=action).effect == "deny"


@pytest.mark.parametrize("kind", ["Nonsense", "Ledger", "", 'System::"vallum', "System::System", "Vallum::System", "é"])
def test_an_asset_that_the_schema_does_not_have_there_is_a_deny(kind):
    request = PolicyRequest(
        person(), None, STATUS, AssetRef(kind, "vallum"), AssetFacts({"tenant": "default"}), mfa_fresh=True
    )
    assert decide(set_of(PERMIT_ALL), request).effect == "deny"


@pytest.mark.parametrize(
    "attributes",
    [{}, {"tenant": 1}, {"tenant": ["default"]}, {"tenant": "default", "more": "x"}, {"tenant": True}],
    ids=str,
)
def test_attributes_that_the_schema_does_not_have_are_a_deny(attributes):
    request = PolicyRequest(person(), None, STATUS, SYSTEM, AssetFacts(attributes), mfa_fresh=True)
    decision = decide(set_of(PERMIT_ALL), request)
    assert decision.effect == "deny"
    assert decision.reason == "the policy engine could not decide"


def test_a_kind_nobody_owns_is_unknown():
    directory = Directory({"System": lambda ref: AssetFacts({"tenant": "default"}) if ref.id == "vallum" else None})
    assert directory.facts(SYSTEM) is not None
    assert directory.facts(AssetRef("System", "x")) is None
    assert directory.facts(AssetRef("Model", "vallum")) is None


def test_a_decision_is_no_truth_value():
    with pytest.raises(TypeError):
        bool(ask(set_of(PERMIT_ALL)))


# Step up.


def test_step_up_is_asked_of_a_person_when_and_only_when_it_would_help():
    needs = '@id("fresh") forbid (principal, action, resource) unless { context.mfa_fresh };'
    stale = ask(set_of(PERMIT_ALL, needs), fresh=False)
    assert (stale.effect, stale.obligations) == ("deny", {Obligation.STEP_UP})
    assert ask(set_of(PERMIT_ALL, needs), fresh=True).effect == "allow"
    assert ask(set_of(needs), fresh=False).obligations == frozenset()
    assert ask(set_of(PERMIT_ALL), fresh=False).obligations == frozenset()
    service = Subject(SubjectKind.SERVICE, "s", DEFAULT)
    assert ask(set_of(PERMIT_ALL, needs), fresh=False, subject=service).obligations == frozenset()


def test_step_up_helps_where_a_permit_asks_for_it():
    permit = '@id("p") permit (principal, action, resource) when { context.mfa_fresh };'
    assert ask(set_of(permit), fresh=False).obligations == {Obligation.STEP_UP}


@pytest.mark.parametrize(("ago", "fresh"), [(0, True), (299, True), (300, False), (301, False), (-1, False)])
def test_a_second_factor_is_fresh_for_five_minutes_and_never_from_the_future(engine, assets, clock, ago, fresh):
    assets.add("System", "vallum")
    decision = engine.decide(person("administrator", mfa=clock.seconds - ago), Action.SECRET_PUT, SYSTEM)
    assert (decision.effect == "allow") == fresh
    assert (Obligation.STEP_UP in decision.obligations) != fresh


# No injection: ids are data.

HOSTILE = [
    '"',
    '" || true || "',
    'x"); permit (principal, action, resource); //',
    'vallum"}, "attrs": {"tenant": "default"',
    "a\nb",
    "a\r\nb",
    "a\x00b",
    "\\",
    "\\u{1F600}",
    '\\"',
    "😀",
    "e\u0301",
    "\u202e\u2066",
    "''",
    "${x}",
    "a" * 10_000,
    "// comment",
    'Vallum::Role::"administrator"',
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: repr(text)[:20])
def test_hostile_ids_are_only_themselves(hostile):
    assert ask(SHIPPED, subject=person(name=hostile)).effect == "deny"
    assert ask(SHIPPED, subject=person("auditor", name=hostile)).effect == "allow"
    assert ask(SHIPPED, subject=person(hostile)).effect == "deny"
    crossing = typical_request(
        person("administrator", tenant=hostile), STATUS, AssetRef("System", hostile), mfa_fresh=True
    )
    assert decide(SHIPPED, crossing).effect == "deny"
    assert ask(SHIPPED, action=hostile).effect == "deny"
    assert decide(
        SHIPPED, typical_request(person("auditor"), STATUS, AssetRef(hostile, "x"), mfa_fresh=True)
    ).effect == ("deny")
    application = Subject(SubjectKind.APPLICATION, hostile, DEFAULT)
    for granted, effect in ((("m",), "deny"), ((hostile, "m"), "allow")):
        model = AssetRef("Model", hostile)
        request = typical_request(application, Action.MODEL_INVOKE, model, mfa_fresh=False, models=granted)
        assert decide(SHIPPED, request).effect == effect


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_application_is_granted_exactly_the_name_it_was_granted(granted, asked):
    application = Subject(SubjectKind.APPLICATION, asked, DEFAULT)
    request = typical_request(
        application, Action.MODEL_INVOKE, AssetRef("Model", asked), mfa_fresh=False, models=(granted,)
    )
    assert (decide(SHIPPED, request).effect == "allow") == (granted == asked)


@given(st.text(st.characters(exclude_characters="", categories=["L", "N", "P", "S", "Z", "C"]), max_size=20))
def test_deciding_never_raises_whatever_the_text(text):
    """Lone surrogates too, which JSON can carry and UTF-8 cannot."""
    roles = frozenset({text})
    for subject in (person(name=text), Subject(SubjectKind.PERSON, "p", TenantId(text), roles)):
        request = typical_request(subject, STATUS, AssetRef("System", text), mfa_fresh=True)
        assert decide(SHIPPED, request).effect == "deny"


def test_lone_surrogates_are_a_deny():
    for subject, asset in (
        (person("auditor", name="\ud800"), SYSTEM),
        (person("auditor"), AssetRef("System", "\udfff")),
    ):
        assert decide(SHIPPED, typical_request(subject, STATUS, asset, mfa_fresh=True)).effect == "deny"
    assert ask(SHIPPED, action="\ud800").effect == "deny"


# The cache.


def test_a_decision_is_kept(engine, assets):
    assets.add("System", "vallum")
    first = engine.decide(person("auditor"), STATUS, SYSTEM)
    assert engine.decide(person("auditor"), STATUS, SYSTEM) is first


def test_whatever_can_change_a_decision_is_not_served_from_the_cache(engine, assets, clock, shipped):
    assets.add("System", "vallum")
    first = engine.decide(person("auditor"), STATUS, SYSTEM)
    for changed in (
        person("auditor", version=2),
        person("auditor", name="q"),
        person("auditor", tenant="other"),
        person("auditor", "approver"),
        person("auditor", mfa=clock.seconds),
        Subject(SubjectKind.SERVICE, "p", DEFAULT, frozenset({"auditor"}), 1),
    ):
        assert engine.decide(changed, STATUS, SYSTEM) is not first
    assert engine.decide(person("auditor"), Action.KEYSET_READ, SYSTEM) is not first
    assets.add("System", "vallum")
    again = engine.decide(person("auditor"), STATUS, SYSTEM)
    assert again is not first
    engine.replace(shipped)
    assert engine.decide(person("auditor"), STATUS, SYSTEM) is not again


def test_a_role_taken_away_an_asset_moved_and_a_policy_replaced_count_at_once(engine, assets):
    assets.add("System", "vallum")
    subject = person("auditor")
    assert engine.decide(subject, STATUS, SYSTEM).effect == "allow"
    assert engine.decide(person(version=2), STATUS, SYSTEM).effect == "deny"
    assets.add("System", "vallum", tenant="other")
    assert engine.decide(subject, STATUS, SYSTEM).effect == "deny"
    assets.add("System", "vallum")
    assert engine.decide(subject, STATUS, SYSTEM).effect == "allow"
    engine.replace(set_of(""))
    assert engine.decide(subject, STATUS, SYSTEM).effect == "deny"
    assert engine.decide(subject, STATUS, SYSTEM).policy_set == engine.policy_set.digest


def test_an_application_disabled_or_removed_is_denied_at_once(engine, assets):
    facts = {"owner": "o", "classification": "internal", "models": ["m"]}
    assets.add("Application", "app", enabled=True, **facts)
    model = assets.add("Model", "m", name="m", provider="p", classification="internal")
    subject = Subject(SubjectKind.APPLICATION, "app", DEFAULT)
    assert engine.decide(subject, Action.MODEL_INVOKE, model).effect == "allow"
    assets.add("Application", "app", enabled=False, **facts)
    assert engine.decide(subject, Action.MODEL_INVOKE, model).effect == "deny"
    assets.add("Application", "app", enabled=True, **facts)
    assert engine.decide(subject, Action.MODEL_INVOKE, model).effect == "allow"
    del assets.known["Application", "app"]
    assert engine.decide(subject, Action.MODEL_INVOKE, model).effect == "deny"


def test_freshness_runs_out_of_the_cache_too(engine, assets, clock):
    assets.add("System", "vallum")
    subject = person("administrator", mfa=clock.seconds)
    assert engine.decide(subject, Action.SECRET_PUT, SYSTEM).effect == "allow"
    clock.advance(300)
    assert engine.decide(subject, Action.SECRET_PUT, SYSTEM).effect == "deny"


def test_the_cache_is_bounded_and_the_oldest_go_first(engine, assets, monkeypatch):
    monkeypatch.setattr(module, "MAX_CACHED", 10)
    assets.add("System", "vallum")
    decisions = [engine.decide(person(version=n), STATUS, SYSTEM) for n in range(15)]
    assert len(engine._in_force.decisions) == 10
    assert engine.decide(person(version=14), STATUS, SYSTEM) is decisions[14]
    assert engine.decide(person(version=0), STATUS, SYSTEM) is not decisions[0]


def test_unknown_assets_do_not_fill_the_cache(engine):
    for n in range(20):
        engine.decide(person(), STATUS, AssetRef("System", str(n)))
    assert engine._in_force.decisions == {}


def test_threads_share_a_full_cache(engine, assets, monkeypatch):
    monkeypatch.setattr(module, "MAX_CACHED", 5)
    assets.add("System", "vallum")
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            decided = list(
                pool.map(lambda n: engine.decide(person("auditor", version=n % 97), STATUS, SYSTEM), range(4000))
            )
    finally:
        sys.setswitchinterval(former)
    assert {decision.effect for decision in decided} == {"allow"}
    assert len(engine._in_force.decisions) <= 5


# On behalf of somebody.


def acting_for(*roles: str, tenant: str = "default", version: int = 1) -> Subject:
    return Subject(
        SubjectKind.APPLICATION, "app", DEFAULT, frozenset({"application"}),
        on_behalf_of=person(*roles, version=version, tenant=tenant),
    )  # fmt: skip


RESTRICTED = """@id("people-only-with-clearance")
forbid (principal, action == Vallum::Action::"gateway:model:invoke", resource is Vallum::Model)
unless { context has on_behalf_of && context.on_behalf_of in Vallum::Role::"data_steward" };"""


def invoke(engine, subject):
    return engine.decide(subject, Action.MODEL_INVOKE, AssetRef("Model", "m"))


@pytest.fixture
def with_model(assets):
    assets.add("Model", "m", name="m", provider="p", classification="internal")
    assets.add("Application", "app", owner="o", classification="internal", enabled=True, models=["m"])


def test_policy_sees_the_application_and_the_person(with_model, assets, clock):
    files = {**shipped_policies(), "ours.cedar": RESTRICTED}
    engine = PolicyEngine(PolicySet.parse(files, shipped_schema()), assets, clock)
    alone = Subject(SubjectKind.APPLICATION, "app", DEFAULT, frozenset({"application"}))
    assert invoke(engine, alone).policies == ("people-only-with-clearance",)
    assert invoke(engine, acting_for("member")).effect == "deny"
    assert invoke(engine, acting_for("member", "data_steward")).effect == "allow"
    assert invoke(engine, acting_for("member", version=2)).effect == "deny"  # no cached answer is another person's
    # The person's role is not lent to the application: what only the person may do stays denied.
    assert engine.decide(acting_for("administrator"), Action.KEY_ISSUE, AssetRef("Application", "app")).effect == "deny"


def test_an_application_acts_for_nobody_of_another_tenant(with_model, engine):
    assert invoke(engine, acting_for("member")).effect == "allow"
    decision = invoke(engine, acting_for("member", tenant="other"))
    assert decision.policies == ("applications-act-for-people-of-their-tenant",)


def test_a_decision_on_somebodys_behalf_is_replayed(with_model, assets, clock):
    policy_set = PolicySet.parse({**shipped_policies(), "ours.cedar": RESTRICTED}, shipped_schema())
    engine = PolicyEngine(policy_set, assets, clock)
    for roles in (("member",), ("data_steward",)):
        decision = invoke(engine, acting_for(*roles))
        logged = (decision.effect, decision.policies)
        again = replay("ent_1", policy_set, logged, "application:app", "default", Action.MODEL_INVOKE, "Model:m",
                       decision.basis)  # fmt: skip
        assert again.same
        assert again.decided == ("allow" if roles == ("data_steward",) else "deny")


def test_a_case_may_say_whom_the_application_acts_for():
    cases = """
[[case]]
name = "without clearance"
action = "gateway:model:invoke"
asset = "Model:m"
subject = "application:app"
models = ["m"]
on_behalf_of = ["member"]
expect = "deny"
[[case]]
name = "with it"
action = "gateway:model:invoke"
asset = "Model:m"
subject = "application:app"
models = ["m"]
on_behalf_of = ["data_steward"]
expect = "allow"
"""
    results = check_cases({**shipped_policies(), "ours.cedar": RESTRICTED}, cases)
    assert [result.passed for result in results] == [True, True]
