"""The few distributions that thresholds need: chi-square tails, F quantiles, PSI. No library is worth it.

Sources: Numerical Recipes' continued fractions for the incomplete gamma and beta functions; tests hold published
quantiles.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["chi_square", "chi_square_tail", "departure", "f_quantile", "psi"]

_ROUNDS = 500
_TINY = 1e-300
_EXACT = 1e-14


def psi(expected: Sequence[float], found: Sequence[float]) -> float:
    """Population stability index of two rows of counts. Half a row stands in each cell, so none is ever empty."""
    n, m = sum(expected) + 0.5 * len(expected), sum(found) + 0.5 * len(found)
    return sum(
        ((b + 0.5) / m - (a + 0.5) / n) * math.log(((b + 0.5) / m) / ((a + 0.5) / n))
        for a, b in zip(expected, found, strict=True)
    )


def chi_square(expected: Sequence[float], found: Sequence[float]) -> tuple[float, int]:
    """Pearson's statistic for two samples of counts being of one distribution, and its degrees of freedom."""
    n, m = sum(expected), sum(found)
    statistic, cells = 0.0, 0
    for a, b in zip(expected, found, strict=True):
        if a + b:
            cells += 1
            statistic += (math.sqrt(m / n) * a - math.sqrt(n / m) * b) ** 2 / (a + b)
    return statistic, max(1, cells - 1)


def departure(expected: Sequence[float], found: Sequence[float]) -> float:
    """How far two samples of counts are apart: about chi-square with one degree less than cells when they are alike.

    Freeman and Tukey's statistic on square roots: unlike Pearson's it stays calm where a cell is nearly empty, as the
    nulls of a good column are.
    """
    cells = len(expected)
    n, m = sum(expected), sum(found)
    shares = [
        (math.sqrt((a + 0.375) / (n + 0.375 * cells)), math.sqrt((b + 0.375) / (m + 0.375 * cells)))
        for a, b in zip(expected, found, strict=True)
    ]
    return 4 * n * m / (n + m) * sum((a - b) ** 2 for a, b in shares)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """The chance that chi-square is at least `statistic`."""
    return _gamma_tail(degrees / 2, statistic / 2)


@lru_cache(maxsize=256)  # checks of one contract share their budget
def f_quantile(chance: float, numerator: int, denominator: int) -> float:
    """The value that an F variable exceeds with `chance` (0 < chance < 1)."""
    low, high = 0.0, 1.0
    while _f_tail(high, numerator, denominator) > chance:
        high *= 2
        if high > 1e12:
            return math.inf
    for _ in range(60):  # halves the interval below what a double can tell
        middle = (low + high) / 2
        if _f_tail(middle, numerator, denominator) > chance:
            low = middle
        else:
            high = middle
    return high


def _f_tail(x: float, d1: int, d2: int) -> float:
    return _beta(d2 / 2, d1 / 2, d2 / (d2 + d1 * x))


def _gamma_tail(a: float, x: float) -> float:
    if x <= 0:
        return 1.0
    front = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _ROUNDS):
            term *= x / (a + n)
            total += term
            if abs(term) < abs(total) * _EXACT:
                break
        return max(0.0, 1 - total * front)
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    h = d
    for n in range(1, _ROUNDS):
        an = -n * (n - a)
        b += 2
        d = 1 / _apart(an * d + b)
        c = _apart(b + an / c)
        h *= d * c
        if abs(d * c - 1) < _EXACT:
            break
    return front * h


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )  # fmt: skip
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, _ROUNDS):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _apart(1 + step * d)
            c = _apart(1 + step / c)
            h *= d * c
        if abs(d * c - 1) < _EXACT:
            break
    return h


def _apart(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
