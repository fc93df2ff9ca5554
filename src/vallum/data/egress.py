"""Exports that are unusual for whoever makes them: pure functions over a subject's days.

Four detectors, each against the subject's own last 180 days with exports, each with a reason that a person can check.
None depends on volumes being normal: ranks say the same however days are distributed (of exchangeable ones, the newest
is beyond n others once in n + 1), and 4 standard deviations are rarer than one day in a hundred also where tails are
exponential. Together they raise a false alarm on less than one clean day in a hundred (docs/benchmarks.md). They are no
limit: an export that is usual for a thief is usual.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import NormalDist, fmean
from types import MappingProxyType

__all__ = ["EGRESS_DETECTORS", "ExportDay", "judge_export_day"]

_WINDOW = 180  # days with exports, not of the calendar
_LEARNING = 30  # before that, everything is new
_SIGMA = 3.0
_FOUND_SIGMA = 4.0  # an export of 4 sigma is found; of exponential days, 0.7 % lie beyond
_UNSURE = 3.0  # days' worth: of few days a deviation is known badly, and too small more often than too large
_BEYOND = 0.75  # standard deviations past the largest day: what has a long tail sets records often, and small ones
_MIN_ROWS = 100
_FAR_HOURS = 3
_RECENT = 20  # days in which a drip adds up
_SLACK = 0.75  # standard deviations above usual that are nothing yet
_LIMIT = 8.0
_MOST = 2.0  # what one day may add: a single large one is `volume`'s
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class ExportDay:
    """What one subject exported on one day. `hours` is a bit for each hour in UTC, from the lowest."""

    day: int
    rows: int
    assets: frozenset[str]
    hours: int


def judge_export_day(history: Sequence[ExportDay], today: ExportDay) -> dict[str, str]:
    """What is unusual about `today`, by detector, with its explanation. `history` is in order, and without today."""
    past = history[-_WINDOW:]
    if len(past) < _LEARNING:
        return {}
    found = {name: detector(past, today) for name, detector in EGRESS_DETECTORS.items()}
    return {name: explanation for name, explanation in found.items() if explanation}


def volume(past: Sequence[ExportDay], today: ExportDay) -> str:
    """Four standard deviations, however days are distributed; or fewer where it is also past every day before.

    The second alone would miss them where days have a long tail: there the largest of 180 lies beyond 4 sigma already.
    """
    counts = [each.rows for each in past]
    mean = fmean(counts)
    if today.rows <= max(_MIN_ROWS, mean):  # half of the days end here, and cost no deviations
        return ""
    sigma = sqrt(fmean((count - mean) ** 2 for count in counts) * len(counts) / (len(counts) - 1))
    sigma = max(sigma, 0.05 * mean)
    line = mean + _SIGMA * sigma * sqrt(1 + 1 / len(counts))
    line = min(max(line, max(counts) + _BEYOND * sigma), mean + _FOUND_SIGMA * (1 + _UNSURE / len(counts)) * sigma)
    if today.rows <= max(_MIN_ROWS, line):
        return ""
    return f"{today.rows} rows today; on {len(past)} days before {mean:.0f} on average and {max(counts)} at most"


def new_asset(past: Sequence[ExportDay], today: ExportDay) -> str:
    """For whoever has taken nothing new for as long as is remembered."""
    if today.assets <= frozenset().union(*{each.assets for each in past}):
        return ""
    known: set[str] = set()
    firsts = 0
    for place, each in enumerate(past):
        firsts += place >= _LEARNING // 2 and not each.assets <= known
        known |= each.assets
    fresh = sorted(today.assets - known)
    if not fresh or firsts or len(past) < 2 * _LEARNING:
        return ""
    return f"{fresh[0]} for the first time, after {len(past)} days of the same {len(known)} data sets"


def off_hours(past: Sequence[ExportDay], today: ExportDay) -> str:
    usual = 0
    for hours in {each.hours for each in past}:
        usual |= hours
    for hour in range(24):
        if today.hours >> hour & 1 and not usual & _around(hour):
            return f"at {hour:02}:00 UTC, {_FAR_HOURS} hours and more from any export of {len(past)} days before"
    return ""


def slow_drip(past: Sequence[ExportDay], today: ExportDay) -> str:
    """A little more than usual, day after day (a cumulative sum of normal scores; Page, 1954)."""
    if len(past) < 2 * _RECENT + _LEARNING // 2 or today.rows < _MIN_ROWS:
        return ""
    usual = sorted(each.rows for each in past[: -_RECENT + 1])
    recent = [*past[-_RECENT + 1 :], today]
    total = before = 0.0
    for each in recent:
        before = total
        total = max(0.0, total + min(_MOST, _score(usual, each.rows)) - _SLACK)
    if total < _LIMIT or before >= _LIMIT:
        return ""
    taken, middle = sum(each.rows for each in recent), usual[len(usual) // 2]
    return (
        f"{taken} rows on the last {len(recent)} days, where {middle * len(recent)} are usual, no single day far above"
    )


def _score(usual: Sequence[int], rows: int) -> float:
    """Where a day stands among the usual ones, as a normal deviate; ties count half."""
    below = (bisect_left(usual, rows) + bisect_right(usual, rows)) / 2
    return _NORMAL.inv_cdf((below + 0.5) / (len(usual) + 1))


@cache
def _around(hour: int) -> int:
    return sum(1 << (hour + offset) % 24 for offset in range(-_FAR_HOURS + 1, _FAR_HOURS))


EGRESS_DETECTORS: Mapping[str, Callable[[Sequence[ExportDay], ExportDay], str]] = MappingProxyType(
    {"volume": volume, "new_asset": new_asset, "off_hours": off_hours, "slow_drip": slow_drip}
)
