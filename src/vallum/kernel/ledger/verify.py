"""Verifying a log without the server that kept it, and without trusting it.

Depends on the standard library and `cryptography` alone. Run it on an export:

    python -m vallum.kernel.ledger.verify ledger.jsonl --key 'vallum.local/ledger+1234abcd+Ae…' --checkpoint checkpoint

Without a trusted key the export's own key is used: that proves integrity against its claims, not who made it.
`--checkpoint` is an older checkpoint, kept elsewhere, that the log must still contain: it shows a truncation.
`--witness-policy` names the witnesses of whom a quorum must have cosigned that checkpoint or the export's own.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vallum.kernel.errors import IntegrityError, Invalid
from vallum.kernel.ledger.export import read_export
from vallum.kernel.ledger.merkle import Frontier, leaf_hash
from vallum.kernel.ledger.note import Checkpoint, NoteVerifier, parse_checkpoint, verify_note
from vallum.kernel.ledger.witness import NotWitnessed, WitnessPolicy, check_witnessed

__all__ = ["Report", "read_tiles", "verify_export", "verify_log", "verify_tiles", "witnessed_by"]


class LogMismatch(IntegrityError):
    """The entries are not those that the checkpoint was signed over."""

    code = "log_mismatch"


@dataclass(frozen=True, slots=True)
class Report:
    """What was proven: `size` entries of `origin` hash to `root` (base64), signed by `verifier_key`."""

    verified: bool
    origin: str
    size: int
    root: str
    verifier_key: str
    trusted_key: bool
    witnesses: tuple[str, ...] = ()


def verify_log(
    entries: Iterable[bytes], checkpoint: bytes, trusted: Sequence[NoteVerifier], earlier: bytes | None = None
) -> Checkpoint:
    """Recompute the tree over `entries` and hold it to the signed `checkpoint` and to an `earlier` one.

    Raises IntegrityError naming the first failure. Costs one pass and O(log n) memory.
    """
    head = parse_checkpoint(verify_note(checkpoint, trusted))
    older = parse_checkpoint(verify_note(earlier, trusted)) if earlier is not None else None
    if older is not None and older.origin != head.origin:
        raise LogMismatch(f"the earlier checkpoint is of {older.origin}, not of {head.origin}")
    if older is not None and older.size > head.size:
        raise LogMismatch(f"the log was truncated: it had {older.size} entries and has {head.size}")
    frontier = Frontier()
    _hold(frontier, older)
    for entry in entries:
        frontier.append(leaf_hash(entry))
        if frontier.size > head.size:
            raise LogMismatch(f"there are more entries than the {head.size} that the checkpoint covers")
        _hold(frontier, older)
    if frontier.size != head.size:
        raise LogMismatch(f"{head.size - frontier.size} of {head.size} entries are missing at the end")
    if frontier.root() != head.root:
        raise LogMismatch("an entry was altered, dropped, added or moved: the root does not match the checkpoint")
    return head


def _hold(frontier: Frontier, older: Checkpoint | None) -> None:
    if older is not None and frontier.size == older.size and frontier.root() != older.root:
        raise LogMismatch(f"history was rewritten: the first {older.size} entries are not what they were")


def witnessed_by(policy: WitnessPolicy, checkpoint: bytes, earlier: bytes | None) -> tuple[str, ...]:
    """The names of those who cosigned the head or, since heads grow between askings, the earlier one it continues.

    Call it with notes that `verify_log` has accepted. Raises NotWitnessed where neither has a quorum.
    """
    try:
        return tuple(sorted(check_witnessed(checkpoint, policy)))
    except NotWitnessed:
        if earlier is None:
            raise
        return tuple(sorted(check_witnessed(earlier, policy)))


def verify_export(
    lines: Iterable[bytes],
    key: NoteVerifier | None = None,
    earlier: bytes | None = None,
    policy: WitnessPolicy | None = None,
) -> Report:
    """Verify an export read line by line; with `key` None its own claimed key is used. Raises IntegrityError."""
    export = read_export(lines)
    verifier = key if key is not None else NoteVerifier.parse(export.verifier_key)
    head = verify_log(export.entries, export.checkpoint, [verifier], earlier)
    if head.origin != export.origin:
        raise LogMismatch(f"the export names {export.origin}, its checkpoint {head.origin}")
    witnesses = witnessed_by(policy, export.checkpoint, earlier) if policy is not None else ()
    return _report(head, verifier, key is not None, witnesses)


def verify_tiles(folder: Path, key: NoteVerifier, earlier: bytes | None = None) -> Report:
    """Verify a log published as C2SP tiles in `folder`. Raises IntegrityError."""
    checkpoint = (folder / "checkpoint").read_bytes()
    size = parse_checkpoint(verify_note(checkpoint, [key])).size
    return _report(verify_log(read_tiles(folder, size), checkpoint, [key], earlier), key, True)


def read_tiles(folder: Path, size: int) -> Iterable[bytes]:
    """The first `size` entries from the entry bundles in `folder`. Raises LogMismatch for a damaged bundle."""
    from vallum.kernel.ledger.tiles import parse_bundle, tile_path

    for number in range((size + 255) // 256):
        width = min(256, size - number * 256)
        path = folder / tile_path("entries", number, width)
        try:
            bundle = parse_bundle(path.read_bytes())
        except OSError as e:
            raise LogMismatch(f"the entry bundle {path.name} is missing") from e
        if len(bundle) != width:
            raise LogMismatch(f"the entry bundle {path.name} holds {len(bundle)} entries, not {width}")
        yield from bundle


def _report(head: Checkpoint, verifier: NoteVerifier, trusted: bool, witnesses: tuple[str, ...] = ()) -> Report:
    root = base64.b64encode(head.root).decode()
    return Report(True, head.origin, head.size, root, verifier.render(), trusted, witnesses)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify an exported ledger, offline.")
    parser.add_argument("export", type=Path)
    parser.add_argument("--key", help="the verifier key you trust; else the export's own")
    parser.add_argument("--checkpoint", type=Path, help="an older checkpoint that the log must still contain")
    parser.add_argument("--witness-policy", type=Path, help="whose cosignatures are required (C2SP tlog-policy)")
    options = parser.parse_args(arguments)
    try:
        policy = WitnessPolicy.parse(options.witness_policy.read_text()) if options.witness_policy else None
        key = NoteVerifier.parse(options.key) if options.key else None
        earlier = options.checkpoint.read_bytes() if options.checkpoint else None
        with options.export.open("rb") as opened:
            report = verify_export(opened, key, earlier, policy)
    except (IntegrityError, Invalid, OSError) as e:
        print(json.dumps({"verified": False, "detail": str(e)}))
        return 1
    print(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
