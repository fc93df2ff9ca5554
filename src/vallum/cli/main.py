"""The entry point: the command tree, and errors as exit codes."""

import sys
from typing import Annotated

import typer

from vallum import __version__
from vallum.cli import (
    access,
    account,
    alerts,
    certificates,
    configuration,
    data,
    data_mount,
    data_privacy,
    data_sets,
    data_statistics,
    dependencies,
    descriptions,
    erasures,
    grants,
    guard,
    keys,
    ledger,
    model_registry,
    policy,
    releases,
    secrets,
    server,
)
from vallum.kernel.errors import (
    Conflict,
    Denied,
    IntegrityError,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
    VallumError,
)

__all__ = ["EXIT_CODES", "app", "main"]

# The first that fits, so subclasses stand before their parents. docs/cli.md lists them.
EXIT_CODES: tuple[tuple[type[VallumError], int], ...] = (
    (Unauthenticated, 3),
    (Denied, 4),
    (NotFound, 5),
    (Conflict, 6),
    (Invalid, 2),
    (LimitExceeded, 7),
    (IntegrityError, 8),
    (Unavailable, 9),
)

app = typer.Typer(
    help="Vallum: every AI action passes one gate and leaves one proof.\n\nExample: vallum up --demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=True,
    pretty_exceptions_enable=False,
)
server.add_to(app)
configuration.add_to(app)
access.add_to(app)
certificates.add_to(access.services)
app.add_typer(grants.app, name="access")
app.add_typer(account.app, name="account")
app.add_typer(alerts.app, name="alerts")
app.add_typer(secrets.secrets, name="secrets")
app.add_typer(keys.keysets, name="keysets")
app.add_typer(ledger.app, name="ledger")
app.add_typer(policy.app, name="policy")
app.add_typer(guard.app, name="guard")
app.add_typer(releases.app, name="release")
app.add_typer(model_registry.app, name="models")
descriptions.add_to(model_registry.app)
model_registry.app.add_typer(dependencies.app, name="dependencies")
for part in (data_sets, data_statistics, data_mount):  # each adds its commands to one group
    assert part.app is data.app
app.add_typer(data.app, name="data")
app.add_typer(erasures.app, name="erasures")
data_privacy.register(data.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"vallum {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        app(standalone_mode=True)
    except VallumError as e:
        print(f"vallum: {e}", file=sys.stderr)
        sys.exit(next((code for family, code in EXIT_CODES if isinstance(e, family)), 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left; nobody is there to be told
        sys.exit(141)


if __name__ == "__main__":
    main()
