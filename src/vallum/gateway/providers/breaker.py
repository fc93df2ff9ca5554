"""A circuit breaker: a provider that keeps failing is left alone for a while, and tried with one request then."""

from collections.abc import Callable
from time import monotonic

__all__ = ["Breaker"]


class Breaker:
    """For one provider in one process. Not for threads."""

    def __init__(self, failures_before_open: int, open_seconds: float, now: Callable[[], float] = monotonic) -> None:
        self._limit = failures_before_open
        self._open_seconds = open_seconds
        self._now = now
        self._failures = 0
        self._open_until: float | None = None

    def allows(self) -> bool:
        """Whether a call may be made. When the time is up, the first to ask may, and the others wait for it."""
        if self._open_until is None:
            return True
        now = self._now()
        if now < self._open_until:
            return False
        self._open_until = now + self._open_seconds
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._open_until = None

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._open_until = self._now() + self._open_seconds
