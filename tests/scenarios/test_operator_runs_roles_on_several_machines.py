"""Roles apart, on PostgreSQL and Redis: two gateways, a control plane and a worker share one installation."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import openai
import pytest

from vallum.client import Client

REDIS = os.environ.get("VALLUM_TEST_REDIS", "redis://127.0.0.1:6379/15")
QUESTION = [{"role": "user", "content": "How many days of leave?"}]


@pytest.fixture
def records_url(request):
    """PostgreSQL alone: SQLite is one machine's."""
    from sqlalchemy import create_engine, text

    admin_url = os.environ.get("VALLUM_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
    name = f"vallum_test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(admin_url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield admin_url.rsplit("/", 1)[0] + f"/{name}"
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def installation(records_url, tmp_path, vallum):
    env = {"VALLUM_RECORDS_URL": records_url, "VALLUM_COUNTERS_URL": REDIS, "VALLUM_DATA": str(tmp_path / "data")}
    running = []

    def start(role):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = [str(Path(sys.executable).with_name("vallum")), "serve", "--role", role, "--port", str(port)]
        log = (tmp_path / f"{role}-{port}.log").open("wb")
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
        running.append((process, log))
        context = None
        for _ in range(200):
            try:
                context = ssl.create_default_context(cafile=str(tmp_path / "data" / "tls" / "ca.pem"))
                with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", context=context, timeout=2):
                    return f"https://127.0.0.1:{port}"
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise AssertionError((tmp_path / f"{role}-{port}.log").read_text())

    def run(*arguments, stdin=None, check=True):
        return vallum(*arguments, "--data", tmp_path / "data", stdin=stdin, check=check, env=env)

    yield start, run, str(tmp_path / "data" / "tls" / "ca.pem")
    for process, log in running:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        log.close()


FILES = """
[providers.handbook]
kind = "extractive"
[models.handbook]
provider = "handbook"
[applications.{name}]
owner = "o@example.com"
models = ["handbook"]
limits = {{ requests_per_day = 10, concurrent = 8 }}
"""


@pytest.mark.long
def test_two_gateways_a_control_plane_and_a_worker(installation, tmp_path):
    start, run, ca_file = installation
    assert run("status", check=False).returncode in (2, 9)  # nothing is migrated yet
    run("migrate")
    name = f"shared-{uuid.uuid4().hex[:8]}"  # its limits are counted on a Redis that outlives this test
    (tmp_path / "shared.toml").write_text(FILES.format(name=name))
    run("apply", tmp_path / "shared.toml")
    key = run("keys", "issue", name, "--label", "both").stdout.strip()
    urls = [start("gateway"), start("gateway")]
    control = start("control")
    start("worker")

    clients, https = [], []
    for url in urls:
        https.append(openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=ca_file), trust_env=False))
        clients.append(openai.OpenAI(base_url=url + "/v1", api_key=key, http_client=https[-1], max_retries=0))
    outcomes = []
    for number in range(14):
        try:
            clients[number % 2].chat.completions.create(model="handbook", messages=QUESTION)
            outcomes.append("ok")
        except openai.RateLimitError:
            outcomes.append("limited")
    assert outcomes.count("ok") == 10  # exact over both

    # A role answers for its own part only.
    for url, path, status in (
        (urls[0], "/api/v1/status", 404), (urls[0], "/console", 404), (control, "/v1/models", 404)
    ):  # fmt: skip
        context = ssl.create_default_context(cafile=ca_file)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + path, context=context, timeout=10)
        assert refused.value.code == status
        refused.value.close()

    # The worker numbers what the gateways appended, and the whole verifies.
    for _ in range(50):
        report = json.loads(run("ledger", "verify", "--json").stdout)
        if report["pending"] == 0 and report["size"] > 14:
            break
        time.sleep(0.1)
    assert report["verified"]
    assert report["pending"] == 0

    # A key revoked through one process is refused by both gateways within a second.
    (key_id,) = [k["id"] for k in json.loads(run("keys", "list", "--json").stdout)]
    run("keys", "revoke", key_id)
    time.sleep(1.0)
    for client in clients:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    with Client(control, ca_file=ca_file) as client, pytest.raises(Exception, match="sign in"):
        client.applications()
    for http in https:
        http.close()


def test_more_workers_need_shared_counters(vallum, tmp_path):
    done = vallum("up", "--data", tmp_path / "d", "--workers", "2", check=False)
    assert done.returncode == 2
    assert "counters.url" in done.stderr
