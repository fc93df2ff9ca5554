"""A key is revoked on the command line, and the running gateway refuses it within a second."""

import json
import time

import openai
import pytest


def test_revoked_within_a_second(server):
    key = server.vallum("keys", "issue", "handbook-assistant", "--label", "to be revoked").stdout.strip()
    client = server.openai(key)
    assert [m.id for m in client.models.list()] == ["handbook"]
    keys = json.loads(server.vallum("keys", "list", "--json").stdout)
    (key_id,) = [k["id"] for k in keys if k["label"] == "to be revoked"]
    server.vallum("keys", "revoke", key_id)
    begun = time.monotonic()
    while time.monotonic() - begun < 1.0:
        try:
            client.models.list()
        except openai.AuthenticationError:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the key still worked a second after it was revoked")
    entries = [
        json.loads(line) for line in server.vallum("ledger", "tail", "--kind", "change", "--json").stdout.splitlines()
    ]
    assert [e for e in entries if e["action"] == "identity:key:revoke" and e["asset"] == f"ApiKey:{key_id}"]


def test_a_key_that_is_none_cannot_be_revoked(server):
    done = server.vallum("keys", "revoke", "key_01NOTHING", check=False)
    assert done.returncode == 4
    assert "no such asset" in done.stderr
