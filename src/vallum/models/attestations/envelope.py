"""DSSE v1 envelopes around statements: signed by ECDSA (P-256, P-384, P-521) or Ed25519, by several where wanted.

The signature covers the payload's type and length (pre-authentication encoding), so no payload passes for another kind.
Answers algorithm confusion (the key says the algorithm, never the envelope), key ids that lie (an id only selects a key
that the caller already trusts), base64 that has two spellings, members that nobody signed, and signatures by strangers:
every signature of an envelope has to hold, because what nobody checked must not be kept beside what somebody did.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vallum.kernel.errors import Invalid
from vallum.models.attestations.statement import (
    MAX_STATEMENT_BYTES,
    AttestationRefused,
    Statement,
    encode_statement,
    parse_statement,
)
from vallum.models.strict_json import NotStrictJson, parse_strict_json

__all__ = [
    "PAYLOAD_TYPE",
    "PrivateKey",
    "PublicKey",
    "VerifiedEnvelope",
    "add_signature",
    "key_id",
    "open_envelope",
    "pre_authentication_encoding",
    "sign_statement",
    "unverified_statement",
    "verify_envelope",
]

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = MAX_STATEMENT_BYTES * 4 // 3 + (1 << 20)
_MAX_SIGNATURES = 32  # more people than that sign nothing, and each costs a verification
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class VerifiedEnvelope:
    """Only verification makes one. `signers` are the ids of the trusted keys whose signatures hold, in order."""

    statement: Statement
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Envelope:
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What is signed: `DSSEv1 LEN(type) type LEN(payload) payload`. Source: DSSE protocol v1.0.0."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(public: PublicKey) -> str:
    """A name for a key where none is given: the SHA-256 of its PEM, as signatures of models name keys."""
    return hashlib.sha256(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sign_statement(statement: Statement, key: PrivateKey, keyid: str) -> bytes:
    """The envelope as JSON, with one signature. Raises Invalid for a key or key id that will not do."""
    payload = encode_statement(statement)
    return _render(_Envelope(payload, ((_checked_id(keyid), _sign(key, payload)),)))


def add_signature(envelope: bytes, key: PrivateKey, keyid: str) -> bytes:
    """The same payload, byte for byte, with one more signature. Verify the envelope first: this does not.

    Raises AttestationRefused for an envelope that cannot be read, Invalid for a key id that has signed already.
    """
    said = _parse(envelope)
    parse_statement(said.payload)  # nobody signs what nobody could read
    if any(present == keyid for present, _ in said.signatures):
        raise Invalid(f"{keyid} has signed this already")
    if len(said.signatures) >= _MAX_SIGNATURES:
        raise Invalid(f"an envelope has at most {_MAX_SIGNATURES} signatures")
    return _render(_Envelope(said.payload, (*said.signatures, (_checked_id(keyid), _sign(key, said.payload)))))


def verify_envelope(envelope: bytes, keys: Mapping[str, PublicKey], *, threshold: int = 1) -> Statement:
    """The statement, once every signature holds by one of `keys` (by key id), and `threshold` different keys signed.

    Raises AttestationRefused (an IntegrityError), whatever the bytes are.
    """
    return open_envelope(envelope, keys, threshold=threshold).statement


def open_envelope(envelope: bytes, keys: Mapping[str, PublicKey], *, threshold: int = 1) -> VerifiedEnvelope:
    """As `verify_envelope`, with who signed. One key under two ids counts once.

    A signature without a key id is tried with every key. Raises AttestationRefused; Invalid for a threshold below 1.
    """
    if threshold < 1:
        raise Invalid("a threshold of signatures is at least 1")
    said = _parse(envelope)
    signed = pre_authentication_encoding(PAYLOAD_TYPE, said.payload)
    signers: list[str] = []
    different: set[str] = set()
    for keyid, signature in said.signatures:
        candidates = [(keyid, keys[keyid])] if keyid in keys else list(keys.items()) if not keyid else []
        if not candidates:
            raise AttestationRefused("the attestation has a signature by a key that nobody trusted here has")
        name = next((name for name, public in candidates if _holds(public, signature, signed)), None)
        if name is None:
            raise AttestationRefused("a signature of the attestation does not hold")
        signers.append(name)
        different.add(key_id(keys[name]))
    if len(different) < len(said.signatures):
        raise AttestationRefused("one key has signed the attestation twice")
    if len(different) < threshold:
        raise AttestationRefused(f"the attestation has {len(different)} signatures of the {threshold} that are needed")
    return VerifiedEnvelope(parse_statement(said.payload), tuple(signers))


def unverified_statement(envelope: bytes) -> tuple[Statement, tuple[str, ...]]:
    """What an envelope claims, and the key ids that it claims: to choose keys by, and to trust for nothing.

    Raises AttestationRefused.
    """
    said = _parse(envelope)
    return parse_statement(said.payload), tuple(keyid for keyid, _ in said.signatures)


def _sign(key: PrivateKey, payload: bytes) -> bytes:
    signed = pre_authentication_encoding(PAYLOAD_TYPE, payload)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(signed, ec.ECDSA(_hash_of(key.curve)))
    raise Invalid("attestations are signed by ECDSA or Ed25519 keys")


def _holds(public: PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, signed)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, signed, ec.ECDSA(_hash_of(public.curve)))
        else:
            raise Invalid("attestations are verified by ECDSA or Ed25519 keys")
    except InvalidSignature:
        return False
    return True


def _hash_of(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    found = _HASHES.get(curve.name)
    if found is None:
        raise Invalid(f"attestations are signed on P-256, P-384 or P-521, not {curve.name}")
    return found()


def _checked_id(keyid: str) -> str:
    if not 0 < len(keyid) <= 256 or not keyid.isprintable():
        raise Invalid("a key id is 1 to 256 printable characters")
    return keyid


def _render(envelope: _Envelope) -> bytes:
    said = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": keyid, "sig": base64.b64encode(signature).decode()} for keyid, signature in envelope.signatures
        ],
    }
    return json.dumps(said, separators=(",", ":")).encode()


def _parse(raw: bytes) -> _Envelope:
    try:
        said = parse_strict_json(raw, max_bytes=MAX_ENVELOPE_BYTES, max_depth=4)
    except NotStrictJson as e:
        raise AttestationRefused(f"the envelope cannot be read: {e}") from e
    _hold_members(said, {"payload", "payloadType", "signatures"}, set())
    if said["payloadType"] != PAYLOAD_TYPE:
        raise AttestationRefused("the envelope holds something else than an in-toto statement")
    listed = said["signatures"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_SIGNATURES:
        raise AttestationRefused(f"the envelope has not 1 to {_MAX_SIGNATURES} signatures")
    signatures = []
    for one in listed:
        _hold_members(one, {"sig"}, {"keyid"})
        keyid = one.get("keyid", "")
        if not isinstance(keyid, str) or len(keyid) > 256:
            raise AttestationRefused("a signature's key id is none")
        signatures.append((keyid, _base64(one["sig"])))
    return _Envelope(_base64(said["payload"]), tuple(signatures))


def _hold_members(said: Any, needed: set[str], allowed: set[str]) -> None:
    """Nothing of the envelope but the payload and its type is signed, so nothing else may stand in it."""
    if not isinstance(said, dict) or not needed <= said.keys() <= needed | allowed:
        raise AttestationRefused("the envelope is no DSSE envelope, or has members that nobody signed")


def _base64(text: object) -> bytes:
    """Standard or URL-safe, as DSSE allows; padded, and in the one spelling that its bytes have."""
    if not isinstance(text, str):
        raise AttestationRefused("the envelope holds something that is no base64")
    altchars = b"-_" if "-" in text or "_" in text else b"+/"
    try:
        found = base64.b64decode(text, altchars=altchars, validate=True)
    except (ValueError, binascii.Error) as e:
        raise AttestationRefused("the envelope holds something that is no base64") from e
    if base64.b64encode(found, altchars=altchars).decode() != text:
        raise AttestationRefused("the envelope holds base64 with bits that say nothing")
    return found
