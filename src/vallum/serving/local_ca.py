"""A local certificate authority for a machine that has no certificate of its own.

First run makes a CA and a server certificate; the server certificate is renewed at start when it nears its end
or the names asked for change. The CA may sign only for this machine's names and addresses (RFC 5280 name
constraints), so that a client which trusts it, and somebody who steals it, can do nothing to other sites.
Private keys are files of mode 0600.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vallum.kernel.clock import Clock
from vallum.kernel.errors import Invalid
from vallum.kernel.identity.certificates import key_usage

__all__ = ["ServerCertificate", "ensure_server_certificate"]

_CA_LIFETIME = timedelta(days=3650)
_SERVER_LIFETIME = timedelta(days=397)  # what browsers accept at most
_RENEW_BEFORE = timedelta(days=30)
_BACKDATE = timedelta(hours=1)  # a client whose clock is behind still accepts a fresh certificate


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Paths of what the server presents, and of the CA a client must trust (None: a public one)."""

    certificate_file: Path
    key_file: Path
    ca_file: Path | None


def ensure_server_certificate(folder: Path, names: tuple[str, ...], clock: Clock) -> ServerCertificate:
    """Make what is missing in `folder`, renew what nears its end, and return the paths.

    `names` are host names and IP addresses clients use. Raises Invalid when `folder` cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca_certificate, ca_key = _ensure_ca(folder, names, clock.now())
        paths = ServerCertificate(folder / "server.pem", folder / "server.key", folder / "ca.pem")
        if not _still_good(paths, ca_certificate, names, clock.now()):
            _issue(paths, ca_certificate, ca_key, names, clock.now())
    except OSError as e:
        raise Invalid(f"the certificate folder {folder} cannot be used: {e.strerror}") from e
    return paths


def _ensure_ca(
    folder: Path, names: tuple[str, ...], now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
    if certificate_file.exists() and key_file.exists():
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Invalid(f"{key_file} is not the key this CA was made with; remove the folder to make a new CA")
        outlives_a_server = certificate.not_valid_after_utc - now > _SERVER_LIFETIME
        if outlives_a_server and _constraint_of(certificate) == set(_permitted(names)):
            return certificate, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vallum local CA")])
    certificate = (
        _builder(name, name, key.public_key(), now, _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=_permitted(names), excluded_subtrees=None), critical=True
        )
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_private(key_file, key)
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _issue(
    paths: ServerCertificate,
    ca_certificate: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: tuple[str, ...],
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vallum")])
    certificate = (
        _builder(subject, ca_certificate.subject, key.public_key(), now, _SERVER_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write_private(paths.key_file, key)
    paths.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _still_good(paths: ServerCertificate, ca: x509.Certificate, names: tuple[str, ...], now: datetime) -> bool:
    if not (paths.certificate_file.exists() and paths.key_file.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(paths.certificate_file.read_bytes())
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001  whatever is wrong with it, the answer is a new certificate
        return False
    present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(present) == set(_general(names)) and certificate.not_valid_after_utc - now > _RENEW_BEFORE


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _general(names: tuple[str, ...]) -> list[x509.GeneralName]:
    """Host names and addresses as certificate names, `localhost` and both loopback addresses always among them."""
    general: list[x509.GeneralName] = []
    for name in dict.fromkeys(("localhost", "127.0.0.1", "::1", *names)):
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name.encode("idna").decode()))
    return general


def _permitted(names: tuple[str, ...]) -> list[x509.GeneralName]:
    """The same names as subtrees: an address becomes the network that holds it alone."""
    return [
        x509.IPAddress(ipaddress.ip_network(n.value)) if isinstance(n, x509.IPAddress) else n for n in _general(names)
    ]


def _constraint_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    return set(constraints.permitted_subtrees or [])


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(pem)
