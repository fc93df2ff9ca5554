"""`vallum account`: your own devices, passkeys, recovery codes, password, delegations, and what you did."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from vallum.cli.options import AsJson, Url, parse_duration
from vallum.cli.output import print_json, print_table, read_secret_line, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

app = group("Your own account: devices, passkeys, recovery codes, password.")


@command(app, "sessions", performs=("list_own_sessions",), example="vallum account sessions")
def list_sessions(url: Url = None, as_json: AsJson = False) -> None:
    """List the devices you are signed in on."""
    with opened(None, url) as transport:
        found = transport.perform("list_own_sessions")
    if as_json:
        print_json(found)
        return
    rows = [
        (s["id"], s["created_at"][:19], _time(s["last_seen_seconds"]), s["device"], s["network"], s["method"])
        for s in found
    ]
    print_table(("ID", "SINCE", "LAST SEEN", "DEVICE", "NETWORK", "WITH"), rows)


@command(
    app, "sign-out", performs=("end_own_session", "end_other_sessions"),
    example="vallum account sign-out ses_01J…; vallum account sign-out --others",
)  # fmt: skip
def sign_out(
    session_id: Annotated[str | None, typer.Argument(help="The device's session, ses_….")] = None,
    others: Annotated[bool, typer.Option("--others", help="Every device but this one.")] = False,
    url: Url = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Sign out one of your devices, or all but this one."""
    if others == (session_id is not None):
        raise typer.BadParameter("name a session, or give --others")
    with opened(None, url) as transport:
        if session_id is not None:
            transport.perform("end_own_session", path={"id": session_id})
            report(as_json, {"id": session_id}, f"signed out {session_id}")
        else:
            ended = transport.perform("end_other_sessions")
            report(as_json, ended, f"signed out {ended['sessions']} other sessions")


@command(app, "passkeys", performs=("list_passkeys",), example="vallum account passkeys")
def list_passkeys(url: Url = None, as_json: AsJson = False) -> None:
    """List your passkeys. They are added in the console, where the browser can ask your device."""
    with opened(None, url) as transport:
        found = transport.perform("list_passkeys")
    if as_json:
        print_json(found)
        return
    rows = [(p["id"], p["label"], p["created_at"][:19], (p["last_used_at"] or "never")[:19]) for p in found]
    print_table(("ID", "LABEL", "REGISTERED", "LAST USED"), rows)


@command(app, "remove-passkey", performs=("remove_passkey",), example="vallum account remove-passkey pky_01J…")
def remove_passkey(
    passkey_id: Annotated[str, typer.Argument(help="The passkey's id, pky_….")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Remove one of your passkeys. Wants a fresh second factor: vallum step-up."""
    with opened(None, url) as transport:
        transport.perform("remove_passkey", path={"id": passkey_id})
    report(as_json, {"id": passkey_id}, f"removed {passkey_id}")


@command(app, "recovery-codes", performs=("new_recovery_codes",), example="vallum account recovery-codes > codes.txt")
def recovery_codes(url: Url = None, as_json: AsJson = False) -> None:
    """Make ten recovery codes in place of those you had. Wants a fresh second factor: vallum step-up."""
    with opened(None, url) as transport:
        made = transport.perform("new_recovery_codes")
    if as_json:
        print_json(made)
        return
    print("\n".join(made["codes"]))
    say("each signs you in once in place of a code; keep them on paper, they are not shown again")


@command(app, "password", performs=("change_password",), example="vallum account password")
def change_password(url: Url = None, as_json: AsJson = False) -> None:
    """Change your password; every device signs out, this one too. It is asked for, or the first line of a pipe."""
    password = read_secret_line("New password: ")
    if sys.stdin.isatty() and read_secret_line("Again: ") != password:
        raise Invalid("the two are not the same: nothing was changed")
    with opened(None, url) as transport:
        ended = transport.perform("change_password", body={"password": password})
    report(as_json, ended, f"changed; {ended['sessions']} sessions ended, this one too: vallum login")


@command(
    app, "delegate", performs=("create_delegation",),
    example="vallum account delegate handbook-assistant --for 8h > subject-token",
)  # fmt: skip
def delegate(
    application_id: Annotated[str, typer.Argument(help="The application that may act for you at the gateway.")],
    lasting: Annotated[str, typer.Option("--for", help="How long: 30m, 8h, 7d.")] = "8h",
    url: Url = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let an application act for you: prints the token that it exchanges. Wants a fresh second factor."""
    body = {"application_id": application_id, "seconds": parse_duration(lasting)}
    with opened(None, url) as transport:
        made = transport.perform("create_delegation", body=body)
    if as_json:
        print_json(made)
        return
    print(made["token"])
    given = made["delegation"]
    say(f"{application_id} may act for you until {_time(given['expires_at_seconds'])}")
    say(f"end it with vallum account end-delegation {given['id']}")


@command(app, "delegations", performs=("list_delegations",), example="vallum account delegations")
def list_delegations(url: Url = None, as_json: AsJson = False) -> None:
    """List the applications that may act for you."""
    with opened(None, url) as transport:
        found = transport.perform("list_delegations")
    if as_json:
        print_json(found)
        return
    rows = [(d["id"], d["application_id"], d["created_at"][:19], _time(d["expires_at_seconds"])) for d in found]
    print_table(("ID", "APPLICATION", "SINCE", "UNTIL"), rows)


@command(
    app, "end-delegation", performs=("end_delegation",), example="vallum account end-delegation dlg_01J…",
)  # fmt: skip
def end_delegation(
    delegation_id: Annotated[str, typer.Argument(help="The delegation's id, dlg_….")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End what you let an application do; its tokens stop within a second."""
    with opened(None, url) as transport:
        transport.perform("end_delegation", path={"id": delegation_id})
    report(as_json, {"id": delegation_id}, f"ended {delegation_id}")


@command(app, "activity", performs=("list_own_entries",), example="vallum account activity -n 50")
def activity(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many entries.")] = 20,
    url: Url = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what you did yourself, newest first."""
    with opened(None, url) as transport:
        found = transport.perform("list_own_entries", query={"limit": limit})["entries"]
    if as_json:
        print_json(found)
        return
    rows = [(e["entry_id"], e["time"][:19], e["action"], e["asset"], e["effect"], e["outcome"]) for e in found]
    print_table(("ENTRY", "TIME", "ACTION", "ASSET", "DECISION", "OUTCOME"), rows)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
