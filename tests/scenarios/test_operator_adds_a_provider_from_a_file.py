"""An operator declares a provider and an application in files, plans, applies, and hands out a key that works."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

FILES = """
[providers.local]
kind = "openai"
url = "{url}"
secret = "local-key"
unsafe_plain_http = true

[models.parrot]
provider = "local"

[applications.support]
owner = "support@example.com"
models = ["parrot"]
"""


class Parrot(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that repeats, and says which key it was shown."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "parrot", "object": "model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = body["messages"][-1]["content"] + " / " + self.headers.get("authorization", "no key")
        message = {"role": "assistant", "content": said}
        self.answer({"id": "1", "object": "chat.completion", "created": 1, "model": "parrot",
                     "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                     "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})  # fmt: skip

    def answer(self, document):
        raw = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        pass


@pytest.fixture
def parrot():
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/v1"
    serving.shutdown()
    serving.server_close()


def ask(server, key, **options):
    answer = server.openai(key).chat.completions.create(
        model="parrot", messages=[{"role": "user", "content": "polly"}], **options
    )
    return answer.choices[0].message.content


def test_declared_planned_applied_and_used(start, parrot, tmp_path):
    server = start()
    assert (server.ready["api_key"], server.ready["application"]) == (None, None)
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "support.toml").write_text(FILES.format(url=parrot))

    planned = server.vallum("plan", folder).stdout
    assert "+ applications.support" in planned
    assert "+ providers.local" in planned
    assert json.loads(server.vallum("applications", "list", "--json").stdout) == []

    server.vallum("secrets", "put", "local-key", stdin="a-secret-for-the-parrot\n")
    applied = server.vallum("apply", folder)
    assert "applied" in applied.stderr
    assert "nothing to change" in server.vallum("plan", folder).stdout

    key = server.vallum("keys", "issue", "support", "--label", "laptop").stdout.strip()
    with pytest.raises(openai.InternalServerError) as refused:  # the secret is bound to nobody yet
        ask(server, key)
    assert refused.value.code == "upstream_credentials"
    server.vallum("secrets", "put", "local-key", "--for", "provider:local", stdin="a-secret-for-the-parrot\n")
    time.sleep(1)  # by then every process has heard of it
    assert ask(server, key) == "polly / Bearer a-secret-for-the-parrot"

    (folder / "support.toml").write_text(FILES.format(url=parrot).replace("support@", "help@"))
    assert re.search(r'owner: "support@.*" -> "help@', server.vallum("plan", folder).stdout)
    # The secret is in no file, no output and no entry.
    everything = server.vallum("ledger", "tail", "--limit", "1000", "--json").stdout + applied.stdout
    assert "a-secret-for-the-parrot" not in everything
    assert key not in everything


def test_a_bad_file_changes_nothing_and_lists_every_problem(start, tmp_path):
    server = start("--demo")
    file = tmp_path / "bad.toml"
    file.write_text('[models.m]\nprovider = "nobody"\nclass = "x"\n[applications.a]\nmodels = ["none"]\n[typo]\n')
    done = server.vallum("apply", file, check=False)
    assert done.returncode == 2
    assert done.stderr.count("  - ") >= 3
    assert [a["name"] for a in json.loads(server.vallum("applications", "list", "--json").stdout)] == [
        "handbook-assistant"
    ]


def test_a_quick_try_of_an_upstream(start, parrot, tmp_path):
    (tmp_path / "key").write_text("quick-key\n")
    server = start("--upstream", parrot, "--upstream-key-file", str(tmp_path / "key"))
    assert server.ready["application"] == "quickstart"
    assert ask(server, None) == "polly / Bearer quick-key"


def test_an_upstream_that_is_none_is_told_at_once(tmp_path, vallum):
    done = vallum("up", "--data", tmp_path / "d", "--port", "1", "--upstream", "http://127.0.0.1:1/v1", check=False)
    assert done.returncode in (2, 9)
    done = vallum("up", "--data", tmp_path / "d", "--port", "45871", "--upstream", "http://127.0.0.1:1/v1", check=False)
    assert done.returncode == 9
    assert "does not answer" in done.stderr


def test_a_key_made_at_an_earlier_start_ends_with_the_next(start):
    first = start("--demo")
    key = first.ready["api_key"]
    first.stop()
    second = start("--demo")
    assert second.ready["api_key"] != key
    with pytest.raises(openai.AuthenticationError):
        second.openai(key).models.list()
    assert [m.id for m in second.openai().models.list()] == ["handbook"]
