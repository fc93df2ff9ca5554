"""What was found and decided of a version as in-toto statements, signed with the key that signs versions; and held
against what the database says of it, whenever it is loaded.

Answers a verdict, a state or a review that somebody wrote into the database: none of them is signed there.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vallum.kernel.errors import IntegrityError
from vallum.models.attestations import (
    APPROVAL,
    MODEL_SCAN,
    Approval,
    AttestationRefused,
    ModelScan,
    Statement,
    read_approval,
    read_model_scan,
    sign_statement,
    statement_of,
    subjects_of,
    verify_envelope,
)
from vallum.models.registry.model import ModelVersion

__all__ = ["ScanAttester", "VerdictUnproven"]


class VerdictUnproven(IntegrityError):
    """The database says that this version may be loaded, and no statement that the platform signed says so."""

    code = "verdict_unproven"


class ScanAttester:
    def __init__(self, scanner_version: str) -> None:
        self._version = scanner_version

    def attest(self, made: ModelVersion, key: ec.EllipticCurvePrivateKey, signer: str) -> bytes:
        """A DSSE envelope about the version and each of its files."""
        named = {
            verdict: tuple(
                dict.fromkeys(f"{one.technique} {one.place}" for one in made.findings if one.verdict == verdict)
            )
            for verdict in ("review", "block")
        }
        found_in = {one.place.partition("!")[0].partition("@")[0] for one in made.findings}
        said = ModelScan(
            verdict=made.verdict,
            scanner="vallum models scan",
            version=self._version,
            passed=tuple(one.path for one in made.files if one.path not in found_in),
            reviewed=named["review"],
            blocked=named["block"],
        )
        subjects = subjects_of(made.model, made.digest, {one.path: one.sha256 for one in made.files})
        return sign_statement(statement_of(subjects, said), key, signer)

    def approve(self, made: ModelVersion, at: datetime, key: ec.EllipticCurvePrivateKey, signer: str) -> bytes:
        """A DSSE envelope: somebody let this very version out of quarantine."""
        subjects = subjects_of(made.model, made.digest, {one.path: one.sha256 for one in made.files})
        said = Approval(approver=made.reviewed_by or "", purpose=_loading(made), at=at, reason=made.review_note)
        return sign_statement(statement_of(subjects, said), key, signer)

    def require_proven(
        self, made: ModelVersion, attested: Iterable[tuple[str, bytes]], keys: Mapping[str, bytes]
    ) -> None:
        """The verdict by a scan of these very files, and a review where it took one. `attested` are predicate types
        with envelopes, `keys` the public keys (PEM) by signer. Raises VerdictUnproven."""
        public = {name: load_pem_public_key(pem) for name, pem in keys.items()}
        verdicts, is_approved = set(), False
        for predicate, envelope in attested:
            if predicate not in (MODEL_SCAN, APPROVAL):
                continue
            try:
                said = verify_envelope(envelope, public)  # type: ignore[arg-type]  # others are refused there
                if not _is_about(said, made):
                    continue
                if predicate == MODEL_SCAN:
                    verdicts.add(read_model_scan(said).verdict)
                else:
                    is_approved |= read_approval(said).purpose == _loading(made)
            except AttestationRefused:
                continue  # by others, who may attest what they like
        if verdicts == {"pass"} and made.verdict == "pass":
            return
        if verdicts == {"review"} and made.verdict == "review" and is_approved:
            return
        raise VerdictUnproven(
            f"{made.id} is {made.state} with verdict {made.verdict}, and the platform signed nothing that says so: "
            "the database was edited, or the key that signed it was revoked. Upload the model anew"
        )


def _loading(made: ModelVersion) -> str:
    """Of fixed length, whatever the model's name."""
    return f"loading:{made.number}:{sha256(made.model.encode()).hexdigest()}"


def _is_about(said: Statement, made: ModelVersion) -> bool:
    named = {(subject.name, subject.digest.get("sha256")) for subject in said.subjects}
    whole = {digest for _, digest in named}
    return made.digest in whole and all((one.path, one.sha256) in named for one in made.files)
