"""`vallum ledger hold`: what was asked and answered, kept past its time and against erasures."""

from typing import Annotated

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_table, report
from vallum.cli.registry import command, group
from vallum.cli.transport import opened

__all__ = ["app"]

app = group("Legal hold on exchanges: what was asked and answered is neither erased nor expires.")


@command(
    app, "set", performs=("hold_exchanges",),
    example='vallum ledger hold set --subject person:per_01J… --reason "litigation 2026/4 asks for it"',
)  # fmt: skip
def set_hold(
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")],
    subject: Annotated[
        str, typer.Option("--subject", help="Whose: application:app_… or person:per_…; everybody's without.")
    ] = "",
    since: Annotated[str, typer.Option("--since", help="Of exchanges from this day or time (UTC) on.")] = "",
    until: Annotated[str, typer.Option("--until", help="Of exchanges before this day or time (UTC).")] = "",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put exchanges under legal hold: those of one subject, of a span of time, or all."""
    body = {"reason": reason, "subject": subject, "since": since, "until": until}
    with opened(data, url, config) as transport:
        made = transport.perform("hold_exchanges", body=body)
    report(as_json, made, f"{made['id']}: {_whose(made)} under legal hold")


@command(app, "list", performs=("list_exchange_holds",), example="vallum ledger hold list")
def list_holds(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List legal holds on exchanges, the newest first, those that are over included."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_exchange_holds")
    if as_json:
        print_json(found)
        return
    rows = [
        (h["id"], h["subject"] or "everybody", h["since"][:19], h["until"][:19], h["held_by"], h["held_at"][:19],
         (h["ended_at"] or "")[:19], h["reason"])
        for h in found
    ]  # fmt: skip
    print_table(("HOLD", "WHOSE", "SINCE", "UNTIL", "SET BY", "SET AT", "ENDED AT", "REASON"), rows)


@command(
    app, "end", performs=("end_exchange_hold",),
    example='vallum ledger hold end hld_01J… --reason "litigation 2026/4 was settled"',
)  # fmt: skip
def end_hold(
    hold: Annotated[str, typer.Argument(help="The hold's id, hld_….")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """End a legal hold on exchanges. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        made = transport.perform("end_exchange_hold", path={"hold": hold}, body={"reason": reason})
    report(as_json, made, f"{hold} is over: {_whose(made)} under it no more")


def _whose(hold: dict[str, str]) -> str:
    return f"exchanges of {hold['subject'] or 'everybody'}"
