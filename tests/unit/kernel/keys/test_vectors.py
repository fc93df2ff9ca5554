"""Known answers. A frozen vector that changes is a format that changed: stored data would no longer open."""

import base64
import json
from hashlib import shake_128
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from vallum.kernel.keys import FileRoot, Purpose, decrypt_stream, encrypt_stream
from vallum.kernel.keys.sealing import SealingKey
from vallum.kernel.keys.xaes import Xaes256Gcm

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
unhex = bytes.fromhex


def each(name):
    return pytest.mark.parametrize("vector", VECTORS[name], ids=lambda v: v["name"])


def repeating(pattern_hex: str, length: int) -> bytes:
    pattern = unhex(pattern_hex)
    return (pattern * (length // len(pattern) + 1))[:length]


@each("xaes_256_gcm")
def test_xaes(vector):
    cipher = Xaes256Gcm(unhex(vector["key"]))
    nonce, data, aad = unhex(vector["nonce"]), unhex(vector["plaintext"]), unhex(vector["aad"])
    assert cipher.encrypt(nonce, data, aad).hex() == vector["ciphertext"]
    assert cipher.decrypt(nonce, unhex(vector["ciphertext"]), aad) == data


def test_xaes_accumulated():
    """C2SP's randomised test: 10,000 messages from SHAKE-128 of nothing, their ciphertexts hashed."""
    stream = shake_128().digest(6_000_000)
    at = 0

    def take(count):
        nonlocal at
        at += count
        assert at <= len(stream)
        return stream[at - count : at]

    hashed = shake_128()
    for _ in range(VECTORS["xaes_256_gcm_accumulated"]["iterations"]):
        key, nonce = take(32), take(24)
        plaintext = take(take(1)[0])
        aad = take(take(1)[0])
        hashed.update(Xaes256Gcm(key).encrypt(nonce, plaintext, aad))
    assert hashed.hexdigest(32) == VECTORS["xaes_256_gcm_accumulated"]["shake128"]


@each("aes_siv")
def test_aes_siv(vector):
    cipher = AESSIV(unhex(vector["key"]))
    parts = [unhex(part) for part in vector["associated_data"]]
    assert cipher.encrypt(unhex(vector["plaintext"]), parts).hex() == vector["output"]
    assert cipher.decrypt(unhex(vector["output"]), parts) == unhex(vector["plaintext"])


@each("sealed_format_1")
def test_sealed(vector):
    def nonce(length):
        assert length == 24
        return unhex(vector["nonce"])

    key = SealingKey(
        unhex(vector["material"]), vector["tenant"], Purpose(vector["purpose"]), vector["version"], entropy=nonce
    )
    aad = unhex(vector["aad"])
    assert key.seal(unhex(vector["plaintext"]), aad).hex() == vector["sealed"]
    assert key.open(unhex(vector["sealed"]), aad) == unhex(vector["plaintext"])


@each("sealed_format_2")
def test_joinable(vector):
    key = SealingKey(unhex(vector["material"]), vector["tenant"], Purpose(vector["purpose"]), vector["version"])
    aad = unhex(vector["aad"])
    assert key.seal_joinable(unhex(vector["plaintext"]), aad).hex() == vector["sealed"]
    assert key.open_joinable(unhex(vector["sealed"]), aad) == unhex(vector["plaintext"])


@each("stream_format_1")
def test_stream(vector):
    key, aad = unhex(vector["key"]), unhex(vector["aad"])
    plaintext = repeating(vector["plaintext_pattern"], vector["plaintext_length"])
    made = b"".join(
        encrypt_stream(
            key, [plaintext], aad, chunk_bytes=vector["chunk_bytes"], entropy=lambda n: unhex(vector["salt"])[:n]
        )
    )
    assert made.hex() == vector["stream"]
    assert b"".join(decrypt_stream(key, [unhex(vector["stream"])], aad)) == plaintext


@each("root_file")
def test_root_file(vector, tmp_path):
    path = tmp_path / "root.key"
    path.write_text(json.dumps(vector["file"]))
    path.chmod(0o600)
    passphrase = vector["passphrase"]
    root = FileRoot.open(path, passphrase if passphrase is None else passphrase.encode())
    assert root.unwrap(unhex(vector["wrapped"]), unhex(vector["context"])) == unhex(vector["key"])
    if passphrase is None:
        assert base64.b64decode(vector["file"]["keys"][-1]) == unhex(vector["root_key"])
