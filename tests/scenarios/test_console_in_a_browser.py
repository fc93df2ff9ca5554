"""The console in headless Chromium: enrol, sign in, watch traffic, check a proof, handle keys, by keyboard too."""

import pyotp
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PASSWORD = "a long enough password"


@pytest.fixture(scope="module")
def carol(server):
    return server.newcomer("carol", "administrator")


@pytest.fixture
def page(browser):
    context = browser.new_context(ignore_https_errors=True)
    problems = []
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.problems = problems
    yield page
    context.close()


def test_first_run_to_first_proof(start, person, page):
    server = start("--demo")
    page.goto(server.ready["enrol_url"])
    assert "#" not in page.url or page.url.endswith("#")  # the token does not stay in the address
    page.get_by_role("button", name="Continue").click()
    alice = person()
    alice.password = PASSWORD
    alice.totp = pyotp.TOTP(page.locator("#secret").inner_text().strip())
    expect(page.locator("svg")).to_be_visible()
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password, at least 12 characters").fill(PASSWORD)
    page.get_by_label("The code it shows now").fill(alice.code())
    page.get_by_role("button", name="Enrol").click()
    expect(page.get_by_role("heading", name="Sign in to Vallum")).to_be_visible()
    alice.open_console(page, server.url)

    # Traffic appears by itself.
    content = "I am jane@example.com; how do I report a lost laptop?"
    server.openai().chat.completions.create(model="handbook", messages=[{"role": "user", "content": content}])
    row = page.locator("#rows tr", has_text="gateway:model:invoke").first
    expect(row).to_be_visible(timeout=10_000)
    expect(row).to_contain_text("email")
    expect(row).to_contain_text("application:handbook-assistant")
    assert "jane@example.com" not in page.content()

    # Its entry, and the proof checked here.
    row.get_by_role("link").click()
    expect(page.locator("#proof")).to_contain_text("is in the tree of", timeout=10_000)
    expect(page.locator("#proof")).to_contain_text("the checkpoint is signed by")
    expect(page.locator("#proof .failed")).to_have_count(0)

    # Applications and the ledger's health.
    page.get_by_role("link", name="Applications").click()
    expect(page.get_by_role("cell", name="handbook-assistant")).to_be_visible()
    page.get_by_role("link", name="Ledger").click()
    expect(page.locator("pre").first).to_contain_text("vallum.local/ledger")

    # A key, issued here, works; revoked here, it does not.
    page.get_by_role("link", name="Keys").click()
    page.get_by_label("Label").fill("from the console")
    page.get_by_role("button", name="Issue a key").click()
    secret = page.locator("#secret").inner_text().strip()
    assert [m.id for m in server.openai(secret).models.list()] == ["handbook"]
    page.get_by_role("button", name="Revoke from the console").click()
    expect(page.get_by_text("revoked").first).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to Vallum")).to_be_visible()
    page.goto(server.url + "/console/keys")
    expect(page.get_by_role("heading", name="Sign in to Vallum")).to_be_visible()
    assert page.problems == []


@pytest.fixture(scope="module")
def signed_in_state(browser, server):
    context = browser.new_context(ignore_https_errors=True)
    server.newcomer("dora", "administrator", "security").open_console(context.new_page(), server.url)
    yield context.storage_state()
    context.close()


@pytest.fixture
def room(browser, signed_in_state):
    """A page of somebody who is signed in."""
    context = browser.new_context(ignore_https_errors=True, storage_state=signed_in_state)
    yield context.new_page()
    context.close()


def test_a_tampered_proof_is_seen_by_the_browser(server, room):
    page = room
    answered = page.request.get(server.url + "/console/traffic/rows").text()
    entry = answered.split("/console/entries/")[1].split('"')[0]

    def tampered(route):
        answer = route.fetch()
        proof = answer.json()
        proof["leaf"] = proof["leaf"].replace('"effect":"allow"', '"effect":"deny"')
        route.fulfill(response=answer, json=proof)

    page.route("**/proof", tampered)
    page.goto(f"{server.url}/console/entries/{entry}")
    expect(page.locator("#proof .failed")).to_contain_text("failed")
    expect(page.locator("#proof")).not_to_contain_text("is in the tree of")


def test_it_works_by_keyboard_in_dark_and_light(server, carol, page):
    page.goto(server.url + "/console")
    page.keyboard.type(carol.name)  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(carol.password)
    page.keyboard.press("Tab")
    page.keyboard.type(carol.code())
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Live traffic")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(server.url + "/console/keys")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) < 384
        assert dark == (scheme == "dark")


def test_wrong_credentials_say_nothing_of_which(server, page):
    page.goto(server.url + "/console/sign-in")
    page.get_by_label("Name").fill("somebody-else")
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Code from your authenticator").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_contain_text("the name, password or code is wrong")


def test_headers_forbid_what_an_attacker_needs(server, page):
    answer = page.request.get(server.url + "/console/sign-in")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["strict-transport-security"]


def test_a_form_of_another_site_is_refused(server, room):
    page = room
    page.goto(server.url + "/console/keys")
    cookies = page.context.cookies()
    (cookie,) = [c for c in cookies if c["name"] == "__Host-vallum"]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    before = len(server.vallum("keys", "list", "--json").stdout)
    form = {"application": "handbook-assistant", "label": "forged"}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": server.url},  # from here, but without the session's token
    ):
        answer = page.request.post(server.url + "/console/keys", form=form, headers=headers)
        assert answer.status == 403, headers
    assert len(server.vallum("keys", "list", "--json").stdout) == before


def test_what_others_wrote_is_shown_and_not_run(server, room):
    label = "<img src=x onerror=alert(1)>"
    server.vallum("keys", "issue", "handbook-assistant", "--label", label)
    room.goto(server.url + "/console/keys")
    expect(room.locator("td", has_text=label).first).to_be_visible()
    assert room.locator("td img").count() == 0


def test_somebody_asks_and_an_approver_sees_what_it_adds(server, browser, page):
    asker, approver = server.newcomer("petra", "member"), server.newcomer("quinn", "approver")
    asker.open_console(page, server.url, "Access")
    page.get_by_label("Role", exact=True).select_option("auditor")
    page.get_by_label("Reason").fill("<b>reading</b> for the audit of May")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status")).to_contain_text("waits for somebody else")
    expect(page.get_by_role("heading", name="Everybody's")).to_have_count(0)
    other = browser.new_context(ignore_https_errors=True)
    decider = other.new_page()
    approver.open_console(decider, server.url)
    decider.get_by_role("link", name="Access").click()
    decider.locator("tr", has_text="petra").get_by_role("link").click()
    expect(decider.locator("#gains")).to_contain_text("ledger:export:create")
    expect(decider.get_by_text("<b>reading</b> for the audit")).to_be_visible()
    decider.get_by_role("button", name="Approve").click()
    expect(decider.get_by_role("status")).to_contain_text("is active")
    other.close()
    page.get_by_role("link", name="Access").click()
    expect(page.get_by_text("active").first).to_be_visible()
    page.get_by_role("link", name="Ledger").click()
    expect(page.get_by_role("heading", name="Ledger")).to_be_visible()  # which a member does not see otherwise
    page.get_by_role("link", name="Access").click()
    page.get_by_role("button", name="End").first.click()
    expect(page.get_by_text("revoked")).to_be_visible()
    assert page.problems == []


def test_people_services_and_policies_have_rooms(server, browser, page):
    tina = server.newcomer("tina", "administrator")
    tina.open_console(page, server.url)
    page.get_by_role("link", name="People").click()
    page.get_by_label("Role of somebody new").select_option("auditor")
    page.get_by_role("button", name="Make an enrolment link").click()
    invited = tina.__class__("uli")
    with server.client() as client:
        invited.enrol(client, page.locator("#link").inner_text())
    page.get_by_label("Name of a new service").fill("robot")
    page.get_by_role("button", name="Create a service").click()
    assert page.locator("#secret").inner_text().startswith("vlc_")
    page.get_by_role("button", name="Disable robot").click()
    expect(page.locator("tr", has_text="robot")).to_contain_text("disabled")
    page.get_by_role("button", name="Disable uli").click()
    expect(page.locator("tr", has_text="uli")).to_contain_text("disabled")

    page.get_by_role("link", name="Policy").click()
    page.get_by_label("May do what").fill("gateway:model:invoke")
    page.get_by_label("On which asset").fill("Model:handbook")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answers")).to_contain_text("application:handbook-assistant")
    page.get_by_label("Who", exact=True).fill("application:handbook-assistant")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("application-invokes-its-models")).to_be_visible()
    page.get_by_label("May do what").fill("<script>alert(1)</script>")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status")).to_contain_text("action: there are")
    assert [p for p in page.problems if "400" not in p] == []


def test_keys_and_secrets_have_a_room(start, person, page):
    """Rotated, destroyed by its typed name and a code; a secret put, replaced, gone back from, deleted."""
    server = start("--demo")
    vera = person("vera")
    with server.client() as client:
        vera.enrol(client, server.ready["enrol_url"])
    server.openai().chat.completions.create(model="handbook", messages=[{"role": "user", "content": "hello"}])
    vera.open_console(page, server.url)
    page.get_by_role("link", name="Secrets").click()
    expect(page.get_by_role("heading", name="Keys and secrets")).to_be_visible()
    expect(page.locator("#root")).to_have_text("file")
    page.get_by_role("button", name="Rotate default/content").click()
    expect(page.get_by_role("status")).to_contain_text("default/content seals with version 2")
    page.get_by_label("Rotate keyset").select_option("default/content")
    page.get_by_label("Every so many days").fill("90")
    page.get_by_role("button", name="Keep the schedule").click()
    expect(page.get_by_role("status")).to_contain_text("is kept")

    def destroy(version, typed, code="", *, current=False):
        page.get_by_label("Destroy a key of").select_option("default/content")
        page.get_by_label("Which version").fill(version)
        page.get_by_label("To confirm, type").fill(typed)
        page.get_by_label("It is the version that seals now").set_checked(current)
        page.locator("#destroy-code").fill(code)
        page.get_by_role("button", name="Destroy the key").click()

    destroy("1", "yes")
    expect(page.get_by_role("status")).to_contain_text("type default/content 1")
    destroy("1", "default/content 1", "000000")
    expect(page.get_by_role("status")).to_have_class("notice failed")
    destroy("2", "default/content 2", vera.code())
    expect(page.get_by_role("status")).to_contain_text("rotate first")
    destroy("1", "default/content 1")  # the code was given a moment ago
    expect(page.get_by_role("status")).to_contain_text("Destroyed default/content 1")
    expect(page.locator("#keysets tr", has_text="destroyed")).to_have_count(1)

    def put(value, consumers=""):
        page.get_by_label("Name", exact=True).fill("from-the-console")
        expect(page.get_by_label("Value, never shown again")).to_have_attribute("type", "password")
        page.get_by_label("Value, never shown again").fill(value)
        page.get_by_label("For (provider:NAME").fill(consumers)
        page.get_by_role("button", name="Put the secret").click()
        assert value not in page.content()

    put("a-first-value", "not a consumer")
    expect(page.get_by_role("status")).to_contain_text("provider:NAME")
    put("a-first-value", "provider:a provider:<b>")
    expect(page.get_by_role("status")).to_have_class("notice failed")
    put("a-first-value", "provider:a")
    put("a-second-value")
    expect(page.get_by_role("status")).to_contain_text("version 2, for provider:a")
    expect(page.locator("#secrets tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Use the version before").click()
    expect(page.get_by_role("status")).to_contain_text("Version 1 of from-the-console is in use again")
    page.get_by_role("button", name="Delete the secret").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert [p for p in page.problems if " 40" not in p] == []


def test_without_javascript_and_without_rights_the_room_says_why(server, browser):
    context = browser.new_context(ignore_https_errors=True, java_script_enabled=False)
    wanda = server.newcomer("wanda", "auditor")
    page = context.new_page()
    wanda.open_console(page, server.url)
    page.get_by_role("link", name="Secrets").click()
    page.get_by_role("button", name="Rotate default/signing").click()
    expect(page.get_by_role("status")).to_contain_text("no policy")
    page.get_by_role("link", name="Secrets").click()
    expect(page.locator("#keysets")).to_contain_text("default/signing")
    context.close()


def test_a_proposal_is_read_and_approved_in_the_console(start, person, browser, page):
    server = start("--demo")
    ada = person("ada")
    with server.client() as client:
        ada.enrol(client, server.ready["enrol_url"])
        ada.sign_in(client)
        files = client.request("GET", "/policy")["files"]
        more = (
            '@id("auditors-plan") permit (principal in Vallum::Role::"auditor", action == '
            'Vallum::Action::"inventory:configuration:plan", resource);'
        )
        body = {"files": {**files, "more.cedar": more}, "reason": "auditors want to see plans"}
        change = client.request("POST", "/policy/changes", body)
    bob = server.newcomer("bob", "approver")
    bob.open_console(page, server.url)
    page.get_by_role("link", name="Policy").click()
    page.get_by_role("link", name=change["id"]).click()
    expect(page.get_by_role("heading", name="auditors-plan is new")).to_be_visible()
    expect(page.locator("#changes")).to_contain_text("inventory:configuration:plan")
    page.get_by_label("Code from your authenticator").fill(bob.code())
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("approved")
    page.get_by_role("link", name="Policy").click()  # with the secret that came of the step-up
    expect(page.get_by_text(change["digest"][:16])).to_be_visible()
    assert page.problems == []
