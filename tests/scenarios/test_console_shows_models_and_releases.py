"""A version is reviewed, a release promoted by two people and rolled back: in the console, in a browser."""

import re

import pytest
from playwright.sync_api import expect
from registered_models import tensors, unknown

pytestmark = pytest.mark.browser


@pytest.fixture
def pages(browser):
    """A page for each person: `pages(person)` is signed in."""
    contexts = []

    def open_page(server, person, room):
        context = browser.new_context(ignore_https_errors=True)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        person.open_console(page, server.url, room)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_a_version_is_reviewed_by_somebody_else(server, pages, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(tensors(1000))
    (folder / "table.bin").write_bytes(unknown())
    maker, reviewer = server.newcomer("ines", "ml_engineer"), server.newcomer("jorge", "approver")
    with server.client() as client:
        maker.sign_in(client)
        client.register_model("returns-model", description="<script>alert(1)</script>")
        assert client.upload_model("returns-model", folder, source="runs/7")["state"] == "quarantined"

    page = pages(server, reviewer, "Live traffic")
    page.get_by_role("link", name="Models").click()
    row = page.locator("#models tr", has_text="returns-model")
    expect(row).to_contain_text("quarantined")
    row.get_by_role("link", name="1", exact=True).click()
    expect(page.locator("#findings")).to_contain_text("table.bin")
    expect(page.get_by_role("img", name="Lineage")).to_contain_text("runs/7")
    page.get_by_label("What you looked at, and why").fill("read byte by byte: a table of words")
    page.get_by_role("button", name="Let it out").click()
    expect(page.get_by_role("status")).to_contain_text("returns-model/1 is available")
    expect(page.locator("#card")).to_contain_text("missing: ")
    expect(page.locator("#needs")).to_contain_text("cannot-tell")
    bill = page.request.get(server.url + page.get_by_role("link", name="Bill of materials").get_attribute("href"))
    assert bill.status == 200, bill.text()
    assert bill.json()["bomFormat"] == "CycloneDX"
    page.get_by_role("link", name="returns-model").click()
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    expect(page.locator("#versions")).to_contain_text("platform:1")
    assert [problem for problem in page.problems if "403" not in problem] == []


def test_a_release_is_promoted_and_rolled_back(server, pages, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(tensors(1000))
    builder = server.newcomer("lena", "ml_engineer")
    with server.client() as client:
        builder.sign_in(client)
        client.register_model("parcels-model", risk_class="minimal")
        client.upload_model("parcels-model", tmp_path / "model.safetensors")
        declared = {"product": "parcels", "models": [{"name": "parcels-model", "version": 1}]}
        first = client.request("POST", "/releases", declared)
        second = client.request("POST", "/releases", {**declared, "dependencies": "0" * 64})

    page = pages(server, builder, "Access")
    for release in (first, second):
        page.get_by_role("link", name="Releases").click()
        page.get_by_role("link", name=release["id"]).click()
        expect(page.locator("#parts")).to_contain_text("parcels-model/1")
        page.get_by_label("To", exact=True).select_option("dev")
        page.get_by_label("Why").first.fill("to try it with parcels")
        page.get_by_role("button", name="Ask for the promotion").click()
        expect(page.get_by_role("status")).to_contain_text("it runs in dev")
    page.get_by_label("To", exact=True).select_option("test")
    page.get_by_label("Why").first.fill("to test it with parcels")
    page.get_by_role("button", name="Ask for the promotion").click()
    refused = page.get_by_role("status")
    expect(refused).to_contain_text("card")
    expect(refused).to_contain_text("vallum ")  # the command that puts it right
    tests = page.get_by_role("row").filter(has=page.get_by_role("cell", name="tests", exact=True)).first
    expect(tests).to_contain_text("not yet")

    page.get_by_role("link", name="Environments").click()
    running = page.get_by_role("article", name="parcels in dev")
    expect(running).to_contain_text(second["id"])
    running.get_by_role("button", name="Verify now").click()
    expect(page.get_by_role("status")).to_contain_text("as its manifest says")
    expect(running).to_contain_text(re.compile("Verified.*as its manifest says", re.S))
    running.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("status")).to_contain_text(f"parcels runs {first['id']} in dev again")
    page.get_by_role("link", name="Models").click()
    page.get_by_role("link", name="parcels-model").click()
    page.locator("#versions").get_by_role("link", name="1", exact=True).click()
    lineage = page.get_by_role("img", name="Lineage")
    expect(lineage).to_contain_text("parcels")
    expect(lineage).to_contain_text("dev")
    assert [problem for problem in page.problems if "40" not in problem] == []
