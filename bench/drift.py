"""Label drift of two points, and clean days, by how much shares wander for no reason: `python bench/drift.py`.

Every version has 20,000 rows, its shares tilted by a lognormal factor, its rows drawn. Of 1,000 versions each: false
alarms, shifts found on their first version, and by their second. The last column is what a test could find that knew
how days differ (a normal deviate beyond its two-sided quantile): a bound for any test with that budget.

A thousand clean versions tell a rate of 1 % to within 0.3 points (one standard error): 11 false alarms for 10 are no
more than chance. So `--false-alarms` draws 30,000 histories, none of which shares a version with another, and says how
many standard errors the rate lies above its budget.
"""

import math
import sys
from statistics import NormalDist

import numpy as np

from vallum.data.gates.learned import History, learn_limit

ROWS, DAYS, BUDGET, SEED = 20_000, 1000, 0.01, 7
SHIFTS = {"0.7 -> 0.72": (0.7, 0.72), "0.5 -> 0.52": (0.5, 0.52), "0.95 -> 0.93": (0.95, 0.93)}


def days(rng, share, number, wander):
    tilted = np.array([share, 1 - share]) * rng.lognormal(0, wander, (number, 2))
    return [tuple(map(int, rng.multinomial(ROWS, each / each.sum()))) for each in tilted]


def bound(share, moved, wander):
    spread = math.sqrt(share * (1 - share) / ROWS + 2 * (share * (1 - share) * wander) ** 2)
    normal = NormalDist()
    return round(DAYS * normal.cdf(abs(moved - share) / spread - normal.inv_cdf(1 - BUDGET / 2)))


def measure(share, moved, wander, versions):
    rng = np.random.default_rng(SEED)
    clean, shifted = days(rng, share, DAYS + versions, wander), days(rng, moved, DAYS + 1, wander)
    false = first = second = 0
    for at in range(versions, len(clean)):
        past, on = clean[at - versions : at], at - versions
        limit = learn_limit(History(("a", "b"), tuple(past)), BUDGET)
        false += limit.exceeded(clean[at])
        if limit.exceeded(shifted[on]):
            first += 1
        else:
            again = learn_limit(History(("a", "b"), (*past[1:], shifted[on])), BUDGET)
            second += again.exceeded(shifted[on + 1])
    return false, first, first + second


def false_alarms(share, wander, versions, histories=30_000):
    rng, false = np.random.default_rng(SEED), 0
    for _ in range(histories):
        *past, clean = days(rng, share, versions + 1, wander)
        false += learn_limit(History(("a", "b"), tuple(past)), BUDGET).exceeded(clean)
    error = math.sqrt(BUDGET * (1 - BUDGET) / histories)
    return false, histories, (false / histories - BUDGET) / error


def main():
    if "--false-alarms" in sys.argv:
        print(f"{'share':>5} {'wander':>6} {'versions':>8} {'false':>6} {'of':>6} {'standard errors above':>21}")
        for share in (0.5, 0.7):
            for wander in (0.01, 0.02):
                false, of, above = false_alarms(share, wander, 30)
                print(f"{share:5} {wander:6.3f} {30:8} {false:6} {of:6} {above:21.1f}", flush=True)
        return
    print(f"{'shift':13} {'wander':>6} {'versions':>8} {'false':>6} {'first':>6} {'second':>6} {'bound':>6}")
    for name, (share, moved) in SHIFTS.items():
        for wander in (0.0, 0.005, 0.01):
            for versions in (10, 30, 90):
                false, first, second = measure(share, moved, wander, versions)
                most = bound(share, moved, wander)
                print(f"{name:13} {wander:6.3f} {versions:8} {false:6} {first:6} {second:6} {most:6}")


if __name__ == "__main__":
    main()
