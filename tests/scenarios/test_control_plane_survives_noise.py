"""Schemathesis against the description, and hand-made nonsense: a problem that says what to change, never a 500."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from vallum.kernel.errors import Unauthenticated


@pytest.fixture(scope="module")
def session(server):
    with server.client() as client:
        yield server.newcomer("heidi", "administrator", "security").sign_in(client)["secret"]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_schemathesis_finds_no_server_error(start, person, tmp_path):
    """On a server of its own: among all it sends is what revokes, disables and signs out.

    By one worker: before CPython 3.11.8, compiling in two threads can end in a SystemError (cpython issue 106905).
    """
    server = start("--demo")
    alice = person()
    with server.client() as client:
        alice.enrol(client, server.ready["enrol_url"])
        secret = alice.sign_in(client)["secret"]
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", server.url + "/api/v1/openapi.json",
        "--header", f"Authorization: Bearer {secret}", "--checks", "not_a_server_error,content_type_conformance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--tls-verify", server.ca_file,
        "--suppress-health-check", "all", "--exclude-operation-id", "end_session", "--workers", "1", "--no-color",
        "--seed", "7",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=380, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert server.process.poll() is None
    assert json.loads(server.vallum("ledger", "verify", "--json").stdout)["verified"]


def ask(server, method, path, raw=None, headers=None, credential=""):
    request = urllib.request.Request(server.url + path, data=raw, method=method, headers=headers or {})
    if credential:
        request.add_header("authorization", f"Bearer {credential}")
    try:
        with urllib.request.urlopen(request, context=server.tls(), timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, dict(e.headers), e.read()


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "raw", "headers", "status"),
    [
        ("GET", "/api/v1/nothing", None, {}, 404),
        ("GET", "/api/v1/entries/%ff", None, {}, 400),
        ("GET", "/api/v1/entries?limit=0", None, {}, 400),
        ("GET", "/api/v1/entries?limit=1&limit=2", None, {}, 400),
        ("GET", "/api/v1/entries?surprise=1", None, {}, 400),
        ("GET", "/api/v1/entries?before=99999999999999999999", None, {}, 400),
        ("PATCH", "/api/v1/keys", b"{}", JSON, 405),
        ("POST", "/api/v1/keys", b"{", JSON, 400),
        ("POST", "/api/v1/keys", b"[]", JSON, 400),
        ("POST", "/api/v1/keys", b'{"application_id": "a", "label": "b", "more": 1}', JSON, 400),
        ("POST", "/api/v1/keys", b'{"application_id": 5, "label": "b"}', JSON, 400),
        ("POST", "/api/v1/keys", b'{"application_id": "\xff", "label": "b"}', JSON, 400),
        ("POST", "/api/v1/keys", b'{"application_id": "\\ud800", "label": "b"}', JSON, 400),
        ("POST", "/api/v1/keys", b'{"application_id": "\\u0000", "label": "b"}', JSON, 400),
        ("POST", "/api/v1/keys", b"[" * 60_000, JSON, 400),
        ("POST", "/api/v1/keys", b"application_id=a", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/api/v1/configuration/plans", b'{"files": {"a.toml": "[["}}', JSON, 400),
        ("POST", "/api/v1/configuration/plans", b'{"files": {"a.toml": "' + b"[" * 50_000 + b'"}}', JSON, 400),
        ("POST", "/api/v1/policy/changes", b'{"reason": "x", "files": {"a.cedar": "permit(principal"}}', JSON, 400),
        ("POST", "/api/v1/policy/changes", b'{"reason": "x", "files": {"../a.cedar": ""}}', JSON, 400),
        ("PUT", "/api/v1/policy", b'{"files": {"a.cedar": "permit(principal"}}', JSON, 403),
        (
            "POST",
            "/api/v1/sessions/passkey",
            b'{"state": "x", "response": {"a": [' + b"{}," * 40_000 + b"{}]}}",
            JSON,
            413,
        ),
        ("POST", "/api/v1/policy/explanations", b'{"subject": "x", "action": "y", "asset": "z"}', JSON, 400),
        ("DELETE", "/api/v1/keysets/default/nonsense/versions/1", None, {}, 404),
        ("DELETE", "/api/v1/keysets/default/content/versions/x", None, {}, 400),
        ("POST", "/api/v1/keys", b"x" * 9_000_000, JSON, 413),
    ],
)
def test_nonsense_is_told_what_to_change(server, session, method, path, raw, headers, status):
    got, answered, body = ask(server, method, path, raw, headers, session)
    assert got == status, body
    assert answered["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["code"]
    assert problem["detail"]
    assert "Traceback" not in body.decode()


def test_a_policy_that_would_crash_its_parser_is_refused_and_nothing_changes(server, session):
    before = json.loads(ask(server, "GET", "/api/v1/policy", credential=session)[2])["digest"]
    bomb = "permit(principal, action, resource) when {" + "(" * 2000 + "true" + ")" * 2000 + "};"
    raw = json.dumps({"files": {"bomb.cedar": bomb}, "reason": "to see what comes of it"}).encode()
    status, _, body = ask(server, "POST", "/api/v1/policy/changes", raw, JSON, session)
    assert (status, json.loads(body)["code"]) == (400, "policy_refused")
    assert json.loads(ask(server, "GET", "/api/v1/policy", credential=session)[2])["digest"] == before


def test_the_description_is_there_without_signing_in(server):
    status, _, body = ask(server, "GET", "/api/v1/openapi.json")
    assert status == 200
    described = json.loads(body)
    assert described["openapi"] == "3.1.0"
    assert len(described["paths"]) > 20


def test_a_session_in_a_url_is_not_taken(server, session):
    status, _, _ = ask(server, "GET", f"/api/v1/keys?authorization={session}")
    assert status == 401
    with server.client() as client, pytest.raises(Unauthenticated):
        client.keys()
