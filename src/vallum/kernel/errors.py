"""The families of everything Vallum raises on purpose.

A family exists because the caller acts differently; domains subclass it and keep or refine `code`. Messages
say what failed, on what, and what to do next. They hold no secret and no model content.
"""

from typing import ClassVar

__all__ = [
    "Conflict",
    "Denied",
    "IntegrityError",
    "Invalid",
    "LimitExceeded",
    "NotFound",
    "Unauthenticated",
    "Unavailable",
    "VallumError",
]


class VallumError(Exception):
    """Root of the tree. `code` is stable and documented; faces map it, and nothing else, to a status."""

    code: ClassVar[str] = "internal"


class Unauthenticated(VallumError):
    """Nobody is proven to be asking: sign in, or present a valid key."""

    code = "unauthenticated"


class Denied(VallumError):
    """Policy said no: ask for a grant."""

    code = "denied"


class Invalid(VallumError):
    """Fix the request: it can never succeed as it is."""

    code = "invalid"


class NotFound(Invalid):
    """The thing named does not exist, or the caller may not know that it does."""

    code = "not_found"


class Conflict(Invalid):
    """The state has moved on since the caller last looked."""

    code = "conflict"


class LimitExceeded(VallumError):
    """Retry later, after `retry_after_seconds`."""

    code = "limit_exceeded"

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class IntegrityError(VallumError):
    """Stop: something was altered."""

    code = "integrity"


class Unavailable(VallumError):
    """A part that must answer did not, so the request is refused: retry later."""

    code = "unavailable"
