"""Somebody probes; watching raises an alert, the webhook brings it, and a colleague says what it was."""

import base64
import hmac
import json
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import expect

from vallum.kernel.errors import Denied

SECRET = b"a secret of the test's, 32 bytes"


@pytest.fixture(scope="module")
def hook():
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
            mac = base64.b64encode(hmac.new(SECRET, signed, sha256).digest()).decode()
            assert self.headers["webhook-signature"] == f"v1,{mac}"
            taken.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.taken = taken
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def server(start_once, hook, tmp_path_factory):
    secret = tmp_path_factory.mktemp("hook") / "secret"
    secret.write_text("whsec_" + base64.b64encode(SECRET).decode())
    env = {
        "VALLUM_NOTICES_WEBHOOK_URL": f"http://127.0.0.1:{hook.server_port}/",
        "VALLUM_NOTICES_WEBHOOK_SECRET_FILE": str(secret),
    }
    return start_once("--demo", env=env)


def wait_for(find, seconds=15):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = find()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("nothing came")


@pytest.mark.browser
def test_from_the_probe_to_the_verdict(server, hook, browser):
    with server.client() as mallory:
        server.newcomer("mallory", "member").sign_in(mallory)
        for path in ("/keys", "/services", "/persons", "/keysets", "/secrets", "/alerts"):
            with pytest.raises(Denied):
                mallory.request("GET", path)
        about = f"person:{mallory.request('GET', '/sessions/current')['person_id']}"
        told = wait_for(lambda: [one for one in hook.taken if one["type"] == "monitor:alert:raise"])
        assert told[0]["data"]["about"]["about"] == about
        alert = told[0]["data"]["about"]["alert"]
        with pytest.raises(Denied):
            mallory.request("POST", f"/alerts/{alert}/closure", {"verdict": "expected"})

    sam = server.newcomer("sam", "security")
    page = browser.new_context(ignore_https_errors=True).new_page()
    sam.open_console(page, server.url)
    page.get_by_role("link", name="Alerts").click()
    panel = page.get_by_role("article", name=alert)
    expect(panel).to_contain_text("5 refusals within 10 minutes")
    expect(panel).to_contain_text(about)
    panel.get_by_role("button", name="I look at it").click()
    expect(page.get_by_role("status")).to_contain_text("acknowledged")
    panel.get_by_label("What you found").fill("an account that was phished")
    panel.get_by_role("button", name="Incident").click()
    expect(page.get_by_role("status")).to_contain_text("incident")
    expect(panel).to_contain_text("an account that was phished")
    expect(panel.get_by_role("button")).to_have_count(0)
    page.context.close()

    tally = {one["detector"]: one for one in json.loads(server.vallum("alerts", "tally", "--json").stdout)}
    assert tally["denials"]["incident"] == 1
    shown = json.loads(server.vallum("alerts", "show", alert, "--json").stdout)
    assert (shown["state"], shown["verdict"]) == ("closed", "incident")
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "60", "--json").stdout.splitlines()]
    closed = next(
        e for e in entries if e["action"] == "monitor:alert:decide" and e["context"].get("verdict") == "incident"
    )
    assert (closed["asset"], closed["effect"]) == (f"Alert:{alert}", "allow")


def test_approvers_hear_of_a_request(server, hook):
    with server.client() as mia:
        server.newcomer("mia", "member").sign_in(mia)
        asked = mia.request(
            "POST", "/grants", {"role": "auditor", "seconds": 3600, "reason": "the audit of the second quarter"}
        )
    told = wait_for(lambda: [one for one in hook.taken if one["type"] == "identity:grant:request"])
    assert told[0]["data"]["url"].endswith("/console/access")
    assert "second quarter" not in json.dumps(hook.taken)
    assert asked["id"]
