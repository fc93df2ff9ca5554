"""Exceptions to a guard's mode: for one kind, in one channel, by somebody, until a day.

A mode that is stricter than the guard's own needs no end. One that is weaker has an owner and an expiry, since an
exception that nobody owns is a hole; from that day on the guard's own mode holds again, without a restart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from vallum.guards.port import Finding, Mode
from vallum.guards.segment import Channel

__all__ = ["Exceptions", "Exempt"]

ANY = "*"


def _today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Exempt:
    """`kind` and `channel` may be `*`. `expires` is the first day (UTC) on which it no longer holds; None is never."""

    guard: str
    mode: Mode
    kind: str = ANY
    channel: str = ANY
    expires: date | None = None

    def covers(self, finding: Finding, channel: Channel) -> bool:
        return finding.guard == self.guard and self.kind in (ANY, finding.kind) and self.channel in (ANY, channel)


class Exceptions:
    """The first that covers a finding and has not expired decides."""

    def __init__(self, exceptions: Sequence[Exempt], today: Callable[[], date] = _today) -> None:
        self._exceptions = tuple(exceptions)
        self._today = today

    def run(self, guard: str) -> bool:
        """Whether a guard that is off must run all the same, for an exception that turns part of it on."""
        return any(e.guard == guard and e.mode is not Mode.OFF for e in self._exceptions)

    def mode(self, finding: Finding, channel: Channel) -> Mode | None:
        if not self._exceptions:
            return None
        today = self._today()
        for exception in self._exceptions:
            if exception.covers(finding, channel) and (exception.expires is None or today < exception.expires):
                return exception.mode
        return None
