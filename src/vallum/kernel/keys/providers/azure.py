"""The root key in Azure Key Vault or Managed HSM: an RSA key that wraps, unwraps and signs there.

    0x06 | version of the key (16) | size of the key in bytes (2, big endian) | wrapped one-time key | signature
         | nonce (24), ciphertext and tag of XAES-256-GCM under the one-time key

Key Vault has no symmetric keys and no associated data: RSA-OAEP-256 wraps 190 bytes and no more. So a one-time key is
wrapped, and seals the rest with what is bound as its associated data. Whoever has the public half can wrap by RSA, too,
and could put a data key of their own in the database for Vallum to seal with. Therefore Key Vault signs all of it
(PS256), and nothing is unwrapped whose signature does not verify. A newer version of the key wraps and signs as soon as
it is there; former ones unwrap what names them, until they are disabled or deleted. Credentials come from
`DefaultAzureCredential` (workload or managed identity, environment).
"""

import hashlib
import os
import re
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from cryptography.exceptions import InvalidTag

from vallum.kernel.errors import Unavailable
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken
from vallum.kernel.keys.xaes import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Xaes256Gcm

__all__ = ["AzureKey"]

_KEY_ID = re.compile(r"(https://[A-Za-z0-9.-]+(?::[0-9]+)?)/keys/([A-Za-z0-9-]{1,127})/?")
_VERSION_BYTES, _SIZE_BYTES = 16, 2
_SIZES = (256, 384, 512)  # RSA of 2048, 3072 and 4096 bits
_OPERATIONS = ("wrapKey", "unwrapKey", "sign", "verify")
_SIGNED = b"vallum/azure-root/1\x00"
_CONNECT_SECONDS, _READ_SECONDS, _RETRIES = 3, 5, 1  # no call changes anything there, so a second one is safe
_BROKEN = "a wrapped key was altered, or stands where it was not wrapped"

_T = TypeVar("_T")


class AzureKey:
    """A `KeyService` on one Key Vault key. The first call makes the client."""

    name = "azure"
    format = 0x06

    def __init__(self, key_id: str, client: Any = None) -> None:
        """`key_id` is the key's URL without a version. `client`, a `KeyClient`, stands in for the one made here.

        Raises RootKeyRefused for what is no such URL.
        """
        found = _KEY_ID.fullmatch(key_id)
        if found is None:
            raise RootKeyRefused("keys.azure_key: the key's URL without a version, https://VAULT/keys/NAME")
        self._vault, self._key = found.groups()
        self._guard = Lock()
        self._made = client

    def check(self) -> None:
        key = self._newest()
        size = (int.from_bytes(key.key.n or b"", "big").bit_length() + 7) // 8
        if key.key_type not in ("RSA", "RSA-HSM") or size not in _SIZES:
            raise RootKeyRefused(f"keys.azure_key: {self._key} must be an RSA key of 2048, 3072 or 4096 bits")
        missing = [operation for operation in _OPERATIONS if operation not in key.key_operations]
        if missing:
            raise RootKeyRefused(f"keys.azure_key: {self._key} is not permitted to {', '.join(missing)}: permit it")

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm, SignatureAlgorithm

        version = str(self._newest().properties.version)
        remote = self._version(version)
        once, nonce = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
        answer = self._ask("wrapKey", lambda: remote.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, once))
        wrapped = bytes(answer.encrypted_key)
        head = bytes.fromhex(version) + len(wrapped).to_bytes(_SIZE_BYTES, "big") + wrapped
        sealed = nonce + Xaes256Gcm(once).encrypt(nonce, key, aad)
        digest = _digest(head, sealed, aad)
        signature = self._ask("sign", lambda: remote.sign(SignatureAlgorithm.ps256, digest)).signature
        return head + bytes(signature) + sealed

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        version, size = sealed[:_VERSION_BYTES].hex(), int.from_bytes(sealed[_VERSION_BYTES:][:_SIZE_BYTES], "big")
        start = _VERSION_BYTES + _SIZE_BYTES
        if size not in _SIZES or len(sealed) < start + 2 * size + NONCE_BYTES + TAG_BYTES:
            raise SealBroken("these bytes are not a key wrapped by azure")
        head, signature, rest = sealed[: start + size], sealed[start + size :][:size], sealed[start + 2 * size :]
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm, SignatureAlgorithm

        remote, digest = self._version(version), _digest(head, rest, aad)
        answer = self._ask("verify", lambda: remote.verify(SignatureAlgorithm.ps256, digest, signature), of=version)
        if not answer.is_valid:
            raise SealBroken(_BROKEN)
        once = self._ask(
            "unwrapKey", lambda: remote.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, head[start:]).key, of=version
        )
        try:
            return Xaes256Gcm(bytes(once)).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], aad)
        except (InvalidTag, ValueError):
            raise SealBroken(_BROKEN) from None

    def _newest(self) -> Any:
        client = self._client()
        return self._ask("get", lambda: client.get_key(self._key))

    def _version(self, version: str) -> Any:
        return self._client().get_cryptography_client(self._key, key_version=version)

    def _ask(self, operation: str, work: Callable[[], _T], of: str = "") -> _T:
        """`of` is the version that some wrapped bytes name: one that is not there says that they were altered."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

        try:
            return work()
        except ClientAuthenticationError as e:
            raise RootKeyRefused("Azure let nobody in: give this process an identity that may use the key") from e
        except HttpResponseError as e:
            if e.status_code == 404 and of:
                raise SealBroken(f"a key was wrapped by version {of} of {self._key}, which is not there") from e
            if e.status_code == 404:
                raise RootKeyRefused(f"keys.azure_key: there is no key {self._key} in {self._vault}") from e
            if e.status_code == 403:
                raise RootKeyRefused(
                    f"Azure refused {operation} on {self._key}: allow get, wrapKey, unwrapKey, sign and verify, "
                    "and see that the version is enabled and in its time"
                ) from e
            if e.status_code == 400 and of:
                raise SealBroken(_BROKEN) from e
            raise Unavailable(f"Azure Key Vault answered {operation} with status {e.status_code}") from e
        except AzureError as e:
            raise Unavailable(f"Azure Key Vault did not answer: {type(e).__name__}") from e
        except ValueError as e:  # the library's own check of the version's days
            raise RootKeyRefused(f"keys.azure_key: the newest version of {self._key} is not in its time") from e

    def _client(self) -> Any:
        with self._guard:
            if self._made is None:
                try:
                    from azure.identity import DefaultAzureCredential
                    from azure.keyvault.keys import KeyClient
                except ImportError as e:
                    raise RootKeyRefused(
                        "a root key in Azure Key Vault needs the extra: pip install 'vallum[azure]'"
                    ) from e
                bounds = {
                    "connection_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS, "retry_total": _RETRIES,
                }  # fmt: skip
                self._made = KeyClient(self._vault, DefaultAzureCredential(**bounds), **bounds)
            return self._made


def _digest(head: bytes, sealed: bytes, aad: bytes) -> bytes:
    return hashlib.sha256(_SIGNED + len(head + sealed).to_bytes(4, "big") + head + sealed + aad).digest()
