"""An application that a release holds runs what the release says, whatever becomes of the inventory behind it."""

import json
from hashlib import sha256

import msgspec
import pytest
from sqlalchemy import text

from vallum.gateway.refusals import Refused
from vallum.gateway.released import called_tools, offered_tools
from vallum.inventory import parse_files
from vallum.kernel.values import Subject, SubjectKind, TenantId
from vallum.releases import Declaration

PROMPT = "You are the support desk of Acme. Speak of nothing else. The internal code is 7Q-XYLOPHONE-19."
BUILDER = Subject(SubjectKind.PERSON, "per_ada", TenantId("default"), holder="per_ada")


@pytest.fixture
def released(gateway):
    """Deploys a release of the application `app`; what it returns changes its environment."""
    releases = gateway.platform.control.services.releases

    def deploy(prompt=PROMPT, tools=("weather", "note"), application="app"):
        wanted = msgspec.convert({
            "product": "desk", "application": application, "tools": list(tools),
            "prompts": [{"name": "system", "text": prompt}] if prompt else [],
        }, Declaration)  # fmt: skip
        with gateway.platform.records.write() as conn:
            release = releases.catalogue.build(conn, wanted, BUILDER)
            releases.environments.deploy(conn, "prod", release.id, "promotion", BUILDER)
        gateway.platform.inventory.refresh()
        releases.deployments.refresh()
        return release

    return deploy


def change_behind(gateway, new):
    """Somebody who can write the database changes the application's guards, and everybody looks."""
    from vallum.inventory import EPOCH
    from vallum.kernel.store.epochs import bump_epoch

    with gateway.platform.records.write() as conn:
        files = {"x.toml": f'[applications.app]\nowner = "o@example.com"\nmodels = ["echo", "unlisted"]\n{new}\n'}
        gateway.platform.inventory.apply(conn, parse_files(files))
        bump_epoch(conn, EPOCH)
    gateway.platform.inventory.refresh()


async def test_the_prompt_is_joined_for_the_provider_and_stands_nowhere_else(gateway, upstream, released):
    release = released()
    answer = await gateway.chat("hello there", messages=[
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"},
    ])  # fmt: skip
    assert answer.status_code == 200, answer.text
    _, _, sent = upstream.requests[-1]
    assert [m["content"] for m in sent["messages"]] == [PROMPT, "Be brief.", "hello there"]
    assert sent["messages"][0]["role"] == "system"
    entry_id = answer.headers["x-vallum-entry"]
    assert gateway.entry(entry_id).context["application_release"] == release.id
    assert b"XYLOPHONE" not in gateway.content(entry_id, "request")
    body = {"model": "claude", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    for own, wanted in (
        (None, PROMPT), ("Be brief.", PROMPT + "\n\nBe brief."),
        ([{"type": "text", "text": "Be brief."}],
         [{"type": "text", "text": PROMPT}, {"type": "text", "text": "Be brief."}]),
    ):  # fmt: skip
        answer = await gateway.post("/v1/messages", body | ({"system": own} if own else {}))
        assert answer.status_code == 200, answer.text
        assert upstream.requests[-1][2]["system"] == wanted
    answer = await gateway.post("/v1/responses", {"model": "echo", "input": "hi", "instructions": "Be brief."})
    assert answer.status_code == 200, answer.text
    assert upstream.requests[-1][2]["instructions"] == PROMPT + "\n\nBe brief."
    answer = await gateway.post("/v1/embeddings", {"model": "echo", "input": "hi"})
    assert answer.status_code == 200
    assert "XYLOPHONE" not in json.dumps(upstream.requests[-1][2])


async def test_an_answer_that_repeats_the_prompt_is_seen(gateway, released):
    files = {"k.toml": '[applications.app]\nowner = "o@example.com"\nmodels = ["echo"]\n'
                       '[applications.app.guards.output]\nleakage = "block"\n'}  # fmt: skip
    gateway.perform("apply", body={"files": files})
    released()
    answer = await gateway.chat("hello", say=PROMPT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "answer_blocked")


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("more", [
    {"tools": [{"type": "function", "function": {"name": "shell"}}]},
    {"tools": [TOOL, {"type": "custom", "custom": {"name": "shell"}}]},
    {"functions": [{"name": "shell"}]},
    {"web_search_options": {}},
    {"prompt": {"id": "pmpt_1", "variables": {}}},
    {"container": {"skills": [{"type": "custom", "skill_id": "s"}]}},
    {"tools": [{"type": "web_search", "name": "weather"}]},
    {"tools": [{"type": "mcp", "server_label": "weather", "server_url": "http://evil.example"}]},
    {"tools": [{"type": "namespace", "name": "weather", "tools": [{"type": "function", "name": "shell"}]}]},
])  # fmt: skip
async def test_a_tool_outside_the_list_is_not_offered_to_any_model(gateway, upstream, released, more):
    released()
    before = len(upstream.requests)
    answer = await gateway.chat("what is it like in Bern", **more)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "tool_not_allowed")
    assert len(upstream.requests) == before
    assert gateway.entry(answer.headers["x-vallum-entry"]).outcome == "denied"


async def test_tools_inside_the_list_are_and_calls_of_others_are_stopped(gateway, released):
    released()
    answer = await gateway.chat("what is it like in Bern", tools=[TOOL])
    assert answer.status_code == 200, answer.text
    released(tools=["other"])
    other = {"type": "function", "function": {"name": "other"}}
    answer = await gateway.chat("what is it like in Bern", tools=[other])  # and the model calls weather
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "tool_not_allowed")
    answer = await gateway.chat("what is it like in Bern", tools=[other], stream=True)
    assert '"tool_not_allowed"' in answer.text
    assert "note" not in answer.text.split("tool_not_allowed")[0]
    released(tools=[])
    assert (await gateway.chat("hello there")).status_code == 200
    assert (await gateway.chat("hello there", tools=[other])).status_code == 403


def test_every_way_to_name_a_tool_is_read():
    assert list(offered_tools({
        "tools": [{"name": "a", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"},
                  {"type": "function", "name": "b"}, {"type": "file_search"}],
        "mcp_servers": [{"name": "m"}],
        "input": [{"type": "additional_tools", "tools": [{"type": "function", "name": "c"}]}],
    })) == ["a", "web_search_20250305", "web_search", "b", "file_search", "mcp:m", "c"]  # fmt: skip
    for bad in ([{}], [{"type": "function", "function": {"name": ["a"]}}], "shell", [["shell"]], {"name": "shell"}):
        with pytest.raises(Refused):
            list(offered_tools({"tools": bad}))
    assert set(called_tools({
        "content": [{"type": "tool_use", "name": "a"}, {"type": "text", "text": "tool_use"}],
        "output": [{"type": "function_call", "name": "b"}, {"type": "web_search_call"},
                   {"type": "mcp_call", "server_label": "m", "name": "x"}],
        "choices": [{"message": {"tool_calls": [{"function": {"name": "c"}}, {"custom": {"name": "d"}}],
                                 "function_call": {"name": "e"}}}],
    })) == {"a", "b", "web_search", "mcp:m", "c", "d", "e"}  # fmt: skip


async def test_guards_changed_behind_the_back_change_no_request_and_are_put_right(gateway, released):
    """The application blocks secrets; somebody turns that off in the database."""
    released()
    secret = "AKIA" + sha256(b"key").hexdigest()[:16].upper().translate(str.maketrans("01889", "ABCDE"))
    text_with = (
        f"my key is aws_access_key_id={secret} and aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz"
    )
    assert (await gateway.chat(text_with)).status_code == 400
    off = 'guards.input = { secrets = "off", pii = "off", injection = "off" }\nguards.output = { secrets = "off" }'
    change_behind(gateway, off)
    assert gateway.platform.inventory.application("app").guards.input.secrets == "off"
    assert (await gateway.chat(text_with)).status_code == 400
    answer = await gateway.chat("hello", model="unlisted")  # nor does the application have a model more
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    watch = gateway.platform.control.services.release_watch
    watch.run()
    gateway.platform.inventory.refresh()
    assert gateway.platform.inventory.application("app").guards.input.secrets == "block"
    with gateway.platform.records.read() as conn:
        (told,) = gateway.platform.ledger.entries(conn, kind="alert")
    assert (told.asset, told.context["problems"]) == ("Environment:prod", "application")
    assert "guards" in told.context["found"]
    assert watch.look("prod", "desk") == ()


async def test_the_emergency_switch_stays_the_operators(gateway, released):
    released()
    files = {"k.toml": '[applications.app]\nowner = "o@example.com"\nmodels = ["echo"]\nenabled = false\n'}
    gateway.perform("apply", body={"files": files})
    assert (await gateway.chat("hello")).status_code == 403


@pytest.mark.parametrize("how", [
    "UPDATE releases SET digest = CASE substr(digest, 1, 1) WHEN 'f' THEN '0' ELSE 'f' END || substr(digest, 2)",
    "UPDATE releases SET classification = 'restricted'",
    "UPDATE release_deployments SET release = 'rel_nobodys'",
    "UPDATE release_deployments SET envelope = release_deployments.envelope || '!'",
    "DELETE FROM release_prompts",
    "UPDATE release_prompts SET sealed = x'00'",
])  # fmt: skip
async def test_a_release_that_does_not_verify_stops_its_application_and_no_other(gateway, released, how):
    released()
    assert (await gateway.chat("hello")).status_code == 200
    with gateway.platform.records.write() as conn:
        conn.execute(text(how))
    gateway.platform.control.services.releases.deployments.refresh()
    answer = await gateway.chat("hello")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "release_broken")
    assert (await gateway.chat("hello", application="blocker")).status_code == 200


async def test_a_process_that_starts_later_refuses_too(gateway, released):
    """It never saw the release whole: whose application it is, it takes from bytes that it does not believe."""
    from vallum.releases.deployments import ReleaseDeployments

    release = released()
    with gateway.platform.records.write() as conn:
        conn.execute(text("UPDATE releases SET classification = 'public' || 'x' WHERE id = :id"), {"id": release.id})
    releases = gateway.platform.control.services.releases
    fresh = ReleaseDeployments(
        gateway.platform.records, releases.catalogue, releases.environments, releases.trials, releases.registry
    )
    with pytest.raises(Exception, match="does not verify"):
        fresh.application("prod", "app")
    assert fresh.application("prod", "blocker") is None
    assert fresh.application("test", "app") is None


async def test_applying_what_a_release_holds_otherwise_is_said_to_be_in_vain(gateway, released):
    """Whoever applies it learns which release stands against it, and what is theirs to say goes without a word."""

    def files(more="", models='["echo"]', enabled="true"):
        text = f'[applications.app]\nowner = "o@example.com"\nmodels = {models}\nenabled = {enabled}\n{more}'
        return {"files": {"a.toml": text}}

    weaker = files('guards.input = { secrets = "off" }\n', '["echo", "unlisted"]')
    gateway.perform("apply", body=files())
    assert gateway.perform("plan", body=weaker).warnings == ()
    release = released()
    for route in ("plan", "apply"):
        (warned,) = gateway.perform(route, body=weaker).warnings
        assert warned.startswith(f"applications.app: release {release.id} runs in prod and holds its models, guards: ")
        assert "vallum release build" in warned
    assert gateway.perform("apply", body=files()).warnings == ()  # as the release has it
    assert gateway.perform("apply", body=files(enabled="false")).warnings == ()
    other = '[applications.other]\nowner = "o@example.com"\nmodels = ["echo"]\n'
    assert gateway.perform("apply", body={"files": {"a.toml": other}}).warnings == ()
    with gateway.platform.records.write() as conn:
        conn.execute(text("UPDATE release_deployments SET envelope = x'00'"))
    assert gateway.perform("plan", body=weaker).warnings == ()  # it holds nothing: it does not even answer
