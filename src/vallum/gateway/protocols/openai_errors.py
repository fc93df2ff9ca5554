"""Errors as the OpenAI SDKs parse them, for every OpenAI endpoint."""

from typing import Any

from vallum.gateway.refusals import Refused

__all__ = ["openai_error"]

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def openai_error(refused: Refused, entry_id: str | None) -> dict[str, Any]:
    kind = _TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "api_error")
    return {
        "error": {
            "message": refused.message,
            "type": kind,
            "param": None,
            "code": refused.error_code,
            "entry": entry_id,
        }
    }
