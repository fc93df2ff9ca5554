"""Who may, what may they, replays, and advice: all of it decided, none of it read off the text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound
from vallum.kernel.policy import (
    ROLES,
    AssetFacts,
    PolicyEngine,
    PolicySet,
    droppable,
    replay,
    shipped_policies,
    shipped_schema,
    unused,
    what_may,
    who_may,
)
from vallum.kernel.values import AssetRef, GrantedRole, Subject, SubjectKind, TenantId

DEFAULT = TenantId("default")


def person(name, *roles, **more):
    return Subject(SubjectKind.PERSON, name, DEFAULT, frozenset(roles), holder=name, **more)


def test_who_may_names_people_and_what_lets_them(shipped):
    people = [(person("ada", "security"), None), (person("bob", "auditor"), None), (person("eve", "member"), None)]
    ledger = AssetRef("Ledger", "vallum")
    readers = who_may(shipped, people, Action.ENTRY_READ, ledger, AssetFacts({"tenant": "default"}))
    assert [(a.subject, a.outcome) for a in readers] == [("person:ada", "allow"), ("person:bob", "allow")]
    assert readers[1].policies == ("auditor-reads-and-changes-nothing",)
    contents = who_may(shipped, people, Action.CONTENT_READ, ledger, AssetFacts({"tenant": "default"}))
    assert [(a.subject, a.outcome) for a in contents] == [("person:ada", "step_up")]
    elsewhere = who_may(shipped, people, Action.ENTRY_READ, ledger, AssetFacts({"tenant": "other"}))
    assert elsewhere == []


def test_what_may_an_application_do(shipped):
    facts = AssetFacts(
        {"tenant": "default", "owner": "o", "classification": "internal", "enabled": True, "models": ["handbook"]}
    )
    app = Subject(SubjectKind.APPLICATION, "app", DEFAULT, frozenset({"application"}))
    assert [a.action for a in what_may(shipped, app, facts)] == ["gateway:model:invoke", "gateway:model:list"]
    asleep = AssetFacts({**facts.attributes, "enabled": False})
    assert what_may(shipped, app, asleep) == []
    without = AssetFacts({**facts.attributes, "models": []})
    assert [a.action for a in what_may(shipped, app, without)] == ["gateway:model:list"]


def test_an_administrator_may_no_contents_and_no_policies(shipped):
    actions = {a.action for a in what_may(shipped, person("ada", "administrator"))}
    assert "identity:person:invite" in actions
    assert not {"ledger:content:read", "policy:change:propose", "policy:set:apply"} & actions


@given(st.data())
def test_every_logged_decision_is_decided_alike_again(data):
    """Whatever was asked, by whomever, under a grant or not: the entry is enough."""
    engine = ENGINE
    roles = data.draw(st.sets(st.sampled_from(ROLES), max_size=3))
    grants = tuple(
        GrantedRole(f"grt_{n}", role, "")
        for n, role in enumerate(data.draw(st.lists(st.sampled_from(ROLES), max_size=2)))
    )
    fresh = data.draw(st.booleans())
    subject = person("ada", *roles, mfa_at_seconds=int(NOW) if fresh else None, grants=grants)
    action = data.draw(st.sampled_from(list(Action)))
    asset = data.draw(st.sampled_from(list(ASSETS)))
    decision = engine.decide(subject, action, asset)
    if not decision.basis:
        assert decision.effect == "deny"
        return
    again = replay(
        "ent_1", engine.policy_set, (decision.effect, decision.policies), subject.render(), "default", action,
        asset.render(), decision.basis,
    )  # fmt: skip
    assert again.same
    assert again.decided == decision.effect


def test_a_replay_of_an_altered_entry_differs(shipped):
    engine = ENGINE
    ledger = AssetRef("Ledger", "vallum")
    denied = engine.decide(person("eve", "member"), Action.ENTRY_READ, ledger)
    arguments = (engine.policy_set, ("allow", ()), "person:eve", "default", Action.ENTRY_READ, "Ledger:vallum")
    assert not replay("ent_1", *arguments, denied.basis).same
    for basis in ("", "{}", "[]", "nonsense", json.dumps({"roles": 5, "holder": "", "subject": None, "asset": {}})):
        with pytest.raises(NotFound):
            replay("ent_1", *arguments, basis)


def test_advice_names_what_lies_unused_and_roles_one_could_do_without(shipped):
    ada = person("ada", "administrator", "auditor")
    allowed = [a.action for a in what_may(shipped, ada)]
    assert "identity:key:issue" in unused(allowed, {"ledger:entry:read"})
    assert unused(["a", "b"], ["b"]) == ("a",)
    assert droppable(shipped, ("administrator", "auditor"), {"ledger:entry:read"}) == ("administrator",)
    assert droppable(shipped, ("administrator", "auditor"), {"identity:key:issue"}) == ("auditor",)
    assert droppable(shipped, ("auditor",), set()) == ()  # somebody without a role is disabled, not narrowed


NOW = 1_800_000_000
ASSETS = {
    AssetRef("System", "vallum"): {"tenant": "default"},
    AssetRef("Ledger", "vallum"): {"tenant": "default"},
    AssetRef("Grant", "grt_1"): {"tenant": "default", "holder": "bob", "role": "auditor", "break_glass": True},
    AssetRef("Grant", "grt_2"): {"tenant": "default", "holder": "ada", "role": "auditor", "break_glass": False},
    AssetRef("PolicyChange", "pch_1"): {"tenant": "default", "holder": "bob"},
    AssetRef("Guard", "vallum"): {"tenant": "other"},
}


class _Assets:
    def facts(self, ref):
        return AssetFacts(ASSETS[ref]) if ref in ASSETS else None


class _Clock:
    def now(self):
        from datetime import UTC, datetime

        return datetime.fromtimestamp(NOW + 5, UTC)


ENGINE = PolicyEngine(PolicySet.parse(shipped_policies(), shipped_schema()), _Assets(), _Clock())
