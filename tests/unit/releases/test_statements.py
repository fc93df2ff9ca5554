"""Statements hold or do not: any bit, another key, another kind."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vallum.releases import ReleaseBroken
from vallum.releases.statements import DEPLOYMENT, EVIDENCE, Subject, sign_statement, verify_statement

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(b"\1" * 32), Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
SUBJECTS = [Subject("release:p", {"sha256": "0" * 64})]
SIGNED = sign_statement(KEY, EVIDENCE, SUBJECTS, {"passed": True})


def test_signed_is_verified_and_the_same_every_time():
    statement = verify_statement(KEY.public_key(), EVIDENCE, SIGNED)
    assert statement.subject == tuple(SUBJECTS)
    assert json.loads(bytes(statement.predicate)) == {"passed": True}
    assert sign_statement(KEY, EVIDENCE, SUBJECTS, {"passed": True}) == SIGNED


def test_the_envelope_is_dsse_as_others_read_it():
    """Verified here by the specification's own text, not by our functions."""
    envelope = json.loads(SIGNED)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    assert kind == "application/vnd.in-toto+json"
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    KEY.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 7))
def test_no_bit_may_change(at, bit):
    flipped = bytearray(SIGNED)
    flipped[at] ^= 1 << bit
    with pytest.raises(ReleaseBroken):
        verify_statement(KEY.public_key(), EVIDENCE, bytes(flipped))


def test_another_key_another_kind_and_noise():
    with pytest.raises(ReleaseBroken, match="another key"):
        verify_statement(OTHER.public_key(), EVIDENCE, SIGNED)
    with pytest.raises(ReleaseBroken, match="another kind"):
        verify_statement(KEY.public_key(), DEPLOYMENT, SIGNED)
    envelope = json.loads(SIGNED)
    twice = {**envelope, "signatures": envelope["signatures"] * 2}
    none = {**envelope, "signatures": []}
    plain = {**envelope, "payloadType": "application/json"}
    for bad in (twice, none, plain, {}, {**envelope, "extra": 1}):
        with pytest.raises(ReleaseBroken):
            verify_statement(KEY.public_key(), EVIDENCE, json.dumps(bad).encode())
    for noise in (b"", b"null", b"[" * 10_000, b"\xff", b"x" * (9 << 20)):
        with pytest.raises(ReleaseBroken):
            verify_statement(KEY.public_key(), EVIDENCE, noise)
