"""Rotating, re-wrapping and destroying keys; sealing the root; a root that is gone or replaced."""

import json
import os
import sqlite3
import time

from vallum.kernel.identity import API_KEY_PREFIX

QUESTION = [{"role": "user", "content": "a very particular question about leave"}]


def ask(server):
    answer = server.openai().chat.completions.with_raw_response.create(model="handbook", messages=QUESTION)
    return answer.headers["x-vallum-entry"]


def test_rotated_then_destroyed(start):
    server = start("--demo")
    ask(server)
    server.vallum("keysets", "rotate", "content")
    time.sleep(1)  # by then every process seals with the new one
    ask(server)
    sets = json.loads(server.vallum("keysets", "list", "--json").stdout)
    (content,) = [k for k in sets if k["purpose"] == "content"]
    assert [v["state"] for v in content["versions"]] == ["former", "current"]
    server.vallum("keysets", "rewrap")
    report = json.loads(server.vallum("ledger", "verify", "--json").stdout)
    assert (report["contents"], report["shredded"]) == (4, 0)

    refused = server.vallum("keysets", "destroy", "content", "--version", "1", stdin="n\n", check=False)
    assert refused.returncode == 1
    current = server.vallum("keysets", "destroy", "content", "--version", "2", "--yes", check=False)
    assert (current.returncode, "rotate first" in current.stderr) == (6, True)
    with sqlite3.connect(server.data / "records.db", timeout=10) as conn:
        (wrapped,) = conn.execute(
            "SELECT wrapped FROM keyset_versions WHERE purpose = 'content' AND version = 1"
        ).fetchone()
    conn.close()
    server.vallum("keysets", "destroy", "content", "--version", "1", "--yes")
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "--json").stdout.splitlines()]
    (entry,) = [e for e in entries if e["action"] == "keys:keyset:destroy" and e["outcome"] == "ok"]
    assert entry["context"].items() >= {
        "tenant": "default", "purpose": "content", "version": "1",
        "check_value": content["versions"][0]["check_value"],
    }.items()  # fmt: skip
    raw = b"".join(file.read_bytes() for file in server.data.glob("*.db*"))
    assert wrapped not in raw
    report = json.loads(server.vallum("ledger", "verify", "--json").stdout)
    assert report["verified"]
    assert (report["contents"], report["shredded"]) == (2, 2)
    ask(server)  # and the server goes on
    raw = b"".join(file.read_bytes() for file in server.data.glob("*.db*"))
    assert b"a very particular question" not in raw
    assert server.ready["api_key"].encode() not in raw
    assert server.ready["api_key"].startswith(API_KEY_PREFIX)


def test_what_is_overdue_is_seen(start):
    """The refusals first; then a keyset whose newest version is made ten days old."""
    server = start("--demo", env={"VALLUM_KEYS_ROTATE_AUTOMATICALLY": "false"})
    ask(server)
    for every in ("ninety", "12h", "0d", "-1d"):
        assert server.vallum("keysets", "schedule", "content", "--every", every, check=False).returncode == 2
    assert server.vallum("keysets", "schedule", "artifacts", "--every", "90d", check=False).returncode == 5
    server.vallum("keysets", "status", "--check")
    server.vallum("keysets", "schedule", "content", "--every", "2d")
    with sqlite3.connect(server.data / "records.db", timeout=10) as conn:
        conn.execute("UPDATE keyset_versions SET created_at = '2020-01-01T00:00:00.000000Z' WHERE purpose = 'content'")
    conn.close()
    shown = server.vallum("keysets", "status", "--json", "--check", check=False)
    assert shown.returncode == 1
    status = json.loads(shown.stdout)
    assert status["root"] == "file"
    content = next(r for r in status["rotations"] if r["name"] == "default/content")
    assert (content["state"], content["every_days"], content["due_at"][:10]) == ("overdue", 2, "2020-01-03")
    assert "overdue" in server.vallum("keysets", "status").stdout
    server.vallum("keysets", "rotate", "content")
    server.vallum("keysets", "status", "--check")
    server.vallum("keysets", "schedule", "content", "--every", "default")
    tail = server.vallum("ledger", "tail", "--json").stdout
    assert '"keys:keyset:schedule"' in tail
    assert '"every_days"' in tail


def test_a_sealed_root_opens_with_its_passphrase_alone(start, tmp_path, vallum):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a passphrase of several words\n")
    env = {**os.environ, "VALLUM_KEYS_PASSPHRASE_FILE": str(passphrase)}
    server = start("--demo", env=env)
    ask(server)
    assert b'"keys"' not in (server.data / "root.key").read_bytes()
    assert "NOT SEALED" not in (tmp_path / "data.log").read_text()
    server.stop()
    for wrong in ({}, {"VALLUM_KEYS_PASSPHRASE_FILE": str(tmp_path / "other")}):
        (tmp_path / "other").write_text("another passphrase\n")
        done = vallum("status", "--data", server.data, env=wrong, check=False)
        assert done.returncode in (2, 9)
        assert "passphrase" in done.stderr


def test_an_open_root_is_said_loudly(server):
    log = server.data.parent / "data.log"
    assert "NOT SEALED" in log.read_text()
    assert (server.data / "root.key").stat().st_mode & 0o777 == 0o600


def test_a_fresh_root_key_while_the_server_runs(start):
    server = start("--demo")
    ask(server)
    before = json.loads((server.data / "root.key").read_text())["keys"]
    done = json.loads(server.vallum("keysets", "rotate-root", "--json").stdout)
    assert done["keys"] >= 2
    after = json.loads((server.data / "root.key").read_text())["keys"]
    assert after[:1] == before
    assert len(after) == 2
    ask(server)
    assert json.loads(server.vallum("ledger", "verify", "--json").stdout)["verified"]
    assert '"root":"file"' in server.vallum("ledger", "tail", "--json").stdout.replace('": "', '":"')


def test_a_root_key_that_is_gone_is_not_replaced(start, vallum):
    server = start("--demo")
    ask(server)
    server.stop()
    (server.data / "root.key").rename(server.data / "elsewhere")
    done = vallum("up", "--data", server.data, "--port", server.port, check=False)
    assert done.returncode == 2
    assert "put that one back" in done.stderr
    assert not (server.data / "root.key").exists()


def test_a_database_rolled_back_is_refused(start, vallum):
    import shutil

    server = start("--demo")
    ask(server)
    server.stop()
    shutil.copy(server.data / "records.db", server.data / "older.db")
    again = start("--demo")
    for _ in range(3):
        ask(again)
    again.stop()
    for name in ("records.db", "records.db-wal", "records.db-shm"):
        (server.data / name).unlink(missing_ok=True)
    shutil.copy(server.data / "older.db", server.data / "records.db")
    done = vallum("up", "--data", server.data, "--port", server.port, check=False)
    assert done.returncode == 8
    assert "rolled back" in done.stderr
    verified = vallum("ledger", "verify", "--data", server.data, "--json", check=False)
    assert verified.returncode == 8
    assert not json.loads(verified.stdout)["verified"]


def test_secrets_are_listed_by_name_and_deleted(server):
    server.vallum("secrets", "put", "scratch", stdin="not to be seen\n")
    assert "scratch" in server.vallum("secrets", "list").stdout
    assert "not to be seen" not in server.vallum("secrets", "list", "--json").stdout
    server.vallum("secrets", "delete", "scratch")
    assert server.vallum("secrets", "delete", "scratch", check=False).returncode == 5
    assert server.vallum("secrets", "put", "Bad Name", stdin="x\n", check=False).returncode == 2


def test_a_secret_is_replaced_with_an_overlap_and_gone_back_to(server):
    for refused in (("--for", "openai"), ("--overlap", "ever"), ("--overlap", "31d")):
        assert server.vallum("secrets", "put", "rotating", *refused, stdin="x\n", check=False).returncode == 2
    assert server.vallum("secrets", "versions", "rotating", check=False).returncode == 5
    assert "for nobody" in server.vallum("secrets", "put", "rotating", stdin="first value\n").stderr
    made = json.loads(
        server.vallum("secrets", "put", "rotating", "--for", "provider:b", "--for", "provider:a", "--overlap", "24h",
                      "--json", stdin="second value\n").stdout
    )  # fmt: skip
    assert (made["version"], made["consumers"]) == (2, ["provider:a", "provider:b"])
    versions = json.loads(server.vallum("secrets", "versions", "rotating", "--json").stdout)
    assert [(v["version"], v["state"]) for v in versions] == [(1, "former"), (2, "current")]
    assert "version 1 of rotating is in use again" in server.vallum("secrets", "rollback", "rotating").stderr
    assert server.vallum("secrets", "rollback", "rotating", check=False).returncode == 6
    server.vallum("secrets", "put", "rotating", "--overlap", "0", stdin="third value\n")
    assert "3" in server.vallum("secrets", "versions", "rotating").stdout
    assert len(json.loads(server.vallum("secrets", "versions", "rotating", "--json").stdout)) == 1
    server.vallum("secrets", "delete", "rotating")
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "--json").stdout.splitlines()]
    changes = [e for e in entries if e["kind"] == "change" and e["outcome"] == "ok"]
    own = [e for e in changes if e["context"].get("name") == "rotating"]
    assert [e["action"].rpartition(":")[2] for e in own] == ["put", "put", "rollback", "put", "delete"]
    assert own[1]["context"]["consumers"] == "provider:b provider:a"
    assert own[1]["context"]["overlap_seconds"] == 86_400
    files = (server.data.parent / "data.log", server.data / "records.db")
    everything = "".join(file.read_text(errors="replace") for file in files)
    assert " value" not in "".join(json.dumps(e) for e in own)
    assert "second value" not in everything
