"""A conversion as an in-toto statement (SLSA provenance v1): which bytes became which, signed by whoever converted."""

from vallum.models.attestations import TRAINING_PROVENANCE, PrivateKey, Statement, Subject, sign_statement
from vallum.models.convert.service import Conversion

__all__ = ["CONVERSION_BUILD_TYPE", "attest_conversion"]

CONVERSION_BUILD_TYPE = "urn:vallum:model-conversion:v1"


def attest_conversion(done: Conversion, version: str, key: PrivateKey, keyid: str) -> bytes:
    """A DSSE envelope about the destination, with the source as what it was made of. Raises Invalid for a key."""
    predicate = {
        "buildDefinition": {
            "buildType": CONVERSION_BUILD_TYPE,
            "externalParameters": {"kind": done.kind, "destination": done.destination},
            "internalParameters": {
                "scan_verdict": done.scan_verdict, "sandbox": done.sandbox, "verified": done.verified,
                "left_out": list(done.left_out), "untrusted_types": list(done.untrusted_types),
            },
            "resolvedDependencies": [{"name": done.source, "digest": {"sha256": done.source_sha256}}],
        },
        "runDetails": {"builder": {"id": "urn:vallum:models-convert", "version": {"vallum": version}}},
    }  # fmt: skip
    subject = Subject(done.destination, {"sha256": done.destination_sha256})
    return sign_statement(Statement((subject,), TRAINING_PROVENANCE, predicate), key, keyid)
