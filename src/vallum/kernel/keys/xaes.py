"""XAES-256-GCM: AES-256-GCM with a 192-bit nonce, so that random nonces never run out.

A random 96-bit nonce allows 2**32 messages per key (NIST SP 800-38D, section 8.3): at 1,000 sealed bodies a
second a busy tenant is there in seven weeks. Here half of the nonce derives a fresh AES-256-GCM key (NIST SP
800-108r1 with CMAC) and the other half is that key's nonce: 2**80 messages at collision risk 2**-32.
It is neither misuse-resistant nor key-committing; keys here are random and 256 bits, so neither is relied on.
Source: https://c2sp.org/XAES-256-GCM. `cryptography` does AES and GCM; this module adds one XOR.
"""

from threading import Lock

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_BYTES", "NONCE_BYTES", "TAG_BYTES", "Xaes256Gcm"]

KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16

_BLOCK_BYTES = 16
_REDUCTION = 0x87  # x**128 + x**7 + x**2 + x + 1, the field of CMAC subkeys (NIST SP 800-38B, section 5.3)


class Xaes256Gcm:
    """One 32-byte key. Safe to share between threads."""

    __slots__ = ("_block", "_context_mask", "_first", "_lock", "_second")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"an XAES-256-GCM key is {KEY_BYTES} bytes")
        # Single blocks only, as the PRF of a KDF: ECB mode is merely how the library spells "AES of this block".
        self._block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        self._lock = Lock()  # the library's cipher context may not be entered by two threads
        subkey = _cmac_subkey(self._block.update(bytes(_BLOCK_BYTES)))
        self._first = _xor(b"\x00\x01X\x00", subkey[:4])
        self._second = _xor(b"\x00\x02X\x00", subkey[:4])
        self._context_mask = int.from_bytes(subkey[4:], "big")

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """Ciphertext, then the 16-byte tag. The 24-byte `nonce` is random and never used twice."""
        return self._derive(nonce).encrypt(nonce[12:], data, aad)

    def decrypt(self, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """Raises cryptography's InvalidTag unless key, nonce, ciphertext and `aad` all fit."""
        return self._derive(nonce).decrypt(nonce[12:], sealed, aad)

    def _derive(self, nonce: bytes) -> AESGCM:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"an XAES-256-GCM nonce is {NONCE_BYTES} bytes")
        context = (int.from_bytes(nonce[:12], "big") ^ self._context_mask).to_bytes(12, "big")
        with self._lock:
            key = self._block.update(self._first + context + self._second + context)
        return AESGCM(key)


def _cmac_subkey(encrypted_zeros: bytes) -> bytes:
    """K1 of NIST SP 800-38B, section 6.1: a doubling in GF(2**128)."""
    number = int.from_bytes(encrypted_zeros, "big")
    doubled = (number << 1) & ((1 << 128) - 1)
    return (doubled ^ _REDUCTION if number >> 127 else doubled).to_bytes(_BLOCK_BYTES, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
