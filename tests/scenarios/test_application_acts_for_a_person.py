"""An application acts for somebody who let it: policy and ledger see both, and a thief gets nothing."""

import json
import time

import anthropic
import openai
import pytest

from vallum.kernel.errors import Denied, Invalid, NotFound, Unauthenticated

EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:vallum:token-type:delegation",
}
DEMO = "app_demo"


@pytest.fixture(scope="module")
def nora(server):
    with server.client() as client:
        client.person = server.newcomer("nora", "member")
        client.person.sign_in(client)
        yield client


@pytest.fixture(scope="module")
def application(server):
    keys = json.loads(server.vallum("keys", "list", "--json").stdout)
    return keys[0]["application_id"]


@pytest.fixture
def exchange(server, application):
    def _exchange(subject_token, **changes):
        body = {**EXCHANGE, "client_id": application, "client_secret": server.ready["api_key"],
                "subject_token": subject_token, **changes}  # fmt: skip
        with server.client() as client:
            return client.request("POST", "/tokens", {name: value for name, value in body.items() if value is not None})

    return _exchange


def delegate(nora, application, seconds=3600):
    return nora.request("POST", "/delegations", {"application_id": application, "seconds": seconds})


def ask(client):
    return client.chat.completions.create(
        model="handbook", messages=[{"role": "user", "content": "How many days of leave are there?"}]
    )


def test_both_are_in_the_answers_entry(server, nora, application, exchange):
    made = delegate(nora, application)
    token = exchange(made["token"])
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 600)
    assert token["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert ask(server.openai(token["access_token"])).choices[0].message.content
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "10", "--json").stdout.splitlines()]
    answered = next(e for e in entries if e["kind"] == "inference")
    me = f"person:{nora.request('GET', '/sessions/current')['person_id']}"
    assert (answered["subject"], answered["context"]["on_behalf_of"]) == (f"application:{application}", me)
    exchanged = next(e for e in entries if e["action"] == "identity:token:create")
    assert exchanged["subject"] == f"application:{application}"
    assert exchanged["context"] | {"on_behalf_of": me, "delegation": made["delegation"]["id"]} == exchanged["context"]
    assert made["token"] not in json.dumps(entries)
    assert [d["id"] for d in nora.request("GET", "/delegations")] == [made["delegation"]["id"]]
    replayed = server.vallum("policy", "replay", answered["entry_id"], "--json")
    assert json.loads(replayed.stdout)["same"]

    # She ends it, and the token in the application's hands ends with it.
    nora.request("DELETE", f"/delegations/{made['delegation']['id']}")
    with pytest.raises(openai.AuthenticationError):
        for _ in range(20):
            ask(server.openai(token["access_token"]))
            time.sleep(0.05)
    with pytest.raises(Invalid, match="subject_token"):
        exchange(made["token"])
    with pytest.raises(NotFound):
        nora.request("DELETE", f"/delegations/{made['delegation']['id']}")


@pytest.mark.parametrize(
    ("changes", "family"),
    [
        ({"client_secret": "vlm_guess"}, Unauthenticated), ({"client_id": "app_other"}, Unauthenticated),
        ({"client_id": None}, Unauthenticated), ({"client_secret": None}, Unauthenticated),
        ({"subject_token": "vld_guess"}, Invalid), ({"subject_token": None}, Invalid),
        ({"subject_token_type": None}, Invalid),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, Invalid),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, Invalid),  # no single sign-on here
        ({"actor_token": "x", "actor_token_type": "y"}, Invalid), ({"audience": "https://elsewhere.example"}, Invalid),
        ({"resource": "https://elsewhere.example"}, Invalid),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, Invalid),
    ],
)  # fmt: skip
def test_what_is_not_exchanged(nora, application, exchange, changes, family):
    token = delegate(nora, application)["token"]
    with pytest.raises(family):
        exchange(**{"subject_token": token, **changes})


def test_a_delegated_token_is_good_for_the_gateway_alone(server, nora, application, exchange):
    """The confused deputy: what lets an application ask a model for Nora lets it do nothing else of hers."""
    token = exchange(delegate(nora, application)["token"])["access_token"]
    with server.client(token) as client:
        for path in ("/sessions/current", "/sessions", "/status", "/delegations"):
            with pytest.raises(Unauthenticated):
                client.request("GET", path)
    answer = server.anthropic(token).messages
    with pytest.raises(anthropic.APIStatusError) as refused:
        answer.create(model="nobodys", max_tokens=10, messages=[{"role": "user", "content": "hello"}])
    assert refused.value.status_code == 404


def test_nobody_delegates_to_an_application_that_is_not_there(nora):
    with pytest.raises(Denied, match="no such asset"):
        delegate(nora, "app_missing")
    for seconds in (1, 10**9):
        with pytest.raises(Invalid):
            delegate(nora, DEMO, seconds)


def test_the_command_line_delegates_lists_and_ends(server, nora, application, exchange, vallum, tmp_path):
    env = {"VALLUM_CREDENTIALS": str(tmp_path / "credentials.json")}
    person = nora.person
    arguments = ("login", "--url", server.url, "--ca-file", server.ca_file, "--name", person.name)
    vallum(*arguments, stdin=f"{person.password}\n{person.code()}\n", env=env)
    made = vallum("account", "delegate", application, "--for", "30m", env=env)
    assert exchange(made.stdout.strip())["expires_in"] == 600
    rows = json.loads(vallum("account", "delegations", "--json", env=env).stdout)
    assert rows[0]["application_id"] == application
    vallum("account", "end-delegation", rows[0]["id"], env=env)
    with pytest.raises(Invalid):
        exchange(made.stdout.strip())
