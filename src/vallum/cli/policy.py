"""`vallum policy`: show, test, diff and apply policies, and ask why a decision falls as it does."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

app = group("Policies: who may do what, in Cedar.")

Folder = Annotated[Path, typer.Argument(help="A folder of .cedar files: the whole set.")]


@command(app, "show", performs=("read_policy",), example="vallum policy show --output policies/ --data vallum-data")
def show(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the files into this folder.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the policies in force, or write them out to be edited."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_policy")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in found["files"].items():
            (output / Path(name).name).write_text(text)
        say(f"{output}: {len(found['files'])} files of set {found['digest'][:16]}")
    elif as_json:
        print_json(found)
    else:
        for name, text in found["files"].items():
            print(f"// {name}\n{text}")


@command(
    app, "explain", performs=("explain_decision",),
    example="vallum policy explain application:handbook-assistant gateway:model:invoke Model:handbook",
)  # fmt: skip
def explain(
    subject: Annotated[str | None, typer.Argument(help="application:NAME, person:ID or service:ID.")] = None,
    action: Annotated[str | None, typer.Argument(help="As in gateway:model:invoke.")] = None,
    asset: Annotated[str | None, typer.Argument(help="KIND:ID, as in Model:handbook.")] = None,
    entry: Annotated[str | None, typer.Option("--entry", help="Explain this logged decision instead.")] = None,
    mfa_fresh: Annotated[bool, typer.Option("--mfa-fresh", help="As if the second factor were fresh.")] = False,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say why a decision falls as it does, with the policies that determine it."""
    body = {"entry": entry, "subject": subject, "action": action, "asset": asset, "mfa_fresh": mfa_fresh}
    with opened(data, url, config) as transport:
        found = transport.perform("explain_decision", body=body)
    if as_json:
        print_json(found)
        return
    policies = found.pop("policies")
    print_record({name: value for name, value in found.items() if value not in ([], "")})
    for text in policies.values():
        print(f"\n{text}")


@command(
    app, "test", local="decides nothing: rehearses files against cases, in this process",
    example="vallum policy test policies/ cases.toml",
)  # fmt: skip
def rehearse(
    folder: Folder,
    cases: Annotated[Path, typer.Argument(help="A TOML file of [[case]] tables: name, action, asset, expect …")],
    as_json: AsJson = False,
) -> None:
    """Check policies, and that they decide each case as it expects. Exits 1 when one does not."""
    from vallum.kernel.policy import check_cases

    results = check_cases(_files(folder), _read(cases))
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(results))
    else:
        rows = [("ok" if r.passed else "FAILED", r.name, r.expected, r.decided, r.reason) for r in results]
        print_table(("", "CASE", "EXPECTED", "DECIDED", "REASON"), rows)
    if not all(r.passed for r in results):
        raise typer.Exit(1)


@command(app, "diff", performs=("read_policy",), example="vallum policy diff policies/ --data vallum-data")
def diff(folder: Folder, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show who could do what more or less if these files were in force."""
    from vallum.kernel.policy import diff_policies

    with opened(data, url, config) as transport:
        before: dict[str, Any] = transport.perform("read_policy")
    changes = diff_policies(before["files"], _files(folder))
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(changes))
        return
    if not changes:
        say("no role could do more or less")
        return
    print_table(
        ("ROLE", "ACTION", "ON", "BEFORE", "AFTER"),
        [(c.role, c.action, c.asset_kind, c.before, c.after) for c in changes],
    )


@command(app, "apply", performs=("apply_policy",), example="vallum policy apply policies/ --data vallum-data")
def apply(folder: Folder, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Put these policies in force, in place of all that are. They are checked first."""
    with opened(data, url, config) as transport:
        applied = transport.perform("apply_policy", body={"files": _files(folder)})
    print_json({"digest": applied["digest"]}) if as_json else say(f"in force: set {applied['digest'][:16]}")


def _files(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise Invalid(f"{folder} is no folder")
    found = {path.name: _read(path) for path in sorted(folder.glob("*.cedar"))}
    if not found:
        raise Invalid(f"{folder} holds no .cedar file")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"{path} cannot be read") from e
