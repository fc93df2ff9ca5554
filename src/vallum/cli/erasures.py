"""`vallum erasures`: a person goes from everything, with a preview, a second person's word, and a proof."""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import IntegrityError, Invalid

__all__ = ["app"]

app = group("Erasing a person from everything that is kept: rows, held rows, what was asked and answered.")

ErasureId = Annotated[str, typer.Argument(help="The erasure's id, ers_….")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")]
_POLL_SECONDS = 0.5
_MOST_IDENTIFIERS = 50


class ReportMismatch(IntegrityError):
    """A report of an erasure that is not the one that was signed, or that the log does not bear out."""

    code = "erasure_report_mismatch"


@command(
    app, "request", performs=("request_erasure",),
    example="vallum erasures request --reference DSR-17 < identifiers.txt",
)  # fmt: skip
def request(
    reference: Annotated[str, typer.Option("--reference", help="The request's own number; it is kept.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Ask for a person's erasure, and see what would go. Nothing goes before somebody else has approved it.

    What the person is known by (addresses, numbers, full names, person:per_… for an account) is read from standard
    input, one to a line; it is kept sealed until the erasure is done, and nowhere after. Wants a fresh second factor:
    vallum step-up.
    """
    if sys.stdin.isatty():
        say("what the person is known by, one to a line; an empty line ends it:")
    identifiers: list[str] = []
    for line in sys.stdin:
        if not line.strip() or len(identifiers) > _MOST_IDENTIFIERS:
            break
        identifiers.append(line.strip())
    if not identifiers:
        raise Invalid("standard input names nobody: one identifier to a line")
    with opened(data, url, config) as transport:
        found = transport.perform("request_erasure", body={"identifiers": identifiers, "reference": reference})
    if as_json:
        print_json(found)
        return
    _show_found(found)
    say(f"{found['id']} waits for somebody else: vallum erasures approve {found['id']} --reason …")


@command(app, "list", performs=("list_erasures",), example="vallum erasures list")
def list_erasures(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List erasures, the newest first."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_erasures")
    if as_json:
        print_json(found)
        return
    rows = [
        (e["id"], e["reference"], e["state"], sum(s["count"] for s in e["steps"]), e["requested_at"][:19], e["problem"])
        for e in found
    ]
    print_table(("ERASURE", "REFERENCE", "STATE", "GONE", "ASKED AT", ""), rows)


@command(app, "show", performs=("read_erasure",), example="vallum erasures show ers_01J…")
def show(
    erasure: ErasureId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Show an erasure: what was found, what went with which entry, and what a legal hold keeps."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_erasure", path={"erasure": erasure})
    if as_json:
        print_json(found)
        return
    _show_found(found)
    _show_steps(found)


@command(
    app, "approve", performs=("approve_erasure", "read_erasure"),
    example='vallum erasures approve ers_01J… --reason "identity checked, nothing to keep"',
)  # fmt: skip
def approve(
    erasure: ErasureId,
    reason: Why,
    wait: Annotated[int, typer.Option("--wait", min=0, max=3600, help="Seconds to wait until it is done.")] = 60,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Approve an erasure that somebody else asked for: it is carried out from now on. Wants a fresh second factor."""
    path = {"erasure": erasure}
    with opened(data, url, config) as transport:
        found = transport.perform("approve_erasure", path=path, body={"reason": reason})
        until = time.monotonic() + wait
        while found["state"] == "approved" and not found["problem"] and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            found = transport.perform("read_erasure", path=path)
    if as_json:
        print_json(found)
        return
    _show_steps(found)
    say(f"{erasure} is {found['state']}{': ' + found['problem'] if found['problem'] else ''}")


@command(
    app, "cancel", performs=("cancel_erasure",),
    example='vallum erasures cancel ers_01J… --reason "the letter was not hers"',
)  # fmt: skip
def cancel(
    erasure: ErasureId,
    reason: Why, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let a request go before anybody approved it."""
    with opened(data, url, config) as transport:
        found = transport.perform("cancel_erasure", path={"erasure": erasure}, body={"reason": reason})
    report(as_json, found, f"{erasure} is cancelled")


@command(
    app, "readmit", performs=("readmit_erased_subject", "readmit_to_data_set"),
    example='vallum erasures readmit ers_01J… --reason "came back as a customer, consent of 3 March"',
)  # fmt: skip
def readmit(
    erasure: ErasureId,
    reason: Why,
    dataset: Annotated[
        str, typer.Option("--data-set", help="Of an erasure from one data set (era_…): which one.")
    ] = "",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let intake take somebody in again who was erased and gave their consent anew; what was erased stays erased.

    By another data steward than who asked for the erasure. Wants a fresh second factor: vallum step-up.
    """
    body = {"reason": reason}
    with opened(data, url, config) as transport:
        if dataset:
            transport.perform("readmit_to_data_set", path={"name": dataset, "erasure": erasure}, body=body)
        else:
            transport.perform("readmit_erased_subject", path={"erasure": erasure}, body=body)
    report(as_json, {"erasure": erasure, "kept_out": False}, f"{erasure}: who was erased may come back")


@command(
    app, "report", performs=("read_erasure_report",),
    example="vallum erasures report ers_01J… --out report.json --envelope report.dsse.json",
)  # fmt: skip
def fetch_report(
    erasure: ErasureId,
    out: Annotated[Path, typer.Option("--out", help="Write the report here, byte for byte as signed.")],
    envelope: Annotated[Path, typer.Option("--envelope", help="Write the signature here: DSSE, over its SHA-256.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write the signed report of an erasure that is done, for vallum erasures verify."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_erasure_report", path={"erasure": erasure})
    for file, text in ((out, found["report"]), (envelope, found["envelope"])):
        try:
            file.write_text(text)
        except OSError as e:
            raise Invalid(f"{file} cannot be written: {e.strerror}") from e
    report(as_json, {"report": str(out), "envelope": str(envelope)}, f"{out} and {envelope}")


@command(
    app, "verify", local="holds files to each other, without a server to trust",
    example="vallum erasures verify report.json --envelope report.dsse.json --public-key vallum=key.pem",
)  # fmt: skip
def verify(
    report_file: Annotated[Path, typer.Argument(help="The report.")],
    envelope: Annotated[Path, typer.Option("--envelope", help="Its signature.")],
    public_key: Annotated[
        str, typer.Option("--public-key", help="Who signs: KEY-ID=FILE (PEM), as vallum models signing-keys shows.")
    ],
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="An exported log that must bear every step out.")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Verify a report offline: its signature, and with --ledger that each step is in the log. Exit 8 when not."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from vallum.data.subjects import ERASURE_REPORT
    from vallum.models.attestations import verify_envelope

    name, equals, file = public_key.partition("=")
    if not equals:
        raise typer.BadParameter("--public-key: write KEY-ID=FILE")
    try:
        key: Any = load_pem_public_key(_read(Path(file)))
    except ValueError as e:
        raise Invalid(f"{file} holds no public key (PEM)") from e
    raw = _read(report_file)
    statement = verify_envelope(_read(envelope), {name: key})
    digest = hashlib.sha256(raw).hexdigest()
    if statement.predicate_type != ERASURE_REPORT:
        raise ReportMismatch(f"{envelope} is about something else: {statement.predicate_type}")
    if not any(subject.digest.get("sha256") == digest for subject in statement.subjects):
        raise ReportMismatch(f"{report_file} is not the report that was signed")
    told = json.loads(raw)
    borne_out = _borne_out(told, ledger) if ledger is not None else 0
    said = {"verified": True, "erasure": told["erasure"], "steps": len(told["steps"]), "in_the_log": borne_out}
    text = f"verified: {told['erasure']} ({told['reference']}), {len(told['steps'])} steps"
    report(as_json, said, text + (f", all of them in {ledger}" if ledger is not None else ""))


def _borne_out(told: dict[str, Any], ledger: Path) -> int:
    """How many steps the log has, which is all of them. Raises ReportMismatch, IntegrityError."""
    from vallum.kernel.ledger.verify import verify_export

    with ledger.open("rb") as lines:
        verify_export(lines, None, None, None)
    wanted = {step["entry_id"]: step for step in told["steps"]}
    with ledger.open("rb") as lines:
        for line in lines:
            entry = json.loads(line)
            context = entry.get("context", {})
            if context.get("erasure") == told["erasure"] and entry.get("outcome") == "ok":
                wanted.pop(entry.get("entry_id"), None)
    if wanted:
        raise ReportMismatch(f"{ledger} does not have {', '.join(sorted(wanted))}")
    return len(told["steps"])


def _show_found(found: dict[str, Any]) -> None:
    hidden = ("found", "steps", "held", "fingerprints")
    print_record({name: value for name, value in found.items() if name not in hidden and value not in ("", None, [])})
    rows = [
        (one["place"], one["kind"], one["count"], ", ".join(f"{name} ({n})" for name, n in _columns(one).items()),
         "legal hold" if one["held"] else "", ", ".join(one["made_from_it"]))
        for one in found["found"]
    ]  # fmt: skip
    print_table(("PLACE", "WHAT", "COUNT", "FOUND IN", "HELD", "MADE FROM IT"), rows)
    if any(one["treated"] for one in found["found"]):
        say("unsearchable: what lies there tells nobody; rows of theirs may stay that no other column tells")


def _columns(one: dict[str, Any]) -> dict[str, Any]:
    """What it was found by; of what cannot be looked through, how it lies."""
    shown: dict[str, Any] = one["treated"] or one["columns"]
    return shown


def _show_steps(found: dict[str, Any]) -> None:
    rows = [(s["at"][:19], s["place"], s["kind"], s["count"], s["entry_id"]) for s in found["steps"]]
    print_table(("AT", "PLACE", "GONE", "COUNT", "ENTRY"), rows)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
