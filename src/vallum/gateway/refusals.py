"""Why a request gets no answer: one table from Vallum's codes to a status and to what each SDK calls such an error.

A message says what to change. It never holds what a guard matched, and an upstream's words only after inspection.
"""

from dataclasses import dataclass
from math import ceil

from vallum.kernel.errors import (
    Denied,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
    VallumError,
)

__all__ = ["Refused", "refusal_of"]


class Refused(VallumError):
    """The pipeline stops here. `outcome` is what the entry says, `code` what the client reads."""

    def __init__(
        self, status: int, code: str, message: str, *, outcome: str = "refused", retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = code
        self.message = message
        self.outcome = outcome
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class _Family:
    error: type[VallumError]
    status: int
    outcome: str


# The first that fits, so subclasses stand before their parents.
_FAMILIES = (
    _Family(Unauthenticated, 401, "unauthenticated"),
    _Family(Denied, 403, "denied"),
    _Family(NotFound, 404, "invalid"),
    _Family(Invalid, 400, "invalid"),
    _Family(LimitExceeded, 429, "limited"),
    _Family(Unavailable, 503, "unavailable"),
)


def refusal_of(error: Exception) -> Refused:
    """What the client and the entry are told of any error. An unforeseen one tells the client nothing."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, VallumError):
        for family in _FAMILIES:
            if isinstance(error, family.error):
                seconds = ceil(error.retry_after_seconds) if isinstance(error, LimitExceeded) else None
                return Refused(
                    family.status, error.code, str(error), outcome=family.outcome, retry_after_seconds=seconds
                )
    return Refused(500, "internal", "the request failed inside Vallum; the entry names it", outcome="error")
