"""`vallum policy`: show, test, diff and apply policies, and ask why a decision falls as it does."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, printable, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

app = group("Policies: who may do what, in Cedar.")

_BASE = ".base"  # beside the files: the set that they were written out from

Folder = Annotated[Path, typer.Argument(help="A folder of .cedar files: the whole set.")]
ChangeId = Annotated[str, typer.Argument(help="The proposal's id, pch_….")]
Note = Annotated[str, typer.Option("--note", help="A word to whoever proposed it.")]


@command(app, "show", performs=("read_policy",), example="vallum policy show --output policies/ --data vallum-data")
def show(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the files into this folder.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the policies in force, or write them out to be edited."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_policy")
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise Invalid(f"{output} cannot be made a folder: {e.strerror}") from e
        (output / _BASE).write_text(found["digest"] + "\n")
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
    """Put these policies in force at once, as who holds the root key; people propose and approve instead."""
    with opened(data, url, config) as transport:
        applied = transport.perform("apply_policy", body={"files": _files(folder)})
    print_json({"digest": applied["digest"]}) if as_json else say(f"in force: set {applied['digest'][:16]}")


@command(
    app, "propose", performs=("propose_policy",),
    example='vallum policy propose policies/ --reason "auditors may read provider settings"',
)  # fmt: skip
def propose(
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever approves reads it.")],
    folder: Annotated[Path | None, typer.Argument(help="A folder of .cedar files: the whole set.")] = None,
    earlier: Annotated[str | None, typer.Option("--digest", help="Go back to this set, which was in force.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Propose policies, or an earlier set again. Somebody else approves them."""
    base = folder / _BASE if folder is not None else None
    body = {
        "reason": reason, "files": None if folder is None else _files(folder), "digest": earlier,
        "base": base.read_text().strip() if base is not None and base.exists() else None,
    }  # fmt: skip
    with opened(data, url, config) as transport:
        change = transport.perform("propose_policy", body=body)
    report(as_json, change, f"proposed: {change['id']} waits for somebody else's approval")


@command(app, "changes", performs=("list_policy_changes",), example="vallum policy changes")
def changes(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List proposed policies, newest first."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_policy_changes")
    if as_json:
        print_json(found)
        return
    rows = [
        (c["id"], c["proposed_at"][:19], c["proposed_by"], c["state"], c["digest"][:16], c["reason"]) for c in found
    ]
    print_table(("ID", "PROPOSED", "BY", "STATE", "SET", "REASON"), rows)


@command(app, "review", performs=("read_policy_change",), example="vallum policy review pch_01J…")
def review(
    change_id: ChangeId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Show a proposal, and who could do what more or less with it."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_policy_change", path={"id": change_id})
    if as_json:
        print_json(found)
        return
    print_record({name: value for name, value in found["change"].items() if value not in (None, "")})
    for text in found["texts"]:
        verb = "goes" if not text["after"] else "is worded otherwise" if text["before"] else "is new"
        print(f"\n{printable(text['policy'])} {verb}")
        for sign, wording in (("- ", text["before"]), ("+ ", text["after"])):
            for line in wording.splitlines():
                print(sign + printable(line))
    print()
    rows = [(c["role"], c["action"], c["asset_kind"], c["before"], c["after"]) for c in found["changes"]]
    rows += [(c["subject"], c["action"], c["asset"], c["before"], c["after"]) for c in found["subjects"]]
    if rows:
        print_table(("WHO", "ACTION", "ON", "BEFORE", "AFTER"), rows)
    else:
        say("no role, and nobody there is, could do more or less of what was asked; the texts above are what decides")
    if not found["complete"]:
        say("there are too many subjects to ask for each: read the texts")


@command(app, "approve", performs=("approve_policy_change",), example="vallum policy approve pch_01J…")
def approve(change_id: ChangeId, note: Note = "", url: Url = None, as_json: AsJson = False) -> None:
    """Put proposed policies in force. Wants a fresh second factor: vallum step-up."""
    with opened(None, url) as transport:
        change = transport.perform("approve_policy_change", path={"id": change_id}, body={"note": note})
    report(as_json, change, f"in force: set {change['digest'][:16]}")


@command(app, "deny", performs=("deny_policy_change",), example='vallum policy deny pch_01J… --note "too broad"')
def deny(change_id: ChangeId, note: Note = "", url: Url = None, as_json: AsJson = False) -> None:
    """Refuse proposed policies."""
    with opened(None, url) as transport:
        change = transport.perform("deny_policy_change", path={"id": change_id}, body={"note": note})
    report(as_json, change, f"denied {change['id']}")


@command(app, "withdraw", performs=("withdraw_policy_change",), example="vallum policy withdraw pch_01J…")
def withdraw(change_id: ChangeId, url: Url = None, as_json: AsJson = False) -> None:
    """Withdraw your own proposal."""
    with opened(None, url) as transport:
        change = transport.perform("withdraw_policy_change", path={"id": change_id})
    report(as_json, change, f"withdrew {change['id']}")


@command(
    app, "who-can", performs=("who_can",), example="vallum policy who-can ledger:content:read Ledger:vallum --data DIR"
)
def who_can(
    action: Annotated[str, typer.Argument(help="As in ledger:content:read.")],
    asset: Annotated[str, typer.Argument(help="KIND:ID, as in Model:handbook.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say who can do an action on an asset, and by which policies."""
    with opened(data, url, config) as transport:
        found = transport.perform("who_can", query={"action": action, "asset": asset})
    _print_answers(found, as_json)


@command(app, "what-can", performs=("what_can",), example="vallum policy what-can person:per_01J… --data DIR")
def what_can(
    subject: Annotated[str, typer.Argument(help="application:NAME, person:ID or service:ID.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say what a subject can do, and by which policies."""
    with opened(data, url, config) as transport:
        found = transport.perform("what_can", query={"subject": subject})
    _print_answers(found, as_json)


@command(app, "replay", performs=("replay_entry",), example="vallum policy replay ent_01J… --data DIR")
def replay(
    entry: Annotated[str, typer.Argument(help="The entry's id.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Decide a logged decision again, by the policies of its time. Exits 1 when the answer differs."""
    with opened(data, url, config) as transport:
        found = transport.perform("replay_entry", path={"id": entry})
    print_json(found) if as_json else print_record(found)
    if not found["same"]:
        raise typer.Exit(1)


@command(app, "advice", performs=("advise",), example="vallum policy advice --days 90 --data DIR")
def advice(
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far to look back.")] = 90,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Report standing rights: who holds which roles, what they did not use, and which roles they could do without."""
    with opened(data, url, config) as transport:
        found = transport.perform("advise", query={"days": days})
    if as_json:
        print_json(found)
        return
    rows = [
        (a["subject"], a["name"], " ".join(a["roles"]), (a["last_seen"] or "never")[:19], len(a["unused"]),
         " ".join(a["droppable_roles"]))
        for a in found
    ]  # fmt: skip
    print_table(("SUBJECT", "NAME", "ROLES", "LAST SEEN", "RIGHTS UNUSED", "COULD DO WITHOUT"), rows)


def _print_answers(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found:
        say("nobody, and nothing")
        return
    print_table(
        ("SUBJECT", "ACTION", "ON", "", "BY"),
        [(a["subject"], a["action"], a["asset"], a["outcome"], " ".join(a["policies"])) for a in found],
    )


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
