"""The root key in the transit engine of HashiCorp Vault or OpenBao.

    0x03 | version of the transit key (4, big endian) | nonce, ciphertext and tag as the engine made them

The engine's own text (`vault:vN:` and base64) is kept as bytes, since base64 has several spellings of one value. The
key is an AEAD one (aes256-gcm96 or chacha20-poly1305), which takes associated data. An engine too old to know
`associated_data` would ignore it without a word, so the start proves that it does not. `encrypt` makes a key that is
not there when the token may create one; the check before it, and a token that may only update, prevent that.
Follows the HTTP API of both products: transit `encrypt`, `decrypt` and `keys`.
"""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from vallum.kernel.errors import Unavailable
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken

__all__ = ["Transit", "TransitAnswer", "TransitKey"]

_AEAD_TYPES = ("aes256-gcm96", "chacha20-poly1305")
_VERSION_BYTES = 4
_LEAST_SEALED_BYTES = 12 + 16  # nonce and tag
_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})")


class TransitAnswer(NamedTuple):
    status: int
    body: Mapping[str, Any]  # {} for an answer that is no JSON object


class Transit(Protocol):
    """Vault's HTTP API, signed in. Raises Unavailable when it does not answer, RootKeyRefused for a refused login."""

    def read(self, path: str) -> TransitAnswer: ...

    def write(self, path: str, body: Mapping[str, str]) -> TransitAnswer: ...


class TransitKey:
    """A `KeyService` on one transit key."""

    name = "vault"
    format = 0x03

    def __init__(self, transit: Transit, mount: str, key: str) -> None:
        """`mount` is where the engine is mounted, `key` the key's name there."""
        self._transit = transit
        self._mount, self._key = mount, key

    def check(self) -> None:
        answer = self._transit.read(f"{self._mount}/keys/{self._key}")
        if answer.status == 404:
            raise RootKeyRefused(
                f"keys.vault_key: there is no transit key {self._key} at {self._mount}/; make it with "
                f"vault write -f {self._mount}/keys/{self._key}"
            )
        facts = self._taken(answer, "keys", "read")
        if facts.get("type") not in _AEAD_TYPES or facts.get("derived"):
            raise RootKeyRefused(
                f"keys.vault_key: {self._key} must be a key of type {' or '.join(_AEAD_TYPES)}, and not derived"
            )
        if facts.get("exportable") or facts.get("allow_plaintext_backup"):
            raise RootKeyRefused(f"keys.vault_key: {self._key} may be exported; a root key must not be: make another")
        sealed = self.encrypt(os.urandom(32), b"one place")
        try:
            self.decrypt(sealed, b"another place")
        except SealBroken:
            return
        raise RootKeyRefused(
            "this Vault ignores associated_data, so a wrapped key could be moved to another place: update it"
        )

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        body = {"plaintext": _base64(key), "associated_data": _base64(aad)}
        data = self._taken(self._transit.write(f"{self._mount}/encrypt/{self._key}", body), "encrypt", "update")
        found = _CIPHERTEXT.fullmatch(str(data.get("ciphertext")))
        if found is None:
            raise Unavailable("Vault's answer to encrypt cannot be read")
        try:
            sealed = base64.b64decode(found.group(2), validate=True)
        except binascii.Error as e:
            raise Unavailable("Vault's answer to encrypt cannot be read") from e
        return int(found.group(1)).to_bytes(_VERSION_BYTES, "big") + sealed

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        version, rest = int.from_bytes(sealed[:_VERSION_BYTES], "big"), sealed[_VERSION_BYTES:]
        if version == 0 or len(rest) < _LEAST_SEALED_BYTES:
            raise SealBroken("these bytes are not a key wrapped by vault")
        body = {"ciphertext": f"vault:v{version}:{_base64(rest)}", "associated_data": _base64(aad)}
        answer = self._transit.write(f"{self._mount}/decrypt/{self._key}", body)
        if answer.status == 400 and not _says(answer, "encryption key not found"):
            if _says(answer, "disallowed by policy"):
                raise SealBroken(
                    f"a key was wrapped by version {version} of {self._key}, which its min_decryption_version bars"
                )
            raise SealBroken("a wrapped key was altered, or stands where it was not wrapped")
        data = self._taken(answer, "decrypt", "update")
        try:
            return base64.b64decode(str(data["plaintext"]), validate=True)
        except (KeyError, binascii.Error) as e:
            raise Unavailable("Vault's answer to decrypt cannot be read") from e

    def _taken(self, answer: TransitAnswer, operation: str, capability: str) -> Mapping[str, Any]:
        """What the answer holds. Never repeats Vault's own words, which may name what was sent."""
        path = f"{self._mount}/{operation}/{self._key}"
        if answer.status == 200 and isinstance(answer.body.get("data"), dict):
            data: Mapping[str, Any] = answer.body["data"]
            return data
        if answer.status == 403:
            raise RootKeyRefused(f"Vault refused: the token's policy must allow {capability!r} on {path}")
        if answer.status in (400, 404, 405):
            raise RootKeyRefused(f"Vault knows no {path}: see keys.vault_mount, keys.vault_key, keys.vault_namespace")
        raise Unavailable(f"Vault answered {path} with status {answer.status}; see whether it is sealed or on standby")


def _says(answer: TransitAnswer, words: str) -> bool:
    errors = answer.body.get("errors")
    return isinstance(errors, list) and any(words in str(error) for error in errors)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
