"""Policies are written out, rehearsed, compared, applied, and explain the decision that follows."""

import json

import openai
import pytest

QUESTION = [{"role": "user", "content": "How many days of leave?"}]

CASES = """
[[case]]
name = "the assistant may use its model"
subject = "application:handbook-assistant"
action = "gateway:model:invoke"
asset = "Model:handbook"
models = ["handbook"]
expect = "allow"

[[case]]
name = "an auditor changes nothing"
roles = ["auditor"]
action = "inventory:configuration:apply"
asset = "System:vallum"
expect = "deny"
"""

FREEZE = """
@id("freeze-the-handbook")
forbid (principal, action == Vallum::Action::"gateway:model:invoke", resource == Vallum::Model::"handbook");
"""


@pytest.fixture
def policies(start, tmp_path):
    server = start("--demo")
    folder = tmp_path / "policies"
    server.vallum("policy", "show", "--output", folder)
    (tmp_path / "cases.toml").write_text(CASES)
    return server, folder, tmp_path / "cases.toml"


def test_from_reading_to_enforcing(policies, vallum):
    server, folder, cases = policies
    assert "nobody-crosses-tenants" in "".join(f.read_text() for f in folder.iterdir())
    assert "ok" in vallum("policy", "test", folder, cases).stdout
    assert "no role could do more or less" in server.vallum("policy", "diff", folder).stderr

    (folder / "freeze.cedar").write_text(FREEZE)
    failed = vallum("policy", "test", folder, cases, "--json", check=False)
    assert failed.returncode == 1
    assert [r["passed"] for r in json.loads(failed.stdout)] == [False, True]
    assert server.openai().chat.completions.create(model="handbook", messages=QUESTION)

    server.vallum("policy", "apply", folder)
    import time

    time.sleep(0.8)
    with pytest.raises(openai.PermissionDeniedError) as denied:
        server.openai().chat.completions.create(model="handbook", messages=QUESTION)
    entry = denied.value.body["entry"]
    explained = server.vallum("policy", "explain", "--entry", entry).stdout
    assert "freeze-the-handbook" in explained
    asked = server.vallum(
        "policy", "explain", "application:handbook-assistant", "gateway:model:invoke", "Model:handbook", "--json"
    )
    assert json.loads(asked.stdout)["effect"] == "deny"
    # The entry of the change names who and what.
    shown = json.loads(server.vallum("ledger", "show", entry, "--json").stdout)
    assert shown["policies"] == ["freeze-the-handbook"]


def test_a_role_given_more_shows_in_the_diff(policies):
    server, folder, _ = policies
    (folder / "more.cedar").write_text(
        '@id("auditors-may-apply")\npermit (principal in Vallum::Role::"auditor", '
        'action == Vallum::Action::"inventory:configuration:apply", resource);\n'
    )
    changes = json.loads(server.vallum("policy", "diff", folder, "--json").stdout)
    assert [(c["role"], c["action"], c["before"], c["after"]) for c in changes] == [
        ("auditor", "inventory:configuration:apply", "deny", "allow")
    ]


@pytest.mark.parametrize(
    "text",
    ["permit (principal, action, resource)", "nonsense", "permit (principal, action, resource);",
     '@id("x") permit (principal is Nobody, action, resource);', "// nothing but a comment"],
)  # fmt: skip
def test_bad_policies_are_refused_and_change_nothing(policies, text):
    server, folder, _ = policies
    for file in folder.iterdir():
        file.unlink()
    (folder / "bad.cedar").write_text(text)
    done = server.vallum("policy", "apply", folder, check=False)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert server.openai().chat.completions.create(model="handbook", messages=QUESTION)
