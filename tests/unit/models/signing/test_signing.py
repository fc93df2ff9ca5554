"""Signatures of models: theirs here and ours there, and everything that somebody changes after signing."""

import base64
import json
import os
import resource
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import Invalid
from vallum.models.signing import (
    ModelDiffers,
    SignatureRefused,
    TrustedCertificate,
    TrustedKey,
    TrustPolicy,
    sign_model,
    verified_copy,
    verify_model,
)
from vallum.models.signing.bundle import open_bundle

THEIRS = Path(__file__).with_name("theirs")  # signed by model-signing 1.1.1, whose private keys are gone
RAW = {"rawBytes": "AA=="}
CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 12, 1, tzinfo=UTC)


class Clock:
    now = staticmethod(lambda: NOW)


def pem_of(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


TRUST = TrustPolicy(keys=(TrustedKey("ci", pem_of(KEY)),))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(os.urandom(3_000_000))
    (folder / "sub" / "config.json").write_text('{"a": 1}')
    (folder / "README.md").write_text("# A model")
    return folder


@pytest.fixture
def signature(model, tmp_path):
    file = tmp_path / "model.sig"
    sign_model(model, file, KEY)
    return file


# Theirs and ours.


@pytest.mark.parametrize("curve", CURVES)
def test_what_model_signing_signed_is_verified(curve):
    trust = TrustPolicy(keys=(TrustedKey("theirs", (THEIRS / f"{curve}.pub").read_bytes()),))
    verified = verify_model(THEIRS / "small", THEIRS / f"{curve}.sig", trust)
    assert (verified.signer.name, verified.manifest.model) == ("theirs", "small")
    assert [one.name for one in verified.manifest.resources] == ["sub/config.json", "weights.bin"]


def test_what_model_signing_signed_with_a_certificate_is_verified():
    roots = tuple(x509.load_pem_x509_certificates((THEIRS / "ca.pem").read_bytes()))
    for identity in ("https://ci.example/models", "models@example.org"):
        trust = TrustPolicy(certificates=(TrustedCertificate(identity, roots),))
        assert verify_model(THEIRS / "small", THEIRS / "cert.sig", trust).signer.name == identity
    for wrong in (TrustedCertificate("https://ci.example/other", roots), TrustedCertificate("models@example.org", ())):
        with pytest.raises(SignatureRefused):
            verify_model(THEIRS / "small", THEIRS / "cert.sig", TrustPolicy(certificates=(wrong,)))


@pytest.mark.skipif("VALLUM_TEST_MODEL_SIGNING" not in os.environ, reason="names the model_signing executable")
@pytest.mark.parametrize("curve", CURVES)
def test_what_is_signed_here_model_signing_verifies(model, tmp_path, curve):
    key = ec.generate_private_key(CURVES[curve])
    (tmp_path / "key.pub").write_bytes(pem_of(key))
    sign_model(model, tmp_path / "model.sig", key)
    command = [os.environ["VALLUM_TEST_MODEL_SIGNING"], "verify", "key", str(model), "--signature",
               str(tmp_path / "model.sig"), "--public_key", str(tmp_path / "key.pub")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    (model / "README.md").write_text("changed")
    assert subprocess.run(command, check=False, capture_output=True, timeout=100).returncode


def test_a_signature_may_lie_in_the_model_itself(model):
    file = model / "model.sig"
    sign_model(model, file, KEY)
    assert verify_model(model, file, TRUST).signer.name == "ci"
    (model / "model.sig.old").write_bytes(file.read_bytes())
    with pytest.raises(ModelDiffers, match=r"extra model\.sig\.old"):
        verify_model(model, file, TRUST)


def test_one_file_is_a_model(tmp_path):
    file, signature = tmp_path / "model.onnx", tmp_path / "model.onnx.sig"
    file.write_bytes(b"weights")
    sign_model(file, signature, KEY)
    assert verify_model(file, signature, TRUST).manifest.model == "model.onnx"
    with verified_copy(file, signature, TRUST) as verified:
        assert verified.path.read_bytes() == b"weights"


# What somebody changes after signing.


def add(name):
    def change(model):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(b"x")

    return change


def link(model):
    (model / "README.md").unlink()
    (model / "README.md").symlink_to("/etc/hostname")


def flip(model):
    raw = bytearray((model / "weights.bin").read_bytes())
    raw[len(raw) // 2] ^= 1
    (model / "weights.bin").write_bytes(raw)


CHANGES = {
    "changed weights.bin": flip,
    "changed README.md": lambda m: (m / "README.md").write_text("# A model "),
    "missing README.md": lambda m: (m / "README.md").unlink(),
    "extra evil.py": add("evil.py"),
    "extra .git/config": add(".git/config"),
    "extra .gitattributes": add(".gitattributes"),
    "extra sub/.hidden": add("sub/.hidden"),
    "extra renamed.md": lambda m: (m / "README.md").rename(m / "renamed.md"),
    "link README.md": link,
    "link other": lambda m: (m / "other").symlink_to("sub"),
    "executable README.md": lambda m: (m / "README.md").chmod(0o755),
    "empty-folder empty": lambda m: (m / "empty").mkdir(),
    "special pipe": lambda m: os.mkfifo(m / "pipe"),
}


@pytest.mark.parametrize("difference", CHANGES)
def test_everything_that_is_not_as_it_was_signed_is_found(model, signature, difference):
    CHANGES[difference](model)
    with pytest.raises(ModelDiffers) as found:
        verify_model(model, signature, TRUST)
    assert difference in [f"{one.kind} {one.name}" for one in found.value.differences]
    with pytest.raises(ModelDiffers), verified_copy(model, signature, TRUST):
        pass


def test_a_truncated_file_and_two_that_changed_places(model, signature):
    os.truncate(model / "weights.bin", 2_999_999)
    (model / "a").write_bytes((model / "README.md").read_bytes())
    with pytest.raises(ModelDiffers) as found:
        verify_model(model, signature, TRUST)
    assert [(one.kind, one.name) for one in found.value.differences] == [("extra", "a"), ("changed", "weights.bin")]


def test_what_cannot_be_signed(model, tmp_path):
    for change in ("link other", "executable README.md", "empty-folder empty", "special pipe"):
        copy = tmp_path / change.replace(" ", "-")
        shutil.copytree(model, copy)
        CHANGES[change](copy)
        with pytest.raises(Invalid, match="cannot be signed"):
            sign_model(copy, tmp_path / "x.sig", KEY)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(Invalid, match="nothing to sign"):
        sign_model(tmp_path / "nothing", tmp_path / "x.sig", KEY)
    with pytest.raises(Invalid, match="no such model"):
        sign_model(tmp_path / "missing", tmp_path / "x.sig", KEY)
    assert not (tmp_path / "x.sig").exists()
    with pytest.raises(Invalid, match="P-256"):
        sign_model(model, tmp_path / "x.sig", ec.generate_private_key(ec.SECP256K1()))


# What is loaded is what was verified.


def test_a_copy_is_of_the_bytes_that_were_verified(model, signature):
    wanted = (model / "weights.bin").read_bytes()
    with verified_copy(model, signature, TRUST) as verified:
        (model / "weights.bin").write_bytes(b"swapped after the check")
        assert (verified.path / "weights.bin").read_bytes() == wanted
        assert (verified.path / "sub" / "config.json").read_text() == '{"a": 1}'
        assert verified.path.stat().st_mode & 0o077 == 0
        kept = verified.path
    assert not kept.exists()


# Who signed.


def test_the_right_signature_by_the_wrong_signer(model, tmp_path):
    other = ec.generate_private_key(ec.SECP256R1())
    sign_model(model, tmp_path / "other.sig", other)
    for trust in (TRUST, TrustPolicy()):
        with pytest.raises(SignatureRefused, match="nobody trusted"):
            verify_model(model, tmp_path / "other.sig", trust)
    bundle = json.loads((tmp_path / "other.sig").read_text())
    sign_model(model, tmp_path / "own.sig", KEY)
    own = json.loads((tmp_path / "own.sig").read_text())
    bundle["verificationMaterial"] = own["verificationMaterial"]  # says that it is by the trusted key
    (tmp_path / "forged.sig").write_text(json.dumps(bundle))
    with pytest.raises(SignatureRefused, match="does not hold"):
        verify_model(model, tmp_path / "forged.sig", TRUST)


@pytest.fixture
def authority():
    """A root, and certificates of it as the test wants them."""
    root_key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "r")]),
    )

    def make(subject_key, issuer_name, issuer_key, *extensions, days=365, subject="leaf"):
        builder = (
            x509.CertificateBuilder().issuer_name(issuer_name).public_key(subject_key.public_key())
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=30))
            .not_valid_after(NOW + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
        return builder.sign(issuer_key, hashes.SHA256())

    def usage(*, ca):
        return x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)

    root = make(root_key, name, root_key, x509.BasicConstraints(True, None), usage(ca=True), subject="r")

    def leaf(
        *, names=("https://ci.example/models",), purpose=x509.ExtendedKeyUsageOID.CODE_SIGNING, ca=False, days=365
    ):
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in names])
        extensions = [x509.BasicConstraints(ca, None), usage(ca=ca), san, x509.ExtendedKeyUsage([purpose])]
        return make(KEY, name, root_key, *extensions, days=days)

    return root, leaf


def test_a_certificate_says_who_and_the_root_says_so(model, tmp_path, authority):
    root, leaf = authority
    trust = TrustPolicy(certificates=(TrustedCertificate("https://ci.example/models", (root,)),))
    file = tmp_path / "c.sig"
    sign_model(model, file, KEY, [leaf()])
    assert verify_model(model, file, trust, Clock).signer.name == "https://ci.example/models"
    for wrong in (
        leaf(names=("https://ci.example/other",)), leaf(purpose=x509.ExtendedKeyUsageOID.SERVER_AUTH), leaf(ca=True),
        leaf(days=-1),
    ):  # fmt: skip
        sign_model(model, file, KEY, [wrong])
        with pytest.raises(SignatureRefused):
            verify_model(model, file, trust, Clock)
    with pytest.raises(Invalid, match="another key"):
        sign_model(model, file, ec.generate_private_key(ec.SECP256R1()), [leaf()])
    sign_model(model, file, KEY, [leaf()])
    with pytest.raises(SignatureRefused):  # a key that is trusted by itself vouches for no certificate
        verify_model(model, file, TRUST, Clock)


# What a signature may say.


def resigned(signature, change, key=KEY):
    bundle = json.loads(signature.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement = change(statement) or statement
    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    kind = b"application/vnd.in-toto+json"
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"] = [
        {"sig": base64.b64encode(key.sign(pae, ec.ECDSA(hashes.SHA256()))).decode()}
    ]
    return json.dumps(bundle).encode()


def twice(statement):
    resources = statement["predicate"]["resources"]
    resources.append(resources[0])


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(statement):
        at = statement
        for part in path:
            at = at[part]
        at[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("_type", "https://in-toto.io/Statement/v0.1"), put("predicateType", "https://slsa.dev/provenance/v1"),
        put("subject", []), put("subject", 0, "digest", {"sha256": "0" * 64}), put("predicate", "resources", []),
        put("predicate", "resources", 0, "algorithm", "md5"), put("predicate", "resources", 0, "name", "../x"),
        put("predicate", "resources", 0, "name", "/etc/passwd"), put("predicate", "resources", 0, "name", "a\\b"),
        put("predicate", "resources", 0, "digest", "0"), put("predicate", "resources", 0, "extra"),
        put("predicate", "serialization", "allow_symlinks", True),
        put("predicate", "serialization", "method", "shards"),
        put("predicate", "serialization", "ignore_paths", "x"), put("predicate", None),
        lambda s: s["predicate"]["resources"].reverse(), twice,
        lambda s: b'{"_type": 1, "_type": 2}', lambda s: b"[]", lambda s: b"[" * 100_000, lambda s: b"\xff",
    ],
)  # fmt: skip
def test_statements_that_are_signed_and_still_refused(signature, change):
    with pytest.raises(SignatureRefused):
        open_bundle(resigned(signature, change), TRUST, NOW)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("dsseEnvelope", "payloadType"), "text/plain"), (("dsseEnvelope", "signatures"), []),
        (("dsseEnvelope", "signatures"), [{}]), (("dsseEnvelope", "signatures"), ["x"]), (("dsseEnvelope",), None),
        (("dsseEnvelope", "payload"), "!"), (("verificationMaterial",), {}), (("verificationMaterial",), []),
        (("verificationMaterial", "publicKey"), {"hint": "0" * 64}), (("verificationMaterial", "certificate"), RAW),
        (("verificationMaterial", "x509CertificateChain"), {"certificates": []}),
    ],
)  # fmt: skip
def test_envelopes_that_are_none(signature, path, value):
    bundle = json.loads(signature.read_text())
    at = bundle
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    with pytest.raises(SignatureRefused):
        open_bundle(json.dumps(bundle).encode(), TRUST, NOW)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_noise_is_refused(noise):
    with pytest.raises(SignatureRefused):
        open_bundle(noise, TRUST, NOW)


def test_no_changed_byte_of_a_signature_changes_what_is_verified(signature):
    raw = signature.read_bytes()
    right = open_bundle(raw, TRUST, NOW)
    for place in range(0, len(raw), 3):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            assert open_bundle(changed, TRUST, NOW) == right
        except SignatureRefused:
            continue


def test_keys_that_cannot_be_trusted(signature):
    edwards = ed25519.Ed25519PrivateKey.generate()
    for pem in (b"", b"nothing", pem_of(edwards)):
        with pytest.raises(Invalid):
            open_bundle(signature.read_bytes(), TrustPolicy(keys=(TrustedKey("x", pem),)), NOW)
    with pytest.raises(Invalid, match="cannot be read"):
        verify_model(THEIRS / "small", THEIRS / "missing.sig", TRUST)


def test_a_copy_that_does_not_fit_is_no_copy(model, signature, tmp_path):
    """Of a disk that is full, by a bound on what this process may write into one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, hard))  # in the middle of the last piece
    try:
        with pytest.raises(OSError, match="too large"), verified_copy(model, signature, TRUST, folder=tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)
    assert not list(tmp_path.glob("vallum-model-*"))
