"""`vallum up`, `vallum serve` and `vallum migrate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Folder
from vallum.cli.output import say
from vallum.cli.registry import command

__all__ = ["add_to"]

_LOCAL = "starts the server: there is none to ask yet"

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="TCP port to listen on.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes.")]
PlainHttp = Annotated[bool, typer.Option("--unsafe-plain-http", help="Serve without TLS, on a loopback address only.")]


def add_to(app: typer.Typer) -> None:
    command(app, "up", local=_LOCAL, example="vallum up --demo")(up)
    command(app, "serve", local=_LOCAL, example="vallum serve --role gateway --config vallum.toml")(serve)
    command(
        app, "migrate", local="changes the database's schema, which no server may be running on yet",
        example="vallum migrate --config vallum.toml",
    )(migrate)  # fmt: skip


def up(
    data: Folder = None,
    port: Port = None,
    host: Host = None,
    demo: Annotated[bool, typer.Option("--demo", help="Declare the demonstration application, with a key.")] = False,
    upstream: Annotated[
        str | None, typer.Option("--upstream", help="Try an OpenAI-compatible server: its base URL.")
    ] = None,
    upstream_key_file: Annotated[
        Path | None, typer.Option("--upstream-key-file", help="A file whose first line is that server's key.")
    ] = None,
    workers: Workers = None,
    plain_http: PlainHttp = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine: makes what is missing, then serves until stopped.

    With --json, one line on standard output once ready: url, ca_file, api_key, application, enrol_url, mtls_url.
    """
    settings = _settings(data, config, host, port, workers, plain_http)
    from vallum.cli.bringup import bring_up

    bring_up(settings, demo=demo, upstream=upstream, upstream_key_file=upstream_key_file, as_json=as_json)


def serve(
    role: Annotated[str, typer.Option("--role", help="gateway, control or worker.")],
    data: Folder = None,
    port: Port = None,
    host: Host = None,
    workers: Workers = None,
    plain_http: PlainHttp = False,
    config: Config = None,
) -> None:
    """Run one role of several machines' installation, on a database that `vallum migrate` has prepared."""
    settings = _settings(data, config, host, port, workers, plain_http)
    from vallum.cli.bringup import serve_role

    serve_role(settings, role)


def migrate(data: Folder = None, config: Config = None) -> None:
    """Make what a first run needs, or bring the database's schema up to this release."""
    from vallum.compose import prepare

    settings = _settings(data, config, None, None, None, plain_http=False)
    prepare(settings)
    say("the database and the root key are ready")


def _settings(
    data: Path | None, config: Path | None, host: str | None, port: int | None, workers: int | None,
    plain_http: bool,
) -> Any:  # fmt: skip
    from vallum.cli.transport import local_settings

    given: dict[str, object] = {"server.host": host, "server.port": port, "server.workers": workers}
    overrides = {name: value for name, value in given.items() if value is not None}
    if plain_http:
        overrides["server.unsafe_plain_http"] = True
    return local_settings(data, config, overrides)
