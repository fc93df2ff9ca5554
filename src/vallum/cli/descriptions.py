"""`vallum models card`, `bom` and `attestations`: what is said of a model, and by whom. Needs no server."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson
from vallum.cli.output import print_json, print_table, report, say
from vallum.cli.registry import command, group
from vallum.kernel.errors import Invalid

__all__ = ["add_to", "attestation_key", "attestations", "write_whole"]

_LOCAL = "reads files of this machine, and asks no server"
_COMPLETE, _MISSING = 0, 1

attestations = group("Attestations: what was found or decided about a model, signed (in-toto, DSSE).")


def add_to(app: typer.Typer) -> None:
    app.add_typer(attestations, name="attestations")

    @command(
        app, "card", local=_LOCAL, example="vallum models card my-model --risk-class high",
    )  # fmt: skip
    def card(
        path: Annotated[Path, typer.Argument(help="A model card (Markdown), or a model's folder with a README.md.")],
        risk_class: Annotated[str, typer.Option("--risk-class", help="minimal, limited or high.")] = "minimal",
        output: Annotated[
            Path | None, typer.Option("--output", help="Also write the card here, with what the folder says added.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Score a model's card against what its risk class demands, and name what is missing.

        Exit 0: complete. 1: something is missing. 2: a card that cannot be read.
        """
        from vallum.models.bom import facts_of_folder
        from vallum.models.cards import COUNTS, demands_of, parse_card, render_card, render_markdown, score_card

        file = path / "README.md" if path.is_dir() else path
        read = parse_card(_read(file))
        if output is not None:
            if not path.is_dir():
                raise typer.BadParameter("--output: facts are of a model's folder")
            read = render_card(facts_of_folder(path)[0], read)
            write_whole(output, render_markdown(read).encode())
        score = score_card(read, risk_class)
        demands = {one.name: one for one in demands_of(risk_class)}
        if as_json:
            missing = [
                {"name": name, "how": demands[name].how, "source": demands[name].source} for name in score.missing
            ]
            print_json({"path": str(file), "risk_class": risk_class, "score": score.score, "missing": missing})
        else:
            met = len(score.demanded) - len(score.missing)
            say(f"{file}: {score.score:.0%} ({met} of {len(score.demanded)} for {risk_class} risk)")
            if score.missing:
                rows = [(name, demands[name].how, demands[name].source) for name in score.missing]
                print_table(("MISSING", "HOW TO MEET IT", "FROM"), rows)
                say(COUNTS)
        raise typer.Exit(_COMPLETE if score.complete else _MISSING)

    @command(
        app, "bom", local=_LOCAL, example="vallum models bom my-model --output my-model.cdx.json",
    )  # fmt: skip
    def bom(
        path: Annotated[Path, typer.Argument(help="The model: a file or a folder.")],
        output: Annotated[Path | None, typer.Option("--output", help="The file; standard output without.")] = None,
        spec_version: Annotated[str, typer.Option("--spec-version", help="1.6 or 1.7, of CycloneDX.")] = "1.6",
        name: Annotated[str, typer.Option("--name", help="The model's name; the folder's without.")] = "",
        version: Annotated[str, typer.Option("--version", help="The model's version.")] = "",
        validate: Annotated[
            bool, typer.Option("--validate", help="Hold it to CycloneDX's own schema first (extra `bom`).")
        ] = False,
        at: Annotated[str, typer.Option("--at", help="The time in it (RFC 3339); now without.")] = "",
        as_json: AsJson = False,
    ) -> None:
        """Write a CycloneDX bill of materials: files by digest, packages, data sets, the model card's figures."""
        from vallum import __version__
        from vallum.models.bom import SPEC_VERSIONS, facts_of_folder, parse_bom, render_bom, validate_bom

        wanted = next((one for one in SPEC_VERSIONS if one == spec_version), None)
        if wanted is None:
            raise typer.BadParameter(f"--spec-version: {' or '.join(SPEC_VERSIONS)}")
        try:
            facts, declared = facts_of_folder(path, name=name, version=version)
        except OSError as e:
            raise Invalid(f"{path} cannot be read: {e.strerror}") from e
        raw = render_bom(facts, _time(at), spec_version=wanted, tool_version=__version__)
        number = (validate_bom if validate else parse_bom)(raw)["serialNumber"]
        for one in declared.cannot_tell:
            say(f"vallum: {one.declared_in}: {one.about}: {one.reason}")
        if output is None:
            print(raw.decode(), end="")
            return
        write_whole(output, raw)
        said = {
            "bom": str(output),
            "serial_number": number,
            "files": len(facts.files),
            "dependencies": len(facts.dependencies),
        }
        report(as_json, said, f"{output}: {len(facts.files)} files, {len(facts.dependencies)} dependencies, {number}")


@command(
    attestations, "sign", local=_LOCAL,
    example="vallum models attestations sign my-model --scan --key ci.pem --key-id ci --output scan.dsse.json",
)  # fmt: skip
def sign(
    path: Annotated[Path, typer.Argument(help="The model that it is about: a file or a folder.")],
    key: Annotated[Path, typer.Option("--key", help="The private key (PEM; ECDSA on a NIST curve, or Ed25519).")],
    key_id: Annotated[str, typer.Option("--key-id", help="The key's name, for who verifies.")],
    output: Annotated[Path, typer.Option("--output", help="The envelope's file.")],
    scan: Annotated[bool, typer.Option("--scan", help="Scan the model, and attest what was found.")] = False,
    predicate: Annotated[Path | None, typer.Option("--predicate", help="What to attest: a JSON object.")] = None,
    predicate_type: Annotated[str, typer.Option("--type", help="The predicate's type, a URI.")] = "",
    as_json: AsJson = False,
) -> None:
    """Attest something of a model: its scan, or a predicate of your own."""
    from vallum.models.attestations import Statement, sign_statement, statement_of, subjects_of
    from vallum.models.signing import hash_model
    from vallum.models.strict_json import NotStrictJson, parse_strict_json

    if scan == (predicate is not None) or (predicate is not None and not predicate_type):
        raise typer.BadParameter("say what to attest: --scan, or --predicate FILE with --type URI")
    manifest, others = hash_model(path)
    said = _scanned(path) if scan else None
    if said is not None and hash_model(path)[0] != manifest:
        raise Invalid(f"{path} changed while it was scanned: what was scanned is not what would be attested")
    if others:
        raise Invalid(f"{path} holds links, special or executable files or empty folders, which no digest shows")
    subjects = subjects_of(manifest.model, manifest.root, {one.name: one.digest for one in manifest.resources})
    if said is not None:
        statement = statement_of(subjects, said)
    else:
        assert predicate is not None
        try:
            value = parse_strict_json(_read(predicate), max_bytes=16 << 20)
        except NotStrictJson as e:
            raise Invalid(f"{predicate}: {e}") from e
        statement = Statement(subjects, predicate_type, value)
    write_whole(output, sign_statement(statement, attestation_key(key), key_id))
    result = {"attestation": str(output), "predicate_type": statement.predicate_type, "sha256": manifest.root}
    report(as_json, result, f"{output}: {statement.predicate_type} of {manifest.model}, sha256 {manifest.root}")


@command(
    attestations, "verify", local=_LOCAL,
    example="vallum models attestations verify scan.dsse.json --model my-model --public-key ci=ci-key.pem",
)  # fmt: skip
def verify(
    envelope: Annotated[Path, typer.Argument(help="The envelope (DSSE).")],
    public_keys: Annotated[list[str], typer.Option("--public-key", help="Who may sign: KEY-ID=FILE (PEM); several.")],
    model: Annotated[Path | None, typer.Option("--model", help="The model that it has to be about.")] = None,
    threshold: Annotated[int, typer.Option("--threshold", help="How many different keys have to have signed.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Verify an attestation: every signature, and that it is about this model. Exit 8 when it does not hold."""
    import msgspec

    from vallum.models.attestations import AttestationRefused, open_envelope
    from vallum.models.signing import hash_model

    keys = {}
    for given in public_keys:
        name, equals, file = given.partition("=")
        if not equals or not name:
            raise typer.BadParameter("--public-key: write KEY-ID=FILE")
        keys[name] = _public_key(Path(file))
    opened = open_envelope(_read(envelope), keys, threshold=threshold)
    statement = opened.statement
    if model is not None:
        manifest, others = hash_model(model)
        if others:
            raise AttestationRefused(f"{model} holds {others[0].kind} {others[0].name}, which nobody attested")
        statement.require(statement.predicate_type, manifest.root)
    said = {
        "signers": list(opened.signers),
        "predicate_type": statement.predicate_type,
        "subjects": msgspec.to_builtins(statement.subjects),
        "predicate": statement.predicate,
    }
    text = f"{envelope}: {statement.predicate_type}, signed by {', '.join(opened.signers)}"
    report(as_json, said, text)


def _scanned(path: Path) -> Any:
    from vallum import __version__
    from vallum.models.attestations import ModelScan
    from vallum.models.scan import Verdict
    from vallum.models.scan.child import scan_isolated

    try:
        found = scan_isolated(path)
    except OSError as e:
        raise Invalid(f"{path} cannot be read: {e.strerror}") from e
    named = {
        verdict: tuple(
            dict.fromkeys(f"{one.technique} {one.place}" for one in found.findings if one.verdict is verdict)
        )
        for verdict in Verdict
    }
    return ModelScan(
        verdict=found.verdict.value,
        scanner="vallum models scan",
        version=__version__,
        passed=tuple(one.path for one in found.files if not one.findings),
        reviewed=named[Verdict.REVIEW],
        blocked=named[Verdict.BLOCK],
    )


def attestation_key(file: Path) -> Any:
    """Raises Invalid."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_read(file), None)
    except (ValueError, TypeError) as e:
        raise Invalid(f"{file} is no private key in PEM without a passphrase") from e


def _public_key(file: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(_read(file))
    except ValueError as e:
        raise Invalid(f"{file} is no public key in PEM") from e


def _time(text: str) -> datetime:
    if not text:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as e:
        raise Invalid(f"{text} is no time, as in 2026-01-31T12:00:00Z") from e
    if at.tzinfo is None:
        raise Invalid(f"{text} has no zone: end it with Z")
    return at


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e


def write_whole(file: Path, raw: bytes) -> None:
    """Whole or not at all. Raises Invalid."""
    fresh = file.with_name(file.name + ".new")
    try:
        fresh.write_bytes(raw)
        fresh.replace(file)
    except OSError as e:
        raise Invalid(f"{file} cannot be written: {e.strerror}") from e
