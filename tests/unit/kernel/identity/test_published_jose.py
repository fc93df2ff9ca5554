"""Published vectors for JWS and JWK, through `proofs`: Wycheproof's, and the cookbook of JOSE (RFC 7520).

Their payloads are sentences and single letters, where `proofs` reads claims. So that a refusal means the signature and
not the payload, the tests put a reader of any payload in the place of the reader of claims; all else is the project's.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from joserfc.jwt import Token

from vallum.kernel.errors import Invalid
from vallum.kernel.identity import proofs
from vallum.kernel.identity.proofs import ProofRefused, check_signature, parse_jwks, subject_of

VECTORS = Path(__file__).parents[3] / "vectors"
COOKBOOK = json.loads((VECTORS / "rfc7520" / "cookbook.json").read_text())
SIGNED = {test["section"]: test for test in COOKBOOK["signed"]}
ASYMMETRIC = ("4.1", "4.2", "4.3")  # RS256, PS384, ES512; the others are HMACs, which prove nothing to anybody else

# Wycheproof gives these keys of RFC 7520 an `alg` that the RFC does not: PS256 where the token is PS384, and ES521,
# which there is not. Elsewhere in its set a key takes its own `alg` alone. They verify with the RFC's own keys, below.
MISNAMED = {346, 347, 350, 351}


class Payloads:
    """Stands in for joserfc.jwt: verifies as it does, and takes any payload for claims."""

    @staticmethod
    def decode(token, key, registry):
        read = jws.deserialize_compact(token, key, registry=registry)
        return Token(read.headers(), {"payload": read.payload})


@pytest.fixture(autouse=True)
def any_payload(monkeypatch):
    monkeypatch.setattr(proofs, "jwt", Payloads)


def wycheproof(name, **counts):
    groups = json.loads((VECTORS / "wycheproof" / f"{name}.json").read_text())["groups"]
    assert Counter(test["result"] for group in groups for test in group["tests"]) == counts
    for group in groups:
        owner = group.get("public") or group["private"]
        for test in group["tests"]:
            token = test["jws"] if isinstance(test["jws"], str) else json.dumps(test["jws"])
            yield owner, test, token


def accepted(token, keys):
    try:
        return check_signature(token, keys)["payload"]
    except ProofRefused:
        return None


def said(test):
    return f"tcId {test['tcId']} ({test['comment']}), {test['result']}"


def test_wycheproofs_signatures():
    """Valid ones by shared secrets are refused like everything symmetric: who verifies could sign as well."""
    wrong, symmetric, asymmetric = [], 0, 0
    for key, test, token in wycheproof("json_web_signature", valid=46, invalid=355):
        right = test["result"] == "valid" and key["kty"] != "oct" and test["tcId"] not in MISNAMED
        asymmetric += right
        symmetric += test["result"] == "valid" and key["kty"] == "oct"
        if (accepted(token, [key]) is not None) is not right:
            wrong.append(said(test))
    assert wrong == []
    assert (asymmetric, symmetric) == (32, 10)


def test_wycheproofs_keys():
    wrong, took = [], []
    for owner, test, token in wycheproof("json_web_key", valid=5, invalid=21):
        right = test["result"] == "valid" and all(key["kty"] != "oct" for key in owner["keys"])
        if (accepted(token, owner["keys"]) is not None) is not right:
            wrong.append(said(test))
        try:
            registered = parse_jwks(owner)  # what a service would have to get past first
        except Invalid:
            registered = ()
        if (accepted(token, registered) is not None) is not right:
            wrong.append(f"{said(test)}, once registered")
        if right:
            took.append(test["tcId"])
    assert wrong == []
    assert took == [5]


def test_private_and_symmetric_keys_are_never_registered():
    for name, counts in (
        ("json_web_key", {"valid": 5, "invalid": 21}),
        ("json_web_signature", {"valid": 46, "invalid": 355}),
    ):
        for owner, test, _ in wycheproof(name, **counts):
            keys = owner.get("keys", [owner])
            if any(key["kty"] == "oct" or "d" in key for key in keys):
                with pytest.raises(Invalid):
                    parse_jwks({"keys": keys})
                    pytest.fail(said(test))


@pytest.mark.parametrize("section", ASYMMETRIC)
def test_the_cookbooks_signatures_and_their_variants(section):
    test = SIGNED[section]
    key = COOKBOOK["keys"][test["key"]]
    payload = urlsafe_b64decode(COOKBOOK["payload"] + "==")
    assert accepted(test["compact"], [key]) == payload
    assert accepted(test["compact"], parse_jwks({"keys": [key]})) == payload
    header, body, signature = test["compact"].split(".")
    assert test["general"]["signatures"][0]["signature"] == test["flattened"]["signature"] == signature
    for variant in (
        json.dumps(test["general"]), json.dumps(test["flattened"]),  # compact is all that is spoken here
        f"{header}..{signature}", f"{header}.{body}.", f"{header}.{body}", f".{body}.{signature}",
        f"{header}.{body}.{signature}.", f"{body}.{header}.{signature}",
    ):  # fmt: skip
        assert accepted(variant, [key]) is None
    others = [known for name, known in COOKBOOK["keys"].items() if name != test["key"]]
    assert accepted(test["compact"], others) is None
    assert accepted(test["compact"], [{**key, "kid": "frodo.baggins@hobbiton.example"}]) is None


def test_the_cookbooks_hmacs_and_encrypted_tokens_are_refused():
    every = list(COOKBOOK["keys"].values())
    hmacs = [test["compact"] for section, test in SIGNED.items() if section not in ASYMMETRIC and "compact" in test]
    encrypted = [test["compact"] for test in COOKBOOK["encrypted"]]
    whole = [json.dumps(test[form]) for test in SIGNED.values() for form in ("general", "flattened") if form in test]
    assert (len(hmacs), len(encrypted), len(whole)) == (1, 9, 13)
    for token in hmacs + encrypted + whole:
        assert accepted(token, every) is None
        assert subject_of(token) == ""


ALGORITHMS = [
    "none", "None", "nOnE", "", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "Ed448", "A256KW", "dir", None, 5, ["RS256"],
]  # fmt: skip


def encoded(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("section", ASYMMETRIC)
def test_no_other_algorithm_takes_a_cookbook_signature(section):
    test = SIGNED[section]
    key = COOKBOOK["keys"][test["key"]]
    header, body, signature = test["compact"].split(".")
    named = json.loads(urlsafe_b64decode(header + "=="))
    for alg in ALGORITHMS:
        if alg != named["alg"]:
            changed = encoded(json.dumps({**named, "alg": alg}).encode())
            assert accepted(f"{changed}.{body}.{signature}", [key]) is None, alg
            assert accepted(f"{changed}.{body}.", [key]) is None, alg


@pytest.mark.parametrize("section", ASYMMETRIC)
def test_a_public_key_is_no_secret_to_sign_with(section):
    """Algorithm confusion: an HMAC with what everybody knows of the key."""
    test = SIGNED[section]
    jwk = COOKBOOK["keys"][test["key"]]
    key = {"RSA": RSAKey, "EC": ECKey}[jwk["kty"]].import_key(jwk)
    public = key.public_key
    secrets = [
        json.dumps(jwk).encode(),
        json.dumps(jwk, separators=(",", ":")).encode(),
        key.thumbprint().encode(),
        b"",
    ]
    secrets += [public.public_bytes(form, PublicFormat.SubjectPublicKeyInfo) for form in (Encoding.PEM, Encoding.DER)]
    secrets += [urlsafe_b64decode(jwk[name] + "==") for name in ("n", "x", "y") if name in jwk]
    body = test["compact"].split(".")[1]
    for alg, digest in (("HS256", SHA256()), ("HS384", SHA384()), ("HS512", SHA512())):
        signed = f"{encoded(json.dumps({'alg': alg, 'kid': jwk['kid']}).encode())}.{body}"
        for secret in secrets:
            mac = HMAC(secret, digest)
            mac.update(signed.encode())
            assert accepted(f"{signed}.{encoded(mac.finalize())}", [jwk]) is None


PARTS = [(section, part) for section in ASYMMETRIC for part in range(3)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture is the same for every example
@given(st.sampled_from(PARTS), st.data())
def test_any_flipped_bit_and_any_truncation_is_refused(which, data):
    section, part = which
    test = SIGNED[section]
    key = COOKBOOK["keys"][test["key"]]
    parts = test["compact"].split(".")
    raw = urlsafe_b64decode(parts[part] + "==")
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    for changed in (encoded(bytes(flipped)), encoded(raw[: bit // 8])):
        assert accepted(".".join([*parts[:part], changed, *parts[part + 1 :]]), [key]) is None
    assert accepted(test["compact"][: data.draw(st.integers(0, len(test["compact"]) - 1))], [key]) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ASYMMETRIC), st.integers(0, 2000), st.sampled_from(" \n\t=*+/?#%.\0\u00e9A"))
def test_any_character_put_in_is_refused(section, place, char):
    test = SIGNED[section]
    token = test["compact"]
    place %= len(token) + 1
    assert accepted(token[:place] + char + token[place:], [COOKBOOK["keys"][test["key"]]]) is None


@pytest.mark.parametrize("section", ASYMMETRIC)
def test_a_signature_has_one_spelling(section):
    """What base64 leaves over at the end is zeros, or one signature would be many texts."""
    test = SIGNED[section]
    token, letters = test["compact"], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    fits = [char for char in letters if accepted(token[:-1] + char, [COOKBOOK["keys"][test["key"]]]) is not None]
    assert fits == [token[-1]]
