"""Single sign-on against a certified OpenID provider (oidc-provider on Node) and Chromium."""

import json
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from vallum.kernel.errors import Unauthenticated

pytestmark = pytest.mark.browser

HERE = Path(__file__).parents[1] / "oidc"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


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
            "issuer": self.issuer, "client_id": "vallum", "client_secret": "a secret of the test's",
            "redirect_uri": f"http://localhost:{vallum_port}/console/sso/callback",
            "accounts": str(folder / "accounts.json"), "current": str(folder / "current.json"),
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "secret").write_text(settings["client_secret"] + "\n")
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
