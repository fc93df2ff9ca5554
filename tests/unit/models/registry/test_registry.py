"""Uploads become versions; versions go onward and never back; what is loaded is what was signed."""

import base64
import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from registered_models import harmful, person, tensors, unknown

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.gate import AccessDenied
from vallum.kernel.policy.changes import OwnRequest
from vallum.kernel.values import AssetRef, Obligation
from vallum.models.attestations import MODEL_SCAN
from vallum.models.registry import (
    AttestationMalformed,
    BroughtSignatureRefused,
    UploadBusy,
    UploadTooLarge,
    VersionBlocked,
    VersionUnavailable,
)
from vallum.models.signing import SignatureRefused, TrustedKey, TrustPolicy, sign_model, verify_model


def where(version):
    return {"name": version.model, "number": str(version.number)}


# From an upload to a version.


def test_an_upload_becomes_a_version_whose_bytes_come_back(begin, send, complete, registry, tmp_path, entries, dana):
    weights = tensors(3_000_000)
    upload = begin()
    sent = send(upload, "model.safetensors", (weights[at : at + 70_001] for at in range(0, len(weights), 70_001)))
    assert (sent.sha256, sent.size) == (hashlib.sha256(weights).hexdigest(), len(weights))
    send(upload, "nested/empty.json", b"{}")
    version = complete(upload)
    assert (version.id, version.state, version.verdict, version.findings) == ("churn/1", "available", "pass", ())
    assert [file.path for file in version.files] == ["model.safetensors", "nested/empty.json"]
    assert version.signer == "platform:1"
    assert version.created_by == "person:per_dana"

    there = registry.checkout("churn", 1, tmp_path / "out")
    assert there == version
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "out" / "nested" / "empty.json").read_bytes() == b"{}"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "out" / "model.safetensors").stat().st_mode) == 0o400

    made = entries("models:version:upload")[-1]
    assert (made["outcome"], made["asset"]) == ("ok", "RegisteredModel:churn")
    assert made["context"]["version"] == "churn/1"
    assert made["context"]["verdict"] == "pass"
    assert made["context"]["digest"] == version.digest


def test_nothing_in_the_clear_is_left_and_blobs_are_sealed(uploaded, blobs, settings):
    secret = b"an unmistakable sequence of bytes, long enough to be found"
    uploaded({"model.safetensors": tensors(), "README.md": secret})
    assert len(blobs()) == 2
    for path in Path(settings.data).rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path
    assert not list(settings.spool_path.iterdir())


def test_while_an_upload_is_open_its_plaintext_is_this_users_alone(begin, send, settings):
    send(begin(), "model.safetensors", tensors())
    (spooled,) = settings.spool_path.iterdir()
    assert stat.S_IMODE(spooled.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.spool_path.stat().st_mode) == 0o700


def test_numbers_are_given_out_once(uploaded, begin, perform, dana):
    assert uploaded().number == 1
    upload = begin()
    assert upload.number == 2
    perform("abandon_model_upload", dana, {"name": "churn", "upload": upload.id})
    assert uploaded().number == 3


def test_a_file_that_comes_again_takes_the_formers_place(
    begin, send, complete, perform, dana, registry, tmp_path, blobs
):
    upload = begin()
    send(upload, "a.json", b'{"a": 1}')
    send(upload, "a.json", b'{"a": 2}')
    send(upload, "b.json", b"{}")
    perform("remove_model_file", dana, {"name": "churn", "upload": upload.id, "path": "b.json"})
    version = complete(upload)
    assert [file.path for file in version.files] == ["a.json"]
    registry.checkout("churn", 1, tmp_path / "out")
    assert (tmp_path / "out" / "a.json").read_bytes() == b'{"a": 2}'
    assert len(blobs()) == 1  # what nothing names is gone


def test_completing_again_gives_the_same_version(begin, send, complete, entries):
    upload = begin()
    send(upload, "a.json", b"{}")
    assert complete(upload) == complete(upload)
    with pytest.raises(UploadBusy):
        send(upload, "late.json", b"{}")


def test_of_two_who_complete_at_once_one_does(begin, send, complete, perform, dana, registry):
    upload = begin()
    send(upload, "model.safetensors", tensors())
    came = []

    def one():
        try:
            came.append(complete(upload))
        except UploadBusy as e:
            came.append(e)

    threads = [Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in came if not isinstance(one, UploadBusy)}) == 1
    assert len(perform("list_model_versions", dana, {"name": "churn"})) == 1


@pytest.mark.parametrize(
    "path",
    ["../evil", "/etc/passwd", "a//b", "a/./b", "a/../../b", "", "a/", "C:evil", "a\\b", "a\x00b", "a\nb", ".",
     "/".join("x" * 100 for _ in range(6)), "trailing ", "dots...", "x" * 300, "a\u202eb"],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused(begin, registry, dana, path):
    upload = begin()
    with pytest.raises(Invalid):
        registry.uploads.receive("churn", upload.id, dana, path, iter([b"x"]))


def test_a_file_that_is_a_folder_too_is_refused_and_not_half_a_version(begin, send, complete, registry):
    upload = begin()
    send(upload, "a", b"{}")
    send(upload, "a/b", b"{}")
    with pytest.raises(Invalid):
        complete(upload)
    with pytest.raises(NotFound), registry._records.read() as conn:
        registry.version(conn, "churn", 1)


def test_nothing_is_no_model(begin, complete, entries):
    with pytest.raises(Invalid, match="at least one file"):
        complete(begin())
    assert entries("models:version:upload")[-1]["outcome"] == "error"


def test_an_upload_is_its_beginners_alone(begin, send, complete, perform):
    upload = begin()
    mallory = person("mallory", "ml_engineer")
    with pytest.raises(NotFound):
        send(upload, "a.json", b"{}", subject=mallory)
    with pytest.raises(NotFound):
        complete(upload, subject=mallory)
    with pytest.raises(NotFound):
        perform("read_model_upload", mallory, {"name": "churn", "upload": upload.id})
    with pytest.raises(NotFound):
        perform("abandon_model_upload", mallory, {"name": "churn", "upload": upload.id})


def test_an_upload_belongs_to_one_model(begin, perform, dana):
    upload = begin()
    begin("other")
    with pytest.raises(NotFound):
        perform("upload_model_file", dana, {"name": "other", "upload": upload.id, "path": "a"}, raw=b"x")


def test_too_much_is_refused_as_it_arrives(begin, registry, dana, blobs, settings):
    upload = begin()
    registry.uploads._max_upload_bytes = 1000
    with pytest.raises(UploadTooLarge):
        registry.uploads.receive("churn", upload.id, dana, "a", iter([b"x" * 600, b"x" * 600]))
    assert blobs() == []
    assert not list(settings.spool_path.iterdir())


def test_others_upload_nothing_and_see_that_they_may_not(begin, send, perform, entries):
    upload = begin()
    for role in ("member", "auditor", "approver", "security", "administrator", "data_steward"):
        with pytest.raises(AccessDenied):
            send(upload, "a.json", b"{}", subject=person(role, role))
    assert {one["effect"] for one in entries("models:version:upload")[-6:]} == {"deny"}
    with pytest.raises(AccessDenied):
        perform("begin_model_upload", person("dana", "ml_engineer"), {"name": "absent"})


# Quarantine, review, revocation.


def test_a_harmful_model_is_quarantined_for_good(uploaded, perform, registry, tmp_path, dana, rita, entries):
    version = uploaded({"model.pkl": harmful(), "config.json": b"{}"})
    assert (version.state, version.verdict) == ("quarantined", "block")
    assert version.findings[0].technique == "pickle-dangerous-global"
    assert version.findings[0].place.startswith("model.pkl")
    with pytest.raises(AccessDenied):
        perform("download_model_file", dana, {**where(version), "path": "model.pkl"})
    assert entries("models:version:download")[-1]["effect"] == "deny"
    with pytest.raises(VersionUnavailable):
        registry.checkout("churn", 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(VersionUnavailable):
        registry.download("churn", 1, "model.pkl")
    with pytest.raises(VersionUnavailable):
        registry.signature("churn", 1)
    with pytest.raises(VersionUnavailable), registry._records.write() as conn:
        registry.set_alias(conn, "churn", "prod", 1)
    with pytest.raises(VersionBlocked):
        perform("review_model_version", rita, where(version), decision="release", note="it looks fine to me")
    assert entries("models:version:review")[-1]["outcome"] == "error"
    rejected = perform("review_model_version", rita, where(version), decision="reject", note="it runs a command")
    assert (rejected.state, rejected.revoked_by) == ("revoked", "person:per_rita")


def test_a_version_in_quarantine_is_let_out_by_somebody_else(uploaded, perform, registry, tmp_path, dana, rita):
    version = uploaded({"model.bin": unknown()})
    assert (version.state, version.verdict) == ("quarantined", "review")
    with pytest.raises(AccessDenied):  # not by the role that uploads
        perform("review_model_version", dana, where(version), decision="release", note="it looks fine to me")
    both = person("dana", "ml_engineer", "approver")
    with pytest.raises(AccessDenied):  # nor by the uploader with another role
        perform("review_model_version", both, where(version), decision="release", note="it looks fine to me")
    again = person("dana2", "approver", holder="hum_dana")
    with pytest.raises(AccessDenied):  # nor from another account of theirs
        perform("review_model_version", again, where(version), decision="release", note="it looks fine to me")
    with pytest.raises(AccessDenied) as stale:
        tired = person("rita", "approver", fresh=False)
        perform("review_model_version", tired, where(version), decision="release", note="it looks fine to me")
    assert Obligation.STEP_UP in stale.value.obligations
    released = perform("review_model_version", rita, where(version), decision="release", note="read it byte by byte")
    assert (released.state, released.verdict, released.reviewed_by) == ("available", "review", "person:per_rita")
    registry.checkout("churn", 1, tmp_path / "out")
    with pytest.raises(VersionUnavailable):
        perform("review_model_version", rita, where(version), decision="reject", note="on second thoughts")


def test_the_statement_itself_refuses_ones_own_version(uploaded, registry, platform, dana):
    """Were the policy to allow it."""
    uploaded({"model.bin": unknown()})
    for same in (dana, person("else", "approver", holder="hum_dana")):
        with pytest.raises(OwnRequest), platform.records.write() as conn:
            registry.review(conn, "churn", 1, same, "release", "it looks fine to me")


def test_the_root_keys_holder_reviews_nothing(uploaded, platform):
    from vallum.compose import SYSTEM_SUBJECT

    uploaded({"model.bin": unknown()})
    decision = platform.gate.decide(SYSTEM_SUBJECT, "models:version:review", AssetRef("ModelVersion", "churn/1"))
    assert decision.effect == "deny"


def test_what_was_revoked_never_comes_back(uploaded, perform, registry, platform, tmp_path, dana, rita):
    version = uploaded({"model.bin": unknown()})
    with platform.records.write() as conn:
        revoked = registry.revoke(conn, "churn", 1, rita, "its training data leaked")
    assert revoked.state == "revoked"
    with pytest.raises(VersionUnavailable):
        perform("review_model_version", rita, where(version), decision="release", note="it looks fine to me")
    with pytest.raises(VersionUnavailable):
        perform("revoke_model_version", rita, where(version), reason="its training data leaked")
    with pytest.raises(VersionUnavailable):
        registry.checkout("churn", 1, tmp_path / "out")
    with pytest.raises(VersionUnavailable), platform.records.write() as conn:
        registry.set_alias(conn, "churn", "prod", 1)
    with pytest.raises(AccessDenied):
        perform("download_model_file", dana, {**where(version), "path": "model.bin"})


def test_revoking_ends_a_decision_that_was_made_before(uploaded, perform, rita, dana):
    """What policy was told of the version is part of what it remembers."""
    version = uploaded({"a.json": b"{}"})
    assert b"".join(perform("download_model_file", dana, {**where(version), "path": "a.json"}).chunks) == b"{}"
    perform("revoke_model_version", rita, where(version), reason="its training data leaked")
    with pytest.raises(AccessDenied):
        perform("download_model_file", dana, {**where(version), "path": "a.json"})


def test_aliases_lead_to_available_versions_alone(uploaded, registry, platform, perform, dana, rita):
    uploaded()
    uploaded()
    with platform.records.write() as conn:
        registry.set_alias(conn, "churn", "prod", 1)
        registry.set_alias(conn, "churn", "prod", 2)
        with pytest.raises(NotFound):
            registry.set_alias(conn, "churn", "prod", 9)
    assert perform("read_registered_model", dana, {"name": "churn"}).aliases == {"prod": 2}
    perform("revoke_model_version", rita, {"name": "churn", "number": "2"}, reason="its training data leaked")
    assert perform("list_registered_models", dana)[0].aliases == {}


@pytest.mark.parametrize("number", ["0", "01", "2", "-1", "x", "1/1", "99999999999", "\u0661"])
def test_versions_that_are_none_are_unknown(uploaded, registry, number):
    uploaded({"a.json": b"{}"})
    assert registry.facts(AssetRef("ModelVersion", f"churn/{number}")) is None
    assert registry.facts(AssetRef("ModelVersion", "churn/1")) is not None


def test_a_name_is_registered_once(perform, dana, begin):
    begin()
    with pytest.raises(Conflict):
        perform("register_model", dana, name="churn")
    for name in ("", "Churn", "a/b", "../a", "-a", "\u00e4"):
        with pytest.raises(Invalid):
            perform("register_model", dana, name=name)


# Signatures.


def test_the_signature_verifies_offline(uploaded, registry, tmp_path, perform, dana):
    uploaded()
    registry.checkout("churn", 1, tmp_path / "churn")
    (tmp_path / "model.sig").write_bytes(
        b"".join(perform("read_model_signature", dana, {"name": "churn", "number": "1"}).chunks)
    )
    (key,) = perform("list_model_signing_keys", dana)
    trust = TrustPolicy((TrustedKey("platform", key.public_key.encode()),))
    assert verify_model(tmp_path / "churn", tmp_path / "model.sig", trust).signer.name == "platform"


@pytest.mark.skipif("VALLUM_TEST_MODEL_SIGNING" not in os.environ, reason="names the model_signing executable")
def test_model_signing_verifies_what_the_platform_signed(uploaded, registry, tmp_path, perform, dana):
    uploaded()
    registry.checkout("churn", 1, tmp_path / "somewhere")
    (tmp_path / "model.sig").write_bytes(registry.signature("churn", 1))
    (tmp_path / "key.pub").write_text(perform("list_model_signing_keys", dana)[0].public_key)
    command = [os.environ["VALLUM_TEST_MODEL_SIGNING"], "verify", "key", str(tmp_path / "somewhere"), "--signature",
               str(tmp_path / "model.sig"), "--public_key", str(tmp_path / "key.pub")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (tmp_path / "somewhere" / "nested" / "config.json").chmod(0o600)
    (tmp_path / "somewhere" / "nested" / "config.json").write_text("{}")
    assert subprocess.run(command, check=False, capture_output=True, timeout=100).returncode


@pytest.fixture
def signed(tmp_path, registry):
    """A model signed by a key, and that key trusted here under the name of ci unless said otherwise."""

    def _signed(trusted=True):
        key = ec.generate_private_key(ec.SECP256R1())
        folder = tmp_path / "theirs"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(tensors())
        sign_model(folder, tmp_path / "theirs.sig", key)
        if trusted:
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            registry._trust = registry.uploads._trust = TrustPolicy((TrustedKey("ci", pem),))
        return (folder / "model.safetensors").read_bytes(), (tmp_path / "theirs.sig").read_bytes()

    return _signed


def test_a_signature_that_was_brought_is_kept(signed, begin, send, complete, perform, registry, tmp_path, dana):
    weights, bundle = signed()
    upload = begin()
    send(upload, "model.safetensors", weights)
    perform("bring_model_signature", dana, {"name": "churn", "upload": upload.id}, raw=bundle)
    version = complete(upload)
    assert version.signer == "ci"
    assert registry.signature("churn", 1) == bundle
    registry.checkout("churn", 1, tmp_path / "out")
    registry._trust = TrustPolicy()  # whose signatures count is asked at each loading
    with pytest.raises(SignatureRefused):
        registry.checkout("churn", 1, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_valid_signature_by_the_wrong_signer_is_refused(signed, begin, send, complete, perform, dana, entries):
    weights, bundle = signed(trusted=False)
    upload = begin()
    send(upload, "model.safetensors", weights)
    perform("bring_model_signature", dana, {"name": "churn", "upload": upload.id}, raw=bundle)
    with pytest.raises(BroughtSignatureRefused, match="nobody trusted"):
        complete(upload)
    refused = entries("models:version:upload")[-1]
    assert (refused["outcome"], refused["context"]["error"]) == ("error", "brought_signature_refused")
    assert perform("list_model_versions", dana, {"name": "churn"}) == []


def test_a_signature_of_other_bytes_is_refused(signed, begin, send, complete, perform, dana):
    _, bundle = signed()
    upload = begin()
    send(upload, "model.safetensors", tensors())
    perform("bring_model_signature", dana, {"name": "churn", "upload": upload.id}, raw=bundle)
    with pytest.raises(BroughtSignatureRefused, match=r"changed model\.safetensors"):
        complete(upload)


# What left the house.


def test_downloads_are_recorded_each_and_counted(uploaded, perform, dana, entries):
    version = uploaded({"a.json": b'{"a": 1}', "model.safetensors": tensors()})
    for _ in range(3):
        answer = perform("download_model_file", dana, {**where(version), "path": "a.json"})
        assert answer.size == 8
        assert b"".join(answer.chunks) == b'{"a": 1}'
    told = entries("models:version:download")
    assert [one["context"]["bytes"] for one in told] == [8, 8, 8]
    assert {one["asset"] for one in told} == {"ModelVersion:churn/1"}
    (counted,) = perform("list_model_egress", person("audrey", "auditor"))
    assert (counted.subject, counted.size, counted.downloads) == ("person:per_dana", 24, 3)
    with pytest.raises(AccessDenied):
        perform("list_model_egress", dana)
    with pytest.raises(NotFound):
        perform("download_model_file", dana, {**where(version), "path": "absent"})


# Attestations.


def envelope(version, **changes):
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": version.model, "digest": {"sha256": version.digest}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
        **changes,
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": [{"sig": "AAAA"}]}


def test_attestations_are_appended(uploaded, perform, dana, rita):
    version = uploaded()
    raw = json.dumps(envelope(version)).encode()
    perform("attest_model_version", dana, where(version), envelope=base64.b64encode(raw).decode())
    perform("attest_model_version", rita, where(version), envelope=base64.b64encode(raw).decode())
    scanned, *found = perform("list_model_attestations", rita, where(version))
    assert (scanned.predicate_type, scanned.by) == (MODEL_SCAN, "system:vallum")
    assert [(one.predicate_type, one.by) for one in found] == [
        ("https://slsa.dev/provenance/v1", "person:per_dana"), ("https://slsa.dev/provenance/v1", "person:per_rita"),
    ]  # fmt: skip
    assert base64.b64decode(found[0].envelope) == raw


@pytest.mark.parametrize(
    "change",
    [
        lambda e, v: {**e, "payloadType": "application/json"},
        lambda e, v: {**e, "signatures": []},
        lambda e, v: {**e, "payload": "%%%"},
        lambda e, v: {**e, "payload": base64.b64encode(b"[]").decode()},
        lambda e, v: envelope(v, subject=[{"name": "x", "digest": {"sha256": "0" * 64}}]),
        lambda e, v: envelope(v, subject=[]),
        lambda e, v: envelope(v, predicateType=""),
        lambda e, v: [],
    ],
)
def test_what_is_no_statement_about_this_version_is_refused(uploaded, registry, platform, change):
    version = uploaded({"a.json": b"{}"})
    raw = json.dumps(change(envelope(version), version)).encode()
    with pytest.raises(AttestationMalformed), platform.records.write() as conn:
        registry.attest(conn, "churn", 1, raw, "person:per_dana")
    with platform.records.read() as conn:
        assert [one.predicate_type for one in registry.attestations(conn, "churn", 1)] == [MODEL_SCAN]
