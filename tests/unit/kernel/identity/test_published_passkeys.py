"""The test vectors of WebAuthn level 3 (section 16), through `Passkeys`.

Two things that the vectors vary decide here: whether the user was verified (section 6.1), which a passkey by itself
needs, and whether another site's page was around it. So a part of them is refused; that nothing else is wrong with
those is seen by asking fido2 for what `Passkeys` does not allow.
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fido2 import cbor
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, PublicKeyCredentialRpEntity
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from vallum.kernel.identity import SignInRefused
from vallum.kernel.identity import records as table
from vallum.kernel.identity.passkeys import Passkeys
from vallum.kernel.store.records import Records, metadata

VECTORS = Path(__file__).parents[3] / "vectors"
LEVEL3 = json.loads((VECTORS / "webauthn" / "level3.json").read_text())
NAMED = {vector["name"]: vector for vector in LEVEL3["vectors"]}

VERIFIED_TO_REGISTER = {
    "packed-self.ES256",
    "packed.ES256",
    "packed.ES512",
    "packed.RS256",
    "tpm.ES256",
    "android-key.ES256",
}
VERIFIED_TO_SIGN_IN = {"none.ES256.long-credential-id", "packed.ES256", "packed.ES384", "tpm.ES256"}
FRAMED = {"none.ES256.crossOrigin", "none.ES256.topOrigin"}
NO_ALGORITHM_HERE = {"packed.Ed448"}


class Statements:
    """Stands in for the server's signed tokens, which would name a challenge of its own."""

    def __init__(self, challenge):
        self._claims = {"challenge": websafe_encode(challenge), "sub": "per_ada", "jti": "once", "exp": 0}

    def read(self, kind, token):
        return self._claims


class Unused:
    """A clock and a database that are not asked."""

    def __getattr__(self, name):
        raise AssertionError(name)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    opened = Records(f"sqlite:///{tmp_path_factory.mktemp('passkeys') / 'records.db'}")
    with opened.write() as conn:
        metadata.create_all(conn)
        for number, vector in enumerate(LEVEL3["vectors"]):
            values = {
                "id": f"pky_{number}", "person_id": "per_ada", "label": vector["name"], "sign_count": 0,
                "credential_id": bytes.fromhex(vector["credentialId"]), "credential": bytes(attested(vector)),
                "backed_up": 0, "created_at": "2026-05-04T12:00:00.000Z",
            }  # fmt: skip
            conn.execute(insert(table.passkeys).values(values))
    yield opened
    opened.close()


def attested(vector):
    return authenticator_data(vector).credential_data


def authenticator_data(vector):
    return AttestationObject(bytes.fromhex(vector["registration"]["attestationObject"])).auth_data


def answer(vector, **parts):
    id_ = websafe_encode(bytes.fromhex(vector["credentialId"]))
    return {"id": id_, "rawId": id_, "type": "public-key", "clientExtensionResults": {},
            "response": {name: websafe_encode(part) for name, part in parts.items()}}  # fmt: skip


def parts_of(vector, ceremony):
    return {name: bytes.fromhex(text) for name, text in vector[ceremony].items() if name != "challenge"}


def register(vector, **changes):
    challenge = bytes.fromhex(vector["registration"]["challenge"])
    passkeys = Passkeys(Unused(), Statements(challenge), Unused(), LEVEL3["origin"])
    return passkeys.check_registration("per_ada", "", answer(vector, **{**parts_of(vector, "registration"), **changes}))


def sign_in(records, vector, **changes):
    challenge = bytes.fromhex(vector["authentication"]["challenge"])
    passkeys = Passkeys(records, Statements(challenge), Unused(), LEVEL3["origin"])
    return passkeys.check_sign_in("", answer(vector, **{**parts_of(vector, "authentication"), **changes}))


def lenient(vector, ceremony):
    """fido2's state and server, for which the user need not have been verified and frames do not matter."""
    server = Fido2Server(PublicKeyCredentialRpEntity(id=LEVEL3["rp_id"], name="W3C"))
    challenge = websafe_encode(bytes.fromhex(vector[ceremony]["challenge"]))
    return server, {"challenge": challenge, "user_verification": None}


def test_the_vectors_are_those_that_the_specification_derives():
    """Every random value is HKDF-SHA-256 of one seed, the vector's name and the value's number."""

    def derived(vector, number, length):
        kdf = HKDF(SHA256(), length, salt=bytes([number]), info=vector["name"].encode())
        return kdf.derive(b"WebAuthn test vectors").hex()

    assert len(NAMED) == 15
    for vector in LEVEL3["vectors"]:
        registered, signed = vector["registration"]["challenge"], vector["authentication"]["challenge"]
        assert derived(vector, 0, len(registered) // 2) == registered
        assert signed in {derived(vector, number, len(signed) // 2) for number in range(2, 14)}
        id_ = vector["credentialId"]
        assert id_ in {derived(vector, number, len(id_) // 2) for number in range(2, 7)}
        assert authenticator_data(vector).rp_id_hash == sha256(LEVEL3["rp_id"].encode()).digest()


@pytest.mark.parametrize("name", NAMED)
def test_registration(name):
    vector = NAMED[name]
    assert authenticator_data(vector).is_user_verified() == (name in VERIFIED_TO_REGISTER | {"none.ES256.crossOrigin"})
    if name in VERIFIED_TO_REGISTER:
        made = register(vector)
        assert made.credential_id.hex() == vector["credentialId"]
        assert made.credential == bytes(attested(vector))
    else:
        with pytest.raises(SignInRefused):
            register(vector)
    server, state = lenient(vector, "registration")
    assert server.register_complete(state, answer(vector, **parts_of(vector, "registration")))


@pytest.mark.parametrize("name", NAMED)
def test_sign_in(records, name):
    vector = NAMED[name]
    said = parts_of(vector, "authentication")
    verified = AuthenticatorData(said["authenticatorData"]).is_user_verified()
    assert verified == (name in VERIFIED_TO_SIGN_IN | FRAMED | NO_ALGORITHM_HERE)
    if name in VERIFIED_TO_SIGN_IN:
        proof = sign_in(records, vector)
        assert proof.person_id == "per_ada"
    elif name not in NO_ALGORITHM_HERE:  # such a key is refused when it is registered
        with pytest.raises(SignInRefused):
            sign_in(records, vector)
    server, state = lenient(vector, "authentication")
    known = [attested(vector)]
    assert server.authenticate_complete(state, known, answer(vector, **said)).credential_id == known[0].credential_id


def test_an_algorithm_that_is_not_offered_registers_nobody():
    """Ed448's vector with the bit that says that the user was verified: what is refused then is its algorithm."""
    assert register(*unattested(attested(NAMED["packed.ES384"])))
    with pytest.raises(SignInRefused, match="holds no key"):
        register(*unattested(attested(NAMED["packed.Ed448"])))


@pytest.mark.parametrize("change", ["roca", "short"])
def test_rsa_keys_that_anybody_can_factor_register_nobody(change):
    held = attested(NAMED["packed.RS256"])
    public = dict(held.public_key)
    if change == "roca":
        groups = json.loads((VECTORS / "wycheproof" / "json_web_key.json").read_text())["groups"]
        (jwk,) = next(group["public"]["keys"] for group in groups if group["comment"] == "jws_rsa_roca_key")
        public[-1] = websafe_decode(jwk["n"])
    else:
        public[-1] = b"\xff" * 128
    bad = AttestedCredentialData(bytes(held)[:18] + held.credential_id + cbor.encode(public))
    assert register(*unattested(held))
    with pytest.raises(SignInRefused, match="holds no key"):
        register(*unattested(bad))


def unattested(held):
    """A vector with this credential and the user verified, as a device makes one that says nothing about itself."""
    vector = NAMED["packed.ES256"]
    data = AuthenticatorData.create(sha256(LEVEL3["rp_id"].encode()).digest(), 0x45, 0, held)
    changed = {**vector, "credentialId": held.credential_id.hex()}
    made = AttestationObject.create("none", data, {})
    changed["registration"] = {**vector["registration"], "attestationObject": bytes(made).hex()}
    return (changed,)


def flipped(text, bit):
    return text[: bit // 8] + bytes([text[bit // 8] ^ 1 << bit % 8]) + text[bit // 8 + 1 :]


@settings(max_examples=150)
@given(st.sampled_from(sorted(VERIFIED_TO_SIGN_IN)), st.data())
def test_any_flipped_bit_and_any_truncation_of_a_sign_in_is_refused(records, name, data):
    said = parts_of(NAMED[name], "authentication")
    part = data.draw(st.sampled_from(sorted(said)))
    bit = data.draw(st.integers(0, 8 * len(said[part]) - 1))
    for changed in (flipped(said[part], bit), said[part][: bit // 8]):
        with pytest.raises(SignInRefused):
            sign_in(records, NAMED[name], **{part: changed})


def test_a_sign_in_answers_its_own_challenge_with_its_own_key(records):
    for name in sorted(VERIFIED_TO_SIGN_IN):
        for other in NAMED.values():
            if other["name"] != name:
                with pytest.raises(SignInRefused):
                    sign_in(records, {**other, "authentication": NAMED[name]["authentication"]})
                swapped = {**NAMED[name]["authentication"], "challenge": other["authentication"]["challenge"]}
                with pytest.raises(SignInRefused):
                    sign_in(records, {**NAMED[name], "authentication": swapped})


@given(st.sampled_from(sorted(VERIFIED_TO_REGISTER)), st.data())
def test_a_registration_cut_anywhere_is_refused(name, data):
    said = parts_of(NAMED[name], "registration")
    part = data.draw(st.sampled_from(sorted(said)))
    with pytest.raises(SignInRefused):
        register(NAMED[name], **{part: said[part][: data.draw(st.integers(0, len(said[part]) - 1))]})


@pytest.mark.parametrize("name", sorted(VERIFIED_TO_REGISTER))
def test_an_attestation_cut_at_every_byte_is_refused(name):
    said = parts_of(NAMED[name], "registration")
    for size in range(len(said["attestationObject"])):
        with pytest.raises(SignInRefused):
            register(NAMED[name], attestationObject=said["attestationObject"][:size])


@pytest.mark.parametrize("name", sorted(VERIFIED_TO_REGISTER))
def test_a_registration_for_somebody_or_something_else_is_refused(name):
    said = parts_of(NAMED[name], "registration")
    client = json.loads(said["clientDataJSON"])
    for changes in (
        {"type": "webauthn.get"}, {"challenge": client["challenge"][::-1]}, {"crossOrigin": True},
        {"topOrigin": "https://example.com"}, {"origin": "https://example.com"}, {"origin": "https://sub.example.org"},
        {"origin": "http://example.org"}, {"origin": "https://example.org:8443"}, {"origin": "https://example.org.example"},
    ):  # fmt: skip
        with pytest.raises(SignInRefused):
            register(NAMED[name], clientDataJSON=json.dumps({**client, **changes}).encode())
    at = said["attestationObject"].index(sha256(LEVEL3["rp_id"].encode()).digest())
    for byte in range(32):
        with pytest.raises(SignInRefused):
            register(NAMED[name], attestationObject=flipped(said["attestationObject"], 8 * (at + byte) + byte % 8))
    for bit in (0, 2, 6):  # present, verified, attested
        with pytest.raises(SignInRefused):
            register(NAMED[name], attestationObject=flipped(said["attestationObject"], 8 * (at + 32) + bit))
