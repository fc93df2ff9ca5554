"""Attestations: others' tools read ours and we read theirs; everything that somebody changes is refused."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import assume, given
from hypothesis import strategies as st

from vallum.kernel.errors import IntegrityError, Invalid
from vallum.models.attestations import (
    APPROVAL,
    DEPENDENCY_SCAN,
    MODEL_SCAN,
    PAYLOAD_TYPE,
    ROBUSTNESS,
    TRAINING_PROVENANCE,
    Approval,
    AttestationRefused,
    DependencyScan,
    Material,
    ModelScan,
    Robustness,
    Statement,
    Subject,
    TrainingRun,
    Vulnerability,
    add_signature,
    encode_statement,
    key_id,
    open_envelope,
    parse_statement,
    pre_authentication_encoding,
    read_approval,
    read_dependency_scan,
    read_model_scan,
    read_robustness,
    read_training,
    sign_statement,
    statement_of,
    unverified_statement,
    verify_envelope,
)

SHA = "ab" * 32
SUBJECT = Subject("weights.safetensors", {"sha256": SHA})
KEYS = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
TRUSTED = {name: key.public_key() for name, key in KEYS.items()}
AT = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
SAID = (
    TrainingRun(
        run="run_1",
        builder="urn:vallum:sandbox:1",
        started_at=AT,
        finished_at=AT + timedelta(hours=2),
        parameters={"epochs": 3, "rate": 0.1},
        environment={"image": "x"},
        materials=(Material("data:set/7", {"sha256": SHA}),),
    ),
    ModelScan(verdict="pass", scanner="vallum", version="0.1.0", passed=("weights.safetensors",)),
    ModelScan(
        verdict="block",
        scanner="vallum",
        version="0.1.0",
        reviewed=("script a.py",),
        blocked=("pickle-dangerous-global m.pkl",),
    ),
    DependencyScan(
        scanner="urn:vallum:dependencies",
        version="0.1.0",
        database="osv:PyPI",
        database_updated_at=AT,
        started_at=AT,
        finished_at=AT,
        vulnerabilities=(Vulnerability("GHSA-1", "torch", "2.0.0", 9.8), Vulnerability("PYSEC-2", "numpy", "1.0")),
        cannot_tell=("x: git",),
    ),
    Robustness(
        attack="fgsm",
        metric="accuracy",
        measured=0.81,
        needed=0.8,
        conditions={"epsilon": 0.03},
        evidence=Material("file:r", {"sha256": SHA}),
    ),
    Approval(approver="urn:vallum:person:ada", purpose="prod", at=AT, reason="figures looked at"),
)
READ = {
    TrainingRun: read_training,
    ModelScan: read_model_scan,
    DependencyScan: read_dependency_scan,
    Robustness: read_robustness,
    Approval: read_approval,
}


def statement(**predicate):
    return Statement((SUBJECT,), "https://example.test/kind/v1", predicate or {"a": 1})


def envelope_of(payload, key="p256", payload_type=PAYLOAD_TYPE, **members):
    """As an attacker with a key of their own, or a careless tool, would write it."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signature = KEYS[key].sign(pre_authentication_encoding(payload_type, raw), ec.ECDSA(hashes.SHA256()))
    said = {
        "payload": base64.b64encode(raw).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(said | members).encode()


# Round trips.


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_what_is_said_comes_back(key, said):
    raw = sign_statement(statement_of((SUBJECT,), said), KEYS[key], key)
    opened = open_envelope(raw, TRUSTED)
    assert opened.signers == (key,)
    assert READ[type(said)](opened.statement) == said


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), plain, max_size=4))
def test_any_predicate_comes_back(predicate):
    said = Statement((SUBJECT,), "https://example.test/kind/v1", predicate)
    assert parse_statement(encode_statement(said)) == said
    assert verify_envelope(sign_statement(said, KEYS["ed25519"], "ed25519"), TRUSTED) == said


def test_the_pre_authentication_encoding_is_that_of_the_specification():
    # DSSE protocol v1.0.0's own test vector
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pre_authentication_encoding("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


# Several signatures.


def test_more_people_sign_the_same_bytes():
    raw = sign_statement(statement(), KEYS["p256"], "p256")
    both = add_signature(raw, KEYS["ed25519"], "ed25519")
    assert json.loads(both)["payload"] == json.loads(raw)["payload"]
    assert open_envelope(both, TRUSTED, threshold=2).signers == ("p256", "ed25519")
    with pytest.raises(AttestationRefused, match="1 signatures of the 2"):
        verify_envelope(raw, TRUSTED, threshold=2)
    with pytest.raises(Invalid, match="signed this already"):
        add_signature(both, KEYS["p256"], "p256")


def test_one_key_under_two_names_is_one_signer():
    raw = add_signature(sign_statement(statement(), KEYS["p256"], "ada"), KEYS["p256"], "bob")
    public = KEYS["p256"].public_key()
    with pytest.raises(AttestationRefused, match="twice"):
        verify_envelope(raw, {"ada": public, "bob": public}, threshold=2)


def test_a_strangers_signature_beside_a_good_one_is_refused():
    raw = add_signature(sign_statement(statement(), KEYS["p256"], "p256"), KEYS["p384"], "p384")
    with pytest.raises(AttestationRefused, match="nobody trusted"):
        verify_envelope(raw, {"p256": TRUSTED["p256"]})


def test_a_good_signature_moved_to_another_payload_is_refused():
    first = json.loads(sign_statement(statement(a=1), KEYS["p256"], "p256"))
    second = json.loads(sign_statement(statement(a=2), KEYS["p256"], "p256"))
    with pytest.raises(AttestationRefused, match="does not hold"):
        verify_envelope(json.dumps(first | {"signatures": second["signatures"]}).encode(), TRUSTED)


def test_no_keys_trust_nobody_and_a_threshold_of_none_is_refused():
    raw = sign_statement(statement(), KEYS["p256"], "p256")
    with pytest.raises(AttestationRefused):
        verify_envelope(raw, {})
    with pytest.raises(Invalid):
        verify_envelope(raw, TRUSTED, threshold=0)


def test_a_signature_without_a_key_id_is_tried_with_every_key():
    said = json.loads(sign_statement(statement(), KEYS["p384"], "p384"))
    del said["signatures"][0]["keyid"]
    assert open_envelope(json.dumps(said).encode(), TRUSTED).signers == ("p384",)


def test_a_key_of_another_kind_neither_signs_nor_verifies():
    with pytest.raises(Invalid):
        sign_statement(statement(), ec.generate_private_key(ec.SECP256K1()), "odd")
    weak = rsa.generate_private_key(65537, 2048)
    with pytest.raises(Invalid):
        sign_statement(statement(), weak, "rsa")
    with pytest.raises(Invalid):
        verify_envelope(sign_statement(statement(), KEYS["p256"], "p256"), {"p256": weak.public_key()})


# What somebody changed.


@pytest.mark.parametrize("key", ["p256", "ed25519"])
def test_every_single_bit_of_an_envelope_matters(key):
    raw = sign_statement(statement(), KEYS[key], key)
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(AttestationRefused):
            verify_envelope(bytes(changed), TRUSTED)


@given(st.binary(max_size=300))
def test_noise_is_refused_and_never_crashes(raw):
    with pytest.raises(AttestationRefused):
        verify_envelope(raw, TRUSTED)
    with pytest.raises(AttestationRefused):
        parse_statement(raw)
    with pytest.raises(AttestationRefused):
        unverified_statement(raw)


@given(plain)
def test_json_of_any_shape_is_refused_and_never_crashes(value):
    for place in ("payload", "payloadType", "signatures"):
        said = json.loads(sign_statement(statement(), KEYS["p256"], "p256")) | {place: value}
        with pytest.raises(AttestationRefused):
            verify_envelope(json.dumps(said).encode(), TRUSTED)
    assume(not (isinstance(value, str) and re.match("[A-Za-z][A-Za-z0-9+.-]*:[!-~]", value)))  # a URI is one
    for place in ("_type", "subject", "predicateType"):
        said = json.loads(encode_statement(statement())) | {place: value}
        with pytest.raises(AttestationRefused):
            parse_statement(json.dumps(said).encode())


@given(plain, st.sampled_from([TRAINING_PROVENANCE, MODEL_SCAN, DEPENDENCY_SCAN, ROBUSTNESS, APPROVAL]), st.data())
def test_predicates_of_any_shape_are_refused_and_never_crash(value, kind, data):
    good = {s.predicate_type: s.predicate for s in (statement_of((SUBJECT,), said) for said in SAID)}[kind]
    predicate = json.loads(json.dumps(good))
    name = data.draw(st.sampled_from(sorted(predicate)))
    predicate[name] = value
    for read in READ.values():
        try:
            read(Statement((SUBJECT,), kind, predicate))
        except AttestationRefused:
            continue


def refuse(raw, match):
    with pytest.raises(IntegrityError, match=match) as refused:
        verify_envelope(raw, TRUSTED)
    assert refused.value.code == "attestation_refused"


def test_hostile_envelopes_are_refused():
    good = sign_statement(statement(), KEYS["p256"], "p256")
    said = json.loads(good)
    signature = said["signatures"][0]
    refuse(good[:-1] + b',"payload":"AAAA"}', "twice")
    refuse(good.replace(b'"keyid"', b'"sig":"AAAA","keyid"'), "twice")
    refuse(b"[" * 100_000, "deeper")
    refuse(b'{"payload":' * 50_000, "deeper")
    refuse(b"\xef\xbb\xbf" + good, "not JSON")
    refuse(good.decode().encode("utf-16"), "UTF-8")
    refuse(json.dumps(said | {"extra": 1}).encode(), "nobody signed")
    refuse(json.dumps(said | {"signatures": [signature | {"cert": "x"}]}).encode(), "nobody signed")
    refuse(json.dumps(said | {"signatures": []}).encode(), "signatures")
    refuse(json.dumps(said | {"signatures": [signature] * 40}).encode(), "signatures")
    refuse(json.dumps(said | {"signatures": [signature, signature]}).encode(), "twice")
    refuse(json.dumps(said | {"payload": said["payload"] + "\n"}).encode(), "base64")
    refuse(json.dumps(said | {"payload": said["payload"].rstrip("=") + "*"}).encode(), "base64")
    refuse(json.dumps(said | {"payloadType": "application/json"}).encode(), "something else")


def test_a_payload_of_another_type_is_no_statement_though_it_is_signed():
    refuse(envelope_of(json.loads(encode_statement(statement())), payload_type="application/json"), "something else")
    # signed as one thing, presented as another
    confused = json.loads(envelope_of(json.loads(encode_statement(statement())), payload_type="text/plain"))
    refuse(json.dumps(confused | {"payloadType": PAYLOAD_TYPE}).encode(), "does not hold")


def test_base64_has_one_spelling():
    payload = encode_statement(statement())
    payload += b" " * (1 - len(payload) % 3 if len(payload) % 3 < 2 else 2)  # so that it ends in padding
    said = json.loads(envelope_of(payload))
    assert said["payload"].endswith("==")
    verify_envelope(json.dumps(said).encode(), TRUSTED)
    last = said["payload"][-3]
    other = chr(ord(last) + 1)  # another spelling of the same bytes
    respelled = said | {"payload": said["payload"][:-3] + other + "=="}
    assert base64.b64decode(respelled["payload"]) == payload
    refuse(json.dumps(respelled).encode(), "bits that say nothing")


def test_url_safe_base64_is_read_as_the_specification_allows():
    raw = encode_statement(statement(text="\u00fb?>~"))
    said = json.loads(envelope_of(raw))
    said["payload"] = base64.urlsafe_b64encode(raw).decode()
    said["signatures"][0]["sig"] = base64.urlsafe_b64encode(base64.b64decode(said["signatures"][0]["sig"])).decode()
    assert verify_envelope(json.dumps(said).encode(), TRUSTED).predicate == {"text": "\u00fb?>~"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "no in-toto"),
        ({"subject": []}, "subjects"),
        ({"subject": [{"name": "a", "digest": {}}]}, "digest"),
        ({"subject": [{"name": "a"}]}, "digest"),
        ({"subject": [{"name": "a", "digest": {"sha256": SHA.upper()}}]}, "hexadecimal"),
        ({"subject": [{"name": "a", "digest": {"sha256": SHA[:-1]}}]}, "hexadecimal"),
        ({"subject": [{"name": "a", "digest": {"sha256": SHA}}] * 2}, "once"),
        ({"predicateType": 7}, "URI"),
        ({"predicate": []}, "object"),
    ],
)
def test_statements_that_say_nothing_are_refused_though_they_are_signed(change, match):
    refuse(envelope_of(json.loads(encode_statement(statement())) | change), match)


def test_a_statement_that_says_a_thing_twice_is_refused_though_it_is_signed():
    raw = encode_statement(statement())
    refuse(envelope_of(raw[:-1] + b',"predicateType":"https://other.test/"}'), "twice")
    refuse(envelope_of(raw.replace(b'"a":1', b'"a":NaN')), "number")
    refuse(envelope_of(raw.replace(b'"a":1', b'"a":1e999')), "number")
    refuse(envelope_of(raw.replace(b'"a":1', b'"a":"\\ud800"')), "character")
    refuse(envelope_of(raw.replace(b'"a":1', b'"a":' + b"[" * 80 + b"]" * 80)), "deeper")


def test_what_cannot_be_read_is_not_written_either():
    for predicate in ({"a": float("nan")}, {"a": "\ud800"}, {"a": object()}, {"a": {1, 2}}):
        with pytest.raises(Invalid):
            encode_statement(statement(**predicate))


def test_a_subject_without_a_name_is_known_by_its_digest():
    said = json.loads(encode_statement(statement()))
    said["subject"] = [{"digest": {"gitCommit": "c" * 40}}, {"digest": {"gitCommit": "d" * 40}}]
    assert [one.name for one in parse_statement(json.dumps(said).encode()).subjects] == [
        "gitCommit:" + "c" * 40,
        "gitCommit:" + "d" * 40,
    ]


# What is said of another thing.


def test_an_attestation_of_another_version_is_refused():
    said = statement_of((SUBJECT,), SAID[1])
    said.require(MODEL_SCAN, SHA)
    with pytest.raises(AttestationRefused, match="something else"):
        said.require(MODEL_SCAN, "cd" * 32)
    with pytest.raises(AttestationRefused, match="not a"):
        said.require(APPROVAL, SHA)


def test_a_scan_that_contradicts_itself_is_neither_written_nor_read():
    for verdict, reviewed, blocked in (
        ("pass", ("x",), ()),
        ("pass", (), ("x",)),
        ("review", (), ("x",)),
        ("block", ("x",), ()),
    ):
        with pytest.raises(Invalid):
            statement_of(
                (SUBJECT,), ModelScan(verdict=verdict, scanner="s", version="1", reviewed=reviewed, blocked=blocked)
            )
    lie = dict(statement_of((SUBJECT,), SAID[2]).predicate) | {"result": "PASSED"}
    with pytest.raises(AttestationRefused, match="contradicted"):
        read_model_scan(Statement((SUBJECT,), MODEL_SCAN, lie))
    with pytest.raises(AttestationRefused, match="contradicted"):
        read_model_scan(Statement((SUBJECT,), MODEL_SCAN, lie | {"result": "passed"}))


def test_times_have_their_zone_and_are_kept_in_utc():
    with pytest.raises(Invalid):
        statement_of((SUBJECT,), Approval(approver="urn:a:b", purpose="prod", at=datetime(2026, 1, 1)))
    there = Approval(approver="urn:a:b", purpose="prod", at=AT.astimezone(timezone(timedelta(hours=2))))
    assert statement_of((SUBJECT,), there).predicate["timeCreated"] == "2026-11-21T12:30:00Z"
    for text in ("yesterday", "2026-01-01T00:00:00", ""):
        predicate = dict(statement_of((SUBJECT,), there).predicate) | {"timeCreated": text}
        with pytest.raises(AttestationRefused, match="time"):
            read_approval(Statement((SUBJECT,), APPROVAL, predicate))


def test_robustness_holds_only_at_what_was_needed():
    assert SAID[4].held
    assert not Robustness(attack="a", metric="m", measured=0.79, needed=0.8).held
    assert not Robustness(attack="a", metric="m", measured=float("nan"), needed=0.8).held
    with pytest.raises(Invalid):
        statement_of((SUBJECT,), Robustness(attack="a", metric="m", measured=1, needed=1, conditions={"needed": 0}))


# Other people's tools.


def theirs(key, keyid):
    from securesystemslib.signer import CryptoSigner, SSlibKey

    public = SSlibKey.from_crypto(key.public_key(), keyid=keyid)
    return CryptoSigner(key, public), public


@pytest.mark.parametrize("key", KEYS)
def test_securesystemslib_verifies_ours(key):
    dsse = pytest.importorskip("securesystemslib.dsse")
    raw = sign_statement(statement(), KEYS[key], key)
    envelope = dsse.Envelope.from_dict(json.loads(raw))
    assert envelope.pae() == pre_authentication_encoding(PAYLOAD_TYPE, encode_statement(statement()))
    assert list(envelope.verify([theirs(KEYS[key], key)[1]], 1)) == [key]


@pytest.mark.parametrize("key", KEYS)
def test_we_verify_what_securesystemslib_signed(key):
    dsse = pytest.importorskip("securesystemslib.dsse")
    envelope = dsse.Envelope(encode_statement(statement()), PAYLOAD_TYPE, {})
    envelope.sign(theirs(KEYS[key], key)[0])
    assert verify_envelope(json.dumps(envelope.to_dict()).encode(), TRUSTED) == statement()


def test_in_toto_reads_ours_and_we_read_theirs():
    pytest.importorskip("in_toto_attestation")
    from google.protobuf import json_format
    from in_toto_attestation.v1 import resource_descriptor_pb2, statement_pb2
    from in_toto_attestation.v1.statement import Statement as Theirs

    for said in SAID:
        parsed = json_format.Parse(encode_statement(statement_of((SUBJECT,), said)), statement_pb2.Statement())
        Theirs.copy_from_pb(parsed).validate()
        assert parsed.subject[0].digest["sha256"] == SHA
        assert READ[type(said)](parse_statement(json_format.MessageToJson(parsed).encode())) == said
    descriptor = resource_descriptor_pb2.ResourceDescriptor(name="a", uri="pkg:x", digest={"sha256": SHA})
    made = Theirs([descriptor], "https://example.test/kind/v1", {"a": "b"})
    made.validate()
    read = parse_statement(json_format.MessageToJson(made.pb).encode())
    assert read == Statement((Subject("a", {"sha256": SHA}),), "https://example.test/kind/v1", {"a": "b"})


def test_in_toto_validates_our_predicates():
    pytest.importorskip("in_toto_attestation")
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.predicates.scai.v0 import scai_pb2
    from in_toto_attestation.predicates.scai.v0.scai import (
        SCAI_PREDICATE_TYPE,
        SCAI_PREDICATE_VERSION,
        AttributeAssertion,
    )
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2

    def parsed(said, message):
        predicate = json.loads(encode_statement(statement_of((SUBJECT,), said)))["predicate"]
        return json_format.ParseDict(predicate, message)

    provenance = parsed(SAID[0], provenance_pb2.Provenance())
    assert provenance.build_definition.resolved_dependencies[0].digest["sha256"] == SHA
    assert provenance.run_details.metadata.started_on.ToJsonString() == "2026-11-21T12:30:00Z"
    report = parsed(SAID[4], scai_pb2.AttributeReport())
    for one in report.attributes:
        AttributeAssertion.copy_from_pb(one).validate()
    assert report.attributes[0].attribute == "ROBUST_AGAINST_fgsm"
    assert ROBUSTNESS == SCAI_PREDICATE_TYPE + SCAI_PREDICATE_VERSION
    assert parsed(SAID[1], test_result_pb2.TestResult()).passed_tests == ["weights.safetensors"]


def test_a_keys_name_is_that_of_signatures_of_models():
    from vallum.models.signing.bundle import _hint

    assert key_id(TRUSTED["p256"]) == _hint(TRUSTED["p256"])
