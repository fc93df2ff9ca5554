"""Time-based one-time codes (RFC 6238), each accepted once.

The library says whether a code is right for a time step; which step it was is what must not be accepted again,
and the caller keeps that with a conditional update.
"""

import hmac

import pyotp

__all__ = ["STEP_SECONDS", "matching_step", "new_totp_secret", "totp_uri"]

STEP_SECONDS = 30
_SKEW_STEPS = 1  # a phone's clock may be half a minute off


def new_totp_secret() -> str:
    """160 random bits in base32."""
    return str(pyotp.random_base32())


def totp_uri(secret: str, name: str) -> str:
    return str(pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="Vallum"))


def matching_step(secret: str, code: str, now_seconds: int) -> int | None:
    """The time step that `code` belongs to, within one step of now; None when it fits none."""
    digits = code.replace(" ", "")
    if len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return None
    generator = pyotp.HOTP(secret)
    present = now_seconds // STEP_SECONDS
    for step in range(present - _SKEW_STEPS, present + _SKEW_STEPS + 1):
        if step >= 0 and hmac.compare_digest(generator.at(step), digits):
            return step
    return None
