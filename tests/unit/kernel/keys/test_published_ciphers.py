"""Wycheproof's vectors for the ciphers that keys are made of, with the parameters used here.

Sealed values and streams derive the keys they use, so that no foreign key fits through them; the library's own
functions are asked exactly as `xaes`, `sealing` and `streaming` ask them, and XAES-256-GCM itself is checked against
every vector with its 96-bit nonce, by the key that its own derivation gives. What is sealed here has its properties
below. RFC 3394's key wrap is not used: roots wrap by XAES-256-GCM, and in an HSM by AES-256-GCM. It is asked because
operators meet it where keys are moved between HSMs.
"""

import json
from collections import Counter
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.keys import Purpose, SealBroken, decrypt_stream, encrypt_stream
from vallum.kernel.keys.sealing import SealingKey
from vallum.kernel.keys.xaes import Xaes256Gcm

WYCHEPROOF = Path(__file__).parents[3] / "vectors" / "wycheproof"
unhex = bytes.fromhex


def vectors(name, **counts):
    """Every vector with its group, once it is sure that none was lost: `counts` by result."""
    document = json.loads((WYCHEPROOF / f"{name}.json").read_text())
    found = [(group, test) for group in document["groups"] for test in group["tests"]]
    assert Counter(test["result"] for _, test in found) == counts
    return found


def said(test):
    return f"tcId {test['tcId']} ({test['comment'] or test.get('flags')}), {test['result']}"


def outcome(call, *refusals):
    """What `call` gives, or None where it refuses. Anything else that is raised is a failure of its own."""
    try:
        return call()
    except refusals:
        return None


def test_aes_256_gcm():
    """Nonces here have 12 bytes. The library takes 8 to 128, so that it refuses the valid vectors of other lengths."""
    wrong = []
    for _, test in vectors("aes_gcm", valid=76, invalid=29):
        key, nonce, aad, data = (unhex(test[name]) for name in ("key", "iv", "aad", "msg"))
        sealed = unhex(test["ct"]) + unhex(test["tag"])
        opened = outcome(lambda: AESGCM(key).decrypt(nonce, sealed, aad), InvalidTag, ValueError)  # noqa: B023
        if test["result"] == "valid" and 8 <= len(nonce) <= 128:
            right = opened == data and AESGCM(key).encrypt(nonce, data, aad) == sealed
        else:
            right = opened is None
        if not right:
            wrong.append(said(test))
    assert wrong == []


def test_aes_256_gcm_inside_xaes():
    """XAES gives AES-256-GCM the last 12 bytes of its nonce. A vector's key is put where the derived one goes."""

    class Foreign(Xaes256Gcm):
        __slots__ = ("foreign",)

        def _derive(self, nonce):
            return AESGCM(self.foreign)

    wrong, seen = [], 0
    for group, test in vectors("aes_gcm", valid=76, invalid=29):
        if group["ivSize"] != 96:
            continue
        seen += 1
        cipher = Foreign(bytes(32))
        cipher.foreign = unhex(test["key"])
        nonce, aad, data = bytes(12) + unhex(test["iv"]), unhex(test["aad"]), unhex(test["msg"])
        sealed = unhex(test["ct"]) + unhex(test["tag"])
        opened = outcome(lambda: cipher.decrypt(nonce, sealed, aad), InvalidTag)  # noqa: B023
        right = opened == data and cipher.encrypt(nonce, data, aad) == sealed
        if right != (test["result"] == "valid") or (test["result"] == "invalid" and opened is not None):
            wrong.append(said(test))
    assert wrong == []
    assert seen == 66


def test_aes_256_siv():
    wrong = []
    for _, test in vectors("aes_siv_cmac", valid=39, invalid=108):
        cipher, data, sealed = AESSIV(unhex(test["key"])), unhex(test["msg"]), unhex(test["ct"])
        opened = outcome(lambda: cipher.decrypt(sealed, [unhex(test["aad"])]), InvalidTag)  # noqa: B023
        if test["result"] == "valid":
            right = opened == data and cipher.encrypt(data, [unhex(test["aad"])]) == sealed
        else:
            right = opened is None
        if not right:
            wrong.append(said(test))
    assert wrong == []


def test_hkdf_sha_256():
    """As streams derive their keys, extract and expand; an empty salt is a block of zeros (RFC 5869, section 2.2)."""
    wrong = []
    for _, test in vectors("hkdf_sha256", valid=83, invalid=3):
        salt, info, length = unhex(test["salt"]), unhex(test["info"]), test["size"]
        made = outcome(
            lambda: HKDF(SHA256(), length, salt, info).derive(unhex(test["ikm"])),  # noqa: B023
            ValueError,
        )
        if (made == unhex(test["okm"])) != (test["result"] == "valid"):
            wrong.append(said(test))
    assert wrong == []


def test_hkdf_expand_is_the_second_half():
    """Sealing keys come of expansion alone, since material is random already (RFC 5869, section 3.3)."""
    from cryptography.hazmat.primitives.hmac import HMAC

    for _, test in vectors("hkdf_sha256", valid=83, invalid=3):
        if test["result"] == "valid":
            extract = HMAC(unhex(test["salt"]) or bytes(32), SHA256())
            extract.update(unhex(test["ikm"]))
            expanded = HKDFExpand(SHA256(), test["size"], unhex(test["info"])).derive(extract.finalize())
            assert expanded.hex() == test["okm"], said(test)


def test_aes_key_wrap():
    """The three acceptable vectors wrap 8 bytes, which RFC 3394 allows and NIST SP 800-38F does not: refused."""
    wrong = []
    for _, test in vectors("aes_wrap", valid=36, invalid=126, acceptable=3):
        key, data, wrapped = unhex(test["key"]), unhex(test["msg"]), unhex(test["ct"])
        opened = outcome(lambda: aes_key_unwrap(key, wrapped), InvalidUnwrap, ValueError)  # noqa: B023
        made = outcome(lambda: aes_key_wrap(key, data), ValueError)  # noqa: B023
        if test["result"] == "valid":
            right = opened == data and made == wrapped
        elif test["result"] == "acceptable":
            right = opened is None and made is None
        else:
            right = opened is None
        if not right:
            wrong.append(said(test))
    assert wrong == []


KEY = SealingKey(bytes(range(32)), "default", Purpose.CONTENT, 1)
SEALED, JOINED = KEY.seal(b"what was asked", b"where"), KEY.seal_joinable(b"what was asked", b"where")
WRAPPED = aes_key_wrap(bytes(range(32)), bytes(range(32)))
STREAM = b"".join(encrypt_stream(bytes(range(32)), [bytes(2500)], b"where", chunk_bytes=1024))


def flipped(text, bit):
    return text[: bit // 8] + bytes([text[bit // 8] ^ 1 << bit % 8]) + text[bit // 8 + 1 :]


def streamed(text):
    return b"".join(decrypt_stream(bytes(range(32)), [text], b"where"))


OPENERS = {
    "sealed": (SEALED, lambda text: KEY.open(text, b"where"), SealBroken),
    "joinable": (JOINED, lambda text: KEY.open_joinable(text, b"where"), SealBroken),
    "key wrap": (WRAPPED, lambda text: aes_key_unwrap(bytes(range(32)), text), InvalidUnwrap),
}


@pytest.mark.parametrize("what", OPENERS)
def test_every_flipped_bit_and_every_truncation_is_refused(what):
    text, open_, refusal = OPENERS[what]
    assert open_(text)
    for bit in range(8 * len(text)):
        with pytest.raises(refusal):
            open_(flipped(text, bit))
    for length in range(len(text)):
        with pytest.raises(refusal):
            open_(text[:length])
    with pytest.raises(refusal):
        open_(text + b"\0")


@given(st.integers(0, 8 * len(STREAM) - 1), st.integers(0, len(STREAM) - 1))
def test_any_flipped_bit_and_any_truncation_of_a_stream_is_refused(bit, length):
    for text in (flipped(STREAM, bit), STREAM[:length]):
        with pytest.raises(SealBroken):
            streamed(text)
