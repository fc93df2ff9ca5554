"""The command tree: whole, or the one part of it that a command line names.

Some hundred and fifty commands take longer to import and to build than most take to run: a part imports its modules
when it is asked for.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated

import typer

from vallum import __version__

__all__ = ["named_part", "whole_tree"]


@cache
def whole_tree() -> typer.Typer:
    """Every command: for help, completion, and a first word that no command has."""
    app = _root()
    for _, add_to in _PARTS:
        add_to(app)
    return app


def named_part(words: Sequence[str]) -> typer.Typer:
    """The part that the first word names, or the whole."""
    for names, add_to in _PARTS:
        if words and words[0] in names:
            app = _root()
            add_to(app)
            return app
    return whole_tree()


def _root() -> typer.Typer:
    app = typer.Typer(
        help="Vallum: every AI action passes one gate and leaves one proof.\n\nExample: vallum up --demo",
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    return app


def _show(wanted: bool) -> None:
    if wanted:
        print(f"vallum {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show, is_eager=True),
    ] = False,
) -> None:
    pass


def _server(app: typer.Typer) -> None:
    from vallum.cli import server

    server.add_to(app)


def _configuration(app: typer.Typer) -> None:
    from vallum.cli import configuration

    configuration.add_to(app)


def _access(app: typer.Typer) -> None:
    from vallum.cli import access

    _with_certificates()
    access.add_to(app)


@cache
def _with_certificates() -> None:
    from vallum.cli import access, certificates

    certificates.add_to(access.services)


def _grants(app: typer.Typer) -> None:
    from vallum.cli import grants

    app.add_typer(grants.app, name="access")


def _account(app: typer.Typer) -> None:
    from vallum.cli import account

    app.add_typer(account.app, name="account")


def _alerts(app: typer.Typer) -> None:
    from vallum.cli import alerts

    app.add_typer(alerts.app, name="alerts")


def _secrets(app: typer.Typer) -> None:
    from vallum.cli import secrets

    app.add_typer(secrets.secrets, name="secrets")


def _keysets(app: typer.Typer) -> None:
    from vallum.cli import keys

    app.add_typer(keys.keysets, name="keysets")


def _ledger(app: typer.Typer) -> None:
    from vallum.cli import ledger

    app.add_typer(ledger.app, name="ledger")


def _policy(app: typer.Typer) -> None:
    from vallum.cli import policy

    app.add_typer(policy.app, name="policy")


def _guard(app: typer.Typer) -> None:
    from vallum.cli import guard

    app.add_typer(guard.app, name="guard")


def _release(app: typer.Typer) -> None:
    from vallum.cli import releases

    app.add_typer(releases.app, name="release")


def _models(app: typer.Typer) -> None:
    app.add_typer(_model_commands(), name="models")


@cache
def _model_commands() -> typer.Typer:
    from vallum.cli import dependencies, descriptions, model_registry, triggers

    descriptions.add_to(model_registry.app)
    triggers.add_to(model_registry.app)
    model_registry.app.add_typer(dependencies.app, name="dependencies")
    return model_registry.app


def _data(app: typer.Typer) -> None:
    app.add_typer(_data_commands(), name="data")


@cache
def _data_commands() -> typer.Typer:
    from vallum.cli import data, data_mount, data_privacy, data_sets, data_statistics

    for part in (data_sets, data_statistics, data_mount):  # each adds its commands to one group
        assert part.app is data.app
    data_privacy.register(data.app)
    return data.app


def _erasures(app: typer.Typer) -> None:
    from vallum.cli import erasures

    app.add_typer(erasures.app, name="erasures")


# As help lists them. A test compares the words of each part with the commands that it adds.
_PARTS: Sequence[tuple[tuple[str, ...], Callable[[typer.Typer], None]]] = (
    (("up", "serve", "migrate"), _server),
    (("plan", "apply", "applications"), _configuration),
    (("login", "logout", "step-up", "status", "keys", "people", "services"), _access),
    (("access",), _grants),
    (("account",), _account),
    (("alerts",), _alerts),
    (("secrets",), _secrets),
    (("keysets",), _keysets),
    (("ledger",), _ledger),
    (("policy",), _policy),
    (("guard",), _guard),
    (("release",), _release),
    (("models",), _models),
    (("data",), _data),
    (("erasures",), _erasures),
)
