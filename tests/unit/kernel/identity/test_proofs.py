"""Assertions and DPoP proofs: the right one, and everything an attacker makes of it."""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from vallum.kernel.errors import Invalid
from vallum.kernel.identity.proofs import ProofRefused, check_assertion, check_dpop, parse_jwks, subject_of

NOW = 1_780_000_000.0
HERE = "https://vallum.example/api/v1/tokens"
KEYS = {
    "Ed25519": OKPKey.generate_key("Ed25519"),
    "ES256": ECKey.generate_key("P-256"),
    "ES384": ECKey.generate_key("P-384"),
    "PS256": RSAKey.generate_key(2048),
}
OTHER = OKPKey.generate_key("Ed25519")
RSA_1024 = {  # made once, since today's libraries make none so short
    "kty": "RSA", "e": "AQAB", "n": urlsafe_b64encode((2**1023 + 1155).to_bytes(128, "big")).rstrip(b"=").decode(),
}  # fmt: skip


def public(key, **more):
    return {**key.as_dict(private=False), **more}


def jwks(*keys):
    return parse_jwks({"keys": [public(key) for key in keys]})


def claims(**changes):
    said = {"iss": "svc_1", "sub": "svc_1", "aud": HERE, "jti": "once", "iat": int(NOW), "exp": int(NOW) + 60}
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


def assertion(key=KEYS["Ed25519"], alg="Ed25519", header=None, **changes):
    return jwt.encode({"alg": alg, **(header or {})}, claims(**changes), key, algorithms=[alg])


def check(token, keys=None):
    return check_assertion(token, "svc_1", keys or jwks(KEYS["Ed25519"]), (HERE, "vallum"), NOW)


@pytest.mark.parametrize("alg", list(KEYS))
def test_a_service_asserts_itself_by_its_key(alg):
    signed = check(assertion(KEYS[alg], alg), jwks(OTHER, KEYS[alg]))
    assert signed.expires_at_seconds == int(NOW) + 90
    assert check(assertion(KEYS[alg], alg, aud=["elsewhere", "vallum"]), jwks(KEYS[alg])).id == signed.id
    assert check(assertion(KEYS[alg], alg, jti="another"), jwks(KEYS[alg])).id != signed.id


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "svc_2"}, {"sub": "svc_2"}, {"iss": None}, {"sub": None}, {"aud": "https://evil.example/api/v1/tokens"},
        {"aud": None}, {"aud": []}, {"aud": {"x": HERE}}, {"jti": None}, {"jti": ""}, {"jti": "x" * 300}, {"jti": 5},
        {"exp": None}, {"exp": int(NOW) - 31}, {"exp": int(NOW) + 400}, {"exp": "soon"}, {"exp": True}, {"exp": 1e300},
        {"iat": int(NOW) + 40}, {"nbf": int(NOW) + 60}, {"nbf": "later"}, {"iat": "now"}, {"iat": -1},
    ],
)  # fmt: skip
def test_an_assertion_that_says_anything_else_is_refused(changes):
    with pytest.raises(ProofRefused):
        check(assertion(**changes))


def test_clocks_may_differ_by_half_a_minute():
    check(assertion(iat=int(NOW) + 29, exp=int(NOW) + 300))
    check(assertion(exp=int(NOW) - 29))


def encode(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_algorithm_confusion_and_smuggled_keys_are_refused():
    mine = public(KEYS["Ed25519"])
    forgeries = [
        f"{encode({'alg': 'none'})}.{encode(claims())}.",
        f"{encode({'alg': 'None'})}.{encode(claims())}.AAAA",
        assertion(OctKey.import_key(mine["x"]), "HS256"),
        assertion(OTHER, header={"jwk": public(OTHER)}),
        assertion(OTHER, header={"jku": "https://evil.example/jwks"}),
        assertion(OTHER, header={"x5u": "https://evil.example/x5u"}),
        assertion(OTHER, header={"kid": mine.get("kid", "../../etc/passwd")}),
        assertion(OTHER, header={"kid": "' OR 1=1 --"}),
        assertion(header={"kid": "unknown"}),
        assertion(header={"jwk": mine}),
        assertion(header={"x5c": ["AAAA"]}),
        assertion(KEYS["ES256"], "ES256"),
    ]
    for forged in forgeries:
        with pytest.raises(ProofRefused):
            check(forged)
    rsa = jwks(KEYS["PS256"])
    with pytest.raises(ProofRefused):  # the public key taken for a shared secret
        check(assertion(OctKey.import_key(public(KEYS["PS256"])["n"]), "HS256"), rsa)


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda b: b.decode("latin-1")))
def test_noise_is_refused(noise):
    for token in (noise, f"{noise}.{noise}.{noise}", f"{encode({'alg': noise})}.{encode(noise)}.AAAA", noise * 100):
        with pytest.raises(ProofRefused):
            check(token)
        with pytest.raises(ProofRefused):
            check_dpop(token, "GET", (HERE,), NOW)
        assert isinstance(subject_of(token), str)


@pytest.mark.parametrize("kty", [[], {}, None, 5, ["EC"], True])
def test_a_key_of_no_type_is_refused(kty):
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": {"kty": kty}}
    with pytest.raises(ProofRefused):
        check_dpop(f"{encode(header)}.{encode({})}.AAAA", "POST", (HERE,), NOW)


@pytest.mark.parametrize("sub", ["a\ud800b", "a\0b", "ä", "x" * 300, 5, None, ["a"]])
def test_whom_no_database_could_look_for_is_nobody(sub):
    assert subject_of(f"{encode({'alg': 'Ed25519'})}.{encode({'sub': sub})}.AAAA") == ""


@given(st.data())
def test_any_changed_character_is_refused(data):
    token = assertion()
    place = data.draw(st.integers(0, len(token) - 2))
    char = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."))
    changed = token[:place] + char + token[place + 1 :]
    if changed != token:
        with pytest.raises(ProofRefused):
            check(changed)


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"keys": []}, {"keys": "x"}, {"keys": [1]}, {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [KEYS["ES256"].as_dict(private=True)]}, {"keys": [public(OTHER)] * 11}, {"keys": [RSA_1024]},
        {"keys": [public(OTHER, kid="a"), public(KEYS["ES256"], kid="a")]}, {"keys": [{"kty": "EC", "crv": "P-256"}]},
        {"keys": [{"kty": "OKP", "crv": "X25519", "x": public(OTHER)["x"]}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]},
        {"keys": [public(OTHER, use="enc")]}, {"keys": [public(OTHER, use=None)]},
        {"keys": [public(OTHER, alg=["EdDSA"])]}, {"keys": [public(OTHER, alg="ES256")]},
        {"keys": [public(OTHER, key_ops=["encrypt"])]}, {"keys": [public(OTHER, key_ops=5)]},
        {"keys": [public(KEYS["PS256"], alg="ES256")]}, {"keys": [public(KEYS["ES256"], alg="ES384")]},
    ],
)  # fmt: skip
def test_key_sets_that_will_not_do(document):
    with pytest.raises(Invalid, match="jwks"):
        parse_jwks(document)


def test_a_key_that_names_its_algorithm_takes_no_other():
    registered = parse_jwks({"keys": [public(KEYS["PS256"], alg="PS256", use="sig", key_ops=["verify"])]})
    assert check(assertion(KEYS["PS256"], "PS256"), registered)
    for other in ("PS384", "PS512", "RS256"):
        with pytest.raises(ProofRefused):
            check(assertion(KEYS["PS256"], other), registered)


@pytest.mark.parametrize("named", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("used", ["EdDSA", "Ed25519"])
def test_two_names_of_one_algorithm_are_one(named, used):
    assert check(assertion(alg=used), parse_jwks({"keys": [public(KEYS["Ed25519"], alg=named)]}))


def dpop(key=KEYS["ES256"], alg="ES256", header=None, **changes):
    said = {"htm": "POST", "htu": HERE, "iat": int(NOW), "jti": "once", **changes}
    head = {"alg": alg, "typ": "dpop+jwt", "jwk": public(key), **(header or {})}
    return jwt.encode(head, {k: v for k, v in said.items() if v is not None}, key, algorithms=[alg])


@pytest.mark.parametrize("alg", list(KEYS))
def test_a_dpop_proof_names_its_key(alg):
    proof = check_dpop(dpop(KEYS[alg], alg), "POST", (HERE,), NOW)
    assert proof.thumbprint == KEYS[alg].thumbprint()
    assert proof.expires_at_seconds == int(NOW) + 90


def test_a_dpop_proof_of_rfc_9449_itself():
    """Its section 4.1's, with the thumbprint of its section 6.1."""
    proof = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRj"
        "QyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdG"
        "kiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYy"
        "MjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    )
    checked = check_dpop(proof, "POST", ("https://server.example.com/token",), 1562262618)
    assert checked.thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"}, {"htm": "post"}, {"htm": None}, {"htu": "https://evil.example/api/v1/tokens"}, {"htu": None},
        {"htu": "http://vallum.example/api/v1/tokens"}, {"htu": "https://vallum.example:444/api/v1/tokens"},
        {"htu": "https://vallum.example/api/v1/entries"}, {"htu": "https://vallum.example:99999999/"}, {"htu": 7},
        {"iat": None}, {"iat": int(NOW) - 61}, {"iat": int(NOW) + 31}, {"jti": None}, {"jti": "x" * 300},
        {"header": {"typ": "jwt"}},
        {"header": {"jwk": KEYS["ES256"].as_dict(private=True)}}, {"header": {"jwk": public(KEYS["Ed25519"])}},
        {"header": {"jku": "https://evil.example"}}, {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    ],
)  # fmt: skip
def test_a_dpop_proof_of_anything_else_is_refused(changes):
    with pytest.raises(ProofRefused):
        check_dpop(dpop(**changes), "POST", (HERE,), NOW)


def test_a_dpop_proof_is_of_one_token():
    ath = urlsafe_b64encode(sha256(b"a token").digest()).rstrip(b"=").decode()
    check_dpop(dpop(ath=ath), "POST", (HERE,), NOW, "a token")
    for token, proof in (("another", dpop(ath=ath)), ("a token", dpop()), ("a token", dpop(ath=""))):
        with pytest.raises(ProofRefused):
            check_dpop(proof, "POST", (HERE,), NOW, token)


def test_the_address_may_be_spelt_otherwise():
    for spelt in ("HTTPS://Vallum.Example/api/v1/tokens", "https://vallum.example:443/api/v1/tokens", HERE + "?a=b#c"):
        check_dpop(dpop(htu=spelt), "POST", (HERE,), NOW)
