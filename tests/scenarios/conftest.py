"""Real servers, and the command line beside them: each a process of its own, of the script that is installed."""

import json
import os
import shutil
import signal
import socket
import ssl
import time
from functools import partial
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import expect, sync_playwright
from warm_commands import WarmCommands

from vallum.client import Client


class Server:
    """One `vallum up`, and what its ready line says."""

    def __init__(self, commands, data, *options, env=None, public_url=None):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.commands = commands
        self.data = data
        self.opened = []
        self.log = (data.parent / f"{data.name}.log").open("ab")
        if "--port" in options:
            self.port = int(options[options.index("--port") + 1])
        else:
            options = ("--port", str(self.port), *options)
        command = ["up", "--data", data, "--json", *options]
        self.env = env
        env = dict(env or {})
        if public_url is not None:
            env["VALLUM_SERVER_PUBLIC_URL"] = public_url.format(port=self.port)
        reading, writing = os.pipe()
        with open(os.devnull) as nothing, open(writing) as said:
            self.process = commands.start(command, nothing, said, self.log, env)
        self.stdout = open(reading)  # noqa: SIM115  open for as long as the server, which may say more
        line = self.stdout.readline()
        assert line, Path(self.log.name).read_text()
        self.ready = json.loads(line)

    @property
    def url(self):
        return self.ready["url"]

    @property
    def ca_file(self):
        return self.ready["ca_file"]

    def tls(self):
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True

    def openai(self, key=None, **options):
        import openai

        http = openai.DefaultHttpxClient(verify=self.tls(), trust_env=False)
        self.opened.append(http)
        return openai.OpenAI(
            base_url=self.url + "/v1", api_key=key or self.ready["api_key"], http_client=http, max_retries=0, **options
        )

    def anthropic(self, key=None):
        import anthropic

        http = anthropic.DefaultHttpxClient(verify=self.tls(), trust_env=False)
        self.opened.append(http)
        return anthropic.Anthropic(
            base_url=self.url, api_key=key or self.ready["api_key"], http_client=http, max_retries=0
        )

    def client(self, credential=""):
        return Client(self.url, ca_file=self.ca_file, credential=credential)

    def newcomer(self, name, *roles):
        """Somebody just enrolled, who has codes left to sign in with at once."""
        options = [option for role in roles for option in ("--role", role)]
        person = Person(name)
        with self.client() as client:
            person.enrol(client, self.vallum("people", "invite", *options).stdout.strip())
        return person

    def vallum(self, *arguments, stdin=None, check=True):
        return run(self.commands, *arguments, "--data", self.data, stdin=stdin, check=check, env=self.env)

    def stop(self):
        for http in self.opened:
            http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.log.close()
        self.stdout.close()


def run(commands, *arguments, stdin=None, check=True, env=None):
    done = commands.run(*arguments, stdin=stdin, env=env)
    assert not check or done.returncode == 0, done.stderr
    return done


class Person:
    """Somebody with a password and an authenticator, whose codes each work once."""

    def __init__(self, name="alice"):
        self.name = name
        self.password = "correct horse battery staple"
        self.totp = None
        self._used = 0

    def enrol(self, client, enrol_url):
        token = enrol_url.partition("#")[2]
        enrolment = client.request("POST", "/enrolments", {"token": token})
        self.totp = pyotp.parse_uri(enrolment["totp_uri"])
        body = {"token": token, "name": self.name, "password": self.password, "code": self.code()}
        return client.request("POST", "/persons", body)

    def code(self):
        """A code not used yet: of the half minute before, this one or the next, all of which the server takes."""
        now = time.time()
        step = max(int(now - 25) // 30, self._used + 1)
        if step > int(now) // 30 + 1:
            time.sleep((step - 1) * 30 - now + 0.1)
        self._used = step
        return self.totp.at(step * 30)

    def open_console(self, page, url, room="Live traffic"):
        page.goto(url + "/console")
        page.get_by_label("Name").fill(self.name)
        page.get_by_label("Password").fill(self.password)
        page.get_by_label("Code from your authenticator").fill(self.code())
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name=room, exact=True)).to_be_visible()

    def sign_in(self, client):
        return client.sign_in(self.name, self.password, self.code())


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def commands():
    made = WarmCommands()
    yield made
    made.close()


@pytest.fixture
def start(tmp_path, commands):
    """Start servers of the test's own; they are stopped with it."""
    started = []

    def start(*options, data="data", env=None, public_url=None):
        server = Server(commands, tmp_path / data, *options, env=env, public_url=public_url)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def start_once(tmp_path_factory, commands):
    """As `start`, for a server that a module's tests share."""
    started = []

    def start_once(*options, env=None):
        server = Server(commands, tmp_path_factory.mktemp("server") / "data", *options, env=env)
        started.append(server)
        return server

    yield start_once
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory, commands):
    """One demonstration server for all tests that leave it as they found it."""
    running = Server(commands, tmp_path_factory.mktemp("demo") / "data", "--demo")
    running.alice = Person()
    with running.client() as client:
        running.alice.enrol(client, running.ready["enrol_url"])
    yield running
    running.stop()


@pytest.fixture
def vallum(commands):
    return partial(run, commands)


@pytest.fixture
def person():
    return Person
