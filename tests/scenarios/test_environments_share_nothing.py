"""dev and prod beside each other: what one gave is worth nothing in the other, and no copy makes it so."""

import json
import shutil

import openai
import pytest

from vallum.kernel.errors import Invalid, Unauthenticated

TYPES = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
         "subject_token_type": "urn:vallum:token-type:delegation"}  # fmt: skip
APPLICATION = """[providers.built-in]
kind = "extractive"
[models.handbook]
provider = "built-in"
[applications.handbook-assistant]
owner = "people"
models = ["handbook"]
"""


@pytest.fixture(scope="module")
def passphrase(tmp_path_factory):
    file = tmp_path_factory.mktemp("secret") / "passphrase"
    file.write_text("correct horse battery staple\n")
    return {"VALLUM_KEYS_PASSPHRASE_FILE": str(file)}


@pytest.fixture(scope="module")
def environments(start_once, passphrase, tmp_path_factory):
    """The same application in both, under the same names, sealed by the same passphrase: alike but for their keys."""
    folder = tmp_path_factory.mktemp("applications")
    (folder / "handbook.toml").write_text(APPLICATION)
    made = {}
    for name in ("dev", "prod"):
        server = start_once(env={"VALLUM_ENVIRONMENT": name, **passphrase})
        server.vallum("apply", folder)
        made[name] = server
    return made["dev"], made["prod"]


def issue_key(server):
    return json.loads(server.vallum("keys", "issue", "handbook-assistant", "--label", "x", "--json").stdout)["secret"]


def credentials_of(server):
    """One of every kind that an environment gives."""
    given = {"api_key": issue_key(server)}
    service = json.loads(server.vallum("services", "create", "job", "--role", "auditor", "--json").stdout)
    given["client"] = (service["service"]["id"], service["client_secret"])
    with server.client() as client:
        given["token"] = client.grant_token(*given["client"])["access_token"]
    with server.client() as client:
        person = server.newcomer("ada", "auditor")
        given["session"] = person.sign_in(client)["secret"]
        delegation = client.request("POST", "/delegations", {"application_id": "handbook-assistant"})
        given["delegation"] = delegation["token"]
        exchanged = {**TYPES, "client_id": "handbook-assistant", "client_secret": given["api_key"],
                     "subject_token": delegation["token"]}  # fmt: skip
        given["delegated"] = client.request("POST", "/tokens", exchanged)["access_token"]
    return given


def test_no_credential_of_one_works_in_the_other(environments):
    dev, prod = environments
    for here, there in ((dev, prod), (prod, dev)):
        given = credentials_of(here)
        for credential in (given["session"], given["token"], given["delegated"]):
            with there.client(credential) as client, pytest.raises(Unauthenticated):
                client.request("GET", "/sessions/current")
        for key in (given["api_key"], given["delegated"]):
            with pytest.raises(openai.AuthenticationError):
                there.openai(key).models.list()
        with there.client() as client:
            with pytest.raises(Unauthenticated):
                client.grant_token(*given["client"])
            own = issue_key(there)
            exchange = {**TYPES, "client_id": "handbook-assistant", "client_secret": own}
            body = {**exchange, "subject_token": given["delegation"]}
            with pytest.raises(Invalid):
                client.request("POST", "/tokens", body)
        with here.client(given["session"]) as client:  # and all of it is good at home
            assert client.request("GET", "/sessions/current")
            assert here.openai(given["delegated"]).models.list().data


def test_each_says_which_it_is_and_has_names_and_policies_of_its_own(environments, tmp_path):
    dev, prod = environments
    for server, name in ((dev, "dev"), (prod, "prod")):
        assert json.loads(server.vallum("status", "--json").stdout)["environment"] == name
        verified = json.loads(server.vallum("ledger", "verify", "--json").stdout)
        assert verified["origin"] == f"vallum.local/{name}/ledger"
    dev.vallum("policy", "show", "--output", tmp_path)
    (tmp_path / "ours.cedar").write_text('@id("ours") forbid (principal is Vallum::Service, action, resource);')
    before = json.loads(prod.vallum("status", "--json").stdout)["policy_set"]
    dev.vallum("policy", "apply", tmp_path)
    assert json.loads(prod.vallum("status", "--json").stdout)["policy_set"] == before
    assert json.loads(dev.vallum("status", "--json").stdout)["policy_set"] != before


def test_a_copy_of_prod_opens_as_nothing_else(environments, passphrase, tmp_path, vallum):
    """Database, root key and passphrase, all restored beside dev: by key it is prod, and dev refuses it."""
    _, prod = environments
    copied = tmp_path / "copied"
    shutil.copytree(prod.data, copied)
    for environment in ("dev", "test", ""):
        env = {**passphrase, "VALLUM_ENVIRONMENT": environment}
        for command in (("status",), ("secrets", "list"), ("ledger", "verify"), ("up", "--port", "1")):
            refused = vallum(*command, "--data", copied, env=env, check=False)
            assert refused.returncode == 2, (command, refused.stderr)
            assert "another environment's" in refused.stderr or command[0] == "up"
    again = vallum("status", "--data", copied, "--json", env={**passphrase, "VALLUM_ENVIRONMENT": "prod"})
    assert json.loads(again.stdout)["environment"] == "prod"


def test_prod_is_held_to_more(passphrase, tmp_path, vallum):
    for arguments, env, why in (
        (("--unsafe-plain-http",), passphrase, "TLS"), ((), {}, "passphrase_file"), (("--demo",), passphrase, "--demo"),
    ):  # fmt: skip
        env = {"VALLUM_ENVIRONMENT": "prod", **env}
        refused = vallum("up", "--data", tmp_path / "data", *arguments, env=env, check=False)
        assert (refused.returncode, why in refused.stderr) == (2, True), refused.stderr
    wrong = vallum("up", "--data", tmp_path / "data", env={"VALLUM_ENVIRONMENT": "Prod!"}, check=False)
    assert wrong.returncode == 2
    assert not (tmp_path / "data" / "records.db").exists()
