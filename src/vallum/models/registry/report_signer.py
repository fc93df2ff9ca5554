"""Statements about things beside models, signed with the platform's key: what a data set's intake found, say."""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vallum.models.attestations import AttestationRefused, Statement, Subject, sign_statement, verify_envelope
from vallum.models.registry.signing_keys import SigningKeys

__all__ = ["ReportSigner"]


class ReportSigner:
    """Thread-safe. The signature is by the key that signs models, under its signer's name."""

    def __init__(self, keys: SigningKeys, predicate_type: str) -> None:
        self._keys = keys
        self._predicate_type = predicate_type

    def prepare(self) -> None:
        """Make the key where there is none yet: outside of the transaction that a report is signed in."""
        self._keys.current()

    def __call__(self, name: str, sha256: str, predicate: Mapping[str, Any]) -> bytes:
        """A DSSE envelope around an in-toto statement whose subject is `name` with this digest."""
        signer, key = self._keys.current()
        statement = Statement((Subject(name, {"sha256": sha256}),), self._predicate_type, dict(predicate))
        return sign_statement(statement, key, signer)

    def verify(self, envelope: bytes, name: str) -> tuple[str, Mapping[str, Any]]:
        """The digest and the predicate that one of the platform's keys signed of `name`.

        Raises AttestationRefused, also where that key was revoked since; SealBroken for a key's row that was edited.
        """
        keys = {key.name: load_pem_public_key(key.pem) for key in self._keys.trusted()}
        said = verify_envelope(envelope, keys)  # type: ignore[arg-type]  # others are refused there
        digests = [subject.digest.get("sha256") for subject in said.subjects if subject.name == name]
        if said.predicate_type != self._predicate_type or len(digests) != 1 or not digests[0]:
            raise AttestationRefused(f"what was signed is no report of {name[:200]}")
        return digests[0], said.predicate
