"""`vallum data`, where it asks the catalogue: intake, versions, rows, quarantine, legal hold, erasure."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.data import app
from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Conflict, Invalid

__all__ = ["DataSetName", "Version", "app", "version_path"]

_FAILED = 1  # the version is there, and failed its gates
_MAX_CONTRACT_BYTES = 1 << 20

quarantine = group("Rows that are held: why, what they are, and what becomes of them.")
app.add_typer(quarantine, name="quarantine")
hold = group("Legal hold: nothing of a data set is erased, destroyed or expires.")
app.add_typer(hold, name="hold")

DataSetName = Annotated[str, typer.Argument(help="The data set's name.")]
Version = Annotated[str, typer.Argument(help="The version: NAME/NUMBER.")]
Case = Annotated[str, typer.Argument(help="The case's id, qcs_….")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")]
Purpose = Annotated[str, typer.Option("--purpose", help="What for.")]


@command(
    app, "create", performs=("create_data_set",),
    example='vallum data create orders --description "what was ordered" --purpose "demand forecast"',
)  # fmt: skip
def create(
    name: DataSetName,
    owner: Annotated[str, typer.Option("--owner", help="Who answers for it; you, without.")] = "",
    classification: Annotated[
        str, typer.Option("--classification", help="public, internal, confidential or restricted; at least.")
    ] = "internal",
    description: Annotated[str, typer.Option("--description", help="What is in it.")] = "",
    purpose: Purpose = "",
    licence: Annotated[str, typer.Option("--licence", help="Under which it may be used: an SPDX URL, best.")] = "",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Create a data set: a name that versions are taken in under."""
    body = {"name": name, "owner": owner, "classification": classification, "description": description,
            "purpose": purpose, "licence": licence}  # fmt: skip
    with opened(data, url, config) as transport:
        made = transport.perform("create_data_set", body=body)
    report(as_json, made, f"{name} is there; take a version in: vallum data intake SOURCE --dataset {name}")


@command(
    app, "intake",
    performs=("create_data_set", "begin_data_intake", "read_data_intake", "send_data_source", "complete_data_intake"),
    example="vallum data intake orders.parquet --contract orders.odcs.yaml --dataset orders",
)  # fmt: skip
def intake(
    source: Annotated[
        str, typer.Argument(help="A .csv, .tsv, .jsonl, .ndjson (also .gz), .parquet, .npy, sql:TABLE, or a folder.")
    ],
    contract: Annotated[Path, typer.Option("--contract", help="The contract (ODCS 3.1).")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Which data set, made when it is not there; the source's name.")
    ] = None,
    purpose: Purpose = "",
    database: Annotated[
        Path | None, typer.Option("--database", help="For sql:TABLE, a file that holds the database's URL.")
    ] = None,
    parent: Annotated[
        list[str] | None,
        typer.Option("--parent", help="TABLE=VERSION: the contract's table, a governed NAME[/NUMBER]; several times."),
    ] = None,
    evaluation: Annotated[
        str, typer.Option("--evaluation", help="A governed NAME[/NUMBER] of which no row may stand in the source.")
    ] = "",
    resume: Annotated[
        str | None, typer.Option("--resume", help="Go on with this intake: what arrived is not sent again.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a source in as a governed version: profiled, classified, minimised, gated, encrypted, with a signed report.

    Rows that fail, or may be poisoned, are held in quarantine. Exit 1 when the version failed its gates: nobody reads
    it, and its report says why.
    """
    name = dataset or _name_of(source)
    with _local_source(source, database) as file, opened(data, url, config) as transport:
        if resume is not None:
            made = _completed(transport, name, resume)
        else:
            with suppress(Conflict):
                transport.perform("create_data_set", body={"name": name})
            against = {"parents": _parents(parent or ()), "evaluation": evaluation}
            made = _sent(transport, name, file, contract, purpose, as_json, against)
    held = f"; {made['quarantined']} rows are held: vallum data quarantine list" if made["quarantined"] else ""
    said = f"{name}/{made['number']} is {made['state']}: {made['rows']} rows, class {made['classification']}{held}"
    report(as_json, made, said)
    if made["state"] == "failed":
        say(f"why: vallum data report {name}/{made['number']}")
        raise typer.Exit(_FAILED)


@command(app, "list", performs=("list_data_sets", "list_data_versions"), example="vallum data list orders")
def list_data(
    name: Annotated[str | None, typer.Argument(help="A data set, to list its versions.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List data sets, or one's versions."""
    with opened(data, url, config) as transport:
        if name is None:
            found = transport.perform("list_data_sets")
        else:
            found = transport.perform("list_data_versions", path={"name": name})
    if as_json:
        print_json(found)
    elif name is None:
        rows = [(d["name"], d["classification"], d["owner"], d["purpose"], d["hold"]) for d in found]
        print_table(("NAME", "CLASS", "OWNER", "PURPOSE", "LEGAL HOLD"), rows)
    else:
        listed = [
            (f"{v['dataset']}/{v['number']}", v["state"], v["classification"], v["rows"], v["quarantined"],
             v["approved_by"], v["purpose"], v["expires_at"][:10], v["created_by"])
            for v in found
        ]  # fmt: skip
        print_table(("VERSION", "STATE", "CLASS", "ROWS", "HELD", "APPROVED BY", "PURPOSE", "UNTIL", "BY"), listed)


@command(
    app, "show", performs=("read_data_set", "read_data_version", "list_data_uses"), example="vallum data show orders/3"
)
def show(
    what: Annotated[str, typer.Argument(help="A data set's NAME, or a version's NAME/NUMBER.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show a data set with what was made from it, or a version with its columns, their classes and how they lie."""
    with opened(data, url, config) as transport:
        if "/" in what:
            found = transport.perform("read_data_version", path=version_path(what))
        else:
            found = transport.perform("read_data_set", path={"name": what})
            found["uses"] = transport.perform("list_data_uses", path={"name": what})
    if as_json:
        print_json(found)
        return
    print_record({k: v for k, v in found.items() if k not in ("columns", "uses") and v not in ("", None, [])})
    if found.get("columns"):
        rows = [
            (c["name"], c["type"], c["classification"], c["field"], c.get("treatment", ""), ", ".join(c["kinds"]),
             f"{c['missed_at_most']:.2%}")
            for c in found["columns"]
        ]  # fmt: skip
        print_table(("COLUMN", "TYPE", "CLASS", "LIES", "TREATED", "HOLDS", "MAY HAVE MISSED"), rows)
    if found.get("uses"):
        used = [(f"{u['dataset']}/{u['number']}", u["kind"], u["used_by"], u["at"][:19]) for u in found["uses"]]
        print_table(("VERSION", "MADE", "NAME", "AT"), used)


@command(
    app, "report", performs=("read_data_report",), example="vallum data report orders/3 --envelope orders-3.dsse.json"
)
def show_report(
    version: Version,
    envelope: Annotated[
        Path | None, typer.Option("--envelope", help="Write the signature here: DSSE, over the report's SHA-256.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What intake found: gates, classes, suspects, profile. With --json the report itself, byte for byte as signed."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_data_report", path=version_path(version))
    if envelope is not None:
        _write(envelope, found["envelope"].encode())
    if as_json:
        sys.stdout.write(found["report"])
        return
    told = json.loads(found["report"])
    rows = [("pass" if c["passed"] else "FAIL", c["check"], c["reason"]) for c in told["gates"]["checks"]]
    print_table(("", "CHECK", "FOUND"), rows)
    for one in told.get("treatments", ()):
        say(f"{one['column']}: {one['treatment']}, as {one['by']} asks; {one['classification_found']} before")
    for one in told["failed_at_first"]:
        say(f"before rows were held: {one['check']}: {one['reason']}")


@command(
    app,
    "read",
    performs=("read_data_rows",),
    example="vallum data read orders/3 --purpose 'demand forecast' --out o.parquet",
)
def read(
    version: Version,
    out: Annotated[Path, typer.Option("--out", help="A new .parquet, .csv, .jsonl or .arrows file.")],
    purpose: Purpose = "",
    columns: Annotated[list[str] | None, typer.Option("--column", help="A column; several times.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Read a version's rows, for use here. Personal data comes masked without the version's purpose and a decision."""
    _fetch("read_data_rows", version, out, purpose, columns, data, url, config, as_json)


@command(
    app, "export", performs=("export_data_rows",),
    example="vallum data export orders/3 --purpose 'demand forecast' --out orders.csv",
)  # fmt: skip
def export(
    version: Version,
    out: Annotated[Path, typer.Option("--out", help="A new .parquet, .csv, .jsonl or .arrows file.")],
    purpose: Annotated[str, typer.Option("--purpose", help="What for; it is kept in the ledger.")],
    columns: Annotated[list[str] | None, typer.Option("--column", help="A column; several times.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a version's rows elsewhere: recorded with its purpose and size, and watched."""
    _fetch("export_data_rows", version, out, purpose, columns, data, url, config, as_json)


@command(
    app, "approve", performs=("approve_data_version",),
    example='vallum data approve orders/3 --reason "read its report and its quarantine"',
)  # fmt: skip
def approve(
    version: Version, reason: Why, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Vouch for a version that somebody else took in. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        made = transport.perform("approve_data_version", path=version_path(version), body={"reason": reason})
    report(as_json, made, f"{version} is approved")


@command(app, "use", performs=("record_data_use",), example="vallum data use orders/3 --by churn/7")
def use(
    version: Version,
    by: Annotated[str, typer.Option("--by", help="What was made from it: a model's NAME/NUMBER.")],
    kind: Annotated[str, typer.Option("--kind", help="model, run, release or index.")] = "model",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that something was made from a version: what is found wrong later leads to it."""
    with opened(data, url, config) as transport:
        made = transport.perform("record_data_use", path=version_path(version), body={"kind": kind, "used_by": by})
    report(as_json, made, f"{by} was made from {version}")


@command(
    app, "lineage", performs=("read_data_lineage", "read_quarantine_lineage"), example="vallum data lineage orders/3"
)
def lineage(
    what: Annotated[str, typer.Argument(help="A version, NAME/NUMBER, or a quarantine case, qcs_….")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what was made from a version, or from rows that are held now: runs, models, releases, where they serve."""
    with opened(data, url, config) as transport:
        if "/" in what:
            found = transport.perform("read_data_lineage", path=version_path(what))
        else:
            found = transport.perform("read_quarantine_lineage", path={"case": what})
    if as_json:
        print_json(found)
        return
    rows = [(s["kind"], s["name"], s["state"], s["made_from"], ", ".join(s["runs_in"])) for s in found]
    print_table(("MADE", "NAME", "STATE", "FROM", "SERVES IN"), rows)


@command(
    app, "provenance", performs=("read_data_lineage_event", "read_data_card", "read_data_contract"),
    example="vallum data provenance orders/3 --croissant orders-3.json",
)  # fmt: skip
def provenance(
    version: Version,
    openlineage: Annotated[Path | None, typer.Option("--openlineage", help="Write the run event (2-0-2) here.")] = None,
    croissant: Annotated[Path | None, typer.Option("--croissant", help="Write the Croissant 1.1 card here.")] = None,
    contract: Annotated[Path | None, typer.Option("--contract", help="Write the contract here.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write how a version came to be, in formats that others read."""
    wanted = {"read_data_lineage_event": openlineage, "read_data_card": croissant, "read_data_contract": contract}
    written = {name: out for name, out in wanted.items() if out is not None}
    if not written:
        raise Invalid("name at least one of --openlineage, --croissant and --contract")
    with opened(data, url, config) as transport:
        for name, out in written.items():
            _write(out, b"".join(transport.perform(name, path=version_path(version))))
    report(as_json, {"written": [str(out) for out in written.values()]}, f"{version}: {len(written)} files")


@command(quarantine, "list", performs=("list_quarantine",), example="vallum data quarantine list --dataset orders")
def list_cases(
    dataset: Annotated[str | None, typer.Option("--dataset", help="Of this data set alone.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="open, released or destroyed.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List cases: how many rows are held, why, and which models learnt from rows like them."""
    query = {k: v for k, v in {"dataset": dataset, "state": state}.items() if v is not None}
    with opened(data, url, config) as transport:
        found = transport.perform("list_quarantine", query=query)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            c["id"],
            f"{c['dataset']}/{c['number']}",
            c["state"],
            c["rows"],
            _kinds(c["reasons"]),
            ", ".join(c["affected"]),
        )
        for c in found
    ]
    print_table(("CASE", "VERSION", "STATE", "ROWS", "WHY", "MODELS THAT LEARNT FROM THEM"), rows)


@command(
    quarantine, "show", performs=("read_quarantine_case", "read_quarantined_rows"),
    example="vallum data quarantine show qcs_01J… --values",
)  # fmt: skip
def show_case(
    case: Case,
    values: Annotated[bool, typer.Option("--values", help="The rows themselves; for a steward's eye.")] = False,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show a case with the reasons of each row. Values want a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_quarantine_case", path={"case": case})
        rows = transport.perform("read_quarantined_rows", path={"case": case}) if values else []
    if as_json:
        print_json({**found, "held": rows} if values else found)
        return
    print_record({k: v for k, v in found.items() if k != "reasons" and v not in ("", None, [])})
    reasons = [(r["row"], r["kind"], f"{r['score']:.3f}", r["reason"]) for r in found["reasons"][:100]]
    print_table(("ROW", "KIND", "SCORE", "WHY"), reasons)
    if rows:
        names = list(rows[0]["values"])
        print_table(("ROW", *names), [(r["row"], *(r["values"][name] for name in names)) for r in rows])


@command(
    quarantine, "release", performs=("release_quarantine",),
    example='vallum data quarantine release qcs_01J… --reason "the ward confirmed the credit"',
)  # fmt: skip
def release_case(
    case: Case, reason: Why, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Let somebody else's held rows out, as a new version. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        made = transport.perform("release_quarantine", path={"case": case}, body={"reason": reason})
    report(as_json, made, f"the rows are in {made['dataset']}/{made['number']}")


@command(
    quarantine, "destroy", performs=("destroy_quarantine",),
    example='vallum data quarantine destroy qcs_01J… --reason "poisoned, and from nobody we know"',
)  # fmt: skip
def destroy_case(
    case: Case, reason: Why, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Destroy held rows, with their key. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        made = transport.perform("destroy_quarantine", path={"case": case}, body={"reason": reason})
    report(as_json, made, f"{case} is destroyed")


@command(
    hold, "set", performs=("hold_data_set",),
    example='vallum data hold set orders --reason "litigation 2026/4 asks for it"',
)  # fmt: skip
def set_hold(
    name: DataSetName, reason: Why, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Put a data set under legal hold."""
    with opened(data, url, config) as transport:
        made = transport.perform("hold_data_set", path={"name": name}, body={"reason": reason})
    report(as_json, made, f"{name} is under legal hold")


@command(hold, "end", performs=("release_data_hold",), example="vallum data hold end orders")
def end_hold(
    name: DataSetName, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """End a data set's legal hold. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        made = transport.perform("release_data_hold", path={"name": name})
    report(as_json, made, f"{name} is under no legal hold any more")


@command(app, "retention", performs=("list_data_retention",), example="vallum data retention --within 90")
def retention(
    within: Annotated[int, typer.Option("--within", min=0, max=3650, help="Also what is over in so many days.")] = 30,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List versions whose time is over or soon will be: what goes by itself, and what is held or in use."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_data_retention", query={"within_days": within})
    if as_json:
        print_json(found)
        return
    rows = [
        (f"{d['dataset']}/{d['number']}", d["classification"], d["rows"], d["expires_at"][:10], d["state"],
         d["hold"] or ", ".join(d["used_by"]))
        for d in found
    ]  # fmt: skip
    print_table(("VERSION", "CLASS", "ROWS", "UNTIL", "STATE", "WHY IT STAYS"), rows)


@command(
    app, "retire", performs=("retire_data_version",),
    example='vallum data retire orders/3 --reason "churn/7 is withdrawn, nothing needs its rows"',
)  # fmt: skip
def retire(
    version: Version, reason: Why, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Destroy a version whose time is over and that something was made from. Wants a fresh second factor."""
    with opened(data, url, config) as transport:
        gone = transport.perform("retire_data_version", path=version_path(version), body={"reason": reason})
    made = f"; made from it: {', '.join(gone['used_by'])}" if gone["used_by"] else ""
    report(as_json, gone, f"{version} can be read by nobody any more{made}")


@command(
    app, "erase", performs=("erase_data_subject",),
    example="vallum data erase orders --column email --reference DSR-17 < value.txt",
)  # fmt: skip
def erase(
    name: DataSetName,
    column: Annotated[str, typer.Option("--column", help="The column that says whose row it is.")],
    reference: Annotated[str, typer.Option("--reference", help="The request's own number; it is kept.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Erase a person from a data set. The value is read from standard input, and is kept nowhere.

    Every version that holds it is made anew without it, and the former's key destroyed; so it is with held rows.
    Wants a fresh second factor: vallum step-up.
    """
    from vallum.cli.output import read_secret_line

    body = {"column": column, "value": read_secret_line("Value: "), "reference": reference}
    with opened(data, url, config) as transport:
        done = transport.perform("erase_data_subject", path={"name": name}, body=body)
    erased = ", ".join(f"{name}/{n}" for n in done["erased"]) or "no version"
    gone = f"{done['rows']} rows and {done['tokens']} tokens are gone; {erased} can be read by nobody any more"
    report(as_json, done, gone)
    if done["not_searched"]:
        say(f"not looked through, for what lies there tells nobody: {', '.join(done['not_searched'])}")


@command(app, "erasures", performs=("list_data_erasures",), example="vallum data erasures orders")
def list_erasures(
    name: DataSetName, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """List erasures, with what was destroyed and what took its place."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_data_erasures", path={"name": name})
    if as_json:
        print_json(found)
        return
    rows = [(e["at"][:19], e["reference"], e["column"], e["rows"], _all(e["erased"]), _all(e["made"])) for e in found]
    print_table(("AT", "REFERENCE", "COLUMN", "ROWS", "ERASED", "MADE"), rows)


@command(app, "reveal", performs=("reveal_data_token",), example="vallum data reveal visits --column iban < token.txt")
def reveal(
    name: DataSetName,
    column: Annotated[str, typer.Option("--column", help="The column that the token is of.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the value behind a token that intake put in its place, read from standard input.

    Wants a fresh second factor: vallum step-up.
    """
    from vallum.cli.output import read_secret_line

    body = {"column": column, "token": read_secret_line("Token: ")}
    with opened(data, url, config) as transport:
        found = transport.perform("reveal_data_token", path={"name": name}, body=body)
    if as_json:
        print_json(found)
    else:
        sys.stdout.write(found["value"] + "\n")


@command(app, "abandon", performs=("abandon_data_intake",), example="vallum data abandon orders int_01J…")
def abandon(
    name: DataSetName,
    intake_id: Annotated[str, typer.Argument(help="The intake's id, int_….")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let an intake of yours vanish now, and not tomorrow."""
    with opened(data, url, config) as transport:
        transport.perform("abandon_data_intake", path={"name": name, "intake": intake_id})
    report(as_json, {"id": intake_id, "abandoned": True}, f"{intake_id} is gone")


@command(app, "egress", performs=("list_data_egress",), example="vallum data egress")
def egress(
    subject: Annotated[str | None, typer.Option("--subject", help="person:per_… or service:svc_….")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show how much of data sets was read and exported, by whom and on which day."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_data_egress", query={} if subject is None else {"subject": subject})
    if as_json:
        print_json(found)
        return
    rows = [(e["day"], e["subject"], e["dataset"], e["rows"], e["size"], e["exports"]) for e in found]
    print_table(("DAY", "SUBJECT", "DATA SET", "ROWS", "BYTES", "TIMES"), rows)


def _parents(said: Sequence[str]) -> dict[str, str]:
    """`customers=customers/3`; the version alone where the contract calls its table like the data set."""
    pairs = [one.partition("=") for one in said]
    return {table if equals else table.partition("/")[0]: version or table for table, equals, version in pairs}


def _sent(
    transport: Any, name: str, file: Path, contract: Path, purpose: str, as_json: bool, against: dict[str, Any]
) -> dict[str, Any]:
    from vallum.client.data import take_in

    def begun(made: dict[str, Any]) -> None:
        say(f"{name} is being taken in as {made['id']}; once sent, after an interruption: --resume {made['id']}")

    with _progress(file, as_json) as progress:
        return take_in(
            transport, name, file, _contract(contract), purpose=purpose, begun=begun, progress=progress, **against,
            sent=lambda: say("sent; it is profiled, classified, gated and sealed now"),
        )  # fmt: skip


def _completed(transport: Any, name: str, intake_id: str) -> dict[str, Any]:
    at = {"name": name, "intake": intake_id}
    found = transport.perform("read_data_intake", path=at)
    say(f"{intake_id} is {found['state']}{': ' + found['step'] if found['step'] else ''}")
    made: dict[str, Any] = transport.perform("complete_data_intake", path=at)
    return made


def _fetch(
    route: str, version: str, out: Path, purpose: str, columns: list[str] | None, data: Any, url: Any, config: Any,
    as_json: bool,
) -> None:  # fmt: skip
    if out.exists():
        raise Invalid(f"{out} is there already: name a file that is not")
    query = {k: v for k, v in {"purpose": purpose, "columns": ",".join(columns or ())}.items() if v}
    with opened(data, url, config) as transport:
        rows = _save(out, transport.perform(route, path=version_path(version), query=query))
    report(as_json, {"rows": rows, "out": str(out)}, f"{out}: {rows} rows of {version}")


def _save(out: Path, chunks: Iterator[bytes]) -> int:
    """Only the owner may read it. A text that a spreadsheet would run gets an apostrophe in front in CSV (CWE-1236)."""
    import os

    from vallum.client.data import RowStream

    frame = RowStream(chunks).polars()
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            match out.suffix:
                case ".parquet":
                    frame.write_parquet(file)
                case ".arrows" | ".arrow":
                    frame.write_ipc_stream(file)
                case ".jsonl" | ".ndjson":
                    frame.write_ndjson(file)
                case ".csv":
                    _inert(frame).write_csv(file)
                case _:
                    out.unlink()
                    raise Invalid(f"{out}: name it .parquet, .csv, .jsonl or .arrows")
    except OSError as e:
        raise Invalid(f"{out} cannot be written: {e.strerror}") from e
    return int(frame.height)


def _inert(frame: Any) -> Any:
    import polars as pl

    texts = pl.col(pl.String)
    return frame.with_columns(
        pl.when(texts.str.contains(r"^[=+\-@\t\r]")).then(pl.lit("'") + texts).otherwise(texts).name.keep()
    )


@contextmanager
def _local_source(source: str, database: Path | None) -> Iterator[Path]:
    """What is no file of a table is made one here, in a private folder: a table of a database, documents, vectors."""
    table = source.removeprefix("sql:")
    if table == source:
        file = Path(source)
        if file.is_dir() or file.suffix == ".npy":
            with _as_parquet(file) as parquet:
                yield parquet
        elif not file.is_file():
            raise Invalid(f"{source}: there is no such file")
        else:
            yield file
        return
    if database is None:
        raise Invalid("--database: name a file that holds the database's URL")
    from vallum.data.readers import Staging, read_sql

    with Staging() as staging:
        made = read_sql(_contract(database).decode(errors="replace").strip(), table, staging)
        file = staging.place() / f"{_name_of(source)}.parquet"
        made.frame.select([column.name for column in made.columns]).sink_parquet(file)
        yield file


@contextmanager
def _as_parquet(source: Path) -> Iterator[Path]:
    from vallum.data.readers import Staging, documents_as_parquet, read_parquet, vectors_as_parquet

    with Staging() as staging:
        if source.suffix == ".npy":
            yield vectors_as_parquet(source, staging)
        elif any(source.glob("*.parquet")):
            file = staging.place() / f"{_name_of(source.resolve().name)}.parquet"
            read_parquet(source).frame.sink_parquet(file)
            yield file
        else:
            yield documents_as_parquet(source.resolve(), staging)


@contextmanager
def _progress(file: Path, as_json: bool) -> Iterator[Callable[[int], None]]:
    if as_json or not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=file.stat().st_size)
        yield lambda size: shown.advance(task, size)


def _name_of(source: str) -> str:
    stem = Path(source.removeprefix("sql:")).name.partition(".")[0].lower()
    return re.sub(r"[^a-z0-9._-]", "-", stem).lstrip("._-") or "data"


def version_path(text: str) -> dict[str, str]:
    name, slash, number = text.rpartition("/")
    if not slash or not number.isdigit():
        raise typer.BadParameter("name a version as NAME/NUMBER, as in orders/3")
    return {"name": name, "number": number}


def _kinds(reasons: list[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for one in reasons:
        what = one["reason"] if one["kind"] == "gate" else one["kind"]
        counts[what] = counts.get(what, 0) + 1
    return "; ".join(f"{what} ({count})" for what, count in counts.items())[:200]


def _all(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _contract(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_CONTRACT_BYTES:
            raise Invalid(f"{file} is larger than {_MAX_CONTRACT_BYTES} bytes")
        return file.read_bytes()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e


def _write(out: Path, raw: bytes) -> None:
    try:
        out.write_bytes(raw)
    except OSError as e:
        raise Invalid(f"{out} cannot be written: {e.strerror}") from e
