"""Noticing a subject whose queries look made to copy a model: streaming, in bounded memory, with a false-alarm budget.

Who copies a model asks what teaches most: points that no real case has (random or synthetic data: *far* from the
reference), or many points round one another (walks along the border between classes, perturbations: *near* each other).
Both are events whose chance a reference sample bounds, without any assumption about its distribution:

- far: the distance to the nearest of some anchors exceeds the k-th smallest of M reference distances. How often that
  happens has an exact upper bound (Clopper and Pearson, 1934).
- near: of four queries in a row, two are closer than any two in M such fours of the reference; the chance of it is at
  most 1 - b^(1/M) with confidence 1 - b. The same query again (distance 0: a retry, a poll) says nothing.

On each event a bet is laid at the odds of its bound times `tolerance`. While the queries come as the reference does,
the capital is a non-negative supermartingale, so the chance that it *ever* exceeds 1/a is at most a (Ville, 1939).
Half of the budget goes to that, half to the bounds. Part of the capital is kept back for later, so that a subject that
begins to copy after a long honest time is found nearly as fast. PRADA (Juuti et al., 2019) asks a similar question of
the normality of distances, and states no budget.

What it cannot see: few queries, queries drawn from real data, several subjects that share the work, inputs of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, dist, fsum, isnan, sqrt
from random import Random

import msgspec

from vallum.kernel.errors import Invalid
from vallum.models.runtime.model import Extraction

__all__ = ["MAX_ROWS", "Baseline", "Capital", "Vector"]

_ANCHORS = 32
_IN_A_ROW = 4
_MAX_DIMENSIONS = 64  # of wider rows, as many columns evenly spread
_MIN_ROWS, MAX_ROWS = 128, 20_000
_FAR_QUANTILE = 0.95
_MAX_ODDS = 0.4  # an event that is as likely as this tells too little to bet on
_STAKES = (0.2, 0.5, 0.8)
_RESTART = 256  # looks between two parts of the capital that was kept back

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known of ordinary queries. A chance of 1 is no bet: the sample is too small for that event."""

    columns: tuple[int, ...]
    centre: Vector
    scale: Vector
    anchors: tuple[Vector, ...]
    far_from: float
    far_chance: float
    near_below: float
    near_chance: float
    alarm_at: float

    @classmethod
    def learn(cls, rows: Sequence[Sequence[float | None]], settings: Extraction, random: Random) -> "Baseline":
        """Raises Invalid for a reference that is too small to say anything at this budget."""
        if not _MIN_ROWS <= len(rows) <= MAX_ROWS or len({len(row) for row in rows}) != 1 or not rows[0]:
            raise Invalid(f"extraction.reference: from {_MIN_ROWS} to {MAX_ROWS} rows of the same length")
        width = len(rows[0])
        columns = tuple(range(width))
        if width > _MAX_DIMENSIONS:
            columns = tuple(at * width // _MAX_DIMENSIONS for at in range(_MAX_DIMENSIONS))
        order = random.sample(range(len(rows)), len(rows))
        shuffled = [rows[at] for at in order]
        # What scales, what anchors and what bounds are different rows: a bound holds for what it has not seen.
        scaling, bounding = shuffled[: len(rows) // 3], shuffled[len(rows) // 3 :]
        centre, scale = _scales(scaling, columns)
        anchors = tuple(_scaled(row, columns, centre, scale) for row in scaling[:_ANCHORS])
        points = [_scaled(row, columns, centre, scale) for row in bounding]
        error = settings.false_alarms / 4
        far = sorted(min(dist(point, anchor) for anchor in anchors) for point in points)
        above = len(far) - int(len(far) * _FAR_QUANTILE)
        fours = [points[at : at + _IN_A_ROW] for at in range(0, len(points) - _IN_A_ROW + 1, _IN_A_ROW)]
        return cls(
            columns, centre, scale, anchors,
            far_from=far[len(far) - above],
            far_chance=_odds(settings.tolerance * _upper_bound(above, len(far), error)),
            near_below=min(dist(*pair) for four in fours for pair in combinations(four, 2)),
            near_chance=_odds(settings.tolerance * (1 - error ** (1 / len(fours)))),
            alarm_at=2 / settings.false_alarms,
        ).checked()  # fmt: skip

    def checked(self) -> "Baseline":
        if self.far_chance == self.near_chance == 1:
            raise Invalid("extraction.reference: too few rows for so small a budget of false alarms: give more")
        return self

    def place(self, row: Sequence[float]) -> Vector:
        return _scaled(row, self.columns, self.centre, self.scale)


class Capital(msgspec.Struct):
    """One subject's, betting on both events with several stakes: all that is remembered of it."""

    last: list[Vector] = []
    looks: int = 0
    kept_back: float = 1.0
    far: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_STAKES))
    near: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_STAKES))
    suspected_until: float = 0.0
    kind: str = ""  # unlike_reference or around_own_queries, of a subject that is suspected

    def look(self, baseline: Baseline, row: Sequence[float]) -> bool:
        """Whether the capital now says that this is no ordinary subject, and by which event: see `kind`."""
        point = baseline.place(row)
        if self.looks % _RESTART == 0:
            number = self.looks // _RESTART
            fresh = 1 / ((number + 1) * (number + 2))
            self.kept_back = 1 / (number + 2)
            self.far, self.near = [one + fresh for one in self.far], [one + fresh for one in self.near]
        self.looks += 1
        self.far = _bet(self.far, baseline.far_chance, _is_far(baseline, point))
        self.last.append(point)
        if len(self.last) == _IN_A_ROW:  # fours that share no query: each is fresh, whatever came before
            self.near = _bet(self.near, baseline.near_chance, _is_near(baseline, self.last))
            self.last.clear()
        far, near = fsum(self.far), fsum(self.near)
        if self.kept_back + (far + near) / (2 * len(_STAKES)) < baseline.alarm_at:
            return False
        self.kind = "unlike_reference" if far >= near else "around_own_queries"
        return True


def _is_far(baseline: Baseline, point: Vector) -> bool:
    return all(dist(point, anchor) > baseline.far_from for anchor in baseline.anchors)


def _is_near(baseline: Baseline, points: Sequence[Vector]) -> bool:
    return any(0 < dist(one, other) < baseline.near_below for one, other in combinations(points, 2))


def _bet(capitals: list[float], chance: float, happened: bool) -> list[float]:
    """At odds of `chance`, which is at least the event's own: what comes back is on average no more than the stake."""
    if chance >= 1:
        return capitals
    gains = (1 - stake + stake / chance if happened else 1 - stake for stake in _STAKES)
    return [min(capital * gain, 1e300) for capital, gain in zip(capitals, gains, strict=True)]


def _odds(chance: float) -> float:
    return chance if chance <= _MAX_ODDS else 1.0


def _upper_bound(hits: int, of: int, error: float) -> float:
    """The chance of an event that happened at most `hits` times in `of`, with confidence 1 - `error`."""
    low, high = hits / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = fsum(comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(hits + 1))
        low, high = (middle, high) if tail > error else (low, middle)
    return high


def _scales(rows: Sequence[Sequence[float | None]], columns: Sequence[int]) -> tuple[Vector, Vector]:
    centre, scale = [], []
    for column in columns:
        values = [value for row in rows if (value := row[column]) is not None]
        mean = fsum(values) / len(values) if values else 0.0
        spread = sqrt(fsum((value - mean) ** 2 for value in values) / len(values)) if values else 0.0
        centre.append(mean)
        scale.append(spread or 1.0)
    return tuple(centre), tuple(scale)


def _scaled(row: Sequence[float | None], columns: Sequence[int], centre: Vector, scale: Vector) -> Vector:
    """What is missing lies in the middle."""
    return tuple(
        0.0 if (value := row[at]) is None or isnan(value) else (value - mean) / spread
        for at, mean, spread in zip(columns, centre, scale, strict=True)
    )
