"""`vallum access`: roles for a while. Ask, decide, end, and break the glass."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url, parse_duration
from vallum.cli.output import print_json, print_record, print_table, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened

__all__ = ["app"]

app = group("Just-in-time access: a role for a while, given by somebody else.")

Note = Annotated[str, typer.Option("--note", help="A word to whoever asked.")]
GrantId = Annotated[str, typer.Argument(help="The request's id, grt_….")]


@command(
    app, "request", performs=("request_access",),
    example='vallum access request security --for 2h --reason "rotating the leaked provider key"',
)  # fmt: skip
def request_access(
    role: Annotated[str, typer.Argument(help="The role.")],
    duration: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h; at most 24h.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever decides reads it.")],
    asset: Annotated[str, typer.Option("--asset", help="Only on this: KIND:ID, or KIND:* for all of a kind.")] = "",
    start_in: Annotated[str, typer.Option("--in", help="Start that much later, as in 12h; at most 7d.")] = "0m",
    url: Url = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Ask for a role for a while. Somebody else approves it; it ends by itself."""
    body = {
        "role": role, "seconds": parse_duration(duration), "reason": reason, "asset": asset,
        "start_after_seconds": parse_duration(start_in),
    }  # fmt: skip
    with opened(None, url) as transport:
        grant = transport.perform("request_access", body=body)
    report(as_json, grant, f"asked: {grant['id']} waits for an approver")


@command(
    app, "break-glass", performs=("request_access",),
    example='vallum access break-glass administrator --for 1h --reason "the only administrator is unreachable"',
)  # fmt: skip
def break_glass(
    role: Annotated[str, typer.Argument(help="The role.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is read in the incident that this opens.")],
    duration: Annotated[str, typer.Option("--for", help="For how long; at most 4h.")] = "1h",
    url: Url = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """In an emergency: any second person, not only an approver, may approve it. That opens an incident."""
    body = {"role": role, "seconds": parse_duration(duration), "reason": reason, "break_glass": True}
    with opened(None, url) as transport:
        grant = transport.perform("request_access", body=body)
    report(as_json, grant, f"asked: let a second person run vallum access approve {grant['id']}")


@command(app, "list", performs=("list_own_grants", "list_grants"), example="vallum access list --all --state waiting")
def list_grants(
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's, not only yours.")] = False,
    state: Annotated[str | None, typer.Option("--state", help="waiting, active, expired, denied, revoked, …")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List requests and grants, newest first."""
    with opened(data, url, config) as transport:
        if everybody or data is not None or config is not None:
            found = transport.perform("list_grants", query={} if state is None else {"state": state})
        else:
            found = [g for g in transport.perform("list_own_grants") if state in (None, g["state"])]
    if as_json:
        print_json(found)
        return
    print_table(("ID", "WHO", "ROLE", "ON", "STATE", "UNTIL", "REASON"), [_row(grant) for grant in found])


@command(app, "show", performs=("read_grant",), example="vallum access show grt_01J…")
def show(grant_id: GrantId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show a request, and what the role would add to what its asker may do anyway."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_grant", path={"id": grant_id})
    if as_json:
        print_json(found)
        return
    grant = {name: value for name, value in found["grant"].items() if value not in (None, "")}
    print_record({**grant, "standing_roles": " ".join(found["standing_roles"])})
    say(f"\nwith it, {grant['requester']} may also:")
    for action in found["gains"]:
        print(action)


@command(app, "approve", performs=("approve_grant",), example='vallum access approve grt_01J… --note "go ahead"')
def approve(grant_id: GrantId, note: Note = "", url: Url = None, as_json: AsJson = False) -> None:
    """Give somebody what they asked for. Wants a fresh second factor: vallum step-up."""
    with opened(None, url) as transport:
        grant = transport.perform("approve_grant", path={"id": grant_id}, body={"note": note})
    report(as_json, grant, f"{grant['requester']} is {grant['role']} until {_time(grant['expires_at_seconds'])}")


@command(app, "deny", performs=("deny_grant",), example='vallum access deny grt_01J… --note "the role auditor will do"')
def deny(grant_id: GrantId, note: Note = "", url: Url = None, as_json: AsJson = False) -> None:
    """Refuse what somebody asked for."""
    with opened(None, url) as transport:
        grant = transport.perform("deny_grant", path={"id": grant_id}, body={"note": note})
    report(as_json, grant, f"denied {grant['id']} of {grant['requester']}")


@command(app, "withdraw", performs=("end_own_grant",), example="vallum access withdraw grt_01J…")
def withdraw(grant_id: GrantId, url: Url = None, as_json: AsJson = False) -> None:
    """Withdraw your request, or give back what you were given before its time is over."""
    with opened(None, url) as transport:
        grant = transport.perform("end_own_grant", path={"id": grant_id})
    report(as_json, grant, f"{grant['id']} is {grant['state']}")


@command(app, "revoke", performs=("revoke_grant",), example="vallum access revoke grt_01J…")
def revoke(
    grant_id: GrantId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """End somebody's grant now; their next request is without it."""
    with opened(data, url, config) as transport:
        grant = transport.perform("revoke_grant", path={"id": grant_id})
    report(as_json, grant, f"revoked {grant['id']} of {grant['requester']}")
    if not as_json and grant["break_glass"]:
        say("its incident stays open until somebody closes it")


def _row(grant: dict[str, Any]) -> tuple[str, ...]:
    state = grant["state"] + (" (glass broken)" if grant["break_glass"] else "")
    return (grant["id"], grant["requester"], grant["role"], grant["asset"] or "everything", state,
            _time(grant["expires_at_seconds"]), grant["reason"])  # fmt: skip


def _time(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
