"""Statements about things beside models, signed with the platform's key: what a data set's intake found, say."""

from collections.abc import Mapping
from typing import Any

from vallum.models.attestations import Statement, Subject, sign_statement
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
