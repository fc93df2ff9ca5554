"""Enrolling, signing in, stepping up; services and their tokens; and what each may not do."""

import json
import time

import pytest

from vallum.kernel.errors import Denied, Invalid, LimitExceeded, NotFound, Unauthenticated


@pytest.fixture(scope="module")
def alice(server):
    """One session of the administrator's for this module."""
    client = server.client()
    client.person = server.newcomer("erin", "administrator", "security")
    client.person.sign_in(client)
    yield client
    client.close()


def changes(server):
    return [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "50", "--json").stdout.splitlines()]


def test_nobody_without_credentials(server):
    with server.client() as nobody:
        for path in ("/applications", "/entries", "/keys", "/persons", "/sessions/current"):
            with pytest.raises(Unauthenticated):
                nobody.request("GET", path)
    with server.client("vls_" + "0" * 42) as forged, pytest.raises(Unauthenticated):
        forged.applications()
    with server.client("eyJhbGciOiJub25lIn0.e30.") as forged, pytest.raises(Unauthenticated):
        forged.applications()


def test_an_applications_key_opens_no_control_plane(server):
    with server.client(server.ready["api_key"]) as application, pytest.raises(Unauthenticated):
        application.applications()


def test_the_enrolment_link_works_once(server):
    token = server.ready["enrol_url"].partition("#")[2]
    with server.client() as client:
        with pytest.raises(NotFound):
            client.request("POST", "/enrolments", {"token": token})
        body = {"token": token, "name": "mallory", "password": "long enough password", "code": "123456"}
        with pytest.raises(NotFound):
            client.request("POST", "/persons", body)


def test_a_session_reads_and_changes_and_ends(server, alice):
    assert [a["name"] for a in alice.applications()] == ["handbook-assistant"]
    issued = alice.issue_key("handbook-assistant", label="from a session", expires_in_days=1)
    assert issued["secret"].startswith("vlm_")
    alice.revoke_key(issued["key"]["id"])
    with pytest.raises(Denied):  # there is none of that id
        alice.revoke_key("key_01NOTHING")
    with pytest.raises(NotFound):
        alice.revoke_key(issued["key"]["id"])
    with pytest.raises(Denied, match="no such asset"):
        alice.issue_key("no-such-application", label="x")
    with pytest.raises(Invalid):
        alice.issue_key("handbook-assistant", label="x\u202e")
    with pytest.raises(Invalid):
        alice.issue_key("handbook-assistant", label="x", expires_in_days=0)
    issues = [e for e in changes(server) if e["action"] == "identity:key:issue" and e["subject"][:7] == "person:"]
    assert {"ok", "error"} <= {e["outcome"] for e in issues}


def test_the_ledger_over_the_client(server, alice, tmp_path):
    from vallum.kernel.ledger.verify import verify_export

    newest = next(alice.entries(limit=1))
    assert alice.entry(newest["entry_id"]) == newest
    proof = alice.prove(newest["entry_id"])
    assert proof["index"] == newest["index"]
    assert len(list(alice.entries(limit=250))) > 1
    denied = list(alice.entries(limit=50, effect="deny"))
    assert denied
    assert all(e["effect"] == "deny" for e in denied)
    file = tmp_path / "export"
    file.write_bytes(b"".join(alice.export_ledger()))
    with file.open("rb") as lines:
        assert verify_export(lines).size > newest["index"]
    with pytest.raises(NotFound):
        alice.entry("ent_nothing")


def test_only_security_opens_contents_and_each_opening_is_recorded(server, alice):
    answer = server.openai().chat.completions.with_raw_response.create(
        model="handbook", messages=[{"role": "user", "content": "a question for the record"}]
    )
    entry_id = answer.headers["x-vallum-entry"]
    opened = alice.request("POST", f"/entries/{entry_id}/contents/request")
    assert "a question for the record" in opened["text"]
    recorded = [e for e in changes(server) if e["action"] == "ledger:content:read"]
    assert recorded[-1]["context"]["entry"] == entry_id
    # Whoever holds the folder is not thereby a reader of contents.
    done = server.vallum("policy", "explain", "--entry", entry_id)
    assert "application-invokes-its-models" in done.stdout


def test_what_is_sensitive_asks_for_a_fresh_second_factor(server, alice):
    database = server.data / "records.db"
    import sqlite3

    with sqlite3.connect(database, timeout=10) as conn:  # as if the factor had been proven an hour ago
        conn.execute("UPDATE sessions SET mfa_at_seconds = mfa_at_seconds - 3600")
    conn.close()
    with pytest.raises(Denied, match="second factor"):
        alice.request("POST", "/invitations", {"roles": ["auditor"]})
    with pytest.raises(Unauthenticated):
        alice.step_up("000000")
    alice.step_up(alice.person.code())
    invitation = alice.request("POST", "/invitations", {"roles": ["auditor"]})
    assert "#" in invitation["url"]


def test_an_auditor_reads_and_changes_nothing(server, alice, person):
    invitation = alice.request("POST", "/invitations", {"roles": ["auditor"]})
    bob = person("bob")
    with server.client() as client:
        enrolled = bob.enrol(client, invitation["url"])
        bob.sign_in(client)
        assert client.request("GET", "/sessions/current")["roles"] == ["auditor"]
        assert list(client.entries(limit=5))
        assert client.keys() is not None
        for method, path, body in (
            ("POST", "/keys", {"application_id": "handbook-assistant", "label": "x"}),
            ("POST", "/configuration", {"files": {}}),
            ("POST", "/invitations", {"roles": ["administrator"]}),
            ("PUT", "/secrets/x", {"value": "x"}),
            ("POST", "/keysets/default/content/versions", None),
            ("POST", f"/entries/{next(client.entries(limit=1))['entry_id']}/contents/request", None),
        ):
            with pytest.raises(Denied) as denied:
                client.request(method, path, body)
            assert "entry ent_" in str(denied.value)
        # Disabled, and the session ends at once.
        alice.request("DELETE", f"/persons/{enrolled['id']}")
        with pytest.raises(Unauthenticated):
            client.keys()
        with pytest.raises(Unauthenticated):
            bob.sign_in(client)


def test_a_replayed_code_is_refused(server):
    frank = server.newcomer("frank", "auditor")
    with server.client() as client:
        code = frank.code()
        client.sign_in(frank.name, frank.password, code)
        with pytest.raises(Unauthenticated):
            client.sign_in(frank.name, frank.password, code)
        client.sign_out()
        with pytest.raises(Unauthenticated):
            client.applications()


def test_guessing_is_slowed_down(server):
    with server.client() as client:
        outcomes = []
        for number in range(12):
            try:
                client.sign_in("nobody-of-that-name", f"wrong password {number}", "123456")
            except (Unauthenticated, LimitExceeded) as e:
                outcomes.append(type(e))
    assert outcomes[0] is Unauthenticated
    assert LimitExceeded in outcomes
    assert [e for e in changes(server) if e["action"] == "identity:session:create" and e["effect"] == "deny"]


def test_a_service_asks_for_tokens_and_does_what_its_role_may(server, alice):
    created = server.vallum("services", "create", "nightly", "--role", "auditor", "--json")
    issued = json.loads(created.stdout)
    with server.client() as client:
        client.grant_token(issued["service"]["id"], issued["client_secret"])
        assert client.keys() is not None
        with pytest.raises(Denied):
            client.issue_key("handbook-assistant", label="x")
        token = client.credential
        client.sign_out()  # revokes the token
    with server.client(token) as revoked, pytest.raises(Unauthenticated):
        revoked.keys()
    with server.client() as client:
        client.grant_token(issued["service"]["id"], issued["client_secret"])
        server.vallum("services", "disable", issued["service"]["id"])
        time.sleep(0.5)
        with pytest.raises(Unauthenticated):
            client.keys()
        with pytest.raises(Unauthenticated):
            client.grant_token(issued["service"]["id"], issued["client_secret"])


def test_client_credentials_as_a_form_as_the_standard_has_it(server):
    import subprocess

    issued = json.loads(server.vallum("services", "create", "by-curl", "--role", "auditor", "--json").stdout)
    command = ["curl", "-sS", "--fail-with-body", "--cacert", server.ca_file, server.url + "/api/v1/tokens"]
    basic = ["-u", f"{issued['service']['id']}:{issued['client_secret']}", "-d", "grant_type=client_credentials"]
    done = subprocess.run([*command, *basic], capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout)["token_type"] == "Bearer"
    wrong = ["-u", f"{issued['service']['id']}:wrong", "-d", "grant_type=client_credentials"]
    assert subprocess.run([*command, *wrong], capture_output=True, timeout=30).returncode == 22


def test_the_last_administrator_cannot_be_disabled(start, person):
    server = start()
    with server.client() as client:
        only = person().enrol(client, server.ready["enrol_url"])
    done = server.vallum("people", "disable", only["id"], check=False)
    assert done.returncode == 6
    assert "administrator" in done.stderr


def test_signing_in_on_the_command_line(server, vallum, tmp_path):
    env = {"VALLUM_CREDENTIALS": str(tmp_path / "credentials.json")}
    refused = vallum("keys", "list", env=env, check=False)
    assert refused.returncode == 3
    grace = server.newcomer("grace", "administrator")
    arguments = ("login", "--url", server.url, "--ca-file", server.ca_file, "--name", "grace")
    vallum(*arguments, stdin=f"{grace.password}\n{grace.code()}\n", env=env)
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert "handbook-assistant" in vallum("keys", "list", env=env).stdout
    assert json.loads(vallum("status", "--json", env=env).stdout)["applications"] >= 1
    denied = vallum("secrets", "put", "x", stdin="", env=env, check=False)
    assert denied.returncode == 2
    vallum("logout", env=env)
    assert vallum("keys", "list", env=env, check=False).returncode == 3
