"""Passkeys, with an authenticator written out here, so that each thing it signs can be made wrong."""

import json
import os
import struct
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_encode

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.identity import Identity, Passwords, SignInRefused, VerifiedSignIn

URL = "https://vallum.example:8443"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


class Authenticator:
    def __init__(self, rp_id="vallum.example", origin=URL):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(32)
        self.count = 0
        self.rp_id, self.origin = rp_id, origin
        self.flags = PRESENT | VERIFIED

    def create(self, public_key, **changes):
        return self._answer(public_key, "webauthn.create", self._attested(), **changes)

    def get(self, public_key, user=None, **changes):
        self.count += 1
        return self._answer(public_key, "webauthn.get", b"", user=user, **changes)

    def _attested(self):
        public = dict(ES256.from_cryptography_key(self.key.public_key()))
        return b"\0" * 16 + struct.pack(">H", len(self.id)) + self.id + cbor.encode(public)

    def _answer(self, public_key, kind, attested, user=None, **changes):
        client = {"type": kind, "challenge": public_key["challenge"], "origin": self.origin, "crossOrigin": False}
        client_data = json.dumps({**client, **changes}).encode()
        flags = self.flags | (ATTESTED if attested else 0)
        auth = sha256(self.rp_id.encode()).digest() + bytes([flags]) + struct.pack(">I", self.count) + attested
        response = {"clientDataJSON": websafe_encode(client_data)}
        if attested:
            response["attestationObject"] = websafe_encode(
                cbor.encode({"fmt": "none", "attStmt": {}, "authData": auth})
            )
        else:
            signature = self.key.sign(auth + sha256(client_data).digest(), ec.ECDSA(SHA256()))
            response |= {"authenticatorData": websafe_encode(auth), "signature": websafe_encode(signature)}
            if user is not None:
                response["userHandle"] = websafe_encode(user.encode())
        return {"id": websafe_encode(self.id), "rawId": websafe_encode(self.id), "type": "public-key",
                "response": response, "clientExtensionResults": {}}  # fmt: skip


@pytest.fixture
def identity(records, keyring, clock):
    from argon2 import PasswordHasher

    return Identity.open(records, keyring, clock, "test.example/ledger", Passwords(PasswordHasher(1, 8, 1)), url=URL)


@pytest.fixture
def ada(enrol):
    return enrol("ada").person


@pytest.fixture
def register(identity, records):
    def _register(person, device, label="laptop"):
        challenge = identity.passkeys.begin_registration(person.id, person.name)
        verified = identity.passkeys.check_registration(person.id, challenge.state, device.create(challenge.public_key))
        with records.write() as conn:
            return identity.passkeys.register(conn, verified, label)

    return _register


@pytest.fixture
def sign_in_with(identity, records):
    def _sign_in(device, **changes):
        challenge = identity.passkeys.begin_sign_in()
        proof = identity.passkeys.check_sign_in(challenge.state, device.get(challenge.public_key, **changes))
        with records.write() as conn:
            return identity.sessions.open(conn, VerifiedSignIn(proof))

    return _sign_in


def test_a_passkey_signs_in_by_itself(identity, ada, register, sign_in_with):
    device = Authenticator()
    made = register(ada, device)
    issued = sign_in_with(device, user=ada.id)
    assert (issued.session.person_id, issued.session.method) == (ada.id, "passkey")
    assert [(p.label, p.last_used_at is not None) for p in identity.passkeys.list(ada.id)] == [("laptop", True)]
    assert made.person_id == ada.id


def test_the_challenge_asks_for_what_is_checked(identity, ada):
    options = identity.passkeys.begin_registration(ada.id, "ada").public_key
    assert options["rp"] == {"name": "Vallum", "id": "vallum.example"}
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["authenticatorSelection"]["residentKey"] == "required"
    signing_in = identity.passkeys.begin_sign_in().public_key
    assert (signing_in["userVerification"], signing_in.get("allowCredentials")) == ("required", None)
    json.dumps([options, signing_in])


def test_several_a_person_and_each_of_one_person(identity, ada, enrol, register, sign_in_with):
    eve = enrol("eve").person
    phone, laptop = Authenticator(), Authenticator()
    register(ada, phone, "phone")
    register(ada, laptop, "laptop")
    assert len(identity.passkeys.list(ada.id)) == 2
    assert sign_in_with(laptop).session.person_id == ada.id
    with pytest.raises(Conflict, match="already"):
        register(eve, phone)
    with pytest.raises(SignInRefused):
        sign_in_with(phone, user=eve.id)  # her device claims another user's handle


def test_an_answer_works_once(identity, records, ada, register):
    device = Authenticator()
    register(ada, device)
    challenge = identity.passkeys.begin_sign_in()
    answer = device.get(challenge.public_key)
    first = identity.passkeys.check_sign_in(challenge.state, answer)
    again = identity.passkeys.check_sign_in(challenge.state, answer)
    with records.write() as conn:
        identity.sessions.open(conn, VerifiedSignIn(first))
    with pytest.raises(SignInRefused), records.write() as conn:
        identity.sessions.open(conn, VerifiedSignIn(again))


def test_a_clone_is_found_by_its_counter(ada, register, sign_in_with):
    device = Authenticator()
    register(ada, device)
    sign_in_with(device)
    sign_in_with(device)
    device.count -= 2  # a copy made before, used now
    with pytest.raises(SignInRefused):
        sign_in_with(device)


def test_a_device_without_a_counter_is_taken_as_it_is(ada, register, sign_in_with):
    device = Authenticator()
    register(ada, device)
    for _ in range(3):
        device.count = -1
        sign_in_with(device)


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://vallum.example"},  # without the port
        {"origin": "https://evil.vallum.example:8443"},
        {"origin": "http://vallum.example:8443"},
        {"origin": "https://vallum.example.evil:8443"},
        {"rp_id": "evil.example"},
        {"flags": PRESENT},  # nobody verified the user: a found phone
        {"flags": VERIFIED},
        {"flags": 0},
    ],
)
def test_what_is_not_signed_for_here_is_refused(identity, ada, register, sign_in_with, wrong):
    device = Authenticator()
    register(ada, device)
    vars(device).update(wrong)
    with pytest.raises(SignInRefused):
        sign_in_with(device)
    other = Authenticator()
    vars(other).update(wrong)
    with pytest.raises(SignInRefused):
        register(ada, other)


def test_other_types_challenges_and_keys_are_refused(identity, ada, register, sign_in_with):
    device = Authenticator()
    register(ada, device)
    challenge = identity.passkeys.begin_sign_in()
    for changes in (
        {"type": "webauthn.create"},
        {"challenge": websafe_encode(b"x" * 32)},
        {"type": "payment.get"},
        {"crossOrigin": True},
        {"topOrigin": "https://evil.example"},
    ):
        with pytest.raises(SignInRefused):
            identity.passkeys.check_sign_in(challenge.state, device.get(challenge.public_key, **changes))
    registration = identity.passkeys.begin_registration(ada.id, "ada")
    with pytest.raises(SignInRefused):  # one kind of challenge for another
        identity.passkeys.check_sign_in(registration.state, device.get(registration.public_key))
    impostor = Authenticator()
    impostor.id = device.id
    with pytest.raises(SignInRefused):
        sign_in_with(impostor)
    with pytest.raises(SignInRefused):
        sign_in_with(Authenticator())


def test_a_challenge_is_over_after_minutes_and_is_of_one_person(identity, ada, enrol, clock):
    device = Authenticator()
    challenge = identity.passkeys.begin_registration(ada.id, "ada")
    with pytest.raises(SignInRefused):
        identity.passkeys.check_registration(
            enrol("eve").person.id, challenge.state, device.create(challenge.public_key)
        )
    clock.pass_(400)
    with pytest.raises(SignInRefused):
        identity.passkeys.check_registration(ada.id, challenge.state, device.create(challenge.public_key))


@pytest.mark.parametrize(
    "noise",
    [{}, {"id": 1}, {"id": "", "rawId": "", "type": "public-key", "response": {}}, {"rawId": "AAAA", "response": []},
     {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "!!", "authenticatorData": "A"}}],
)  # fmt: skip
def test_noise_is_refused(identity, ada, noise):
    state = identity.passkeys.begin_sign_in().state
    with pytest.raises(SignInRefused):
        identity.passkeys.check_sign_in(state, noise)
    with pytest.raises(SignInRefused):
        identity.passkeys.check_sign_in("", noise)
    state = identity.passkeys.begin_registration(ada.id, "ada").state
    with pytest.raises(SignInRefused):
        identity.passkeys.check_registration(ada.id, state, noise)


def test_mangled_answers_are_refused_and_never_crash(identity, ada, register):
    """Each byte string of an answer cut, flipped and replaced by other CBOR."""
    device = Authenticator()
    register(ada, device)
    for method, begin, check in (
        ("get", identity.passkeys.begin_sign_in, identity.passkeys.check_sign_in),
        (
            "create",
            lambda: identity.passkeys.begin_registration(ada.id, "ada"),
            lambda state, answer: identity.passkeys.check_registration(ada.id, state, answer),
        ),
    ):
        challenge = begin()
        answer = getattr(device, method)(challenge.public_key)
        for field, value in answer["response"].items():
            for changed in ("", value[:10], value[:-8], "_" * 40, value[::-1], websafe_encode(cbor.encode({1: [2]}))):
                try:
                    check(challenge.state, {**answer, "response": {**answer["response"], field: changed}})
                except SignInRefused:
                    continue
                raise AssertionError((method, field, changed))


def test_cbor_that_nests_deeply_is_refused(identity, ada, register):
    device = Authenticator()
    register(ada, device)
    challenge = identity.passkeys.begin_sign_in()
    answer = device.get(challenge.public_key)
    deep = sha256(b"vallum.example").digest() + b"\x85" + b"\0" * 4 + b"\x81" * 5000
    answer["response"]["authenticatorData"] = websafe_encode(deep)
    with pytest.raises(SignInRefused):
        identity.passkeys.check_sign_in(challenge.state, answer)


def test_a_removed_passkey_and_a_disabled_person_sign_in_no_more(identity, records, ada, enrol, register, sign_in_with):
    enrol("root")
    device, other = Authenticator(), Authenticator()
    made = register(ada, device)
    register(ada, other, "other")
    with pytest.raises(NotFound), records.write() as conn:
        identity.passkeys.remove(conn, made.id, "per_somebody_else")
    with records.write() as conn:
        identity.passkeys.remove(conn, made.id, ada.id)
    with pytest.raises(SignInRefused):
        sign_in_with(device)
    with records.write() as conn:
        identity.people.disable_person(conn, ada.id)
    with pytest.raises(SignInRefused):
        sign_in_with(other)


@pytest.mark.parametrize("url", ["https://127.0.0.1:8443", "https://[::1]:8443", ""])
def test_an_address_can_have_no_passkeys(records, keyring, clock, url):
    passkeys = Identity.open(records, keyring, clock, "test.example/ledger", url=url).passkeys
    with pytest.raises(Invalid, match=r"server\.public_url"):
        passkeys.begin_sign_in()


def test_labels_and_numbers_are_bounded(ada, register):
    for label in ("", " ", "x" * 101, "a\nb"):
        with pytest.raises(Invalid):
            register(ada, Authenticator(), label)
    for _ in range(20):
        register(ada, Authenticator())
    with pytest.raises(Conflict):
        register(ada, Authenticator())
