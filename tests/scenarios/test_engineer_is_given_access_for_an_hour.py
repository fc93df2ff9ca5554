"""Just-in-time access: asked for with a reason, given by somebody else, used, and gone."""

import json
import time

import openai
import pytest

from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound


@pytest.fixture(scope="module")
def people(server):
    """Somebody with no rights of her own, and two who decide."""
    clients = []

    def sign_in(name, *roles):
        client = server.client()
        client.person = server.newcomer(name, *roles)
        client.person.sign_in(client)
        clients.append(client)
        return client

    yield sign_in("mia", "member"), sign_in("ben", "approver"), sign_in("sam", "security")
    for client in clients:
        client.close()


REASON = {"reason": "the handbook's key leaked, issuing another"}


def tail(server):
    """Newest first."""
    lines = server.vallum("ledger", "tail", "-n", "60", "--json").stdout.splitlines()
    return [json.loads(line) for line in reversed(lines)]


def test_a_role_is_asked_for_given_used_and_revoked(server, people):
    mia, ben, sam = people
    with pytest.raises(Denied):
        mia.issue_key("handbook-assistant", label="refused")
    asked = mia.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
    assert asked["state"] == "waiting"
    with pytest.raises(Denied):
        mia.issue_key("handbook-assistant", label="refused, for nobody has approved")
    with pytest.raises(Denied):
        mia.request("GET", "/grants")
    detail = ben.request("GET", f"/grants/{asked['id']}")
    assert "identity:key:issue" in detail["gains"]
    assert not {"identity:person:invite", "policy:set:apply", "identity:grant:approve"} & set(detail["gains"])
    given = ben.request("POST", f"/grants/{asked['id']}/approval", {"note": "until the hour"})
    assert given["state"] == "active"

    issued = mia.issue_key("handbook-assistant", label="under a grant")
    entry = next(e for e in tail(server) if e["action"] == "identity:key:issue" and e["outcome"] == "ok")
    assert entry["context"]["grants"] == asked["id"]
    mia.revoke_key(issued["key"]["id"])

    started = time.monotonic()
    sam.request("DELETE", f"/grants/{asked['id']}")
    with pytest.raises(Denied):
        mia.issue_key("handbook-assistant", label="too late")
    assert time.monotonic() - started < 1
    assert [g["state"] for g in mia.request("GET", "/grants/own")] == ["revoked"]


def test_what_is_held_for_an_hour_makes_nothing_that_stays(server, people):
    mia, ben, _ = people
    asked = mia.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
    ben.request("POST", f"/grants/{asked['id']}/approval", {})
    for path, body in (
        ("/invitations", {"roles": ["administrator"]}),
        ("/services", {"name": "backdoor", "roles": ["administrator"]}),
    ):
        with pytest.raises(Denied, match="forbidden by policy"):
            mia.request("POST", path, body)
    mia.request("DELETE", f"/grants/own/{asked['id']}")


def test_a_key_issued_under_a_grant_ends_with_it(server, people):
    mia, ben, _ = people
    asked = mia.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
    given = ben.request("POST", f"/grants/{asked['id']}/approval", {})
    issued = mia.issue_key("handbook-assistant", label="no longer than the grant", expires_in_days=30)
    assert issued["key"]["expires_at_seconds"] <= given["expires_at_seconds"]
    question = {"model": "handbook", "messages": [{"role": "user", "content": "How many days of leave?"}]}
    assert server.openai(issued["secret"]).chat.completions.create(**question)
    mia.request("DELETE", f"/grants/own/{asked['id']}")
    deadline = time.monotonic() + 1
    with pytest.raises(openai.AuthenticationError):
        while time.monotonic() < deadline:
            server.openai(issued["secret"]).chat.completions.create(**question)


def test_a_narrow_grant_is_for_one_asset(server, people):
    mia, ben, _ = people
    narrow = {"role": "administrator", "seconds": 600, "asset": "Application:handbook-assistant", **REASON}
    asked = mia.request("POST", "/grants", narrow)
    gains = ben.request("GET", f"/grants/{asked['id']}")["gains"]
    assert "identity:key:issue" in gains
    assert not {"keys:keyset:rotate", "identity:person:read"} & set(gains)
    ben.request("POST", f"/grants/{asked['id']}/approval", {})
    mia.issue_key("handbook-assistant", label="for this one")
    with pytest.raises(Denied):
        mia.request("GET", "/persons")
    mia.request("DELETE", f"/grants/own/{asked['id']}")
    for wrong in ("Application:no-such", "application:handbook-assistant", "Nonsense:x", "Guard:vallum"):
        with pytest.raises(Invalid):
            mia.request("POST", "/grants", {**narrow, "asset": wrong})
    with pytest.raises(Invalid, match="adds nothing"):
        mia.request("POST", "/grants", {"role": "member", "seconds": 600, **REASON})


def test_a_grant_of_approver_approves_nothing(server, people):
    """A chain: given the approver's role, she approves her friend's request for more."""
    mia, ben, sam = people
    asked = mia.request("POST", "/grants", {"role": "approver", "seconds": 600, **REASON})
    ben.request("POST", f"/grants/{asked['id']}/approval", {})
    of_sam = sam.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
    assert of_sam["id"] in [g["id"] for g in mia.request("GET", "/grants?state=waiting")]
    with pytest.raises(Denied):
        mia.request("POST", f"/grants/{of_sam['id']}/approval", {})
    sam.request("DELETE", f"/grants/own/{of_sam['id']}")
    mia.request("DELETE", f"/grants/own/{asked['id']}")


def test_nobody_approves_their_own_not_even_from_a_second_account(server, people):
    _, ben, _ = people
    asked = ben.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
    with pytest.raises(Denied):
        ben.request("POST", f"/grants/{asked['id']}/approval", {})
    me = ben.request("GET", "/sessions/current")["person_id"]
    second = type(ben.person)("ben-security")
    with server.client() as client:
        url = server.vallum("people", "invite", "--role", "security", "--same-as", me).stdout.strip()
        second.enrol(client, url)
        second.sign_in(client)
        for decision in ("approval", "denial"):
            with pytest.raises(Denied):
                client.request("POST", f"/grants/{asked['id']}/{decision}", {})
    denied = [e for e in tail(server) if e["action"] == "identity:grant:approve" and e["effect"] == "deny"]
    assert "somebody-else-approves" in denied[0]["policies"]
    ben.request("DELETE", f"/grants/own/{asked['id']}")


def test_whoever_holds_the_root_key_revokes_but_neither_asks_nor_approves(server, people):
    mia, _, _ = people
    asked = mia.request("POST", "/grants", {"role": "auditor", "seconds": 600, **REASON})
    listed = json.loads(server.vallum("access", "list", "--state", "waiting", "--json").stdout)
    assert asked["id"] in [g["id"] for g in listed]
    refused = server.vallum("access", "revoke", asked["id"], check=False)
    assert (refused.returncode, "waiting" in refused.stderr) == (6, True)
    mia.request("DELETE", f"/grants/own/{asked['id']}")


def test_breaking_the_glass_takes_two_people_and_opens_an_incident(server, people):
    mia, _, _ = people
    friend = server.newcomer("noa", "member")
    body = {"role": "administrator", "seconds": 600, "reason": "nobody with rights is awake", "break_glass": True}
    asked = mia.request("POST", "/grants", body)
    with pytest.raises(Denied):
        mia.request("POST", f"/grants/{asked['id']}/approval", {})
    with server.client() as noa:
        friend.sign_in(noa)
        ordinary = mia.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
        with pytest.raises(Denied):
            noa.request("POST", f"/grants/{ordinary['id']}/approval", {})
        given = noa.request("POST", f"/grants/{asked['id']}/approval", {})
    assert given["state"] == "active"
    mia.revoke_key(mia.issue_key("handbook-assistant", label="emergency")["key"]["id"])
    incident = next(e for e in tail(server) if e["kind"] == "incident")
    assert (incident["asset"], incident["outcome"]) == (f"Grant:{asked['id']}", "open")
    assert incident["context"]["cause"] == "break_glass"
    assert incident["subject"] == f"person:{noa_id(server)}"
    for grant in (asked, ordinary):
        mia.request("DELETE", f"/grants/own/{grant['id']}")


def noa_id(server):
    return next(p["id"] for p in json.loads(server.vallum("people", "list", "--json").stdout) if p["name"] == "noa")


def test_the_command_line_asks_and_decides(server, people, vallum, tmp_path):
    mia, ben, _ = people

    def as_(client, *arguments, check=True):
        file = tmp_path / f"{client.person.name}.json"
        file.write_text(json.dumps({"url": server.url, "credential": client.credential, "ca_file": server.ca_file}))
        return vallum(*arguments, check=check, env={"VALLUM_CREDENTIALS": str(file)})

    asked = json.loads(
        as_(mia, "access", "request", "auditor", "--for", "10m", "--reason", REASON["reason"], "--json").stdout
    )
    waiting = as_(ben, "access", "list", "--all", "--state", "waiting").stdout
    assert asked["id"] in waiting
    assert "mia" in waiting
    shown = as_(ben, "access", "show", asked["id"])
    assert "ledger:export:create" in shown.stdout
    assert "auditor until" in as_(ben, "access", "approve", asked["id"]).stderr
    assert "revoked" in as_(mia, "access", "withdraw", asked["id"]).stderr
    again = as_(ben, "access", "approve", asked["id"], check=False)
    assert (again.returncode, "revoked" in again.stderr) == (6, True)
    bad = as_(mia, "access", "request", "auditor", "--for", "soon", "--reason", REASON["reason"], check=False)
    assert (bad.returncode, "30m" in bad.stderr) == (2, True)


def test_what_is_refused_says_what_to_change(people):
    mia, ben, _ = people
    for wrong in ({"role": "root"}, {"seconds": 90_000}, {"reason": "why not"}, {"asset": "x"}, {"unknown": 1}):
        with pytest.raises(Invalid):
            mia.request("POST", "/grants", {"role": "auditor", "seconds": 60, **REASON, **wrong})
    with pytest.raises((NotFound, Denied)):
        ben.request("POST", "/grants/grt_nothing/approval", {})
    with pytest.raises((NotFound, Conflict)):
        mia.request("DELETE", "/grants/own/grt_nothing")


def test_nobody_buries_anothers_request(server, people):
    mia, ben, sam = people
    waits = sam.request("POST", "/grants", {"role": "administrator", "seconds": 600, **REASON})
    refused = 0
    for _ in range(70):
        try:
            asked = mia.request("POST", "/grants", {"role": "auditor", "seconds": 60, **REASON})
            mia.request("DELETE", f"/grants/own/{asked['id']}")
        except Conflict:
            refused += 1
    assert refused
    assert [g["id"] for g in ben.request("GET", "/grants?state=waiting")] == [waits["id"]]
    assert ben.request("GET", "/grants")[0]["id"] == waits["id"]
    sam.request("DELETE", f"/grants/own/{waits['id']}")
