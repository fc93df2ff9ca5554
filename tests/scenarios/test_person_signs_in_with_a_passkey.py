"""Passkeys with Chromium's virtual authenticator; devices, recovery codes and the password in the account's room."""

import json
import time

import pytest
from playwright.sync_api import expect

from vallum.client import Client
from vallum.kernel.errors import Denied, Invalid, Unauthenticated

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser):
    """A browser whose device has a passkey authenticator that verifies its user."""
    context = browser.new_context()
    page = context.new_page()
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.device = context.new_cdp_session(page)
    page.device.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    page.authenticator = page.device.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    yield page
    context.close()


def set_verified(page, verified):
    page.device.send("WebAuthn.setUserVerified", {"authenticatorId": page.authenticator, "isUserVerified": verified})


def test_a_person_adds_a_passkey_and_signs_in_with_it(start, person, page):
    server = start("--demo", "--unsafe-plain-http", public_url="http://localhost:{port}")
    url = f"http://localhost:{server.port}"
    alice = person()
    with server.client() as client:
        alice.enrol(client, server.ready["enrol_url"])
    alice.open_console(page, url)
    page.get_by_role("link", name="alice").click()
    page.get_by_label("Label of a new passkey").fill("this laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("status")).to_contain_text("this laptop is registered")

    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in to Vallum")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Live traffic")).to_be_visible()
    page.get_by_role("link", name="alice").click()
    expect(page.locator("tr", has_text="this one")).to_contain_text("passkey")
    expect(page.locator("tr", has_text="this laptop")).to_contain_text("202")  # last used: a date

    # Step-up with the passkey, and with it recovery codes.
    before = next(c["value"] for c in page.context.cookies() if c["name"] == "vallum")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("status")).to_contain_text("fresh")
    after = next(c["value"] for c in page.context.cookies() if c["name"] == "vallum")
    assert before != after
    page.get_by_role("button", name="Make new recovery codes").click()
    codes = page.locator("#codes").inner_text().split()
    assert len(codes) == 10
    assert page.problems == []

    # A device that verified nobody is not enough.
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in to Vallum")).to_be_visible()
    set_verified(page, False)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    expect(page.get_by_role("heading", name="Sign in to Vallum")).to_be_visible()

    # The paper codes sign in, once each.
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill(alice.password)
    page.get_by_label("Code from your authenticator").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Live traffic")).to_be_visible()
    with server.client() as client, pytest.raises(Unauthenticated):
        client.sign_in("alice", alice.password, codes[0])

    entries = [json.loads(line) for line in server.vallum("ledger", "tail", "-n", "80", "--json").stdout.splitlines()]
    signed_in = [e for e in entries if e["action"] == "identity:session:create" and e["outcome"] == "ok"]
    assert len(signed_in) == 3


def test_another_origin_gets_nothing_from_the_device(start, person, page):
    """The console under another name: the passkey is bound to the name it was made for."""
    server = start("--demo", "--unsafe-plain-http", public_url="http://vallum.localhost:{port}")
    alice = person()
    url = f"http://localhost:{server.port}"
    with Client(url) as client:
        alice.enrol(client, server.ready["enrol_url"])
    alice.open_console(page, url)
    page.get_by_role("link", name="alice").click()
    page.get_by_label("Label of a new passkey").fill("phished")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    expect(page.locator("tr", has_text="phished")).to_have_count(0)


def test_devices_and_the_password_over_the_api(server):
    dorothea = server.newcomer("dorothea", "auditor")
    with server.client() as here, server.client() as there:
        dorothea.sign_in(there)
        dorothea.sign_in(here)
        listed = here.request("GET", "/sessions")
        assert [s["method"] for s in listed] == ["code", "code"]
        assert {s["device"] for s in listed} == {"vallum-client"}
        assert {s["network"] for s in listed} == {"127.0.0.0/24"}
        assert here.request("DELETE", "/sessions/others") == {"sessions": 1}
        with pytest.raises(Unauthenticated):
            there.request("GET", "/sessions")
        dorothea.sign_in(there)
        dorothea.password = "a password that is new"
        with pytest.raises(Invalid):
            here.request("PUT", "/password", {"password": "short"})
        assert here.request("PUT", "/password", {"password": dorothea.password}) == {"sessions": 2}
        for client in (here, there):
            with pytest.raises(Unauthenticated):
                client.request("GET", "/sessions")
        dorothea.sign_in(here)
        with pytest.raises(Invalid, match=r"server\.public_url"):  # this server is reached by an address
            here.request("POST", "/passkeys/registrations")
        own = here.request("GET", "/entries/own?limit=5")["entries"]
        assert {e["subject"] for e in own} == {f"person:{listed[0]['person_id']}"}


def test_a_stolen_session_changes_no_factor_without_a_fresh_one(server):
    nils = server.newcomer("nils", "auditor")
    with server.client() as client:
        client.credential = nils.sign_in(client)["secret"]
        with_stale = json.loads(
            server.vallum("policy", "explain", f"person:{client.request('GET', '/sessions/current')['person_id']}",
                          "identity:account:change", "System:vallum", "--json").stdout
        )  # fmt: skip
        assert (with_stale["effect"], with_stale["obligations"]) == ("deny", ["step_up"])


def test_a_copied_session_is_worth_nothing_after_step_up(server):
    olga = server.newcomer("olga", "auditor")
    with server.client() as client, server.client() as thief:
        olga.sign_in(client)
        thief.credential = client.credential
        thief.request("GET", "/sessions/current")
        client.step_up(olga.code())
        client.request("GET", "/sessions/current")
        time.sleep(10.5)  # what was under way may still arrive
        with pytest.raises(Unauthenticated):
            thief.request("GET", "/sessions/current")
        client.request("GET", "/sessions/current")
        with pytest.raises((Denied, Invalid)):
            client.request("DELETE", "/sessions/own/ses_somebody")
