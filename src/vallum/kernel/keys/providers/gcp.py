"""The root key in Google Cloud KMS: a key of purpose ENCRYPT_DECRYPT, which is AES-256-GCM there.

    0x05 | the ciphertext as Cloud KMS made it

What is bound goes as additional authenticated data. Everything carries CRC32C both ways, as Cloud KMS asks of its
callers: a bit lost on the way in would be sealed for good. Its rotation makes a new primary version, and former ones go
on decrypting until they are destroyed. Credentials are the application's default ones (ADC).
"""

import re
from threading import Lock
from typing import Any

from vallum.kernel.errors import Unavailable
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken

__all__ = ["GcpKey"]

_NAME = re.compile(r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[A-Za-z0-9_-]{1,63}")
_SECONDS = 5.0
_BROKEN = "a wrapped key was altered, or stands where it was not wrapped"


class GcpKey:
    """A `KeyService` on one Cloud KMS key. The first call makes the client, which speaks REST."""

    name = "gcp"
    format = 0x05

    def __init__(self, key: str, client: Any = None) -> None:
        """`key` is the key's resource name. `client`, a `KeyManagementServiceClient`, stands in for the one made here.

        Raises RootKeyRefused for what is no such name.
        """
        if not _NAME.fullmatch(key):
            raise RootKeyRefused(
                "keys.gcp_key: projects/PROJECT/locations/PLACE/keyRings/RING/cryptoKeys/KEY, without a version"
            )
        self._key = key
        self._guard = Lock()
        self._made = client

    def check(self) -> None:
        """Nothing beyond the probe: roles/cloudkms.cryptoKeyEncrypterDecrypter is all that it takes."""

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        request = {
            "name": self._key, "plaintext": key, "additional_authenticated_data": aad,
            "plaintext_crc32c": _crc32c(key), "additional_authenticated_data_crc32c": _crc32c(aad),
        }  # fmt: skip
        answer = self._ask("encrypt", request)
        sealed = bytes(answer.ciphertext)
        if not (answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c):
            raise Unavailable("Google Cloud KMS did not receive what was sent: try again")
        if _crc32c(sealed) != answer.ciphertext_crc32c:
            raise Unavailable("Google Cloud KMS's answer was damaged on the way: try again")
        return sealed

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        if not sealed:
            raise SealBroken("these bytes are not a key wrapped by gcp")
        request = {
            "name": self._key, "ciphertext": sealed, "additional_authenticated_data": aad,
            "ciphertext_crc32c": _crc32c(sealed), "additional_authenticated_data_crc32c": _crc32c(aad),
        }  # fmt: skip
        answer = self._ask("decrypt", request)
        key = bytes(answer.plaintext)
        if _crc32c(key) != answer.plaintext_crc32c:
            raise Unavailable("Google Cloud KMS's answer was damaged on the way: try again")
        return key

    def _ask(self, operation: str, request: dict[str, object]) -> Any:
        client = self._client()
        from google.api_core import exceptions, retry
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

        # Neither call changes anything there, so that asking again is safe, within the same time.
        again = retry.Retry(
            predicate=retry.if_exception_type(exceptions.ServiceUnavailable, exceptions.InternalServerError),
            initial=0.2, maximum=1.0, timeout=_SECONDS,
        )  # fmt: skip
        try:
            return getattr(client, operation)(request=request, timeout=_SECONDS, retry=again)
        except exceptions.BadRequest as e:
            if operation == "decrypt" and _status(e) == "INVALID_ARGUMENT":
                raise SealBroken(_BROKEN) from e
            raise RootKeyRefused(
                f"keys.gcp_key: a version of {self._key} is disabled or destroyed, or it is no key that encrypts"
            ) from e
        except exceptions.NotFound as e:
            raise RootKeyRefused(f"keys.gcp_key: there is no {self._key}") from e
        except (exceptions.Forbidden, exceptions.Unauthorized) as e:
            raise RootKeyRefused(
                f"Google Cloud refused: give this process roles/cloudkms.cryptoKeyEncrypterDecrypter on {self._key}"
            ) from e
        except DefaultCredentialsError as e:
            raise RootKeyRefused("Google Cloud: no application default credentials for this process") from e
        except (exceptions.GoogleAPIError, GoogleAuthError, OSError) as e:  # requests' own errors are OSErrors
            raise Unavailable(f"Google Cloud KMS did not answer: {type(e).__name__}") from e

    def _client(self) -> Any:
        with self._guard:
            if self._made is None:
                try:
                    from google.auth.exceptions import GoogleAuthError
                    from google.cloud import kms
                except ImportError as e:
                    raise RootKeyRefused(
                        "a root key in Google Cloud KMS needs the extra: pip install 'vallum[gcp]'"
                    ) from e
                try:
                    self._made = kms.KeyManagementServiceClient(transport="rest")
                except GoogleAuthError as e:
                    raise RootKeyRefused("Google Cloud: no application default credentials for this process") from e
            return self._made


def _status(error: Any) -> str:
    """The canonical code in the answer: over REST, the library tells several apart by nothing else."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, ValueError, KeyError, TypeError):
        return ""


def _crc32c(data: bytes) -> int:
    """RFC 3720, appendix B.4: Castagnoli's polynomial, reflected. Some kilobytes at most, so no table."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF
