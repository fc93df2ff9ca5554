"""A release from a file to production and back: refused first, approved by somebody else, rolled back, revoked."""

import json
import time

import pytest

from vallum.kernel.errors import Conflict, Denied

RELEASE = """
product = "assistant"
application = "handbook-assistant"
classification = "confidential"
tools = ["search"]
dependencies = "requirements.lock"
[[prompts]]
name = "system"
file = "prompts/system.txt"
"""
REASON = "answers better about leave"


@pytest.fixture
def crew(start, person):
    """Ada is security and administrator, Eng builds, Bob approves, Dana stewards data."""
    server = start("--demo")
    clients = {}

    def sign_in(name, *roles, first=None):
        client = server.client()
        somebody = person(name) if first else server.newcomer(name, *roles)
        if first:
            somebody.enrol(client, first)
        somebody.sign_in(client)
        clients[name] = client

    sign_in("ada", first=server.ready["enrol_url"])
    sign_in("eng", "ml_engineer")
    sign_in("bob", "approver")
    sign_in("dana", "data_steward")
    yield server, clients
    for client in clients.values():
        client.close()


def declared(folder, system="You are helpful. The passphrase is xyzzy."):
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts" / "system.txt").write_text(system)
    (folder / "requirements.lock").write_text("numpy==2.0\n")
    (folder / "release.toml").write_text(RELEASE)
    return {
        "product": "assistant", "application": "handbook-assistant", "classification": "confidential",
        "tools": ["search"], "prompts": [{"name": "system", "text": system}], "dependencies": "0" * 64,
    }  # fmt: skip


def given(passed=True):
    return {"passed": passed, "report": "a" * 64}


def test_built_refused_satisfied_approved_and_back(crew, tmp_path):
    server, clients = crew
    ada, eng, bob, dana = (clients[name] for name in ("ada", "eng", "bob", "dana"))
    body = declared(tmp_path)
    for nobody in (bob, dana, ada):
        with pytest.raises(Denied):
            nobody.request("POST", "/releases", body)
    first = eng.request("POST", "/releases", body)

    def ask(release, environment, by=eng):
        body = {"release": release["id"], "reason": REASON}
        return by.request("POST", f"/environments/{environment}/promotions", body)

    with pytest.raises(Denied):
        ask(first, "dev", by=bob)
    with pytest.raises(Conflict, match="--to dev"):
        ask(first, "test")
    assert ask(first, "dev")["state"] == "approved"
    with pytest.raises(Conflict, match=rf"vallum release attest {first['id']} tests --passed --report FILE"):
        ask(first, "test")
    eng.request("POST", f"/releases/{first['id']}/evidence/tests", given())
    waiting = ask(first, "test")
    with pytest.raises(Denied):  # not the one who asked, nor anybody without a part in it
        eng.request("POST", f"/promotions/{waiting['id']}/approval", {})
    with pytest.raises(Denied):
        dana.request("POST", f"/promotions/{waiting['id']}/approval", {})
    assert bob.request("POST", f"/promotions/{waiting['id']}/approval", {})["state"] == "approved"

    with pytest.raises(Conflict) as refused:
        ask(first, "prod")
    assert "threats: nobody has reviewed the threat model" in str(refused.value)
    with pytest.raises(Denied):
        eng.request("POST", f"/releases/{first['id']}/evidence/threats", given())
    ada.request("POST", f"/releases/{first['id']}/evidence/threats", given())
    waiting = ask(first, "prod")
    bob.request("POST", f"/promotions/{waiting['id']}/approval", {"note": "read it"})

    # The second one, through the command line on the server's own folder, and as far as prod.
    declared(tmp_path, "You are helpful, and short.")
    built = json.loads(server.vallum("release", "build", tmp_path / "release.toml", "--json").stdout)
    assert built["product"] == "assistant"
    server.vallum("release", "promote", built["id"], "--to", "dev", "--reason", REASON)
    checked = server.vallum("release", "check", built["id"], "--for", "prod", check=False)
    assert checked.returncode == 1
    assert f"vallum release attest {built['id']} tests" in checked.stdout
    report = tmp_path / "results.xml"
    report.write_text("<ok/>")
    server.vallum("release", "attest", built["id"], "tests", "--passed", "--report", report)
    ada.request("POST", f"/releases/{built['id']}/evidence/threats", given())
    for environment in ("test", "prod"):
        bob.request("POST", f"/promotions/{ask(built, environment)['id']}/approval", {})
    shown = eng.request("GET", f"/releases/{first['id']}/differences?other={built['id']}")
    assert "prompts.system.sha256" in {one["field"] for one in shown}
    assert "helpful" not in json.dumps(shown)

    # Back, in one call.
    with pytest.raises(Denied):
        bob.request("POST", "/environments/prod/rollbacks", {"product": "assistant"})
    begun = time.monotonic()
    back = eng.request("POST", "/environments/prod/rollbacks", {"product": "assistant"})
    took = time.monotonic() - begun
    assert back["release"] == first["id"]
    assert took < 5.0
    status = eng.request("GET", "/environments")
    runs = {e["name"]: e["running"][0]["release"] for e in status}
    assert runs == {"dev": built["id"], "test": built["id"], "prod": first["id"]}
    assert eng.request("POST", "/environments/prod/verifications", {"product": "assistant"})["problems"] == []

    # Revoked: out of everywhere it ran, and it does not come back.
    with pytest.raises(Denied):
        eng.request("POST", f"/releases/{built['id']}/revocation", {"reason": REASON})
    gone = ada.request("POST", f"/releases/{built['id']}/revocation", {"reason": REASON})
    assert gone["environments"] == ["dev", "test"]
    for refused in (
        lambda: ask(built, "dev"),
        lambda: eng.request("POST", "/environments/prod/rollbacks", {"product": "assistant", "release": built["id"]}),
    ):
        with pytest.raises(Conflict, match="revoked"):
            refused()
    again = server.vallum("release", "build", tmp_path / "release.toml", check=False)
    assert (again.returncode, "revoked" in again.stderr) == (6, True)

    # Each step is an entry, and none of them says what the prompts do.
    tail = server.vallum("ledger", "tail", "-n", "200", "--json").stdout
    assert "xyzzy" not in tail
    entries = [json.loads(line) for line in tail.splitlines()]
    done = [e["action"] for e in entries if e["kind"] == "change" and e["outcome"] == "ok"]
    for action in ("release:build", "promotion:request", "promotion:approve", "environment:rollback", "release:revoke",
                   "evidence:threats", "evidence:tests"):  # fmt: skip
        assert f"releases:{action}" in done, action
    denied = [e for e in entries if e["action"] == "releases:promotion:approve" and e["effect"] == "deny"]
    assert "somebody-else-decides-promotions" in {policy for e in denied for policy in e["policies"]}
    refusals = [e for e in entries if e["action"] == "releases:promotion:request" and e["outcome"] == "error"]
    assert "promotion_refused" in {e["context"]["error"] for e in refusals}


def test_bad_input_is_refused_with_what_to_change(crew, tmp_path):
    server, clients = crew
    eng = clients["eng"]
    body = declared(tmp_path)
    from vallum.kernel.errors import Invalid, NotFound

    for bad in (
        {}, {**body, "extra": 1}, {**body, "product": "No Spaces"}, {**body, "tools": ["a", "a"]}, {"product": "empty"},
        {**body, "dependencies": "short"}, {**body, "models": [{"name": "m", "version": 0}]},
        {**body, "models": [{"name": "m", "version": 1}]}, {**body, "application": "nobodys"},
        {**body, "indexes": [{"name": "handbook", "digest": "a" * 64}]}, {**body, "application": None},
    ):  # fmt: skip
        with pytest.raises((Invalid, NotFound)):
            eng.request("POST", "/releases", bad)
    with pytest.raises((Denied, NotFound)):
        eng.request("GET", "/releases/rel_nothing")
    with pytest.raises((Denied, NotFound)):
        eng.request("POST", "/environments/moon/promotions", {"release": "rel_nothing", "reason": REASON})
    with pytest.raises(NotFound):
        eng.request("POST", "/environments/dev/promotions", {"release": "rel_nothing", "reason": REASON})
    for text in ("not = [toml", RELEASE.replace("prompts/system.txt", "absent.txt"), "prompts = 3"):
        (tmp_path / "bad.toml").write_text(text)
        done = server.vallum("release", "build", tmp_path / "bad.toml", check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
