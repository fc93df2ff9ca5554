"""Differentially private counts, sums, means and histograms, through OpenDP (the extra `privacy`).

Each takes the epsilon that the caller has spent (`budget`), and `contributions`: the most rows that one person may
have in the data, for whom the promise is then made; the caller bounds it, nothing here can see it. Numbers are
clamped to bounds that must not come from the data, and counted in whole steps: noise on floating-point numbers has
been told from the low bits (Mironov, 2012). The noise is OpenDP's, from the system's randomness.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["private_count", "private_histogram", "private_mean", "private_sum"]

_MAX_STEPS = 1 << 31  # per value: sums of 2**31 rows stay within 64 bits


def private_count(rows: int, epsilon: float, *, contributions: int = 1) -> int:
    """How many rows, with noise."""
    dp = _opendp()
    _check(epsilon, contributions)
    space = dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.symmetric_distance()
    count = space >> dp.t.then_count()
    return int(_noisy(dp, count, epsilon, contributions)([0] * rows))


def private_sum(
    values: Sequence[float],
    bounds: tuple[float, float],
    epsilon: float,
    *,
    step: float = 1.0,
    contributions: int = 1,
) -> float:
    """The sum of the values, each clamped to `bounds` and rounded to a multiple of `step`, with noise."""
    dp = _opendp()
    _check(epsilon, contributions)
    low, high = _in_steps(bounds, step)
    space = dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.symmetric_distance()
    total = space >> dp.t.then_clamp((low, high)) >> dp.t.then_sum()
    return float(_noisy(dp, total, epsilon, contributions)([_steps(value, low, high, step) for value in values])) * step


def private_mean(
    values: Sequence[float],
    bounds: tuple[float, float],
    epsilon: float,
    *,
    step: float = 1.0,
    contributions: int = 1,
) -> float:
    """Half of epsilon for the sum of distances from the middle, half for the count; within `bounds`."""
    middle = (bounds[0] + bounds[1]) / 2
    around = (bounds[0] - middle, bounds[1] - middle)
    total = private_sum([v - middle for v in values], around, epsilon / 2, step=step, contributions=contributions)
    count = private_count(len(values), epsilon / 2, contributions=contributions)
    return float(min(bounds[1], max(bounds[0], middle + total / max(1, count))))


def private_histogram(
    values: Sequence[str], categories: Sequence[str], epsilon: float, *, contributions: int = 1
) -> dict[str, int]:
    """How many rows of each category, with noise. `categories` are known beforehand: others are not counted.

    Which categories occur would itself tell of the data.
    """
    dp = _opendp()
    _check(epsilon, contributions)
    if not categories or len(set(categories)) != len(categories):
        raise Invalid("a histogram has categories, each once")
    space = dp.vector_domain(dp.atom_domain(T=dp.String)), dp.symmetric_distance()
    counts = space >> dp.t.then_count_by_categories(categories=list(categories), null_category=True)
    noisy = _noisy(dp, counts, epsilon, contributions)(list(values))
    return dict(zip(categories, map(int, noisy), strict=False))


def _noisy(dp: Any, query: Any, epsilon: float, contributions: int) -> Any:
    """The query with as much noise as the promise needs; that it is kept, OpenDP itself confirms."""
    scale = float(query.map(contributions)) / epsilon * (1 + 1e-9)  # for the roundings of the confirmation
    measurement = query >> dp.m.then_laplace(scale=scale)
    if not measurement.check(contributions, float(epsilon)):
        raise Invalid("no noise keeps this promise: epsilon is too small")
    return measurement


def _in_steps(bounds: tuple[float, float], step: float) -> tuple[int, int]:
    low, high = bounds
    if not (isfinite(low) and isfinite(high) and low < high and isfinite(step) and step > 0):
        raise Invalid("bounds are two finite numbers, the lower first, and a step is above 0")
    if max(abs(low), abs(high)) / step > _MAX_STEPS:
        raise Invalid(f"bounds are at most {_MAX_STEPS} steps from 0: take a larger step")
    return round(low / step), round(high / step)


def _steps(value: float, low: int, high: int, step: float) -> int:
    """Anything that is no number counts as the lower bound: it must not stop the release, which would tell of it."""
    if value != value:
        return low
    return low if value / step <= low else high if value / step >= high else round(value / step)


def _check(epsilon: float, contributions: int) -> None:
    if not (isfinite(epsilon) and epsilon > 0):
        raise Invalid("epsilon is above 0")
    if contributions < 1:
        raise Invalid("a person has at least one row")


def _opendp() -> Any:
    try:
        import opendp.prelude as dp
    except ImportError as e:
        raise Unavailable("private statistics need OpenDP: install the extra vallum[privacy]") from e
    dp.enable_features("contrib")
    return dp
