"""Learned thresholds: they find what they promise, and keep to their budget on a thousand clean days."""

import math

import pytest

np = pytest.importorskip("numpy")

from vallum.data.gates.learned import History, learn_limit  # noqa: E402
from vallum.data.gates.statistics import chi_square, chi_square_tail, departure, f_quantile, psi  # noqa: E402

ROWS = 20_000  # a day
BEFORE = 30  # days that are learned from
BUDGET = 0.01


def days(rng, shares, number, wander):
    """Days whose true shares wander by a relative factor, and whose rows are drawn from them."""
    for _ in range(number):
        tilted = np.array(shares) * rng.lognormal(0, wander, len(shares))
        yield tuple(map(int, rng.multinomial(ROWS, tilted / tilted.sum())))


def alarms(shares, wander, seed, *, moved=None):
    """Of a thousand days, each judged by the thirty before it, those that alarm."""
    rng = np.random.default_rng(seed)
    clean = list(days(rng, shares, 1000 + BEFORE, wander))
    cells = tuple(map(str, range(len(shares))))
    found = 0
    for day in range(BEFORE, len(clean)):
        limit = learn_limit(History(cells, tuple(clean[day - BEFORE : day])), BUDGET / 2)  # two learned checks share it
        today = clean[day] if moved is None else next(iter(days(rng, moved, 1, wander)))
        found += limit.exceeded(today)
    return found


CASES = {
    "labels": ((0.7, 0.3), (0.72, 0.28)),
    "rare label": ((0.95, 0.05), (0.93, 0.07)),
    "ten labels": ((0.1,) * 10, (0.12, 0.08, *(0.1,) * 8)),
    "few nulls": ((0.01, 0.99), (0.04, 0.96)),
    "no nulls": ((0.0001, 0.9999), (0.0301, 0.9699)),
    "many nulls": ((0.4, 0.6), (0.43, 0.57)),
}


@pytest.mark.long
@pytest.mark.parametrize("wander", [0.0, 0.005])
@pytest.mark.parametrize("name", CASES)
def test_a_shift_of_the_promised_size_is_found_and_clean_days_rarely_alarm(name, wander):
    shares, moved = CASES[name]
    assert alarms(shares, wander, 1) <= 10, "at most 1 % of a thousand clean days"
    assert alarms(shares, wander, 2, moved=moved) >= 985


def found_by(day, before, moved, shares, wander, seed):
    """Of a thousand shifts that stay, those that are found by their first, or second, day; and false alarms."""
    rng = np.random.default_rng(seed)
    clean = list(days(rng, shares, 1000 + before, wander))
    shifted = list(days(rng, moved, 1000 + day, wander))
    cells, found, false = tuple(map(str, range(len(shares)))), 0, 0
    for at in range(before, len(clean)):
        past = clean[at - before : at]
        false += learn_limit(History(cells, tuple(past)), BUDGET).exceeded(clean[at])
        for each in shifted[at - before : at - before + day]:
            if learn_limit(History(cells, tuple(past[-before:])), BUDGET).exceeded(each):
                found += 1
                break
            past.append(each)
    return found, false


@pytest.mark.long
@pytest.mark.parametrize(("day", "least"), [(1, 930), (2, 985)])
def test_two_points_are_found_where_days_differ_by_nearly_as_much(day, least):
    """At 1 % the shares themselves wander by 0.44 points, rows drawn included: no test finds more than 976 of these
    1,000 on one day with 1 % false alarms, whatever it knows. What stays shifted is found on the second."""
    found, false = found_by(day, BEFORE, (0.72, 0.28), (0.7, 0.3), 0.01, 7)
    assert found >= least
    assert false <= 10


def test_few_versions_find_what_is_far_outside_of_them():
    """Ten versions, as an intake has them: the limit is no wider than what is not known of ten."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        past = tuple(days(rng, (0.7, 0.3), 10, 0.0))
        found += learn_limit(History(("a", "b"), past), BUDGET).exceeded(next(iter(days(rng, (0.72, 0.28), 1, 0.0))))
    assert found >= 192


def test_days_that_differ_for_no_reason_widen_the_limit():
    rng = np.random.default_rng(5)
    calm = learn_limit(History(("a", "b"), tuple(days(rng, (0.5, 0.5), 30, 0.0))), 0.01)
    moody = learn_limit(History(("a", "b"), tuple(days(rng, (0.5, 0.5), 30, 0.1))), 0.01)
    assert moody.threshold > 10 * calm.threshold


def test_what_is_significant_and_small_does_not_alarm():
    history = History(("a", "b"), ((500_000_000, 500_000_000),) * 3)
    limit = learn_limit(history, 0.01)
    today = (500_900_000, 499_100_000)
    assert limit.distance(today) > limit.threshold
    assert not limit.exceeded(today)


@pytest.mark.parametrize(
    ("cells", "versions"), [(("a",), ((1,),)), (("a", "b"), ()), (("a", "b"), ((1,),)), (("a", "b"), ((0, 0),))]
)
def test_a_history_that_says_nothing_is_refused(cells, versions):
    with pytest.raises(ValueError):
        History(cells, versions)


@pytest.mark.parametrize(
    ("chance", "d1", "d2", "value"),
    [
        (0.05, 1, 10, 4.9646),
        (0.01, 1, 29, 7.5977),
        (0.01, 5, 20, 4.1027),
        (0.05, 9, 120, 1.9588),
        (0.01, 10, 10, 4.8491),
    ],
)  # published tables of F
def test_quantiles_are_those_of_the_tables(chance, d1, d2, value):
    assert math.isclose(f_quantile(chance, d1, d2), value, rel_tol=2e-4)


@pytest.mark.parametrize(
    ("statistic", "degrees", "chance"), [(3.841, 1, 0.05), (6.635, 1, 0.01), (18.307, 10, 0.05), (124.342, 100, 0.05)]
)
def test_tails_of_chi_square_are_those_of_the_tables(statistic, degrees, chance):
    assert math.isclose(chi_square_tail(statistic, degrees), chance, rel_tol=2e-3)


def test_distances_of_alike_samples_are_nothing_and_grow():
    for distance in (psi, departure, lambda a, b: chi_square(a, b)[0]):
        assert distance((100, 200), (100, 200)) == pytest.approx(0, abs=1e-9)
        assert 0 < distance((100, 200), (120, 180)) < distance((100, 200), (160, 140))
