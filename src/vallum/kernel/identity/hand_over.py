"""Handing a session over from the browser to the command line on the same machine (RFC 8252, RFC 7636).

Whoever signs in by single sign-on or passkey does so in a browser; the command line has neither. It asks with the
digest of a secret that it keeps, the signed-in person agrees, and a code comes back by the loopback interface, which is
worth nothing without that secret, works once and for a minute. What comes of it is a session beside the first: with its
second factor and its end, so that handing over makes nothing last longer, and none once the first has ended.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec

from vallum.kernel.errors import Invalid
from vallum.kernel.identity.factors import ProvenHandOver
from vallum.kernel.identity.model import Session, SignInRefused
from vallum.kernel.identity.tokens import TokenRefused, Tokens

__all__ = ["HandOver", "HandOverCode"]

_TYPE = "hand-over+jwt"
_SECONDS = 60
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256, base64url without padding
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class HandOverCode(msgspec.Struct, frozen=True):
    """For the loopback interface alone, and worth nothing without the verifier."""

    code: str

    def __repr__(self) -> str:
        return "HandOverCode(…)"


class HandOver:
    """Safe to share between threads. Keeps nothing: the code says it all, signed."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def begin(self, session: Session, challenge: str) -> HandOverCode:
        """Raises Invalid for what is no S256 challenge."""
        if not _CHALLENGE.fullmatch(challenge):
            raise Invalid("challenge: the base64url of a SHA-256, without padding (RFC 7636, S256)")
        claims = {
            "sub": session.person_id,
            "sid": session.id,
            "challenge": challenge,
            "mfa": session.mfa_at_seconds,
            "end": session.expires_at_seconds,
            "method": session.method,
        }
        return HandOverCode(self._tokens.sign(_TYPE, _SECONDS, claims))

    def check(self, code: str, verifier: str) -> ProvenHandOver:
        """Raises SignInRefused. It is used up with the session that it opens."""
        refused = SignInRefused("the code is not valid, or not this command line's: begin again")
        try:
            claims = self._tokens.read(_TYPE, code)
        except TokenRefused as e:
            raise refused from e
        digest = urlsafe_b64encode(sha256(verifier.encode("utf-8", "replace")).digest()).rstrip(b"=").decode()
        if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(digest, claims["challenge"]):
            raise refused
        return ProvenHandOver(
            claims["sub"], claims["mfa"], claims["jti"], claims["exp"], claims["sid"], claims["end"], claims["method"]
        )
