"""Wycheproof's vectors for signatures, through all that verifies one here.

JWS algorithms with keys as `proofs` registers them (ECDSA as two numbers side by side), and COSE keys as `passkeys`
has them (ECDSA in DER). Signed notes verify Ed25519 by the call that COSE keys make.
"""

import json
from base64 import urlsafe_b64encode
from collections import Counter
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from fido2.cose import CoseKey
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from vallum.kernel.identity.proofs import parse_jwks

WYCHEPROOF = Path(__file__).parents[3] / "vectors" / "wycheproof"
EC = {"ES256": ("P-256", 1, -7, 32), "ES384": ("P-384", 2, -35, 48), "ES512": ("P-521", 3, -36, 66)}
unhex = bytes.fromhex


def encoded(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def groups(name, **counts):
    found = json.loads((WYCHEPROOF / f"{name}.json").read_text())["groups"]
    assert Counter(test["result"] for group in found for test in group["tests"]) == counts
    return found


def numbers(group, size):
    """X and Y of an uncompressed point. Some of Wycheproof's begin with zeros, which JWK and COSE keep."""
    point = unhex(group["publicKey"])
    assert len(point) == 2 * size + 1
    return point[1 : size + 1], point[size + 1 :]


def jws_verifier(jwk, alg):
    """As a key that somebody registered, with the algorithm that the registry gives a token's header."""
    (registered,) = parse_jwks({"keys": [jwk]})
    kind = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}[registered["kty"]]
    key = kind.import_key({name: value for name, value in registered.items() if name != "kid"})
    algorithm = JWSRegistry(algorithms=[alg]).get_alg(alg)
    return lambda message, signature: algorithm.verify(message, signature, key)


def cose_verifier(members):
    key = CoseKey.parse(members)

    def verify(message, signature):
        try:
            key.verify(message, signature)
        except InvalidSignature:
            return False
        return True

    return verify


def misjudged(found, verifier, accepts=("valid",)):
    """The vectors whose result is not what the verifier says; a verifier that raises is wrong about the vector, too."""
    wrong = []
    for group in found:
        verify = verifier(group)
        for test in group["tests"]:
            try:
                said = verify(unhex(test["msg"]), unhex(test["sig"]))
            except Exception as e:
                said = e
            if said is not (test["result"] in accepts):
                wrong.append(f"tcId {test['tcId']} ({test['comment']}), {test['result']}: {said}")
    return wrong


@pytest.mark.parametrize(
    ("alg", "name", "counts"),
    [
        ("ES256", "ecdsa_secp256r1_sha256_p1363", {"valid": 173, "invalid": 89}),
        ("ES384", "ecdsa_secp384r1_sha384_p1363", {"valid": 193, "invalid": 87}),
        ("ES512", "ecdsa_secp521r1_sha512_p1363", {"valid": 231, "invalid": 87}),
    ],
)
def test_ecdsa_in_jws(alg, name, counts):
    curve, _, _, size = EC[alg]

    def verifier(group):
        x, y = numbers(group, size)
        return jws_verifier({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)}, alg)

    assert misjudged(groups(name, **counts), verifier) == []


@pytest.mark.parametrize(
    ("alg", "name", "counts"),
    [
        ("ES256", "ecdsa_secp256r1_sha256", {"valid": 174, "invalid": 310}),
        ("ES384", "ecdsa_secp384r1_sha384", {"valid": 194, "invalid": 310}),
        ("ES512", "ecdsa_secp521r1_sha512", {"valid": 232, "invalid": 310}),
    ],
)
def test_ecdsa_in_cose(alg, name, counts):
    _, curve, number, size = EC[alg]

    def verifier(group):
        x, y = numbers(group, size)
        return cose_verifier({1: 2, 3: number, -1: curve, -2: x, -3: y})

    assert misjudged(groups(name, **counts), verifier) == []


@pytest.mark.parametrize("alg", ["Ed25519", "EdDSA"])
def test_ed25519_in_jws(alg):
    def verifier(group):
        return jws_verifier({"kty": "OKP", "crv": "Ed25519", "x": encoded(unhex(group["publicKey"]))}, alg)

    assert misjudged(groups("ed25519", valid=88, invalid=62), verifier) == []


def test_ed25519_in_cose():
    def verifier(group):
        return cose_verifier({1: 1, 3: -8, -1: 6, -2: unhex(group["publicKey"])})

    assert misjudged(groups("ed25519", valid=88, invalid=62), verifier) == []


def rsa(group):
    modulus = unhex(group["publicKey"]["modulus"]).lstrip(b"\0")
    return modulus, unhex(group["publicKey"]["publicExponent"])


@pytest.mark.parametrize(
    ("alg", "name", "counts"),
    [
        ("RS256", "rsa_signature_2048_sha256", {"valid": 9, "invalid": 249, "acceptable": 1}),
        ("PS256", "rsa_pss_2048_sha256_mgf1_32", {"valid": 63, "invalid": 45}),
    ],
)
def test_rsa_in_jws(alg, name, counts):
    """The acceptable one lacks the NULL that RFC 8017, section A.2.4, wants in the digest's name: refused."""

    def verifier(group):
        modulus, exponent = rsa(group)
        return jws_verifier({"kty": "RSA", "n": encoded(modulus), "e": encoded(exponent)}, alg)

    assert misjudged(groups(name, **counts), verifier) == []


def test_rsa_in_cose():
    def verifier(group):
        modulus, exponent = rsa(group)
        return cose_verifier({1: 3, 3: -257, -1: modulus, -2: exponent})

    counts = {"valid": 9, "invalid": 249, "acceptable": 1}
    assert misjudged(groups("rsa_signature_2048_sha256", **counts), verifier) == []
