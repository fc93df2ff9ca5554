"""Thresholds learned from earlier versions, with a stated false-alarm budget.

A version's counts (nulls and values; rows per label) are compared with the pooled counts of the versions before it.
Sampling alone explains some distance; days that differ for no reason explain more, and how much is estimated from the
earlier versions themselves, as a dispersion factor. The threshold is the F quantile for the budget: with few earlier
versions it is wide, since the factor is known badly; it is never below what sampling alone explains. A difference below
`floor` (share of rows) never alarms: in a billion rows everything is significant.

A shift that is hardly larger than what days differ by is not always told on its first day, by whatever test
(docs/benchmarks.md); what stays shifted is looked at again with each version.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vallum.data.gates.statistics import departure, f_quantile

__all__ = ["FLOOR", "History", "LearnedLimit", "learn_limit"]

FLOOR = 0.005  # half a point
_WITHOUT_HISTORY = 2.0  # the dispersion assumed where a single earlier version says nothing of days
_KNOWN = 100_000  # degrees of freedom of a factor that is known: chi-square's own quantile


@dataclass(frozen=True, slots=True)
class History:
    """Counts of the earlier versions, oldest first, each as long as `cells`."""

    cells: tuple[str, ...]
    versions: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.versions or len(self.cells) < 2:
            raise ValueError("a history has at least one version and two cells")
        if any(len(counts) != len(self.cells) or sum(counts) <= 0 for counts in self.versions):
            raise ValueError("each version counts rows for each cell")


@dataclass(frozen=True, slots=True)
class LearnedLimit:
    """`exceeded` says whether a version departs from those before it further than the budget allows."""

    pooled: tuple[int, ...]
    threshold: float
    floor: float

    def distance(self, counts: Sequence[int]) -> float:
        return departure(self.pooled, counts)

    def shift(self, counts: Sequence[int]) -> float:
        """The largest change of a cell's share, 0 to 1."""
        n, m = sum(self.pooled), sum(counts)
        return max(abs(b / m - a / n) for a, b in zip(self.pooled, counts, strict=True))

    def exceeded(self, counts: Sequence[int]) -> bool:
        return self.shift(counts) >= self.floor and self.distance(counts) > self.threshold


def learn_limit(history: History, budget: float, floor: float = FLOOR) -> LearnedLimit:
    """The limit that a version like the earlier ones exceeds with a chance of at most `budget`."""
    if not 0 < budget < 1:
        raise ValueError("a budget is a chance, between 0 and 1")
    freedom = len(history.cells) - 1
    pooled = tuple(map(sum, zip(*history.versions, strict=True)))
    k = len(history.versions)
    if k == 1:
        return LearnedLimit(pooled, freedom * _WITHOUT_HISTORY * f_quantile(budget, freedom, _KNOWN), floor)
    apart = sum(departure([a - b for a, b in zip(pooled, own, strict=True)], own) for own in history.versions)
    # The estimate as it is, not taken for 1 where it came out below: the F quantile answers for its being a guess, and
    # the second line for what no guess may undercut, that rows are drawn.
    learned = apart / k * f_quantile(budget, freedom, (k - 1) * freedom)
    return LearnedLimit(pooled, max(learned, freedom * f_quantile(budget, freedom, _KNOWN)), floor)
