"""`vallum secrets`: the vault."""

from typing import Annotated

import typer

from vallum.cli.options import AsJson, Config, Data, Url, parse_duration
from vallum.cli.output import print_json, print_table, read_secret_line, report
from vallum.cli.registry import command, group
from vallum.cli.transport import opened

__all__ = ["secrets"]

secrets = group("The vault: providers' keys, by name.")

Name = Annotated[str, typer.Argument(help="The secret's name.")]


@command(
    secrets, "put", performs=("put_secret",),
    example="vallum secrets put openai --for provider:openai --data vallum-data < key.txt",
)  # fmt: skip
def put_secret(
    name: Name,
    consumers: Annotated[
        list[str] | None,
        typer.Option("--for", help="Who may have it, `provider:NAME`; again for more. Else as for the version before."),
    ] = None,
    overlap: Annotated[str, typer.Option("--overlap", help="How long the version before stays readable.")] = "1h",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Keep a secret: asked for on a terminal, else the first line of standard input. Never an argument."""
    seconds = 0 if overlap == "0" else parse_duration(overlap)
    body = {"value": read_secret_line("Value: "), "consumers": consumers or None, "overlap_seconds": seconds}
    with opened(data, url, config) as transport:
        made = transport.perform("put_secret", path={"name": name}, body=body)
    bound = ", ".join(made["consumers"]) or f"nobody: put it again with --for provider:{name}, say"
    report(as_json, {"name": name, **made}, f"the vault holds {name}, version {made['version']}, for {bound}")


@command(secrets, "list", performs=("list_secrets",), example="vallum secrets list --data vallum-data")
def list_secrets(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List names, versions, consumers and times, never values."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_secrets")
    if as_json:
        print_json(found)
        return
    rows = [
        (s["name"], s["version"], _for(s), s["created_at"], s["updated_at"], s["last_used_at"], s["last_used_by"])
        for s in found
    ]
    print_table(("NAME", "VERSION", "FOR", "CREATED", "UPDATED", "LAST USED", "BY"), rows)


@command(
    secrets, "versions", performs=("list_secret_versions",), example="vallum secrets versions openai --data vallum-data"
)
def versions(name: Name, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List the versions that are readable, who may have them, and who had them last."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_secret_versions", path={"name": name})
    if as_json:
        print_json(found)
        return
    rows = [
        (v["version"], v["state"], _for(v), v["created_at"], v["readable_until"], v["last_used_at"], v["last_used_by"])
        for v in found
    ]
    print_table(("VERSION", "STATE", "FOR", "CREATED", "READABLE UNTIL", "LAST USED", "BY"), rows)


@command(
    secrets, "rollback", performs=("rollback_secret",), example="vallum secrets rollback openai --data vallum-data"
)
def rollback(name: Name, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Use the version before this one again, while it is there."""
    with opened(data, url, config) as transport:
        made = transport.perform("rollback_secret", path={"name": name})
    report(as_json, {"name": name, **made}, f"version {made['version']} of {name} is in use again")


@command(secrets, "delete", performs=("delete_secret",), example="vallum secrets delete openai --data vallum-data")
def delete_secret(
    name: Name, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Forget a secret, all its versions."""
    with opened(data, url, config) as transport:
        transport.perform("delete_secret", path={"name": name})
    report(as_json, {"name": name}, f"the vault forgot {name}")


def _for(one: dict[str, list[str]]) -> str:
    return ", ".join(one["consumers"]) or "nobody"
