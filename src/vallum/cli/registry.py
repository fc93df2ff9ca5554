"""Commands and what they do: a route of the API, or, where there can be none, local work with its reason.

A test reads `COMMANDS` and fails for one that declares neither.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

__all__ = ["COMMANDS", "Command", "command", "group"]


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    performs: tuple[str, ...]
    local: str


COMMANDS: list[Command] = []


def group(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None, add_completion=False)


def command(
    app: typer.Typer, name: str, *, performs: Sequence[str] = (), local: str = "", example: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command. `performs` names routes; `local` says why it needs none. `example` opens its help."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        COMMANDS.append(Command(function.__module__.rpartition(".")[2] + " " + name, tuple(performs), local))
        text = f"Example: {example}\n\n{inspect.cleandoc(function.__doc__ or '')}"
        return app.command(name, help=text)(function)

    return register
