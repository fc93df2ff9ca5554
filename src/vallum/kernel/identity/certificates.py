"""Certificates of services: what a mutual TLS handshake proved, and a small authority for machines without a mesh.

A service is a SPIFFE id, the one URI in its certificate's subject alternative name (SPIFFE X509-SVID; RFC 8705,
`tls_client_auth`). The authority issues certificates of hours for ids of this installation's own trust domain, from a
request that the machine signed: the private key never leaves it, and of the request only its public key is taken.
Answers one authority speaking for another's domain: an id of this trust domain must be issued by this authority, and
any other must not. What the handshake itself holds (chain, time, purpose), TLS has checked before.
"""

import re
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vallum.kernel.clock import Clock
from vallum.kernel.errors import Invalid
from vallum.kernel.identity.roca import has_roca
from vallum.kernel.keys import Keyring

__all__ = ["AUTO", "CertificateRefused", "IssuedCertificate", "WorkloadAuthority", "key_usage", "parse_spiffe_id"]

AUTO = "auto"  # the id that this installation's own authority gives a service
MIN_SECONDS, MAX_SECONDS = 300, 7 * 86_400
_SIGNING_KEY = "workload-ca"
_BACKDATE = timedelta(minutes=5)  # a server whose clock is behind still accepts a fresh certificate
_FROM = "2020-01-01T00:00:00+00:00"
_MAX_REQUEST_CHARS = 16_384
_MIN_RSA_BITS = 2048
_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+)")
_MAX_ID_CHARS = 2048  # SPIFFE-ID, section 2.3
_MALFORMED = (  # what cryptography says of bytes that are nearly a certificate
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class CertificateRefused(Exception):
    """What was presented is no certificate of a service here; why is nobody's business but the log's."""


class IssuedCertificate(msgspec.Struct, frozen=True):
    """PEM: the certificate, and the authority's own beside it. `serial` is hexadecimal."""

    service_id: str
    spiffe_id: str
    certificate: str
    authority: str
    serial: str
    expires_at_seconds: int


def parse_spiffe_id(text: str) -> str:
    """As SPIFFE-ID, section 2 wants it, with a path. Raises Invalid."""
    if len(text) > _MAX_ID_CHARS or not _ID.fullmatch(text):
        raise Invalid(
            "a SPIFFE id is spiffe://TRUST-DOMAIN/PATH: lower-case domain; letters, digits, . _ - in the path"
        )
    return text


class WorkloadAuthority:
    """Safe to share between threads. Keeps nothing: what it issued is an entry, and ends by itself."""

    def __init__(self, keyring: Keyring, clock: Clock, trust_domain: str) -> None:
        """`trust_domain` is this installation's own, as in spiffe://TRUST-DOMAIN/service/NAME."""
        self._keyring = keyring
        self._clock = clock
        self._trust_domain = trust_domain

    def spiffe_id(self, name: str) -> str:
        """The id of a service of that name. Names have an @ where SPIFFE has none."""
        return parse_spiffe_id(f"spiffe://{self._trust_domain}/service/{name.replace('@', '_at_')}")

    def is_own(self, spiffe_id: str) -> bool:
        return spiffe_id.startswith(f"spiffe://{self._trust_domain}/")

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The authority's own: made anew from its key in every process, and the same bytes each time."""
        key = self._keyring.signing_key(_SIGNING_KEY)
        public = key.public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Vallum workloads {self._trust_domain}"[:64])])
        start = datetime.fromisoformat(_FROM)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(int.from_bytes(sha256(raw).digest()[:16], "big") | 1)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=365 * 50))  # what it issues lives for days; the key is the anchor
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{self._trust_domain}")]),
                critical=False,
            )
            .sign(key, None)
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, service_id: str, spiffe_id: str, request_pem: str, seconds: int) -> IssuedCertificate:
        """A certificate for the key that signed this request (PKCS#10, PEM).

        Raises Invalid for a request, key or lifetime that will not do, and for an id of another trust domain.
        """
        if not self.is_own(spiffe_id):
            raise Invalid(f"{spiffe_id} is of another trust domain: its own authority issues its certificates")
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise Invalid("a certificate lives for five minutes at least and seven days at most")
        public = _public_key(request_pem)
        key, now = self._keyring.signing_key(_SIGNING_KEY), self._clock.now().replace(microsecond=0)
        serial = x509.random_serial_number()
        issued = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, service_id)]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(serial)
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + timedelta(seconds=seconds))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, None)
        )
        return IssuedCertificate(
            service_id,
            spiffe_id,
            issued.public_bytes(Encoding.PEM).decode(),
            self.pem,
            f"{serial:x}",
            int(now.timestamp()) + seconds,
        )

    def identify(self, der: bytes) -> tuple[str, int]:
        """The SPIFFE id in a certificate that a handshake has verified, and when it was issued, Unix seconds.

        Raises CertificateRefused.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            spiffe_id = parse_spiffe_id(_only_uri(certificate))
            if _is_authority(certificate):
                raise CertificateRefused
            own = self._issued(certificate)
            if self.is_own(spiffe_id) != own:
                raise CertificateRefused  # another authority's word on this domain, or this one's on another's
        except (ValueError, Invalid, UnsupportedAlgorithm, *_MALFORMED) as e:
            raise CertificateRefused from e
        issued_at = certificate.not_valid_before_utc + (_BACKDATE if own else timedelta())
        return spiffe_id, int(issued_at.timestamp())

    def _issued(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def _public_key(request_pem: str) -> Any:
    """Of the kinds that TLS 1.3 signs with, and proven: whoever asks holds the private half."""
    wrong = Invalid("csr: send a PKCS#10 request in PEM, signed with an Ed25519, P-256, P-384 or RSA (2048 bits) key")
    if len(request_pem) > _MAX_REQUEST_CHARS:
        raise wrong
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        public, signed = request.public_key(), request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, *_MALFORMED) as e:
        raise wrong from e
    is_ec = isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in ("secp256r1", "secp384r1")
    is_rsa = isinstance(public, rsa.RSAPublicKey) and _will_do(public)
    if not signed or not (is_ec or is_rsa or isinstance(public, ed25519.Ed25519PublicKey)):
        raise wrong
    return public


def _will_do(public: rsa.RSAPublicKey) -> bool:
    return public.key_size >= _MIN_RSA_BITS and not has_roca(public.public_numbers().n)


def _only_uri(certificate: x509.Certificate) -> str:
    """X509-SVID, section 2: exactly one URI."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateRefused
    return uris[0]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """RFC 5280, section 4.2.1.3: an authority signs certificates and nothing else; nobody else signs any."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
