"""Attestations: in-toto statements about models, signed in DSSE envelopes. A pure library: no store, no clock.

    envelope = sign_statement(statement_of(subjects, scan), key, "ci")
    statement = verify_envelope(envelope, {"ci": public_key})
    statement.require(MODEL_SCAN, digest)

Any in-toto verifier reads ours, and we read theirs.
"""

from vallum.models.attestations.envelope import (
    PAYLOAD_TYPE,
    PrivateKey,
    PublicKey,
    VerifiedEnvelope,
    add_signature,
    key_id,
    open_envelope,
    pre_authentication_encoding,
    sign_statement,
    unverified_statement,
    verify_envelope,
)
from vallum.models.attestations.predicates import (
    APPROVAL,
    DEPENDENCY_SCAN,
    MODEL_SCAN,
    PREDICATE_TYPES,
    ROBUSTNESS,
    TRAINING_BUILD_TYPE,
    TRAINING_PROVENANCE,
    Approval,
    DependencyScan,
    Material,
    ModelScan,
    Robustness,
    TrainingRun,
    Vulnerability,
    read_approval,
    read_dependency_scan,
    read_model_scan,
    read_robustness,
    read_training,
    statement_of,
)
from vallum.models.attestations.statement import (
    STATEMENT_TYPE,
    AttestationRefused,
    Statement,
    Subject,
    encode_statement,
    parse_statement,
)
from vallum.models.attestations.subjects import subjects_of

__all__ = [
    "APPROVAL",
    "DEPENDENCY_SCAN",
    "MODEL_SCAN",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPES",
    "ROBUSTNESS",
    "STATEMENT_TYPE",
    "TRAINING_BUILD_TYPE",
    "TRAINING_PROVENANCE",
    "Approval",
    "AttestationRefused",
    "DependencyScan",
    "Material",
    "ModelScan",
    "PrivateKey",
    "PublicKey",
    "Robustness",
    "Statement",
    "Subject",
    "TrainingRun",
    "VerifiedEnvelope",
    "Vulnerability",
    "add_signature",
    "encode_statement",
    "key_id",
    "open_envelope",
    "parse_statement",
    "pre_authentication_encoding",
    "read_approval",
    "read_dependency_scan",
    "read_model_scan",
    "read_robustness",
    "read_training",
    "sign_statement",
    "statement_of",
    "subjects_of",
    "unverified_statement",
    "verify_envelope",
]
