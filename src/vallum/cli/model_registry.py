"""`vallum models`, where it asks the registry: registering, uploading, reviewing, downloading."""

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.descriptions import attestations
from vallum.cli.models import app
from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

_QUARANTINED = 1  # the version is there, and waits for a review or was found harmful

keys = group("Keys that the platform signs versions with: which one signs, and whose signatures count no more.")
app.add_typer(keys, name="keys")

Model = Annotated[str, typer.Argument(help="The registered model's name.")]
Version = Annotated[str, typer.Argument(help="The version: NAME/NUMBER.")]
UploadId = Annotated[str, typer.Argument(help="The upload's id, upl_….")]


@command(
    app, "register", performs=("register_model",),
    example='vallum models register churn --risk-class limited --description "who will leave"',
)  # fmt: skip
def register(
    name: Model,
    owner: Annotated[str, typer.Option("--owner", help="Who answers for it; you, without.")] = "",
    classification: Annotated[
        str, typer.Option("--classification", help="public, internal, confidential or restricted.")
    ] = "internal",
    risk_class: Annotated[str, typer.Option("--risk-class", help="minimal, limited or high.")] = "limited",
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Register a model: a name that versions are uploaded under."""
    body = {"name": name, "owner": owner, "classification": classification, "risk_class": risk_class,
            "description": description}  # fmt: skip
    with opened(data, url, config) as transport:
        made = transport.perform("register_model", body=body)
    report(as_json, made, f"{name} is registered; upload a version: vallum models upload {name} FOLDER")


@command(
    app, "upload",
    performs=("begin_model_upload", "read_model_upload", "upload_model_file", "upload_model_part", "join_model_parts",
              "remove_model_file", "bring_model_signature", "complete_model_upload"),
    example="vallum models upload churn my-model --source runs/2026-11",
)  # fmt: skip
def upload(
    name: Model,
    path: Annotated[Path, typer.Argument(help="The model: a file, or a folder.")],
    source: Annotated[str, typer.Option("--source", help="Where it comes from: a repository, a training run.")] = "",
    signature: Annotated[
        Path | None, typer.Option("--signature", help="A signature (OMS 1.0) by a signer who is trusted there.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Go on with this upload: what arrived is not sent again.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Upload a model as a new version: it is scanned as one repository, signed, and available when it passes.

    Exit 1 when it is in quarantine: to be reviewed by somebody else, or found harmful.
    """
    from vallum.client.models import upload_model

    def begun(upload: dict[str, Any]) -> None:
        say(f"{name}/{upload['number']} is upload {upload['id']}; after an interruption: --resume {upload['id']}")

    with opened(data, url, config) as transport, _progress(path, as_json) as progress:
        version = upload_model(
            transport, name, path, source=source, signature=signature, resume=resume, begun=begun, progress=progress
        )
    said = f"{name}/{version['number']} is {version['state']}: the scanner says {version['verdict']}"
    report(as_json, version, said)
    if version["findings"] and not as_json:
        _print_findings(version["findings"])
    raise typer.Exit(0 if version["state"] == "available" else _QUARANTINED)


@command(app, "abandon", performs=("abandon_model_upload",), example="vallum models abandon churn upl_01J…")
def abandon(
    name: Model, upload_id: UploadId, data: Data = None, url: Url = None, config: Config = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let an upload of yours vanish now, and not tomorrow."""
    with opened(data, url, config) as transport:
        transport.perform("abandon_model_upload", path={"name": name, "upload": upload_id})
    report(as_json, {"id": upload_id, "abandoned": True}, f"{upload_id} is gone")


@command(
    app, "take-out", performs=("remove_model_file",), example="vallum models take-out churn upl_01J… old/notes.txt"
)
def take_out(
    name: Model,
    upload_id: UploadId,
    path: Annotated[str, typer.Argument(help="The file, by its path in the model.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a file out of an upload of yours that is not completed."""
    with opened(data, url, config) as transport:
        transport.perform("remove_model_file", path={"name": name, "upload": upload_id, "path": path})
    report(as_json, {"upload": upload_id, "path": path, "removed": True}, f"{path} is no part of {upload_id} any more")


@command(app, "list", performs=("list_registered_models", "list_model_versions"), example="vallum models list churn")
def list_models(
    name: Annotated[str | None, typer.Argument(help="A registered model, to list its versions.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List registered models, or one's versions."""
    with opened(data, url, config) as transport:
        if name is None:
            found = transport.perform("list_registered_models")
        else:
            found = transport.perform("list_model_versions", path={"name": name})
    if as_json:
        print_json(found)
    elif name is None:
        rows = [(m["name"], m["classification"], m["risk_class"], _led(m["aliases"]), m["owner"]) for m in found]
        print_table(("NAME", "CLASSIFICATION", "RISK", "ALIASES", "OWNER"), rows)
    else:
        _print_versions(found)


@command(app, "show", performs=("read_registered_model", "read_model_version"), example="vallum models show churn/3")
def show(
    what: Annotated[str, typer.Argument(help="A registered model's NAME, or a version's NAME/NUMBER.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show a registered model, or a version with its files and the scanner's findings."""
    with opened(data, url, config) as transport:
        if "/" in what:
            found = transport.perform("read_model_version", path=_version(what))
        else:
            found = transport.perform("read_registered_model", path={"name": what})
    if as_json:
        print_json(found)
        return
    told = {
        name: value for name, value in found.items() if name not in ("files", "findings") and value not in ("", None)
    }
    print_record({**told, "aliases": _led(found["aliases"])} if "aliases" in found else told)
    if found.get("files"):
        print_table(("FILE", "BYTES", "SHA-256"), [(f["path"], f["size"], f["sha256"]) for f in found["files"]])
    if found.get("findings"):
        _print_findings(found["findings"])


@command(
    app, "download", performs=("download_model_file", "list_model_signing_keys"),
    example="vallum models download churn/3 ./churn-3",
)  # fmt: skip
def download(
    version: Version,
    folder: Annotated[Path, typer.Argument(help="Where to; it must not be there yet.")],
    public_keys: Annotated[
        list[str] | None,
        typer.Option("--public-key", help="Whose signature counts, in place of the platform's: NAME=FILE (PEM)."),
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Download a version, verified: the folder is there only when every file is as it was signed."""
    from vallum.cli.models import trusted_keys
    from vallum.client.models import download_model
    from vallum.models.signing import TrustPolicy

    at = _version(version)
    trust = TrustPolicy(trusted_keys(public_keys)) if public_keys else None
    with opened(data, url, config) as transport, _progress(None, as_json) as progress:
        got = download_model(transport, at["name"], int(at["number"]), folder, trust=trust, progress=progress)
    report(as_json, got, f"{version} is in {folder}: {len(got['files'])} files, as {got['signer']} signed them")


@command(
    app, "signature", performs=("read_model_signature",), example="vallum models signature churn/3 --out churn-3.sig"
)
def signature(
    version: Version,
    out: Annotated[Path, typer.Option("--out", help="Where to write it.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a version's signature, for vallum models verify and model_signing."""
    with opened(data, url, config) as transport:
        raw = b"".join(transport.perform("read_model_signature", path=_version(version)))
    _write(out, raw)
    report(as_json, {"signature": str(out), "bytes": len(raw)}, f"{out}: the signature of {version}")


@command(keys, "list", performs=("list_model_signing_keys",), example="vallum models keys list")
def list_keys(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List the keys that the platform signs versions with: which one signs, which are retired or revoked."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_model_signing_keys")
    if as_json:
        print_json(found)
        return
    rows = [
        (k["signer"], k["state"], k["algorithm"], k["custody"], k["created_at"][:19],
         (k["revoked_at"] or k["retired_at"] or "")[:19], k["revoked_reason"])
        for k in found
    ]  # fmt: skip
    print_table(("SIGNER", "STATE", "ALGORITHM", "CUSTODY", "CREATED", "ENDED", "WHY"), rows)


@command(keys, "rotate", performs=("rotate_model_signing_key",), example="vallum models keys rotate")
def rotate_key(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Sign versions with a fresh key from now on; what former ones signed goes on verifying.

    Wants a fresh second factor: vallum step-up.
    """
    with opened(data, url, config) as transport:
        made = transport.perform("rotate_model_signing_key")
    report(as_json, made, f"{made['signer']} signs from now on ({made['algorithm']}, {made['custody']})")


@command(
    keys, "revoke", performs=("revoke_model_signing_key",),
    example='vallum models keys revoke 3 --since 2026-11-01T00:00:00Z --reason "the backup of that day was stolen"',
)  # fmt: skip
def revoke_key(
    number: Annotated[int, typer.Argument(help="The key: N of platform:N.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")],
    since: Annotated[
        str | None,
        typer.Option("--since", help="Spare what the ledger recorded before; without, nothing it signed counts."),
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Revoke a signing key, for ever: what it signed is not loaded or downloaded any more. Upload that anew.

    Wants a fresh second factor: vallum step-up.
    """
    with opened(data, url, config) as transport:
        body = {"reason": reason, "since": since}
        found = transport.perform("revoke_model_signing_key", path={"number": str(number)}, body=body)
    what = f"what the ledger recorded before {since} still counts" if since else "nothing that it signed counts"
    report(as_json, found, f"{found['signer']} is revoked: {what}")


@command(app, "signing-keys", performs=("list_model_signing_keys",), example="vallum models signing-keys")
def signing_keys(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Print the public keys (PEM) that the platform signs versions with, the newest first; no revoked ones."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_model_signing_keys")
    if as_json:
        print_json(found)
        return
    for key in (one for one in found if one["state"] != "revoked"):
        print(key["public_key"].rstrip())


@command(
    app, "describe", performs=("read_model_card", "read_model_bom", "read_model_dependencies"),
    example="vallum models describe churn/3 --card card.md --bom churn-3.cdx.json",
)  # fmt: skip
def describe(
    version: Version,
    card: Annotated[Path | None, typer.Option("--card", help="Write the model card here (Markdown).")] = None,
    bom: Annotated[Path | None, typer.Option("--bom", help="Write the bill of materials here (CycloneDX).")] = None,
    spec_version: Annotated[str, typer.Option("--spec-version", help="Of CycloneDX: 1.6 or 1.7.")] = "1.6",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What a version's card still lacks for its risk class, and known weaknesses of what it needs.

    The author's words are its README.md: complete it, and upload a new version.
    """
    with opened(data, url, config) as transport:
        told = transport.perform("read_model_card", path=_version(version))
        needs = transport.perform("read_model_dependencies", path=_version(version))
        if bom is not None:
            query = {"spec_version": spec_version}
            _write(bom, b"".join(transport.perform("read_model_bom", path=_version(version), query=query)))
    if card is not None:
        _write(card, told["markdown"].encode())
    if as_json:
        print_json({"card": {name: told[name] for name in told if name != "markdown"}, "dependencies": needs})
        return
    from vallum.models.cards import COUNTS, demands_of

    say(f"{version}: its card is {told['score']:.0%} of what risk class {told['risk_class']} asks for")
    how = {one.name: one.how for one in demands_of(told["risk_class"])}
    for name in told["missing"]:
        say(f"  missing: {name}: {how.get(name, '')}")
    if told["missing"]:
        say(f"  {COUNTS}")
    say(f"{version}: what it needs is {needs['verdict']}, of {needs['report']['checked']} packages")
    rows = [(f["id"], f["package"], f["version"], ", ".join(f["fixed_in"])) for f in needs["report"]["findings"]]
    if rows:
        print_table(("WEAKNESS", "PACKAGE", "VERSION", "FIXED IN"), rows)
    for one in needs["report"]["cannot_tell"]:
        say(f"  cannot tell: {one['about']}: {one['reason']}")


@command(
    app, "review", performs=("review_model_version",),
    example='vallum models review churn/3 --decision release --note "the custom operator is ours"',
)  # fmt: skip
def review(
    version: Version,
    decision: Annotated[str, typer.Option("--decision", help="release, or reject, which revokes it.")],
    note: Annotated[str, typer.Option("--note", help="Why; it is kept in the ledger.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let somebody else's version out of quarantine, or reject it. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        body = {"decision": decision, "note": note}
        found = transport.perform("review_model_version", path=_version(version), body=body)
    report(as_json, found, f"{version} is {found['state']}")


@command(
    app, "revoke", performs=("revoke_model_version",),
    example='vallum models revoke churn/3 --reason "trained on data that was withdrawn"',
)  # fmt: skip
def revoke(
    version: Version,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Revoke a version: nobody loads or downloads it again, ever. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        found = transport.perform("revoke_model_version", path=_version(version), body={"reason": reason})
    report(as_json, found, f"{version} is revoked")


@command(
    attestations, "list", performs=("list_model_attestations",), example="vallum models attestations list churn/3",
)  # fmt: skip
def list_attestations(
    version: Version, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """List what is attested of a version; with --json, the signed statements themselves."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_model_attestations", path=_version(version))
    if as_json:
        print_json(found)
        return
    print_table(("AT", "PREDICATE", "BY"), [(one["at"][:19], one["predicate_type"], one["by"]) for one in found])


@command(
    attestations, "add", performs=("attest_model_version",),
    example="vallum models attestations add churn/3 provenance.dsse.json",
)  # fmt: skip
def add_attestation(
    version: Version,
    envelope: Annotated[Path, typer.Argument(help="A DSSE envelope around an in-toto statement about this version.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Append a signed statement about a version; none is ever taken away."""
    try:
        raw = envelope.read_bytes()
    except OSError as e:
        raise Invalid(f"{envelope} cannot be read: {e.strerror}") from e
    with opened(data, url, config) as transport:
        body = {"envelope": base64.b64encode(raw).decode()}
        found = transport.perform("attest_model_version", path=_version(version), body=body)
    report(as_json, found, f"{version}: {found['predicate_type']} is attested")


@command(app, "egress", performs=("list_model_egress",), example="vallum models egress")
def egress(
    subject: Annotated[str | None, typer.Option("--subject", help="person:per_… or service:svc_….")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show how much of models was downloaded, by whom and on which day."""
    query = {} if subject is None else {"subject": subject}
    with opened(data, url, config) as transport:
        found = transport.perform("list_model_egress", query=query)
    if as_json:
        print_json(found)
        return
    rows = [(one["day"], one["subject"], one["size"], one["downloads"]) for one in found]
    print_table(("DAY", "SUBJECT", "BYTES", "FILES"), rows)


def _version(text: str) -> dict[str, str]:
    name, slash, number = text.rpartition("/")
    if not slash or not number.isdigit():
        raise typer.BadParameter("name a version as NAME/NUMBER, as in churn/3")
    return {"name": name, "number": number}


def _print_versions(found: list[dict[str, Any]]) -> None:
    rows = [
        (f"{v['model']}/{v['number']}", v["state"], v["verdict"], len(v["files"]), v["size"], v["signer"],
         v["created_at"][:19], v["created_by"])
        for v in found
    ]  # fmt: skip
    print_table(("VERSION", "STATE", "VERDICT", "FILES", "BYTES", "SIGNER", "CREATED", "BY"), rows)


def _led(aliases: dict[str, int]) -> str:
    return " ".join(f"{alias}={number}" for alias, number in sorted(aliases.items()))


def _print_findings(findings: list[dict[str, Any]]) -> None:
    rows = [(f["verdict"], f["technique"], f["place"], f["explanation"]) for f in findings]
    print_table(("VERDICT", "TECHNIQUE", "PLACE", "WHY"), rows)


def _write(out: Path, raw: bytes) -> None:
    try:
        out.write_bytes(raw)
    except OSError as e:
        raise Invalid(f"{out} cannot be written: {e.strerror}") from e


@contextmanager
def _progress(path: Path | None, as_json: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where a terminal shows it."""
    if as_json or not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    total = None
    if path is not None:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        total = sum(file.stat().st_size for file in files)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda size: shown.advance(task, size)
