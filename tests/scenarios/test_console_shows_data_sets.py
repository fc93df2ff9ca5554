"""A steward sees what was taken in, looks at held rows with a second factor, and lets them out: in a browser."""

import pytest
from governed_data import contract, visits
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_held_rows_are_looked_at_and_let_out(server, browser, tmp_path):
    source = tmp_path / "wards.csv"
    source.write_bytes(visits(90, spoil=(17,)))
    maker, steward = server.newcomer("yrsa", "data_steward"), server.newcomer("ulf", "data_steward")
    with server.client() as client:
        maker.sign_in(client)
        client.request("POST", "/data-sets", {"name": "wards", "description": "<script>alert(1)</script>"})
        assert client.take_in("wards", source, contract())["quarantined"] == 1
        with client.mount("wards", 1, purpose="care", run="<b>wards-7</b>"):
            pass
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    steward.open_console(page, server.url, "Live traffic")
    page.get_by_role("link", name="Data", exact=True).click()
    row = page.locator("#data-sets tr", has_text="wards")
    expect(row).to_contain_text("restricted")
    row.get_by_role("link", name="1", exact=True).click()
    expect(page.locator("#gates")).to_contain_text("cost: InRange")
    expect(page.locator("#columns")).to_contain_text("sealed")
    expect(page.get_by_role("img", name="Histogram").first).to_be_visible()
    page.get_by_label("What you looked at, and why").fill("its gates, its classes, its quarantine")
    page.get_by_role("button", name="Approve the version").click()
    expect(page.get_by_role("status")).to_contain_text("wards/1 is approved")
    page.get_by_role("link", name="wards").click()
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    expect(page.locator("#gate-history tbody tr").first).to_contain_text("cost: InRange")
    expect(page.locator("#gate-history tbody tr").first).to_contain_text("held")
    handed = page.locator("#handouts tbody tr")
    expect(handed).to_have_count(1)
    expect(handed).to_contain_text("<b>wards-7</b>")
    expect(handed).to_contain_text("mounted")
    page.locator("#cases a").first.click()
    expect(page.locator("#reasons")).to_contain_text("cost: InRange")
    page.get_by_role("button", name="Show the rows").click()
    expect(page.locator("#held-rows")).to_contain_text("-1.0")
    expect(page.locator("#held-rows td.suspect")).to_have_text("-1.0 (named)")
    page.get_by_label("Why they are sound").fill("the ward confirmed the credit by letter")
    page.get_by_role("button", name="Let the rows out").click()
    expect(page.get_by_role("status")).to_contain_text("The rows are in wards/2")
    context.close()
    assert problems == []


def tab_to(page, selector):
    """With the keyboard alone: what has the focus can be seen, and every step is reached."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.evaluate("selector => document.activeElement.matches(selector)", selector)
        if focused:
            outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", selector
            return
    raise AssertionError(f"{selector} cannot be reached with the keyboard")


def test_a_person_is_erased_by_keyboard_alone_and_in_the_dark(server, browser, tmp_path):
    source = tmp_path / "paths.csv"
    source.write_bytes(visits(60, spoil=(12,)).replace(b"@example.org", b"@paths.example.org"))  # of nobody elsewhere
    asks, approves = server.newcomer("runa", "data_steward"), server.newcomer("egil", "data_steward")
    with server.client() as client:
        asks.sign_in(client)
        client.request("POST", "/data-sets", {"name": "paths"})
        client.take_in("paths", source, contract())
        used = {"kind": "model", "used_by": "pather/1"}
        client.request("POST", "/data-sets/paths/versions/1/uses", used)
    problems = []
    context = browser.new_context(ignore_https_errors=True, color_scheme="dark", viewport={"width": 900, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    asks.open_console(page, server.url, "Live traffic")
    page.goto(server.url + "/console/data/paths/1")
    expect(page.locator("#lineage")).to_contain_text("pather/1")
    expect(page.locator("#columns")).to_contain_text("masked")
    expect(page.locator("#columns")).to_contain_text("ward 1 (")
    assert page.locator("body", has_text="p5@paths.example.org").count() == 0, "values of private columns are not shown"
    page.goto(server.url + "/console/data")
    expect(page.locator("#retention")).to_contain_text("Nothing is over")
    tab_to(page, "a[href='/console/erasures']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Erasing people")).to_be_visible()
    page.wait_for_load_state()
    tab_to(page, "#identifiers")
    page.keyboard.type("p5@paths.example.org")
    tab_to(page, "#reference")
    page.keyboard.type("DSR-77")
    tab_to(page, "form[action='/console/erasures'] button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("waits for somebody else")
    page.locator("#erasures a").first.click()
    expect(page.locator("#found")).to_contain_text("paths/1")
    expect(page.locator("#found")).to_contain_text("pather/1")
    page.locator("#approve-reason").fill("I checked it myself")
    page.get_by_role("button", name="Erase the person").click()
    expect(page.get_by_role("status")).to_have_class("notice failed")
    erasure = page.url.removesuffix("/approval")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 22, 26)")
    context.close()

    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    approves.open_console(page, server.url, "Live traffic")
    page.goto(erasure)
    tab_to(page, "#approve-reason")
    page.keyboard.type("identity was checked by letter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("is carried out now")
    for _ in range(40):
        page.goto(erasure)
        if page.locator("a", has_text="erasure-report.json").count():
            break
        page.wait_for_timeout(500)
    expect(page.locator("#steps")).to_contain_text("paths")
    page.goto(server.url + "/console/data/paths/1")
    expect(page.locator("main")).to_contain_text("erased")
    context.close()
    assert problems == []
