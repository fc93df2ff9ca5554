"""Kill the gateway at random moments, restart its database, fill its disk: no answered request without its entry.

`VALLUM_TEST_KILL_ROUNDS=200` runs as many rounds for each database; CI runs a few.
"""

import contextlib
import glob
import http.client
import json
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from vallum.compose import open_ledger
from vallum.kernel.ledger.audit import verify_store
from vallum.settings import load_settings

ROUNDS = int(os.environ.get("VALLUM_TEST_KILL_ROUNDS", "4"))
BODY = json.dumps({"model": "handbook", "messages": [{"role": "user", "content": "How many days of leave?"}]})
STREAM = json.dumps({**json.loads(BODY), "stream": True})


class Load:
    """Clients that ask until they are stopped, and remember the entry of every whole answer."""

    def __init__(self, server, clients=6):
        self.answered = []
        self.refused = []
        self._stop = threading.Event()
        self._key, self._port = server.ready["api_key"], server.port
        self._threads = [threading.Thread(target=self._ask, args=(n % 2 == 0,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, stream):
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
            try:
                while not self._stop.is_set():
                    connection.request("POST", "/v1/chat/completions", STREAM if stream else BODY, headers)
                    answer = connection.getresponse()
                    raw = answer.read()
                    whole = raw.endswith(b"data: [DONE]\n\n") if stream else bool(raw)
                    if answer.status == 200 and whole:
                        self.answered.append(answer.headers["x-vallum-entry"])
                    else:
                        self.refused.append((answer.status, raw))
                        time.sleep(0.05)  # there is a limit of requests a minute, too
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()


def descendants(pid):
    found = [pid]
    for each in found:
        for task in glob.glob(f"/proc/{each}/task/*/children"):
            with contextlib.suppress(OSError):
                found += map(int, Path(task).read_text().split())
    return found


def kill(server):
    """Everything at once, with no chance to tidy up."""
    for pid in reversed(descendants(server.process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()


def verified(data, env):
    """Hold the store to its log and its outside checkpoint; the ids of all its entries."""
    settings = load_settings(None, env, {"data": str(data)})
    earlier = settings.checkpoint_path.read_bytes() if settings.checkpoint_path.exists() else None
    with open_ledger(settings) as (records, ledger, keyring), records.read() as conn:
        report = verify_store(conn, ledger, keyring, earlier)
        ids = {row[0] for row in conn.exec_driver_sql("SELECT entry_id FROM ledger_entries")}
    assert report.verified
    return ids


@pytest.mark.long
@pytest.mark.timeout(60 + 20 * ROUNDS)
def test_killed_at_random_moments(start, records_url, tmp_path):
    postgres = records_url.startswith("postgresql")
    env = {"VALLUM_RECORDS_URL": records_url} if postgres else {}
    rng = random.Random(11)
    answered = set()
    for _ in range(ROUNDS):
        server = start("--demo", "--unsafe-plain-http", env={**os.environ, **env})
        load = Load(server)
        time.sleep(rng.uniform(0.05, 1.2))
        kill(server)
        load.stop()
        server.stop()
        answered.update(load.answered)
        missing = answered - verified(server.data, env)
        assert not missing
    assert len(answered) > 10 * ROUNDS


@pytest.mark.long
def test_drained_on_sigterm(start):
    """Requests in flight are answered, and nothing is cut."""
    server = start("--demo", "--unsafe-plain-http")
    load = Load(server)
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    load.stop()
    assert [raw for status, raw in load.refused if status == 200] == []
    assert set(load.answered) <= verified(server.data, {})


@pytest.fixture
def own_postgres(tmp_path):
    """A PostgreSQL of the test's own, to restart without disturbing others."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    binary = folders[-1] if folders else os.path.dirname(shutil.which("postgres") or "")
    home = Path("/tmp") / f"vallum-pg-{os.getpid()}-{time.time_ns()}"
    home.mkdir()
    as_user = []
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(home, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def ctl(*arguments):
        log = ["-l", str(home / "log")]
        command = [*as_user, f"{binary}/pg_ctl", "-D", str(home / "db"), *log, "-w", *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/tmp", timeout=60)

    subprocess.run(
        [*as_user, f"{binary}/initdb", "-D", str(home / "db"), "-U", "postgres", "-A", "trust"],
        check=True, capture_output=True, cwd="/tmp", timeout=60,
    )  # fmt: skip
    options = ["-o", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"]
    ctl("start", *options)
    yield f"postgresql://postgres@127.0.0.1:{port}/postgres", lambda: ctl("restart", "-m", "fast", *options)
    ctl("stop", "-m", "immediate")
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.long
def test_postgresql_restarted_under_load(start, own_postgres):
    url, restart = own_postgres
    env = {"VALLUM_RECORDS_URL": url}
    server = start("--demo", "--unsafe-plain-http", env={**os.environ, **env})
    load = Load(server)
    time.sleep(1)
    restart()
    time.sleep(1)
    before = len(load.answered)
    deadline = time.monotonic() + 20
    while len(load.answered) < before + 20 and time.monotonic() < deadline:
        time.sleep(0.1)
    load.stop()
    assert len(load.answered) >= before + 20, "it did not recover"
    for status, raw in load.refused:
        error = json.loads(raw.split(b"data: ")[-1])["error"]
        if status == 429:  # on a fast machine the demonstration's own limit comes into play
            continue
        assert status in (200, 503)  # 200 for a stream that had begun
        assert error["code"] == "unavailable"
        assert "psycopg" not in error["message"]
    server.stop()
    assert set(load.answered) <= verified(server.data, env)


@contextlib.contextmanager
def locked(server):
    """Somebody else holds the database, for longer than the server waits for a lock."""
    with contextlib.closing(sqlite3.connect(server.data / "records.db", timeout=10, isolation_level=None)) as conn:
        conn.execute("BEGIN EXCLUSIVE")
        yield 11
        conn.execute("ROLLBACK")


@contextlib.contextmanager
def full(server):
    """No file may grow: writing fails as on a full disk, with an error from the operating system."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in descendants(server.process.pid)}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    yield 2
    for pid, before in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.long
@pytest.mark.parametrize("fault", [locked, full])
def test_a_database_that_cannot_be_written_refuses_and_recovers(start, fault):
    server = start("--demo", "--unsafe-plain-http")
    load = Load(server, clients=2)
    time.sleep(0.5)
    load.stop()
    assert load.answered
    with fault(server) as seconds:
        held = Load(server, clients=2)
        time.sleep(seconds)
    held.stop()
    assert held.refused
    assert {status for status, _ in held.refused} <= {200, 503}  # 200 for a stream that had begun
    assert all(b"unavailable" in raw for _, raw in held.refused)
    after = Load(server, clients=2)
    time.sleep(0.5)
    after.stop()
    assert after.answered
    server.stop()
    assert set(load.answered + held.answered + after.answered) <= verified(server.data, {})
