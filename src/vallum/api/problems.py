"""Errors as problem details (RFC 9457): one table from families to statuses."""

from math import ceil

import msgspec

from vallum.api.routing import BodyTimeout, BodyTooLarge
from vallum.kernel.errors import (
    Conflict,
    Denied,
    IntegrityError,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
    VallumError,
)
from vallum.kernel.gate import AccessDenied

__all__ = ["CERTIFICATE_PATH", "MEDIA_TYPE", "TOKEN_PATH", "Problem", "oauth_problem", "problem_of"]

MEDIA_TYPE = "application/problem+json"
TOKEN_PATH = "/api/v1/tokens"  # noqa: S105  where refusals are OAuth's, as application/json
CERTIFICATE_PATH = "/api/v1/certificates"

# The first that fits, so subclasses stand before their parents.
_STATUSES: tuple[tuple[type[VallumError], int, str], ...] = (
    (Unauthenticated, 401, "Not signed in"),
    (Denied, 403, "Denied"),
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (BodyTimeout, 408, "Timeout"),
    (BodyTooLarge, 413, "Too large"),
    (LimitExceeded, 429, "Too many requests"),
    (Invalid, 400, "Invalid request"),
    (IntegrityError, 500, "Integrity failure"),
    (Unavailable, 503, "Unavailable"),
)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """`code` is stable; `detail` says what to change; `entry` names the ledger entry that recorded the refusal."""

    status: int
    title: str
    code: str
    detail: str
    entry: str | None = None
    obligations: tuple[str, ...] = ()
    retry_after_seconds: int | None = None
    type: str = "about:blank"
    error: str | None = None  # at the token endpoint, with `error_description`: RFC 6749, section 5.2
    error_description: str | None = None


def oauth_problem(problem: Problem) -> Problem:
    """The same, with what OAuth's clients look for."""
    families = {401: "invalid_client", 429: "slow_down", 500: "server_error", 503: "temporarily_unavailable"}
    error = families.get(problem.status, "invalid_request")
    if problem.code in ("unsupported_grant_type", "invalid_target"):
        error = problem.code
    return msgspec.structs.replace(problem, error=error, error_description=problem.detail)


def problem_of(error: Exception) -> Problem:
    """An error nobody foresaw tells the caller nothing but that it happened."""
    for family, status, title in _STATUSES:
        if isinstance(error, family):
            entry = error.entry_id if isinstance(error, AccessDenied) else None
            obligations = tuple(sorted(error.obligations)) if isinstance(error, AccessDenied) else ()
            seconds = ceil(error.retry_after_seconds) if isinstance(error, LimitExceeded) else None
            return Problem(status, title, error.code, str(error), entry, obligations, seconds)
    return Problem(500, "Internal error", "internal", "the request failed inside Vallum; its operator's log says why")
