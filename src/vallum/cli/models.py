"""`vallum models`: scanning, signing and verifying what somebody downloaded or trained. Needs no server."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vallum.cli.options import AsJson
from vallum.cli.output import print_json, print_table, report, say
from vallum.cli.registry import command, group
from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    from vallum.models.signing import TrustedKey

__all__ = ["app", "trusted_keys"]

app = group("Models: what is scanned, signed and verified before anything loads it.")

_CLEAN, _FOUND, _FAILED = 0, 1, 2


@command(
    app, "scan", local="reads files of this machine, and asks no server",
    example="vallum models scan downloads/some-model",
)  # fmt: skip
def scan(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders; a folder is judged as one repository.")],
    as_json: AsJson = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="SARIF 2.1.0, for code review tools.")] = False,
) -> None:
    """Scan models without running anything of them: block, review or pass, and why.

    Exit 0: all pass. 1: something to block or review. 2: a path that cannot be read. With --json, one line each path.
    """
    from vallum import __version__
    from vallum.models.scan import Verdict
    from vallum.models.scan.child import scan_isolated
    from vallum.models.scan.sarif import render_sarif

    reports, code = [], _CLEAN
    for path in paths:
        try:
            found = scan_isolated(path)
        except OSError as e:
            say(f"vallum: {path}: {e.strerror}")
            code = _FAILED
            continue
        reports.append(found)
        code = max(code, _CLEAN if found.verdict is Verdict.PASS else _FOUND)
        if as_json:
            print(json.dumps(found.as_json()))
        elif not sarif:
            say(f"{path}: {found.verdict} ({len(found.files)} files)")
            if found.findings:
                rows = [(str(f.verdict), f.technique, f.place, f.explanation) for f in found.findings]
                print_table(("VERDICT", "TECHNIQUE", "PLACE", "WHY"), rows)
    if sarif:
        print_json(render_sarif(reports, __version__))
    raise typer.Exit(code)


@command(
    app, "convert", local="reads and writes files of this machine, and asks no server",
    example="vallum models convert model.pt model.safetensors",
)  # fmt: skip
def convert(
    source: Annotated[
        Path, typer.Argument(help="A torch state dict, or a scikit-learn model's pickle or joblib file.")
    ],
    destination: Annotated[Path, typer.Argument(help="What to write: NAME.safetensors, NAME.skops or NAME.onnx.")],
    accept_review: Annotated[
        bool,
        typer.Option("--accept-review", help="Load a scikit-learn model in the sandbox that the scan did not pass."),
    ] = False,
    key: Annotated[
        Path | None, typer.Option("--key", help="Sign a statement of it with this private key (PEM): DEST.dsse.json.")
    ] = None,
    key_id: Annotated[str, typer.Option("--key-id", help="The name that verifiers know the key by.")] = "converter",
    as_json: AsJson = False,
) -> None:
    """Convert a model to a format that holds no code, in a sandbox, after a scan, tied to its source by digest.

    Writes DESTINATION and DESTINATION.conversion.json; with --key DESTINATION.dsse.json, an in-toto statement (SLSA
    provenance). What the scan blocks is refused; ONNX must answer as its source does.
    """
    from dataclasses import asdict

    from vallum import __version__
    from vallum.models.convert import attest_conversion
    from vallum.models.convert import convert as converted

    private = _private_key(key) if key is not None else None
    statement = destination.with_name(destination.name + ".dsse.json")
    if private is not None and statement.exists():
        raise Invalid(f"{statement} exists: choose another name, or remove it")
    done = converted(source, destination, accept_review=accept_review)
    if private is not None:
        statement.write_bytes(attest_conversion(done, __version__, private, key_id))
    left = f"; left out, as no tensors: {', '.join(done.left_out[:8])}" if done.left_out else ""
    report(as_json, asdict(done), f"{destination}: verified ({done.verified}), sandbox: {done.sandbox}{left}")


_LOCAL = "reads files of this machine, and asks no server"
_ModelPath = Annotated[Path, typer.Argument(help="The model: a file or a folder.")]
_Signature = Annotated[Path | None, typer.Option("--signature", help="The signature; PATH.sig without.")]


@command(
    app, "sign", local=_LOCAL, example="vallum models sign my-model --key signing-key.pem",
)  # fmt: skip
def sign(
    path: _ModelPath,
    key: Annotated[Path, typer.Option("--key", help="The private key (PEM, P-256, P-384 or P-521).")],
    certificates: Annotated[
        Path | None, typer.Option("--certificates", help="The key's certificate (PEM), and its chain after it.")
    ] = None,
    signature: _Signature = None,
    as_json: AsJson = False,
) -> None:
    """Sign a model in the OpenSSF model-signing format: every file by its SHA-256."""
    from vallum.models.signing import sign_model

    private = _private_key(key)
    out = _signature_of(path, signature)
    manifest = sign_model(path, out, private, _certificates(certificates) if certificates is not None else ())
    said = {"signature": str(out), "files": len(manifest.resources), "sha256": manifest.root}
    report(as_json, said, f"{out}: {len(manifest.resources)} files of {manifest.model}, sha256 {manifest.root}")


@command(
    app, "verify", local=_LOCAL, example="vallum models verify my-model --public-key ci=ci-key.pem",
)  # fmt: skip
def verify(
    path: _ModelPath,
    public_keys: Annotated[
        list[str] | None, typer.Option("--public-key", help="Whose signature counts: NAME=FILE (PEM); several times.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--identity", help="The name in the signer's certificate: a URI, address or host.")
    ] = None,
    roots: Annotated[Path | None, typer.Option("--roots", help="The roots (PEM) that vouch for --identity.")] = None,
    signature: _Signature = None,
    as_json: AsJson = False,
) -> None:
    """Verify a model's signature, its signer, and every file. Exit 8 for one that is not as it was signed."""
    from vallum.models.signing import TrustedCertificate, TrustPolicy, verify_model

    if (identity is None) != (roots is None) or not (public_keys or identity):
        raise typer.BadParameter("say whose signature counts: --public-key NAME=FILE, or --identity with --roots")
    keys = trusted_keys(public_keys)
    trusted: tuple[TrustedCertificate, ...] = ()
    if identity is not None and roots is not None:
        trusted = (TrustedCertificate(identity, _certificates(roots)),)
    trust = TrustPolicy(keys, trusted)
    verified = verify_model(path, _signature_of(path, signature), trust)
    said = {"signer": verified.signer.name, "files": len(verified.manifest.resources), "sha256": verified.manifest.root}
    report(as_json, said, f"{path}: as {verified.signer.name} signed it, {said['files']} files")


def trusted_keys(given: list[str] | None) -> tuple["TrustedKey", ...]:
    """Of options that say NAME=FILE. Raises typer.BadParameter, Invalid."""
    from vallum.models.signing import TrustedKey

    keys = []
    for one in given or ():
        name, equals, file = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter("--public-key: write NAME=FILE")
        keys.append(TrustedKey(name, _read(Path(file))))
    return tuple(keys)


def _private_key(file: Path) -> Any:
    """Raises Invalid."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(_read(file), None)
    except (ValueError, TypeError) as e:
        raise Invalid(f"{file} is no private key in PEM without a passphrase") from e
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise Invalid(f"{file}: a model is signed by a key on P-256, P-384 or P-521")
    return private


def _signature_of(path: Path, given: Path | None) -> Path:
    return given if given is not None else path.with_name(path.resolve().name + ".sig")


def _certificates(file: Path) -> tuple[Any, ...]:
    from cryptography import x509

    try:
        return tuple(x509.load_pem_x509_certificates(_read(file)))
    except ValueError as e:
        raise Invalid(f"{file} holds no certificates in PEM") from e


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
