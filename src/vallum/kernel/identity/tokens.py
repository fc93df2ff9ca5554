"""Signed statements of this installation: JWTs of one algorithm, one type each, one issuer and audience.

Answers algorithm confusion (one algorithm, fixed here), a token of one type taken for another (RFC 8725, section 3.11),
and tokens of other installations (issuer and audience are the ledger's origin).
"""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from vallum.kernel.clock import Clock
from vallum.kernel.ids import new_id
from vallum.kernel.keys import Keyring

__all__ = ["LEEWAY_SECONDS", "TokenRefused", "Tokens"]

LEEWAY_SECONDS = 5  # between replicas; tokens are made and read by one installation
_MAX_TOKEN_CHARS = 4096
_ALGORITHM = "Ed25519"  # RFC 9864's name for EdDSA over this one curve


class TokenRefused(Exception):
    """Not one of ours, of another type, or over."""


class Tokens:
    """Safe to share between threads."""

    def __init__(self, keyring: Keyring, clock: Clock, issuer: str) -> None:
        self._clock = clock
        self._issuer = issuer
        raw = keyring.signing_key("tokens").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._key = OKPKey.import_key(raw)

    @property
    def issuer(self) -> str:
        return self._issuer

    def sign(self, kind: str, seconds: int, claims: Mapping[str, Any]) -> str:
        """A token of type `kind` that is over after `seconds`; `jti` names it."""
        now = int(self._clock.now().timestamp())
        said = {
            "iss": self._issuer, "aud": self._issuer, "jti": new_id("tok"), "iat": now, "exp": now + seconds, **claims,
        }  # fmt: skip
        return jwt.encode({"alg": _ALGORITHM, "typ": kind}, said, self._key, algorithms=[_ALGORITHM])

    def read(self, kind: str, token: str) -> dict[str, Any]:
        """What a token of type `kind` says. Raises TokenRefused."""
        if len(token) > _MAX_TOKEN_CHARS:
            raise TokenRefused
        try:
            decoded = jwt.decode(token, self._key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError, TypeError) as e:
            raise TokenRefused from e
        claims = decoded.claims
        now = self._clock.now().timestamp()
        sound = (
            decoded.header.get("typ") == kind
            and claims.get("iss") == self._issuer
            and claims.get("aud") == self._issuer
            and isinstance(claims.get("jti"), str)
            and type(claims.get("exp")) is int
            and type(claims.get("iat")) is int
        )
        if not sound or claims["exp"] <= now - LEEWAY_SECONDS or claims["iat"] > now + LEEWAY_SECONDS:
            raise TokenRefused
        return dict(claims)
