"""The root key in AWS KMS: a symmetric key (SYMMETRIC_DEFAULT) that encrypts and decrypts there.

    0x04 | the ciphertext blob as KMS made it

The associated data is KMS's encryption context. CloudTrail shows that in the clear, so it holds the digest of what is
bound, not the tenant's name. The key is named by its own ARN, for decryption too: a blob that an attacker had another
key make, in an account of theirs, is refused, and no alias decides which key it is. KMS's rotation keeps the key's ARN
and every former version. Credentials come from the SDK's chain (environment, profile, IRSA, container, instance).
"""

import hashlib
import re
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from vallum.kernel.errors import Unavailable, VallumError
from vallum.kernel.keys.errors import RootKeyRefused, SealBroken

__all__ = ["AwsKey"]

_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 3, 5, 2  # both calls change nothing, so a second one is safe
_BROKEN = "a wrapped key was altered, or stands where it was not wrapped"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NOT_THIS_SEAL = ("InvalidCiphertextException", "IncorrectKeyException")
_NOT_THERE = ("NotFoundException", "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException")
_NOT_ALLOWED = (
    "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
    "InvalidClientTokenId", "MissingAuthenticationTokenException",
)  # fmt: skip


class AwsKey:
    """A `KeyService` on one KMS key. The first call makes the client."""

    name = "aws"
    format = 0x04

    def __init__(self, arn: str) -> None:
        """Raises RootKeyRefused for what is no key's ARN."""
        found = _ARN.fullmatch(arn)
        if found is None:
            raise RootKeyRefused("keys.aws_key: the key's own ARN, arn:aws:kms:REGION:ACCOUNT:key/ID, and no alias")
        self._arn, self._region = arn, found.group(1)
        self._guard = Lock()
        self._made: Any = None

    def check(self) -> None:
        """Nothing beyond the probe: `kms:Encrypt` and `kms:Decrypt` are all the permissions it takes."""

    def encrypt(self, key: bytes, aad: bytes) -> bytes:
        answer = self._ask("encrypt", KeyId=self._arn, Plaintext=key, EncryptionContext=_context(aad))
        return bytes(answer["CiphertextBlob"])

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        if not sealed:
            raise SealBroken("these bytes are not a key wrapped by aws")
        try:
            return self._decrypted(sealed, aad)
        except RootKeyRefused:
            # KMS says "denied" of a blob that names another key, too: altered, if this key does its work otherwise.
            if not self._is_well():
                raise
        raise SealBroken(_BROKEN)

    def _is_well(self) -> bool:
        try:
            return self._decrypted(self.encrypt(b"?", b"?"), b"?") == b"?"
        except VallumError:
            return False

    def _decrypted(self, sealed: bytes, aad: bytes) -> bytes:
        answer = self._ask("decrypt", KeyId=self._arn, CiphertextBlob=sealed, EncryptionContext=_context(aad))
        return bytes(answer["Plaintext"])

    def _ask(self, operation: str, **parameters: object) -> Any:
        client = self._client()
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        try:
            return getattr(client, operation)(**parameters)
        except ClientError as e:
            raise self._meant(operation, e.response) from e
        except (NoCredentialsError, PartialCredentialsError) as e:
            raise RootKeyRefused("AWS: no credentials in the SDK's chain; give this process a role") from e
        except BotoCoreError as e:
            raise Unavailable(f"AWS KMS did not answer: {type(e).__name__}") from e

    def _meant(self, operation: str, response: Any) -> Exception:
        """Never KMS's own words: they name accounts and callers."""
        error = response.get("Error", {})
        code = str(error.get("Code", ""))
        if code in _NOT_THIS_SEAL:
            return SealBroken(_BROKEN)
        if code in _NOT_THERE:
            return RootKeyRefused(f"keys.aws_key: {self._arn} is not there, disabled, or no encryption key ({code})")
        if code in _NOT_ALLOWED:
            return RootKeyRefused(f"AWS refused kms:{operation.capitalize()} on {self._arn} ({code}): allow it")
        return Unavailable(f"AWS KMS did not {operation}: {code or 'no reason given'}")

    def _client(self) -> Any:
        with self._guard:
            if self._made is None:
                try:
                    import boto3
                    from botocore.config import Config
                except ImportError as e:
                    raise RootKeyRefused("a root key in AWS KMS needs the extra: pip install 'vallum[aws]'") from e
                bounds = Config(
                    connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS,
                    retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                )  # fmt: skip
                made = boto3.session.Session().client("kms", region_name=self._region, config=bounds)
                endpoint = urlsplit(made.meta.endpoint_url)
                if endpoint.scheme != "https" and endpoint.hostname not in _LOOPBACK:
                    raise RootKeyRefused("AWS: the environment or profile names an endpoint for KMS without TLS")
                self._made = made
            return self._made


def _context(aad: bytes) -> dict[str, str]:
    return {"vallum": hashlib.sha256(aad).hexdigest()}
