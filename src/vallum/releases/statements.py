"""What the platform signs about releases: in-toto statements in DSSE envelopes, by Ed25519 keys of its own.

One key signs manifests and evidence; each environment has another, which signs what is deployed there, so that a
statement for dev is worth nothing in prod. Keys lie sealed in the keyring (`Keyring.signing_key`).
Source: DSSE v1.0.2 (pre-authentication encoding), in-toto attestation framework v1.
"""

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection

from vallum.kernel.keys import Keyring
from vallum.releases.errors import ReleaseBroken
from vallum.releases.manifest import canonical_json

__all__ = [
    "DEPLOYMENT",
    "EVIDENCE",
    "MANIFEST",
    "Statement",
    "Statements",
    "Subject",
    "sign_statement",
    "stored_bytes",
    "stored_number",
    "unverified_application",
    "verify_statement",
]

MANIFEST = "urn:vallum:release-manifest:v1"
EVIDENCE = "urn:vallum:release-evidence:v1"
DEPLOYMENT = "urn:vallum:deployment:v1"

_TYPE = "https://in-toto.io/Statement/v1"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAX_ENVELOPE_BYTES = 8 << 20


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    digest: dict[str, str]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: str = msgspec.field(name="predicateType")
    predicate: msgspec.Raw


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: str
    payload_type: str = msgspec.field(name="payloadType")
    signatures: tuple[_Signature, ...]


def sign_statement(
    key: Ed25519PrivateKey, predicate_type: str, subjects: Sequence[Subject], predicate: object
) -> bytes:
    """The envelope's JSON: the same for the same key and statement."""
    statement = {"_type": _TYPE, "predicate": predicate, "predicateType": predicate_type, "subject": list(subjects)}
    payload = canonical_json(statement)
    signature = _Signature(_key_id(key.public_key()), _base64(key.sign(_pae(payload))))
    return canonical_json(_Envelope(_base64(payload), _PAYLOAD_TYPE, (signature,)))


def verify_statement(key: Ed25519PublicKey, predicate_type: str, raw: bytes) -> Statement:
    """The one statement in it. Raises ReleaseBroken unless it is of that type, by that key and by no other."""
    if len(raw) > _MAX_ENVELOPE_BYTES:
        raise ReleaseBroken("the envelope is larger than any is")
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
        payload = base64.b64decode(envelope.payload, validate=True)
        (signature,) = envelope.signatures
        signed = base64.b64decode(signature.sig, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError) as e:
        raise ReleaseBroken("these bytes are no signed statement") from e
    if envelope.payload_type != _PAYLOAD_TYPE or signature.keyid != _key_id(key):
        raise ReleaseBroken("the statement is signed by another key, or is no in-toto statement")
    try:
        key.verify(signed, _pae(payload))
    except InvalidSignature as e:
        raise ReleaseBroken("the signature does not hold") from e
    try:
        statement = msgspec.json.decode(payload, type=Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise ReleaseBroken("what was signed is no statement") from e
    if statement.type != _TYPE or statement.predicate_type != predicate_type or not statement.subject:
        raise ReleaseBroken("what was signed is a statement of another kind")
    return statement


class Statements:
    """The platform's own keys for it."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def sign(
        self, conn: Connection, signer: str, predicate_type: str, subjects: Sequence[Subject], predicate: object
    ) -> bytes:
        """`signer` is `manifests`, or `environment/NAME`."""
        key = self._keyring.signing_key(f"releases/{signer}", conn=conn)
        return sign_statement(key, predicate_type, subjects, predicate)

    def verify(self, conn: Connection | None, signer: str, predicate_type: str, stored: object) -> Statement:
        """Of what a column holds, whatever that is. Raises as `verify_statement` does."""
        raw = stored_bytes(stored)
        key = self._keyring.signing_key(f"releases/{signer}", conn=conn)
        return verify_statement(key.public_key(), predicate_type, raw)


def predicate_of(statement: Statement, kind: Any) -> Any:
    """Raises ReleaseBroken when what was said is not of that kind."""
    try:
        return msgspec.json.decode(statement.predicate, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise ReleaseBroken("a statement does not say what it should") from e


def stored_bytes(value: object) -> bytes:
    """Of a column that SQLite lets anybody put text into. Raises ReleaseBroken."""
    if not isinstance(value, (bytes, memoryview)):
        raise ReleaseBroken("what is stored is not what was signed: it is no bytes")
    return bytes(value)


def stored_number(value: object) -> int:
    """As `stored_bytes`, of a number."""
    if not isinstance(value, int):
        raise ReleaseBroken("what is stored is not what was signed: it is no number")
    return value


def unverified_application(raw: bytes) -> str | None:
    """The name of the application in an envelope's manifest, whoever wrote it; None where there is none to read."""
    try:
        payload = base64.b64decode(msgspec.json.decode(raw, type=_Envelope).payload, validate=True)
        return msgspec.json.decode(payload, type=_Named).predicate.application.name
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError):
        return None


class _NamedApplication(msgspec.Struct, frozen=True):
    name: str


class _NamedPredicate(msgspec.Struct, frozen=True):
    application: _NamedApplication


class _Named(msgspec.Struct, frozen=True):
    predicate: _NamedPredicate


def _pae(payload: bytes) -> bytes:
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw()).hexdigest()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
