"""From a file to Vault, to another key there, and to a file again: all at once, ledgered, and the former opens nothing.

Vault is a double of its HTTP API (`tests/doubles`).
"""

import json

import pytest
from key_services import TransitDouble

QUESTION = {"model": "handbook", "messages": [{"role": "user", "content": "How many days of leave?"}]}


@pytest.fixture
def service():
    double = TransitDouble()
    double.make("vallum")
    double.make("next")
    yield double
    double.stop()


def settings(path, service, key, credential):
    path.write_text(
        f'[keys]\nroot = "vault"\nvault_url = "{service.url}"\nvault_key = "{key}"\n'
        f'vault_credential_file = "{credential}"\n'
    )
    return path


def test_there_and_back(start, vallum, service, tmp_path):
    credential = tmp_path / "token"
    credential.write_text("hvs.first\n")
    first = settings(tmp_path / "first.toml", service, "vallum", credential)
    second = settings(tmp_path / "second.toml", service, "next", credential)
    (tmp_path / "file.toml").write_text('[keys]\nroot = "file"\n')
    server = start("--demo")
    assert server.openai().chat.completions.create(**QUESTION)
    data = server.data
    server.stop()

    def move(to, *options, check=True):
        return vallum("keysets", "move-root", "--to", to, "--data", data, "--json", *options, check=check)

    refused = move(tmp_path / "file.toml", check=False)
    assert (refused.returncode, "in use already" in refused.stderr) == (2, True), refused.stderr
    credential.write_text("hvs.wrong\n")
    refused = move(first, check=False)
    assert (refused.returncode, "'read' on transit/keys/vallum" in refused.stderr) == (2, True), refused.stderr
    assert "hvs.wrong" not in refused.stderr
    credential.write_text("hvs.first\n")
    service.sealed = True
    refused = move(first, check=False)
    assert (refused.returncode, "sealed" in refused.stderr) == (9, True), refused.stderr
    service.sealed = False
    assert "vault" not in vallum("keysets", "list", "--data", data).stdout

    moved = json.loads(move(first).stdout)
    assert (moved["root"], moved["keys"] >= 2) == ("vault", True)
    assert json.loads(move(first).stdout)["keys"] == moved["keys"]  # again does no harm
    old = vallum("ledger", "verify", "--data", data, check=False)
    assert old.returncode != 0  # the file's root key opens nothing
    (data / "root.key").rename(tmp_path / "kept")

    server = start("--demo", "--config", str(first))
    assert server.openai().chat.completions.create(**QUESTION)
    server.stop()
    assert not (data / "root.key").exists()
    entries = vallum("ledger", "tail", "--data", data, "--config", first, "--json").stdout
    assert '"from_root": "file"' in entries.replace('":"', '": "')

    refused = vallum("keysets", "rotate-root", "--data", data, "--config", first, check=False)
    assert (refused.returncode, "rotate the key there" in refused.stderr) == (2, True), refused.stderr
    service.rotate("vallum")
    vallum("keysets", "rewrap", "--data", data, "--config", first)
    assert json.loads(move(second, "--config", first).stdout)["keys"] >= 2
    del service.keys["vallum"]  # nobody needs it any more
    report = json.loads(vallum("ledger", "verify", "--data", data, "--config", second, "--json").stdout)
    assert report["verified"]

    move(tmp_path / "file.toml", "--config", second)
    report = json.loads(vallum("ledger", "verify", "--data", data, "--json").stdout)
    assert (report["verified"], report["shredded"]) == (True, 0)


def test_no_service_no_start(start, vallum, service, tmp_path):
    credential = tmp_path / "token"
    credential.write_text("hvs.first\n")
    config = settings(tmp_path / "vault.toml", service, "vallum", credential)
    server = start("--demo", "--config", str(config))
    assert server.openai().chat.completions.create(**QUESTION)
    server.stop()
    service.stop()
    refused = vallum("keysets", "list", "--data", server.data, "--config", config, check=False)
    assert (refused.returncode, "Vault did not answer" in refused.stderr) == (9, True), refused.stderr
