"""Private statistics: near the truth, as far from it as epsilon says, and nothing that data can choose."""

import math
import statistics

import pytest

from vallum.data.anonymise import private_count, private_histogram, private_mean, private_sum
from vallum.kernel.errors import Invalid

pytest.importorskip("opendp")
pytestmark = pytest.mark.filterwarnings("default")  # OpenDP's own, on import


def test_the_noise_of_a_count_is_laplaces():
    """Mean absolute error of Laplace noise is its scale, 1/epsilon; of 500 draws within six standard errors."""
    answers = [private_count(100, 0.5) for _ in range(500)]
    assert statistics.fmean(answers) == pytest.approx(100, abs=6 * math.sqrt(8 / 500))
    assert statistics.fmean(abs(a - 100) for a in answers) == pytest.approx(2, abs=6 * 2 / math.sqrt(500))


def test_more_rows_of_one_person_are_more_noise():
    many = [abs(private_count(100, 1.0, contributions=10) - 100) for _ in range(300)]
    assert statistics.fmean(many) == pytest.approx(10, rel=0.4)


def test_one_person_cannot_move_a_sum_by_more_than_the_bounds():
    values = [50.0] * 1000
    honest, attacked = (private_sum(v, (0, 100), 10) for v in (values, [*values, 1e300]))
    assert honest == pytest.approx(50_000, abs=400)
    assert attacked == pytest.approx(50_100, abs=400)
    for hostile in (float("nan"), float("inf"), -float("inf"), -1e300):
        assert private_sum([*values, hostile], (0, 100), 10) == pytest.approx(50_050, abs=450)


def test_a_mean_is_near_the_truth_and_within_its_bounds():
    values = [float(n % 100) for n in range(5000)]
    assert private_mean(values, (0, 100), 2.0) == pytest.approx(49.5, abs=1)
    assert 0 <= private_mean([], (0, 100), 0.01) <= 100
    assert private_mean([0.25] * 4000, (0, 1), 5.0, step=0.01) == pytest.approx(0.25, abs=0.02)


def test_a_histogram_counts_the_categories_it_was_given_and_no_others():
    found = private_histogram(["a"] * 300 + ["b"] * 100 + ["secret"] * 500, ["a", "b", "c"], 5.0)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == pytest.approx(300, abs=10)
    assert found["c"] == pytest.approx(0, abs=10)


def test_nonsense_is_refused():
    for call in (
        lambda: private_count(1, 0),
        lambda: private_count(1, float("inf")),
        lambda: private_count(1, 1, contributions=0),
        lambda: private_sum([1], (1, 0), 1),
        lambda: private_sum([1], (0, 1e18), 1),
        lambda: private_sum([1], (0, 1), 1, step=0),
        lambda: private_histogram([], [], 1),
        lambda: private_histogram([], ["a", "a"], 1),
    ):
        with pytest.raises(Invalid):
            call()
