"""`vallum keysets`."""

from pathlib import Path
from typing import Annotated

import typer

from vallum.cli.options import AsJson, Config, Data, Url, parse_duration
from vallum.cli.output import print_json, print_table, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import local_settings, moved_keys, opened
from vallum.kernel.errors import Invalid

__all__ = ["keysets"]

keysets = group("Keysets: the keys that seal contents, fields and secrets.")

Tenant = Annotated[str, typer.Option("--tenant", help="Whose keyset.")]
Purpose = Annotated[str, typer.Argument(help="content, fields, artifacts, signing, secrets …")]


@command(keysets, "list", performs=("list_keysets",), example="vallum keysets list --data vallum-data")
def list_keysets(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List keysets and the state of their versions."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_keysets")
    if as_json:
        print_json(found)
        return
    rows = [
        (k["tenant"], k["purpose"], v["version"], v["state"], v["root"], v["created_at"], v["check_value"])
        for k in found
        for v in k["versions"]
    ]
    print_table(("TENANT", "PURPOSE", "VERSION", "STATE", "ROOT", "CREATED", "CHECK VALUE"), rows)


@command(keysets, "status", performs=("read_key_status",), example="vallum keysets status --data vallum-data")
def status(
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when something is overdue.")] = False,
    data: Data = None,
    url: Url = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what is rotated when: keysets, the root key and signing keys, and credentials that are due."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_key_status")
    if as_json:
        print_json(found)
    else:
        rows = [
            (r["kind"], r["name"], r["since"][:10], _every(r["every_days"]), (r["due_at"] or "never")[:10], r["state"],
             "by itself" if r["automatic"] else "by somebody")
            for r in found["rotations"]
        ]  # fmt: skip
        print_table(("KIND", "NAME", "SINCE", "EVERY", "DUE", "STATE", "ROTATED"), rows)
        say(f"the root key is in {found['root']}; {found['overdue']} overdue")
    if check and found["overdue"]:
        raise typer.Exit(1)


@command(
    keysets, "schedule", performs=("schedule_keyset",),
    example="vallum keysets schedule content --every 90d --data vallum-data",
)  # fmt: skip
def schedule(
    purpose: Purpose,
    every: Annotated[str, typer.Option("--every", help="Whole days, as in 90d; `never`; or `default`, the settings'.")],
    tenant: Tenant = "default",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say how often a keyset is rotated. What is due is rotated by itself, unless the settings leave it to somebody."""
    days = _days(every)
    path = {"tenant": tenant, "purpose": purpose}
    with opened(data, url, config) as transport:
        transport.perform("schedule_keyset", path=path, body={"every_days": days})
    report(as_json, {**path, "every_days": days}, f"{tenant}/{purpose} is rotated {_said(every)}")


@command(keysets, "rotate", performs=("rotate_keyset",), example="vallum keysets rotate content --data vallum-data")
def rotate(
    purpose: Purpose,
    tenant: Tenant = "default",
    data: Data = None,
    url: Url = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Seal with a fresh key from now on; older versions still open what they sealed."""
    with opened(data, url, config) as transport:
        made = transport.perform("rotate_keyset", path={"tenant": tenant, "purpose": purpose})
    report(as_json, made, f"{tenant}/{purpose} seals with version {made['version']}")


@command(keysets, "rewrap", performs=("rewrap_keysets",), example="vallum keysets rewrap --data vallum-data")
def rewrap(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Wrap every key under the newest root key."""
    with opened(data, url, config) as transport:
        done = transport.perform("rewrap_keysets")
    report(as_json, done, f"wrapped {done['keys']} keys anew")


@command(
    keysets, "rotate-root", local="makes a root key, which no server may do",
    example="vallum keysets rotate-root --data vallum-data",
)  # fmt: skip
def rotate_root(data: Data = None, config: Config = None, as_json: AsJson = False) -> None:
    """Make a fresh root key in the file or the HSM, and wrap every key under it. Servers may go on meanwhile.

    The former root key stays there, for backups of before. A key service rotates its own: see keysets rewrap.
    """
    if data is None and config is None:
        raise Invalid("give --data DIR or --config FILE: the installation")
    settings = local_settings(data, config)
    from vallum.compose import rotate_root as rotate_

    done = {"keys": rotate_(settings)}
    report(as_json, done, f"wrapped {done['keys']} keys under a fresh root key")


@command(
    keysets, "move-root", local="wraps under a root key that no server may hold yet",
    example="vallum keysets move-root --to new.toml --config vallum.toml",
)  # fmt: skip
def move_root(
    to: Annotated[Path, typer.Option("--to", help="A settings file whose [keys] section names the root to move to.")],
    data: Data = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Wrap every key under another root key: from a file to a key service, say, or to another key there.

    Stop every server first. All keys move, or none; the former root opens nothing afterwards. Then put the new [keys]
    section in force everywhere. Run it again if a server was still up: it moves what was made meanwhile.
    """
    if data is None and config is None:
        raise Invalid("give --data DIR or --config FILE: the installation as it is")
    settings = local_settings(data, config)
    keys = moved_keys(to)
    from vallum.compose import move_root as move

    done = {"keys": move(settings, keys), "root": keys.root}
    report(as_json, done, f"moved {done['keys']} keys to the root {keys.root}; put its [keys] section in force now")


@command(
    keysets, "destroy", performs=("destroy_key",),
    example="vallum keysets destroy content --version 1 --yes --data vallum-data",
)  # fmt: skip
def destroy(
    purpose: Purpose,
    version: Annotated[int, typer.Option("--version", help="Which version.")],
    tenant: Tenant = "default",
    current: Annotated[bool, typer.Option("--current", help="It is the one that seals now, and is meant.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Destroy a key version, and with it everything it sealed, for good. The entry names its check value."""
    if not yes:
        typer.confirm(f"Everything that {tenant}/{purpose} version {version} sealed will be lost. Go on?", abort=True)
    path = {"tenant": tenant, "purpose": purpose, "version": str(version)}
    with opened(data, url, config) as transport:
        done = transport.perform("destroy_key", path=path, query={"current": "true"} if current else None)
    report(as_json, done, f"destroyed {done['keys']} key")


def _days(text: str) -> int | None:
    if text in ("never", "default"):
        return 0 if text == "never" else None
    days, rest = divmod(parse_duration(text), 86_400)
    if rest or not days:
        raise Invalid(f"--every {text}: whole days, as in 90d; or never, or default")
    return days


def _every(days: int) -> str:
    return f"{days}d" if days else "never"


def _said(every: str) -> str:
    return {"never": "never", "default": "as the settings say"}.get(every, f"every {every}")
