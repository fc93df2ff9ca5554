"""`vallum ledger`: reading it, proving one entry, and verifying all of it, with or without the server."""

import base64
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli import holds
from vallum.cli.options import AsJson, Config, Data, Folder, Url
from vallum.cli.output import print_json, print_record, print_table, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import local_settings, opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

app = group("The tamper-evident ledger.")
app.add_typer(holds.app, name="hold")

EntryId = Annotated[str, typer.Argument(help="The entry's id, as in x-vallum-entry.")]
_POLL_SECONDS = 1.0


@command(app, "tail", performs=("list_entries",), example="vallum ledger tail --follow --data vallum-data")
def tail(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones as they come.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", help="inference, decision, change, authentication.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="As in application:NAME.")] = None,
    effect: Annotated[str | None, typer.Option("--effect", help="allow or deny.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the newest entries, oldest of them first. With --json, one line each."""
    filters = {name: v for name, v in (("kind", kind), ("subject", subject), ("effect", effect)) if v is not None}
    with opened(data, url, config) as transport:
        newest = transport.perform("list_entries", query={**filters, "limit": limit})["entries"][::-1]
        _show(newest, as_json)
        if not follow:
            return
        after = newest[-1]["index"] if newest else None
        while True:
            time.sleep(_POLL_SECONDS)
            query = {**filters, "limit": 1000, "order": "oldest"} | ({} if after is None else {"after": after})
            fresh = transport.perform("list_entries", query=query)["entries"]
            if fresh:
                after = fresh[-1]["index"]
                _show(fresh, as_json)


@command(app, "show", performs=("read_entry",), example="vallum ledger show ent_01J… --data vallum-data")
def show(entry_id: EntryId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show one entry."""
    with opened(data, url, config) as transport:
        entry = transport.perform("read_entry", path={"id": entry_id})
    if as_json:
        print_json(entry)
        return
    print_record({name: _text(value) for name, value in entry.items()})


@command(app, "prove", performs=("prove_entry",), example="vallum ledger prove ent_01J… --data vallum-data")
def prove(
    entry_id: EntryId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Prove that an entry is in the signed log, and check the proof here."""
    with opened(data, url, config) as transport:
        proof = transport.perform("prove_entry", path={"id": entry_id})
    root = _check_proof(proof)
    if as_json:
        print_json({"verified": True, **proof})
        return
    print(f"verified: entry {proof['index']} is in the log of {proof['size']} entries with root {root}")


@command(app, "export", performs=("export_ledger",), example="vallum ledger export --output ledger.jsonl")
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write the whole log to a file that verifies on any machine."""
    written = entries = 0
    fresh = output.with_name(output.name + ".part")
    with opened(data, url, config) as transport, fresh.open("wb") as out:
        for piece in transport.perform("export_ledger"):
            out.write(piece)
            written += len(piece)
            entries += piece.count(b"\n")
    fresh.replace(output)
    text = f"{output}: {entries - 1} entries, {written} bytes; verify with: vallum ledger verify --export {output}"
    report(as_json, {"file": str(output), "entries": entries - 1, "bytes": written}, text)


@command(
    app, "verify", local="reads what is stored or exported, without a server to trust",
    example="vallum ledger verify --export ledger.jsonl",
)  # fmt: skip
def verify(
    data: Folder = None,
    export_file: Annotated[Path | None, typer.Option("--export", help="An exported log.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The verifier key you trust; else the export's own.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="An older checkpoint that the log must still contain.")
    ] = None,
    witness_policy: Annotated[
        Path | None,
        typer.Option("--witness-policy", help="Who must have cosigned it (C2SP tlog-policy); else as configured."),
    ] = None,
    config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Verify the whole history. Exits 0 only when everything verifies, 8 when anything was altered."""
    if (export_file is None) == (data is None and config is None):
        raise Invalid("give either --data DIR (or --config FILE) or --export FILE")
    try:
        if export_file:
            report = _verify_export(export_file, key, checkpoint, witness_policy)
        else:
            report = _verify_data(data, config, checkpoint, witness_policy)
    except Exception as e:
        if as_json:
            print(json.dumps({"verified": False, "detail": str(e)}))
        raise
    print(json.dumps(report)) if as_json else print_record(report)


def _verify_export(file: Path, key: str | None, checkpoint: Path | None, witness_policy: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    from vallum.kernel.ledger.note import NoteVerifier
    from vallum.kernel.ledger.verify import verify_export

    trusted = NoteVerifier.parse(key) if key else None
    try:
        earlier = checkpoint.read_bytes() if checkpoint else None
        with file.open("rb") as lines:
            return asdict(verify_export(lines, trusted, earlier, _policy(witness_policy)))
    except OSError as e:
        raise Invalid(f"{e.filename} cannot be read: {e.strerror}") from e


def _policy(file: Path | None) -> Any:
    from vallum.serving.witnesses import read_policy

    return read_policy(file) if file else None


def _verify_data(
    data: Path | None, config: Path | None, checkpoint: Path | None, witness_policy: Path | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from vallum.background import published_checkpoint
    from vallum.compose import open_ledger
    from vallum.kernel.ledger.audit import verify_store

    settings = local_settings(data, config)
    file = checkpoint or settings.checkpoint_path
    try:
        earlier = file.read_bytes()
    except FileNotFoundError:
        if checkpoint is not None:
            raise Invalid(f"{checkpoint} cannot be read: no such file") from None
        earlier = published_checkpoint(settings)
        if earlier is None:
            say(f"no checkpoint at {file}, and none published: a log cut short at its end would not show")
    configured = settings.ledger.witness_policy_file
    policy = _policy(witness_policy or (Path(configured) if configured else None))
    with open_ledger(settings) as (records, ledger, keyring), records.read() as conn:
        return asdict(verify_store(conn, ledger, keyring, earlier, policy))


def _check_proof(proof: dict[str, Any]) -> str:
    """Raises IntegrityError unless the leaf is in the tree that the signed checkpoint names."""
    from vallum.kernel.ledger.merkle import leaf_hash, root_from_inclusion
    from vallum.kernel.ledger.note import NoteVerifier, parse_checkpoint, verify_note
    from vallum.kernel.ledger.verify import LogMismatch

    verifier = NoteVerifier.parse(proof["verifier_key"])
    head = parse_checkpoint(verify_note(proof["checkpoint"].encode(), [verifier]))
    path = [base64.b64decode(node) for node in proof["path"]]
    root = root_from_inclusion(leaf_hash(proof["leaf"].encode()), proof["index"], head.size, path)
    if root != head.root or head.size != proof["size"]:
        raise LogMismatch("the entry is not in the log that the checkpoint names")
    return base64.b64encode(root).decode()


def _show(entries: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for entry in entries:
            print(json.dumps(entry), flush=True)
        return
    if entries:
        print_table(
            ("TIME", "ENTRY", "SUBJECT", "ACTION", "ASSET", "EFFECT", "OUTCOME", "FINDINGS"),
            [
                (e["time"][:19], e["entry_id"], e["subject"], e["action"], e["asset"], e["effect"], e["outcome"],
                 " ".join(f"{f['guard']}/{f['kind']}×{f['count']}" for f in e["findings"]))
                for e in entries
            ],
        )  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
