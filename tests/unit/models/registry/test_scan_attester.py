"""The scan of every version is attested, and anybody verifies that with the platform's signing key."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from registered_models import harmful, tensors, unknown

from vallum.models.attestations import MODEL_SCAN, AttestationRefused, read_model_scan, verify_envelope


@pytest.fixture
def attested(platform, registry):
    def attested(version):
        with platform.records.read() as conn:
            (found,) = registry.attestations(conn, version.model, version.number)
        assert (found.predicate_type, found.by) == (MODEL_SCAN, "system:vallum")
        return found.envelope

    return attested


@pytest.fixture
def keys(registry):
    def keys():
        return {one.signer: load_pem_public_key(one.public_key.encode()) for one in registry.signing_keys()}

    return keys


@pytest.mark.parametrize(
    ("extra", "verdict"), [({}, "pass"), ({"odd.bin": unknown()}, "review"), ({"bad.pkl": harmful()}, "block")]
)
def test_the_scan_is_signed_by_the_platform_and_about_every_file(uploaded, attested, keys, extra, verdict):
    version = uploaded({"model.safetensors": tensors(), **extra})
    assert version.verdict == verdict
    envelope = attested(version)
    statement = verify_envelope(envelope, keys())
    statement.require(MODEL_SCAN, version.digest)
    for one in version.files:
        statement.require(MODEL_SCAN, one.sha256)
    said = read_model_scan(statement)
    assert (said.verdict, "model.safetensors" in said.passed) == (verdict, True)
    assert bool(said.reviewed) == (verdict == "review")
    assert bool(said.blocked) == (verdict == "block")
    assert not set(extra) & set(said.passed)


def test_it_does_not_verify_when_anything_of_it_is_changed(uploaded, attested, keys):
    envelope = attested(uploaded({"model.safetensors": tensors(), "bad.pkl": harmful()}))
    stranger = {name: ec.generate_private_key(ec.SECP256R1()).public_key() for name in keys()}
    with pytest.raises(AttestationRefused):
        verify_envelope(envelope, stranger)
    document = json.loads(envelope)
    payload = base64.b64decode(document["payload"])
    document["payload"] = base64.b64encode(payload.replace(b'"FAILED"', b'"PASSED"')).decode()
    assert base64.b64decode(document["payload"]) != payload
    with pytest.raises(AttestationRefused):
        verify_envelope(json.dumps(document).encode(), keys())


def test_asked_again_a_completed_upload_is_attested_once(begin, send, complete, attested):
    upload = begin()
    send(upload, "model.safetensors", tensors())
    first, again = complete(upload), complete(upload)
    assert first == again
    assert attested(first)
