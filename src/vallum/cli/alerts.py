"""`vallum alerts`: what was unusual about accounts, and saying what it was."""

from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, report
from vallum.cli.registry import command, group
from vallum.cli.transport import opened

__all__ = ["app"]

app = group("Alerts: what was unusual about people's and services' accounts.")

AlertId = Annotated[str, typer.Argument(help="The alert's id, alr_….")]
Note = Annotated[str, typer.Option("--note", help="What you found.")]


@command(app, "list", performs=("list_alerts",), example="vallum alerts list --state open")
def list_alerts(
    state: Annotated[str | None, typer.Option("--state", help="open, acknowledged or closed.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="person:per_… or service:svc_….")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List alerts, open ones first."""
    query = {name: value for name, value in (("state", state), ("subject", subject)) if value is not None}
    with opened(data, url, config) as transport:
        found = transport.perform("list_alerts", query=query)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            a["id"],
            a["raised_at"][:19],
            a["subject"],
            " ".join(a["detectors"]),
            a["verdict"] or a["state"],
            a["explanation"],
        )
        for a in found
    ]
    print_table(("ID", "RAISED", "ABOUT", "DETECTORS", "STATE", "WHY"), rows)


@command(app, "show", performs=("read_alert",), example="vallum alerts show alr_01J…")
def show(alert_id: AlertId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show an alert: why, and the entry that it was raised for."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_alert", path={"id": alert_id})
    if as_json:
        print_json(found)
        return
    told = {name: value for name, value in found.items() if value not in (None, "")}
    print_record({**told, "detectors": " ".join(found["detectors"])})


@command(
    app, "acknowledge", performs=("acknowledge_alert",), example='vallum alerts acknowledge alr_01J… --note "asking"'
)
def acknowledge(
    alert_id: AlertId, note: Note = "", data: Data = None, url: Url = None, config: Config = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say that you look at it. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        alert = transport.perform("acknowledge_alert", path={"id": alert_id}, body={"note": note})
    report(as_json, alert, f"{alert_id} is {alert['state']}")


@command(
    app, "close", performs=("close_alert",),
    example='vallum alerts close alr_01J… --as false_alarm --note "a new backup script"',
)  # fmt: skip
def close(
    alert_id: AlertId,
    verdict: Annotated[str, typer.Option("--as", help="What it was: expected, false_alarm or incident.")],
    note: Note = "",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say what it was; it counts in the detector's tally. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        body = {"verdict": verdict, "note": note}
        alert = transport.perform("close_alert", path={"id": alert_id}, body=body)
    report(as_json, alert, f"{alert_id} is closed: {verdict}")


@command(app, "tally", performs=("tally_alerts",), example="vallum alerts tally")
def tally(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show each detector's budget (alerts per account in 60 active days), and what people said of its alerts."""
    with opened(data, url, config) as transport:
        found: list[dict[str, Any]] = transport.perform("tally_alerts")
    if as_json:
        print_json(found)
        return
    columns = ("detector", "budget", "raised", "open", "expected", "false_alarm", "incident")
    print_table(tuple(map(str.upper, columns)), [tuple(str(one[name]) for name in columns) for one in found])
