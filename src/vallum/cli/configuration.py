"""`vallum plan`, `vallum apply`, and what is in force."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_table, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Conflict

__all__ = ["add_to"]

Folder = Annotated[Path, typer.Argument(help="A .toml file, or a folder of them.")]
Prune = Annotated[bool, typer.Option("--prune", help="Remove what is in force and the files do not name.")]

applications = group("Applications: who may ask which models, guarded and limited how.")


def add_to(app: typer.Typer) -> None:
    command(app, "plan", performs=("plan",), example="vallum plan config/ --data vallum-data")(plan)
    command(app, "apply", performs=("plan", "apply"), example="vallum apply config/ --data vallum-data")(apply)
    app.add_typer(applications, name="applications")


def plan(
    folder: Folder, prune: Prune = False, data: Data = None, url: Url = None, config: Config = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what applying these files would change."""
    files = _files(folder)
    with opened(data, url, config) as transport:
        _show(transport.perform("plan", body={"files": files, "prune": prune}), as_json)


def apply(
    folder: Folder, prune: Prune = False, data: Data = None, url: Url = None, config: Config = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make what these files declare so. Exit 6: a running release holds some of it otherwise, and will put it back."""
    files = _files(folder)
    with opened(data, url, config) as transport:
        seen = transport.perform("plan", body={"files": files, "prune": prune})
        body = {"files": files, "prune": prune, "digest": seen["digest"]}
        done = transport.perform("apply", body=body)
    _show(done, as_json)
    if done["warnings"]:
        raise Conflict("applied, and not all of it will last: a running release holds some of it")
    if not as_json:
        say("applied" if seen["changes"] else "everything was so already")


@command(applications, "list", performs=("list_applications",), example="vallum applications list --data vallum-data")
def list_applications(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List applications, their owners and models."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_applications")
    if as_json:
        print_json(found)
        return
    rows = [
        (a["name"], a["application"]["owner"], a["application"].get("classification", "internal"),
         " ".join(a["application"].get("models", ())))
        for a in found
    ]  # fmt: skip
    print_table(("NAME", "OWNER", "CLASSIFICATION", "MODELS"), rows)


def _files(folder: Path) -> dict[str, str]:
    from vallum.inventory import read_files

    return read_files(folder)


def _show(plan: Any, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    import msgspec

    from vallum.inventory import Plan, render_plan

    print(render_plan(msgspec.convert(plan, Plan)))
    for warning in plan["warnings"]:
        say(f"warning: {warning}")
    if plan["kept"]:
        say(f"kept, though no file names them: {', '.join(plan['kept'])} (--prune removes them)")
