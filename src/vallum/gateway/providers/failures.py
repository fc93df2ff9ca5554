"""What goes wrong with providers, and whether asking again or elsewhere may help."""

from vallum.gateway.providers.port import UpstreamAnswer
from vallum.gateway.refusals import Refused

__all__ = ["UpstreamFailed", "check_answer"]

_PASSED_ON = (400, 404, 409, 413, 415, 422)  # the request's own fault: the client can mend it


class UpstreamFailed(Refused):
    """No usable answer. `retryable` when another try, or another provider, may give one."""

    def __init__(
        self, status: int, code: str, message: str, *, retryable: bool, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(status, code, message, outcome=code, retry_after_seconds=retry_after_seconds)
        self.retryable = retryable


def check_answer(answer: UpstreamAnswer) -> None:
    """Raises UpstreamFailed for every status but success. Its body is never quoted: it may hold the prompt."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status in _PASSED_ON:
        raise UpstreamFailed(
            status if status != 404 else 400,
            "upstream_refused",
            f"the provider refused the request with status {status}: check its parameters against the model's manual",
            retryable=False,
        )
    if status in (401, 402, 403):
        raise UpstreamFailed(
            502, "upstream_credentials",
            "the provider refused Vallum's credentials: its operator must check the provider's secret",
            retryable=False,
        )  # fmt: skip
    if status == 429:
        given = answer.retry_after or ""
        seconds = int(given) if given.isdecimal() and len(given) < 6 else 1  # an HTTP date is as good as none
        raise UpstreamFailed(
            429, "upstream_limited", "the provider is refusing more requests for now",
            retryable=True, retry_after_seconds=min(seconds, 3600),
        )  # fmt: skip
    if 300 <= status < 400:
        raise UpstreamFailed(502, "upstream_garbage", "the provider answered with a redirection", retryable=False)
    raise UpstreamFailed(502, "upstream_error", f"the provider failed with status {status}", retryable=True)
