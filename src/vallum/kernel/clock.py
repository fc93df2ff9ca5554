"""Time as an argument, so that every test is repeatable."""

from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "format_time"]


class Clock(Protocol):
    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def format_time(instant: datetime) -> str:
    """RFC 3339 in UTC with exactly six fractional digits, so that text order is time order.

    Raises ValueError for a naive datetime: guessing its zone would falsify evidence.
    """
    if instant.tzinfo is None:
        raise ValueError("a naive datetime has no place in a record; pass an aware one")
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat(timespec="microseconds")[:-6] + "Z"  # strftime takes six times as long
