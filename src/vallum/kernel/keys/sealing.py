"""The sealed format: how a data key turns bytes into bytes that say nothing and cannot be moved.

    format (1) | key version (4, big endian) | nonce (24) | ciphertext | tag (16)      format 1: XAES-256-GCM
    format (1) | key version (4, big endian) | synthetic IV (16) | ciphertext          format 2: AES-256-SIV

Associated data binds the header, tenant, purpose and the caller's own (table, column, row), so that a value
copied to another row, tenant or purpose, or relabelled with another version or format, does not open. Format 2
is deterministic: equal values of one column are equal sealed, which is its use and its leak (RFC 5297).
Documented with vectors in docs/keys.md. This module knows no database; `keyring` finds the key.
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vallum.kernel.errors import Invalid
from vallum.kernel.keys.errors import SealBroken
from vallum.kernel.keys.model import Purpose
from vallum.kernel.keys.xaes import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Xaes256Gcm

__all__ = [
    "MATERIAL_BYTES",
    "MAX_SEALED_BYTES",
    "SEALED_OVERHEAD_BYTES",
    "SealingKey",
    "binding",
    "check_value_of",
    "version_of",
]

MATERIAL_BYTES = KEY_BYTES
MAX_SEALED_BYTES = 1 << 30  # larger things go through `streaming`, which never holds them whole
MAX_VERSION = (1 << 32) - 1
MAX_TENANT_BYTES = 255  # its length is one byte in the associated data

_RANDOMISED = 0x01
_JOINABLE = 0x02
_HEADER_BYTES = 5
_NONCE_END = _HEADER_BYTES + NONCE_BYTES
SEALED_OVERHEAD_BYTES = _NONCE_END + TAG_BYTES
_JOINABLE_OVERHEAD_BYTES = _HEADER_BYTES + TAG_BYTES

# Each algorithm gets its own key: one key under two algorithms has no proof.
_RANDOMISED_LABEL = b"vallum/keys/1 xaes-256-gcm"
_JOINABLE_LABEL = b"vallum/keys/1 aes-256-siv"
_CHECK_LABEL = b"vallum/keys/1 check-value"
_CHECK_BYTES = 8


class SealingKey:
    """One version of one keyset, unwrapped. Safe to share between threads; its repr holds no key."""

    __slots__ = (
        "_entropy",
        "_join_aad",
        "_join_head",
        "_material",
        "_seal_aad",
        "_seal_head",
        "_siv",
        "_xaes",
        "version",
    )

    def __init__(
        self, material: bytes, tenant: str, purpose: Purpose, version: int, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        """`material` is 32 random bytes. Raises Invalid for a tenant that cannot be bound."""
        if len(material) != MATERIAL_BYTES:
            raise ValueError(f"key material is {MATERIAL_BYTES} bytes")
        if not 1 <= version <= MAX_VERSION:
            raise ValueError(f"a key version is 1 to {MAX_VERSION}, not {version}")
        bound = binding(tenant, purpose)
        self.version = version
        self._material = material
        self._entropy = entropy
        self._seal_head = _header(_RANDOMISED, version)
        self._join_head = _header(_JOINABLE, version)
        self._seal_aad = self._seal_head + bound
        self._join_aad = self._join_head + bound
        self._xaes = Xaes256Gcm(_expand(material, _RANDOMISED_LABEL, KEY_BYTES))
        self._siv: AESSIV | None = None

    def seal(self, data: bytes, aad: bytes) -> bytes:
        """`data` under a fresh random nonce, 45 bytes longer."""
        if len(data) > MAX_SEALED_BYTES:
            raise Invalid(
                f"{len(data)} bytes are too many to seal in one piece; stream what exceeds {MAX_SEALED_BYTES}"
            )
        nonce = self._entropy(NONCE_BYTES)
        return self._seal_head + nonce + self._xaes.encrypt(nonce, data, self._seal_aad + aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """What `seal` was given. Raises SealBroken when any bit, or `aad`, is not what it was."""
        if sealed[:_HEADER_BYTES] != self._seal_head or len(sealed) < SEALED_OVERHEAD_BYTES:
            raise SealBroken("these bytes were not sealed by this key in the randomised format")
        try:
            return self._xaes.decrypt(sealed[_HEADER_BYTES:_NONCE_END], sealed[_NONCE_END:], self._seal_aad + aad)
        except InvalidTag:
            raise SealBroken("a sealed value was altered, or stands where it was not sealed") from None

    def seal_joinable(self, data: bytes, aad: bytes) -> bytes:
        """`data`, 21 bytes longer, and the same every time for the same `data` and `aad`."""
        if len(data) > MAX_SEALED_BYTES:
            raise Invalid(f"{len(data)} bytes are too many for a joinable field")
        return self._join_head + self._joinable_cipher().encrypt(data, [self._join_aad + aad])

    def open_joinable(self, sealed: bytes, aad: bytes) -> bytes:
        """What `seal_joinable` was given. Raises SealBroken as `open` does."""
        if sealed[:_HEADER_BYTES] != self._join_head or len(sealed) < _JOINABLE_OVERHEAD_BYTES:
            raise SealBroken("these bytes were not sealed by this key in the joinable format")
        try:
            return self._joinable_cipher().decrypt(sealed[_HEADER_BYTES:], [self._join_aad + aad])
        except InvalidTag:
            raise SealBroken("a joinable value was altered, or stands where it was not sealed") from None

    def _joinable_cipher(self) -> AESSIV:
        if self._siv is None:  # made on demand: most keysets never join; made twice by two threads, it is the same
            self._siv = AESSIV(_expand(self._material, _JOINABLE_LABEL, 2 * KEY_BYTES))
        return self._siv


def version_of(sealed: bytes) -> int:
    """The key version that `sealed` names, unproven until it opens. Raises SealBroken when it names none."""
    if len(sealed) < _JOINABLE_OVERHEAD_BYTES:
        raise SealBroken("these bytes are too short to have been sealed")
    return int.from_bytes(sealed[1:_HEADER_BYTES], "big")


def binding(tenant: str, purpose: Purpose) -> bytes:
    """Tenant and purpose, each after its length, so that no two pairs read alike.

    Raises Invalid for a tenant that is empty, unprintable, or longer than 255 bytes of UTF-8.
    """
    if not tenant.isprintable():  # nor is a lone surrogate, which UTF-8 cannot hold
        raise Invalid("a tenant id is printable text")
    name = tenant.encode()
    if not 1 <= len(name) <= MAX_TENANT_BYTES:
        raise Invalid(f"a tenant id is 1 to {MAX_TENANT_BYTES} bytes long")
    use = purpose.encode()
    return bytes([len(name)]) + name + bytes([len(use)]) + use


def check_value_of(material: bytes) -> str:
    """What a key is known by when it is gone: 16 hexadecimal digits that tell keys apart and say nothing of them."""
    return _expand(material, _CHECK_LABEL, _CHECK_BYTES).hex()


def _header(sealed_format: int, version: int) -> bytes:
    return bytes([sealed_format]) + version.to_bytes(4, "big")


def _expand(material: bytes, label: bytes, length: int) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=length, info=label).derive(material)
