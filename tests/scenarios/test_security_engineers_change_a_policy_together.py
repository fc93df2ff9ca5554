"""A policy proposed, read as changed decisions, approved by somebody else, replayed, and rolled back."""

import json

import pytest

from vallum.kernel.errors import Conflict, Denied, Invalid

MORE = """
@id("auditors-plan")
permit (
  principal in Vallum::Role::"auditor",
  action == Vallum::Action::"inventory:configuration:plan",
  resource
);
"""


@pytest.fixture
def people(start, person):
    server = start("--demo")
    clients = []

    def sign_in(name, *roles, first=None):
        client = server.client()
        somebody = person(name) if first else server.newcomer(name, *roles)
        if first:
            somebody.enrol(client, first)
        somebody.sign_in(client)
        clients.append(client)
        return client

    yield server, sign_in("ada", first=server.ready["enrol_url"]), sign_in("bob", "approver"), sign_in("eve", "auditor")
    for client in clients:
        client.close()


def test_proposed_read_approved_in_force_and_back(people, tmp_path):
    server, ada, bob, eve = people
    files = ada.request("GET", "/policy")["files"]
    before = ada.request("GET", "/policy")["digest"]
    plan = {"files": {}, "prune": False}
    with pytest.raises(Denied):
        eve.request("POST", "/configuration/plans", plan)
    with pytest.raises(Denied):  # not even security alone
        ada.request("PUT", "/policy", {"files": {**files, "more.cedar": MORE}})
    proposal = {"files": {**files, "more.cedar": MORE}, "reason": "auditors want to see plans"}
    change = ada.request("POST", "/policy/changes", proposal)
    with pytest.raises(Denied):
        ada.request("POST", f"/policy/changes/{change['id']}/approval", {})
    read = bob.request("GET", f"/policy/changes/{change['id']}")
    assert [(c["role"], c["action"], c["after"]) for c in read["changes"]] == [
        ("auditor", "inventory:configuration:plan", "allow")
    ]
    bob.request("POST", f"/policy/changes/{change['id']}/approval", {"note": "read it"})
    assert eve.request("POST", "/configuration/plans", plan)["changes"] == []

    # What was decided under either set is decided alike again, by the set of its time.
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "60", "--json").stdout.splitlines()]
    plans = [e for e in entries if e["action"] == "inventory:configuration:plan" and e["subject"].startswith("person:")]
    assert [e["effect"] for e in plans] == ["deny", "allow"]
    for entry in plans:
        again = ada.request("GET", f"/policy/replays/{entry['entry_id']}")
        assert (again["same"], again["decided"]) == (True, entry["effect"])
        assert server.vallum("policy", "replay", entry["entry_id"]).returncode == 0
    inference = server.openai().chat.completions.create(
        model="handbook", messages=[{"role": "user", "content": "How many days of leave?"}]
    )
    assert inference
    invoked = json.loads(server.vallum("ledger", "tail", "-n", "1", "--json").stdout)
    assert ada.request("GET", f"/policy/replays/{invoked['entry_id']}")["same"]

    back = ada.request("POST", "/policy/changes", {"digest": before, "reason": "they have seen enough now"})
    bob.request("POST", f"/policy/changes/{back['id']}/approval", {})
    assert ada.request("GET", "/policy")["digest"] == before
    with pytest.raises(Denied):
        eve.request("POST", "/configuration/plans", plan)
    with pytest.raises(Conflict):
        bob.request("POST", f"/policy/changes/{change['id']}/approval", {})


def test_what_is_given_to_one_by_name_is_seen(people):
    """A permit for its own proposer, which no role is asked about; and one about what nobody asks of."""
    server, ada, bob, _ = people
    me = ada.request("GET", "/sessions/current")["person_id"]
    files = ada.request("GET", "/policy")["files"]
    greedy = f'@id("tidy") permit (principal == Vallum::Person::"{me}", action, resource);'
    change = ada.request(
        "POST", "/policy/changes", {"files": {**files, "tidy.cedar": greedy}, "reason": "tidying comments only"}
    )
    read = bob.request("GET", f"/policy/changes/{change['id']}")
    assert [t["policy"] for t in read["texts"]] == ["tidy"]
    gained = {c["action"] for c in read["subjects"] if c["subject"] == f"person:{me}"}
    assert {"ledger:content:expire", "respond:incident:open"} <= gained
    assert "policy:set:apply" not in gained
    shown = server.vallum("policy", "review", change["id"]).stdout
    assert "tidy is new" in shown
    bob.request("POST", f"/policy/changes/{change['id']}/approval", {})
    with pytest.raises(Denied):  # two people stay two
        ada.request("PUT", "/policy", {"files": files})


def test_bad_proposals_are_refused_and_change_nothing(people):
    _, ada, bob, eve = people
    files = ada.request("GET", "/policy")["files"]
    for body in (
        {"files": {"x.cedar": "nonsense"}}, {"files": {}}, {}, {"files": files, "digest": "x"},
        {"files": {**files, "bounds.cedar": "// lifted"}},
    ):  # fmt: skip
        with pytest.raises((Invalid, Conflict)):
            ada.request("POST", "/policy/changes", {"reason": "a reason that is long enough", **body})
    with pytest.raises(Denied):
        eve.request("POST", "/policy/changes", {"reason": "a reason that is long enough", "files": files})
    assert bob.request("GET", "/policy/changes") == []


def test_questions_and_advice(people, vallum):
    server, ada, _, eve = people
    me = ada.request("GET", "/sessions/current")["person_id"]
    who = ada.request("GET", "/policy/who?action=ledger:content:read&asset=Ledger:vallum")
    assert [(a["subject"], a["outcome"]) for a in who] == [(f"person:{me}", "step_up")]
    users = ada.request("GET", "/policy/who?action=gateway:model:invoke&asset=Model:handbook")
    assert [a["subject"] for a in users] == ["application:handbook-assistant"]
    what = eve.request("GET", f"/policy/what?subject=person:{me}")
    assert "policy:change:propose" in {a["action"] for a in what}
    shown = server.vallum("policy", "what-can", "application:handbook-assistant").stdout
    assert "gateway:model:list" in shown
    eve.request("GET", "/entries?limit=1")
    advice = {a["name"]: a for a in json.loads(server.vallum("policy", "advice", "--days", "90", "--json").stdout)}
    assert "ledger:entry:read" not in advice["eve"]["unused"]
    assert "ledger:export:create" in advice["eve"]["unused"]
    assert advice["ada"]["droppable_roles"] == ["administrator"]
    for path in ("who?action=x&asset=Model:handbook", "who?action=gateway:model:invoke&asset=Model", "what?subject=x",
                 "who?action=gateway:model:invoke&asset=Model:none", "what?subject=person:none"):  # fmt: skip
        with pytest.raises(Invalid):
            ada.request("GET", f"/policy/{path}")
