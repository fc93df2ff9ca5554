import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from vallum.kernel.errors import Invalid
from vallum.kernel.identity.proofs import parse_jwks
from vallum.kernel.identity.roca import has_roca

WYCHEPROOF = Path(__file__).parents[3] / "vectors" / "wycheproof"
RSA = [  # every RSA key of Wycheproof's sets, by the name of its group
    (group["comment"], key)
    for name in ("json_web_key", "json_web_signature")
    for group in json.loads((WYCHEPROOF / f"{name}.json").read_text())["groups"]
    for owner in [group.get("public") or group["private"]]
    for key in owner.get("keys", [owner])
    if key["kty"] == "RSA" and "n" in key
]


def modulus(jwk):
    return int.from_bytes(urlsafe_b64decode(jwk["n"] + "=="), "big")


def test_of_wycheproofs_keys_the_one_by_that_library_bears_the_mark():
    assert len(RSA) == 18
    assert [name for name, key in RSA if has_roca(modulus(key))] == ["jws_rsa_roca_key"]


def test_such_a_key_registers_nobody():
    key = next(key for name, key in RSA if name == "jws_rsa_roca_key")
    with pytest.raises(Invalid, match="cannot be used"):
        parse_jwks({"keys": [key]})


def test_keys_made_here_do_not_bear_it():
    assert not any(has_roca(rsa.generate_private_key(65537, 2048).public_key().public_numbers().n) for _ in range(3))
