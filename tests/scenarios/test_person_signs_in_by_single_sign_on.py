"""Single sign-on against a certified OpenID provider (oidc-provider on Node) and Chromium."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlencode, urljoin, urlsplit

import httpx2
import pytest
from playwright.sync_api import expect

from vallum.kernel.errors import Invalid, Unauthenticated

pytestmark = pytest.mark.browser

HERE = Path(__file__).parents[1] / "oidc"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


SECRET = "a secret of the test's"


def client(name, redirect_uri):
    return {"client_id": name, "client_secret": SECRET, "redirect_uris": [redirect_uri]}


class Provider:
    def __init__(self, folder, port, vallum_port):
        self.folder, self.issuer = folder, f"http://localhost:{port}"
        self.accounts = {
            "u-alice": self.account("alice", ["engineering"], amr=["pwd", "mfa"]),
            "u-bob": self.account("bob", ["finance"], amr=["pwd", "mfa"]),
            "u-carl": self.account("carl", ["engineering"], amr=["pwd"]),
            "u-mallory": self.account("taken", ["engineering"], amr=["mfa"]),
        }
        settings = {
            "issuer": self.issuer,
            "clients": [
                client("vallum", f"http://localhost:{vallum_port}/console/sso/callback"),
                client("handbook-web", "http://localhost:9/callback"), client("other-web", "http://localhost:9/callback"),
            ],
            "accounts": str(folder / "accounts.json"), "current": str(folder / "current.json"),
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "secret").write_text(SECRET + "\n")
        self.write()
        self.process = subprocess.Popen(
            ["node", folder / "provider.mjs", folder / "settings.json"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert "ready" in self.process.stdout.readline()

    @staticmethod
    def account(name, groups, **login):
        return {"claims": {"preferred_username": name, "groups": groups, **login}, **login}

    def write(self, current="u-alice"):
        (self.folder / "accounts.json").write_text(json.dumps(self.accounts))
        (self.folder / "current.json").write_text(json.dumps({"current": current}))

    def id_token(self, client_id):
        """As a web application with a client of its own gets it: the whole flow, without a browser."""
        callback, verifier = "http://localhost:9/callback", "v" * 43
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": client_id, "response_type": "code", "redirect_uri": callback, "scope": "openid profile",
            "code_challenge": challenge, "code_challenge_method": "S256", "nonce": "of the application's own",
        }  # fmt: skip
        url = f"{self.issuer}/auth?{urlencode(query)}"
        with httpx2.Client(trust_env=False) as http:
            while not url.startswith(callback):
                url = urljoin(url, http.get(url).headers["location"])
            code = parse_qs(urlsplit(url).query)["code"][0]
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": callback,
                "code_verifier": verifier,
            }
            return http.post(f"{self.issuer}/token", data=form, auth=(client_id, quote_plus(SECRET))).json()["id_token"]

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc")
    for name in ("package.json", "package-lock.json", "provider.mjs"):
        shutil.copy(HERE / name, folder)
    subprocess.run(["npm", "ci", "--silent", "--no-fund", "--no-audit"], cwd=folder, check=True, timeout=110)
    return folder


@pytest.fixture
def setting(installed, start):
    """A server with single sign-on, and its provider."""
    port, vallum_port = free_port(), free_port()
    provider = Provider(installed, port, vallum_port)
    env = {
        "VALLUM_OIDC_ISSUER": provider.issuer, "VALLUM_OIDC_CLIENT_ID": "vallum",
        "VALLUM_OIDC_CLIENT_SECRET_FILE": str(installed / "secret"),
        "VALLUM_OIDC_ROLES": "engineering=auditor, security team=security",
        "VALLUM_OIDC_APPLICATIONS": "handbook-web=handbook-assistant, other-web=another",
    }  # fmt: skip
    server = start(
        "--demo", "--unsafe-plain-http", "--port", str(vallum_port), env=env,
        public_url=f"http://localhost:{vallum_port}",
    )  # fmt: skip
    yield server, provider, f"http://localhost:{vallum_port}"
    provider.stop()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


def sign_in(page, url):
    page.goto(url + "/console/sign-in")
    page.get_by_role("button", name="Single sign-on").click()


def people(server):
    return {p["name"]: p for p in json.loads(server.vallum("people", "list", "--json").stdout)}


def test_groups_become_roles_and_the_directorys_word_is_the_last(setting, page, browser):
    server, provider, url = setting
    sign_in(page, url)
    expect(page.get_by_role("heading", name="Live traffic")).to_be_visible()
    page.get_by_role("link", name="alice").click()
    expect(page.locator("tr", has_text="this one")).to_contain_text("single sign-on")
    alice = people(server)["alice"]
    assert alice["roles"] == ["auditor"]

    # What the directory gives and takes is here with the next sign-in; and it is the same person.
    provider.accounts["u-alice"]["claims"]["groups"] = ["security team"]
    provider.write()
    context = browser.new_context()
    sign_in(context.new_page(), url)
    expect(context.pages[0].get_by_role("heading", name="Live traffic")).to_be_visible()
    context.close()
    again = people(server)["alice"]
    assert (again["id"], again["roles"]) == (alice["id"], ["security"])

    # Whose access was ended here does not come back by there.
    server.vallum("people", "invite", "--role", "administrator")
    server.vallum("people", "disable", alice["id"])
    context = browser.new_context()
    sign_in(context.new_page(), url)
    expect(context.pages[0].get_by_role("status")).to_contain_text("ended")
    context.close()
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "60", "--json").stdout.splitlines()]
    provisioned = [e["context"]["roles"] for e in entries if e["action"] == "identity:person:provision"]
    assert provisioned == ["auditor", "security"]
    signed_in = [e for e in entries if e["action"] == "identity:session:create" and e["outcome"] == "ok"]
    assert [e["subject"] for e in signed_in] == [f"person:{alice['id']}"] * 2


@pytest.mark.parametrize(
    ("who", "said"), [("u-bob", "groups"), ("u-carl", "second factor"), ("u-mallory", "ask an administrator")]
)
def test_who_may_not_is_told_what_to_change(setting, page, person, who, said):
    server, provider, url = setting
    with server.client() as client:
        person("taken").enrol(client, server.ready["enrol_url"])  # somebody of that name, who is somebody else
    provider.write(who)
    sign_in(page, url)
    expect(page.get_by_role("status")).to_contain_text(said)
    assert set(people(server)) == {"taken"}


class StopAtCallback(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, file, code, message, headers, new_url):
        if "/console/sso/callback" in new_url:
            file.close()
            raise Answered(new_url)
        return super().redirect_request(request, file, code, message, headers, new_url)


class Answered(Exception):
    pass


def answer_of_provider(url):
    """What the provider sends back with a browser that goes where it is sent."""
    browser = urllib.request.build_opener(StopAtCallback, urllib.request.HTTPCookieProcessor())
    with pytest.raises(Answered) as answered:
        browser.open(url, timeout=20)
    return str(answered.value)


def test_an_answer_is_of_one_browser_and_works_once(setting, page):
    """Somebody else's code and state, sent to a victim's browser; and one's own, twice."""
    server, _, _ = setting
    with server.client() as client:
        begun = client.request("POST", "/sso/begin")
        answer = answer_of_provider(begun["url"])
        page.goto(answer)
        expect(page.get_by_role("status")).to_contain_text("not begun in this browser")

        given = {name: values[0] for name, values in parse_qs(urlsplit(answer).query).items()}
        body = {"kept": begun["kept"], "state": given["state"], "code": given["code"], "iss": given["iss"]}
        other = client.request("POST", "/sso/begin")
        for wrong in ({"state": "x"}, {"iss": "http://evil.example"}, {"kept": "x.y.z"}, {"kept": other["kept"]}):
            with pytest.raises(Unauthenticated):
                client.request("POST", "/sessions/sso", {**body, **wrong})
        assert client.request("POST", "/sessions/sso", body)["session"]["method"] == "single sign-on"
        with pytest.raises(Unauthenticated):  # the provider and the state both say that it was used
            client.request("POST", "/sessions/sso", body)


def test_a_code_of_another_sign_in_is_refused(setting):
    """A stolen code put into the thief's own sign-in: PKCE and nonce are of the one it was made for."""
    server, _, _ = setting
    with server.client() as client:
        victims, thiefs = (client.request("POST", "/sso/begin") for _ in range(2))
        stolen = parse_qs(urlsplit(answer_of_provider(victims["url"])).query)["code"][0]
        own = parse_qs(urlsplit(thiefs["url"]).query)["state"][0]
        with pytest.raises(Unauthenticated, match="refused its own code"):
            client.request("POST", "/sessions/sso", {"kept": thiefs["kept"], "state": own, "code": stolen})


def test_an_application_acts_for_whoever_signed_in_to_it(setting, page):
    """Its own users' ID tokens, in exchange (RFC 8693); another client's are another application's."""
    server, provider, url = setting

    def exchange(client_id):
        body = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "client_id": "handbook-assistant",
            "client_secret": server.ready["api_key"], "subject_token": provider.id_token(client_id),
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        }  # fmt: skip
        with server.client() as client:
            return client.request("POST", "/tokens", body)["access_token"]

    with pytest.raises(Invalid, match="sign in to the console once"):
        exchange("handbook-web")
    sign_in(page, url)
    expect(page.get_by_role("heading", name="Live traffic")).to_be_visible()
    with pytest.raises(Invalid, match="no ID token that this application may exchange"):
        exchange("other-web")
    asked = server.openai(exchange("handbook-web")).chat.completions.create(
        model="handbook", messages=[{"role": "user", "content": "How many days of leave are there?"}]
    )
    assert asked.choices[0].message.content
    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "20", "--json").stdout.splitlines()]
    answered = next(e for e in entries if e["kind"] == "inference")
    assert answered["context"]["on_behalf_of"] == f"person:{people(server)['alice']['id']}"


def test_the_command_line_signs_in_through_the_browser(setting, page, tmp_path, vallum):
    """Single sign-on has no password to type: the browser hands its session over, by the loopback interface."""
    _, _, url = setting
    env = {**os.environ, "VALLUM_CREDENTIALS": str(tmp_path / "credentials.json"), "BROWSER": "/bin/true"}
    command = [Path(sys.executable).with_name("vallum"), "login", "--url", url]
    login = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    address = next(line for line in login.stderr if line.startswith("http")).strip()
    page.goto(address)
    expect(page.get_by_role("main")).to_contain_text("Sign in first")
    # An answer that somebody else's page sends to that port is not the one that is waited for.
    port = parse_qs(urlsplit(address).query)["port"][0]
    assert httpx2.get(f"http://127.0.0.1:{port}/?code=theirs&state=guessed", trust_env=False).status_code == 400
    sign_in(page, url)
    expect(page.get_by_role("heading", name="Live traffic")).to_be_visible()
    page.goto(address)
    expect(page.get_by_role("main")).to_contain_text("alice")
    page.get_by_role("button", name="Sign it in").click()
    expect(page.get_by_text("The command line is signed in")).to_be_visible()
    assert login.wait(20) == 0
    login.stderr.close()
    sessions = json.loads(vallum("account", "sessions", "--json", env=env).stdout)
    assert [s["method"] for s in sessions] == ["single sign-on"] * 2
    for wrong in ("port=80", "port=99999", "port=8080&challenge=x&state=y", "port=1e4"):
        page.goto(f"{url}/console/command-line?{wrong}")
        expect(page.get_by_role("main")).to_contain_text("run it again")
