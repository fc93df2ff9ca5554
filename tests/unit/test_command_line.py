"""Every command that administers offers its result to machines, an example first, and a clear end for bad input."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

from vallum.cli.output import printable
from vallum.cli.tree import _PARTS, named_part, whole_tree

VALLUM = str(Path(sys.executable).with_name("vallum"))
TALKS_ONLY = {"serve", "migrate", "login", "logout", "step-up"}


def commands(command, words=()):
    children = getattr(command, "commands", None)
    if children is None:
        return [(words, command)]
    return [found for name, child in children.items() for found in commands(child, (*words, name))]


ALL = commands(typer.main.get_command(whole_tree()))


@pytest.mark.parametrize(("words", "command"), ALL, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_help_starts_with_an_example_and_json_is_offered(words, command):
    text = command.get_help(click.Context(command, info_name=" ".join(words), max_content_width=200))
    assert "Example: vallum " + " ".join(words) in " ".join(text.split())
    assert "--json" in text or words[-1] in TALKS_ONLY


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nonsense",), 2, "No such command"),
        (("keys", "list", "--data", "absent"), 2, "no database"),
        (("plan", "absent", "--data", "absent"), 2, "neither a file nor a folder"),
        (("up", "--port", "0"), 2, "port"),
        (("up", "--host", "0.0.0.0", "--unsafe-plain-http"), 2, "loopback"),
        (("serve", "--role", "cook", "--data", "absent"), 2, "gateway, control, worker"),
        (("keys", "list", "--data", "absent", "--url", "https://x"), 2, "one of them"),
        (("policy", "test", "absent", "absent"), 2, "no folder"),
    ],
)
def test_bad_input_exits_with_a_word_on_what_to_change(arguments, code, said, tmp_path):
    done = subprocess.run([VALLUM, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_each_part_of_the_tree_adds_the_words_that_it_is_found_by():
    whole = typer.main.get_command(whole_tree()).commands
    assert sorted(whole) == sorted(name for names, _ in _PARTS for name in names)
    for names, add_to in _PARTS:
        part = typer.Typer()
        part.callback()(lambda: None)
        add_to(part)
        assert set(typer.main.get_command(part).commands) == set(names)


@pytest.mark.parametrize("word", [name for names, _ in _PARTS for name in names])
def test_a_part_has_every_command_that_the_whole_tree_has_of_it(word):
    found = typer.main.get_command(named_part([word, "--help"])).commands[word]
    whole = typer.main.get_command(whole_tree()).commands[word]
    assert [words for words, _ in commands(found)] == [words for words, _ in commands(whole)]


@pytest.mark.parametrize("words", [[], ["--help"], ["nonsense"], ["--data", "policy"], [""], ["POLICY"]])
def test_what_names_no_part_meets_the_whole_tree(words):
    assert named_part(words) is whole_tree()


def test_what_others_wrote_does_not_move_the_cursor():
    assert printable("a\nb\x1b[31m\u202ec") == "a\\nb\\x1b[31m\\u202ec"
    assert printable("grüße 你好") == "grüße 你好"
