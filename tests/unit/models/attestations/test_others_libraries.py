"""The in-toto project's own libraries read what we attest: statements, SLSA provenance, test results, signatures."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vallum.models.attestations import (
    Approval,
    DependencyScan,
    Material,
    ModelScan,
    Robustness,
    Subject,
    TrainingRun,
    Vulnerability,
    sign_statement,
    statement_of,
)
from vallum.models.convert import Conversion, attest_conversion

pytest.importorskip("in_toto_attestation")
pytest.importorskip("securesystemslib")

SHA = "ab" * 32
AT = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
SAID = {
    "training": TrainingRun(
        run="run_1", builder="urn:vallum:sandbox:1", started_at=AT, finished_at=AT + timedelta(hours=2),
        parameters={"epochs": 3}, environment={"image": "x"}, materials=(Material("data:set/7", {"sha256": SHA}),),
    ),
    "pass": ModelScan(verdict="pass", scanner="vallum", version="0.1.0", passed=("a.safetensors",)),
    "block": ModelScan(verdict="block", scanner="vallum", version="0.1.0", blocked=("pickle m.pkl",)),
    "dependencies": DependencyScan(
        scanner="urn:vallum:dependencies", version="0.1.0", database="osv:PyPI", database_updated_at=AT,
        started_at=AT, finished_at=AT, vulnerabilities=(Vulnerability("GHSA-1", "torch", "1.0", 9.8),),
    ),
    "robustness": Robustness(attack="fgsm", metric="accuracy", measured=0.8, needed=0.7),
    "approval": Approval(approver="person:per_1", purpose="prod", at=AT, reason="seen"),
}  # fmt: skip
DONE = Conversion(
    "m.joblib", SHA, "m.onnx", "cd" * 32, "onnx", "pass", "the same answers on 513 rows", "Landlock 7 and seccomp"
)


def envelopes():
    for name, said in SAID.items():
        subject = Subject("a.safetensors", {"sha256": SHA})
        yield pytest.param(sign_statement(statement_of((subject,), said), KEY, "ci"), id=name)
    yield pytest.param(attest_conversion(DONE, "0.1.0", KEY, "ci"), id="conversion")


def strictly(raw, message):
    """Unknown members are errors."""
    from google.protobuf.json_format import Parse

    return Parse(raw, message, ignore_unknown_fields=False)


@pytest.mark.parametrize("envelope", list(envelopes()))
def test_each_statement_is_one_of_in_toto_v1(envelope):
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    Statement.copy_from_pb(strictly(base64.b64decode(json.loads(envelope)["payload"]), Message())).validate()


@pytest.mark.parametrize("envelope", list(envelopes()))
def test_each_predicate_that_the_library_knows_has_its_shape(envelope):
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.predicates.scai.v0.scai_pb2 import AttributeReport
    from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult

    known = {
        "https://slsa.dev/provenance/v1": Provenance,
        "https://in-toto.io/attestation/test-result/v0.1": TestResult,
        "https://in-toto.io/attestation/scai/attribute-report/v0.2": AttributeReport,
    }
    statement = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    message = known.get(statement["predicateType"])
    if message is None:
        assert statement["predicateType"] in (
            "https://in-toto.io/attestation/vulns/v0.2", "https://in-toto.io/attestation/svr/v0.1",
        )  # fmt: skip
        return
    read = strictly(json.dumps(statement["predicate"]), message())
    if message is Provenance:
        assert read.build_definition.build_type
        assert read.run_details.builder.id
        assert dict(read.build_definition.resolved_dependencies[0].digest) == {"sha256": SHA}


@pytest.mark.parametrize("envelope", list(envelopes()))
def test_securesystemslib_verifies_the_signature_and_no_other(envelope):
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    def known(key):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return SSlibKey("ci", "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})

    document = json.loads(envelope)
    for signature in document["signatures"]:  # which theirs has in hexadecimal
        signature["sig"] = base64.b64decode(signature["sig"]).hex()
    theirs = Envelope(
        base64.b64decode(document["payload"]), document["payloadType"],
        {"ci": signature_of(document["signatures"][0])},
    )  # fmt: skip
    assert set(theirs.verify([known(KEY)], 1)) == {"ci"}
    with pytest.raises(VerificationError):
        theirs.verify([known(ec.generate_private_key(ec.SECP256R1()))], 1)


def signature_of(said):
    from securesystemslib.signer import Signature

    return Signature(said["keyid"], said["sig"])
