"""The signature itself: a Sigstore bundle v0.3, a DSSE envelope (v1) and an in-toto statement, by ECDSA keys.

Answers a signature by the wrong signer (the signer's *identity* is part of the policy: a key by its fingerprint, or a
certificate's name under a root), a statement of another kind, an envelope around something else (DSSE signs its type),
algorithm confusion (the curve says the hash), and documents that say one thing twice (a name, a key).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from vallum.kernel.errors import IntegrityError, Invalid
from vallum.models.signing.manifest import Manifest, Resource

__all__ = [
    "SignatureRefused",
    "Signer",
    "TrustPolicy",
    "TrustedCertificate",
    "TrustedKey",
    "key_hash",
    "open_bundle",
    "render_bundle",
]

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
MAX_BUNDLE_BYTES = 64 << 20  # a hundred thousand files take some twenty
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


class SignatureRefused(IntegrityError):
    """The signature is malformed, does not hold, or is not by anybody who is trusted here."""

    code = "signature_refused"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """`name` is who signs with this public key (PEM)."""

    name: str
    pem: bytes


@dataclass(frozen=True, slots=True)
class TrustedCertificate:
    """Who has a certificate with this subject alternative name (URI, mail address or host) under one of these roots."""

    identity: str
    roots: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whose signatures count. None at all, unless they are named."""

    keys: tuple[TrustedKey, ...] = ()
    certificates: tuple[TrustedCertificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed: the name that the policy has for the key, or the certificate's identity."""

    name: str


def key_hash(public: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """By its curve: never a sender's choice. Raises Invalid for a curve that is not P-256, P-384 or P-521."""
    found = _HASHES.get(public.curve.name)
    if found is None:
        raise Invalid(f"a model is signed by a key on P-256, P-384 or P-521, not {public.curve.name}")
    return found()


def render_bundle(manifest: Manifest, key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate] = ()) -> bytes:
    """The signature file. `chain` begins with the key's own certificate. Raises Invalid for a key that will not do."""
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": manifest.model, "digest": {"sha256": manifest.root}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "resources": [
                {"name": one.name, "algorithm": "sha256", "digest": one.digest} for one in manifest.resources
            ],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [],
            },
        },
    }
    public = key.public_key()
    payload = json.dumps(statement, separators=(",", ":")).encode()
    signature = key.sign(_pae(payload), ec.ECDSA(key_hash(public)))
    material: dict[str, Any] = {"tlogEntries": []}
    if chain:
        if chain[0].public_key() != public:
            raise Invalid("the certificate is another key's")
        raw = [{"rawBytes": _base64(one.public_bytes(Encoding.DER))} for one in chain]
        material["x509CertificateChain"] = {"certificates": raw}
    else:
        material["publicKey"] = {"hint": _hint(public)}
    envelope = {
        "payload": _base64(payload),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": _base64(signature), "keyid": ""}],
    }
    return json.dumps({"mediaType": _MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}).encode()


def open_bundle(raw: bytes, trust: TrustPolicy, now: datetime) -> tuple[Manifest, tuple[str, ...], Signer]:
    """What was signed, which paths it leaves out, and who signed. Raises SignatureRefused."""
    if len(raw) > MAX_BUNDLE_BYTES:
        raise SignatureRefused("the signature is larger than any is")
    bundle = _json(raw)
    envelope, material = _object(bundle, "dsseEnvelope"), _object(bundle, "verificationMaterial")
    signatures = envelope.get("signatures")
    if envelope.get("payloadType") != _PAYLOAD_TYPE or not isinstance(signatures, list) or len(signatures) != 1:
        raise SignatureRefused("the signature's envelope holds no in-toto statement with one signature")
    payload = _bytes(envelope.get("payload"))
    signature = _bytes(signatures[0].get("sig") if isinstance(signatures[0], dict) else None)
    public, signer = _signer(material, trust, now)
    try:
        public.verify(signature, _pae(payload), ec.ECDSA(key_hash(public)))
    except InvalidSignature as e:
        raise SignatureRefused("the signature does not hold") from e
    manifest, ignored = _statement(_json(payload))
    return manifest, ignored, signer


def _signer(material: Mapping[str, Any], trust: TrustPolicy, now: datetime) -> tuple[ec.EllipticCurvePublicKey, Signer]:
    if "x509CertificateChain" in material or "certificate" in material:
        return _by_certificate(material, trust, now)
    hint = _object(material, "publicKey").get("hint")
    for trusted in trust.keys:
        public = _public(trusted.pem)
        if hint in (_hint(public), "", None):
            return public, Signer(trusted.name)
    raise SignatureRefused("the signature is by a key that nobody trusted here has")


def _by_certificate(
    material: Mapping[str, Any], trust: TrustPolicy, now: datetime
) -> tuple[ec.EllipticCurvePublicKey, Signer]:
    listed = material.get("x509CertificateChain", {"certificates": [material.get("certificate")]})
    found = listed.get("certificates") if isinstance(listed, dict) else None
    if not isinstance(found, list) or not 1 <= len(found) <= 10:
        raise SignatureRefused("the signature's chain of certificates is none")
    try:
        leaf, *rest = (x509.load_der_x509_certificate(_bytes(one["rawBytes"])) for one in found)
        names = _names(leaf)
    except (ValueError, KeyError, TypeError, x509.InvalidVersion, x509.DuplicateExtension) as e:
        raise SignatureRefused("the signature's certificates cannot be read") from e
    for trusted in trust.certificates:
        if trusted.identity not in names or not trusted.roots:
            continue
        verifier = (
            PolicyBuilder()
            .store(Store(list(trusted.roots)))
            .time(now)
            .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all())
            .build_client_verifier()
        )
        try:
            verifier.verify(leaf, [one for one in rest if one not in trusted.roots])
        except VerificationError:
            continue
        public = leaf.public_key()
        if _signs_code(leaf) and isinstance(public, ec.EllipticCurvePublicKey):
            return public, Signer(trusted.identity)
    raise SignatureRefused("the signature is by nobody whose certificate is trusted here, or it is over")


def _statement(said: Mapping[str, Any]) -> tuple[Manifest, tuple[str, ...]]:
    subjects, predicate = said.get("subject"), _object(said, "predicate")
    if said.get("_type") != _STATEMENT or said.get("predicateType") != _PREDICATE:
        raise SignatureRefused("what is signed is no model of the model-signing format 1.0")
    serialization = _object(predicate, "serialization")
    if serialization.get("method") != "files" or serialization.get("hash_type", "sha256") != "sha256":
        raise SignatureRefused("what is signed is hashed in another way than file by file with SHA-256")
    if serialization.get("allow_symlinks"):
        raise SignatureRefused("what is signed allows links, which may lead elsewhere when it is loaded")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise SignatureRefused("what is signed is not one model")
    resources = []
    listed = predicate.get("resources")
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict):
            raise SignatureRefused("what is signed names a file without its SHA-256")
        name, digest = one.get("name"), one.get("digest")
        if one.get("algorithm") != "sha256" or not isinstance(name, str) or not _is_digest(digest):
            raise SignatureRefused("what is signed names a file without its SHA-256")
        if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise SignatureRefused("what is signed names a file outside of the model")
        resources.append(Resource(name, digest))
    names = [resource.name for resource in resources]
    if not resources or names != sorted(set(names)):
        raise SignatureRefused("what is signed names no files, one twice, or not in order")
    manifest = Manifest(str(subjects[0].get("name", "")), tuple(resources))
    if _object(subjects[0], "digest").get("sha256") != manifest.root:
        raise SignatureRefused("what is signed says two things about itself: its files, and what they come to")
    ignored = serialization.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
        raise SignatureRefused("what is signed says in no way what it leaves out")
    return manifest, tuple(ignored)


def _names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    kinds = (x509.UniformResourceIdentifier, x509.RFC822Name, x509.DNSName)
    return frozenset(name for kind in kinds for name in names.get_values_for_type(kind))


def _signs_code(leaf: x509.Certificate) -> bool:
    """No authority's own certificate, none for another use."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.digital_signature:
            return False
    except x509.ExtensionNotFound:
        pass
    try:
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CODE_SIGNING in extended


def _public(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Raises Invalid: what is trusted was given by whoever runs this, and not by a sender."""
    try:
        public = load_pem_public_key(pem)
    except ValueError as e:
        raise Invalid("a trusted key is no public key in PEM") from e
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise Invalid("a trusted key is on P-256, P-384 or P-521")
    key_hash(public)
    return public


def _hint(public: ec.EllipticCurvePublicKey) -> str:
    """As model-signing names keys: the SHA-256 of the PEM."""
    return hashlib.sha256(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _pae(payload: bytes) -> bytes:
    """DSSE v1's pre-authentication encoding: the type is signed with what it is the type of."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _json(raw: bytes) -> dict[str, Any]:
    try:
        said = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError) as e:
        raise SignatureRefused("the signature is no JSON, or says one thing twice") from e
    if not isinstance(said, dict):
        raise SignatureRefused("the signature is no JSON object")
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _object(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name)
    if not isinstance(found, dict):
        raise SignatureRefused(f"the signature has no {name}")
    return found


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]  # whatever else it is, it is refused
    except (TypeError, ValueError, binascii.Error) as e:
        raise SignatureRefused("the signature holds something that is no base64") from e


def _is_digest(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
