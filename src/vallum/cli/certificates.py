"""`vallum services certificate|renew|withdraw-certificates`: short-lived certificates for mutual TLS."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url, parse_duration
from vallum.cli.output import report
from vallum.cli.registry import command
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["add_to"]

ServiceId = Annotated[str, typer.Argument(help="The service's id, svc_….")]
Lasting = Annotated[str, typer.Option("--for", help="How long it lives: 5m to 7d.")]
KeyFile = Annotated[Path, typer.Option("--key", help="Its private key (PEM); made where there is none yet.")]
Out = Annotated[Path, typer.Option("--out", help="Where the certificate goes (PEM), the authority's own after it.")]


def add_to(services: typer.Typer) -> None:
    command(
        services, "certificate", performs=("issue_certificate",),
        example="vallum services certificate svc_01J… --key job.key --out job.pem --for 24h",
    )(certificate)  # fmt: skip
    command(
        services, "renew", performs=("renew_certificate",),
        example="vallum services renew svc_01J… --url https://vallum.example:8444 --key job.key --out job.pem",
    )(renew)  # fmt: skip
    command(
        services, "withdraw-certificates", performs=("withdraw_certificates",),
        example="vallum services withdraw-certificates svc_01J… --data vallum-data",
    )(withdraw)  # fmt: skip


def certificate(
    service_id: ServiceId,
    out: Out,
    key: Annotated[
        Path | None, typer.Option("--key", help="Its private key (PEM); made where there is none yet.")
    ] = None,
    csr: Annotated[Path | None, typer.Option("--csr", help="A request (PKCS#10) that the machine made itself.")] = None,
    lasting: Lasting = "24h",
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Issue a certificate for a service that was created with --spiffe-id auto. Wants a fresh second factor."""
    if (key is None) == (csr is None):
        raise typer.BadParameter("give --key or --csr")
    request = _read(csr) if csr is not None else _request(key) if key is not None else ""
    body = {"csr": request, "seconds": parse_duration(lasting)}
    with opened(data, url, config) as transport:
        issued = transport.perform("issue_certificate", path={"id": service_id}, body=body)
    _write(out, issued)
    report(as_json, issued, f"{out}: {issued['spiffe_id']}, serial {issued['serial']}")


def renew(
    service_id: ServiceId,
    url: Annotated[str, typer.Option("--url", help="The server's port for mutual TLS.")],
    key: KeyFile,
    out: Annotated[Path, typer.Option("--out", help="The certificate to renew, and where the new one goes.")],
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="The server's CA, where it has one of its own.")] = (
        None
    ),
    lasting: Lasting = "24h",
    as_json: AsJson = False,
) -> None:
    """Renew a certificate by itself, before it ends: for a timer on the service's own machine."""
    from vallum.client import Client

    body = {"client_id": service_id, "csr": _request(key), "seconds": parse_duration(lasting)}
    with Client(url, ca_file=ca_file, certificate=(out, key)) as client:
        issued = client.request("POST", "/certificates", body)
    _write(out, issued)
    report(as_json, issued, f"{out}: renewed, serial {issued['serial']}")


def withdraw(
    service_id: ServiceId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Refuse every certificate that a service has got until now: its key was lost."""
    with opened(data, url, config) as transport:
        transport.perform("withdraw_certificates", path={"id": service_id})
    report(as_json, {"id": service_id}, f"withdrawn; issue another: vallum services certificate {service_id}")


def _request(key_file: Path) -> str:
    """Signed with the key of that file, which is made, for its owner alone, where it is not there."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key: Any
    if key_file.exists():
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        except (OSError, ValueError, TypeError) as e:
            raise Invalid(f"{key_file} is no private key in PEM without a passphrase") from e
    else:
        key = ec.generate_private_key(ec.SECP256R1())  # which every TLS library knows
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        try:
            with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened_file:
                opened_file.write(pem)
        except OSError as e:
            raise Invalid(f"{key_file} cannot be written: {e.strerror}") from e
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = request.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"{file} cannot be read") from e


def _write(file: Path, issued: dict[str, Any]) -> None:
    """Whole or not at all: a renewal that fails half-way leaves the certificate that is in use."""
    fresh = file.with_name(file.name + ".new")
    try:
        fresh.write_text(issued["certificate"] + issued["authority"])
        fresh.replace(file)
    except OSError as e:
        raise Invalid(f"{file} cannot be written: {e.strerror}") from e
