"""The detector's promise: it rarely accuses who asks as the reference does, and soon accuses who copies."""

from random import Random

import pytest

from vallum.kernel.errors import Invalid
from vallum.models.runtime.extraction import Baseline, Capital, _upper_bound
from vallum.models.runtime.model import Extraction

SETTINGS = Extraction("refuse", "r.json", false_alarms=0.05, tolerance=1.0)  # a large budget: its keeping can be seen
STRICT = Extraction("refuse", "r.json")
DIMENSIONS = 8


def ordinary(random):
    """Dependent columns, a heavy tail, and one that is whole numbers."""
    first = random.gauss(0, 1)
    row = [first, first * 2 + random.gauss(0, 0.3), float(random.randrange(5)), random.expovariate(1)]
    return row + [random.gauss(0, 1) for _ in range(DIMENSIONS - len(row))]


def reference(seed, rows=2000):
    random = Random(seed)
    return [ordinary(random) for _ in range(rows)]


def queries_until_suspected(baseline, make, limit):
    capital = Capital()
    for number in range(limit):
        if capital.look(baseline, make()):
            return number, capital.kind
    return None, None


def test_the_budget_of_false_alarms_is_kept():
    """Of 120 subjects that ask as the reference does, at 5 % at most 12 (chance of more, were it 5 %: 1 in 200)."""
    accused = 0
    for seed in range(120):
        baseline = Baseline.learn(reference(seed % 6, 600), SETTINGS, Random(seed))
        random = Random(1000 + seed)
        found, _ = queries_until_suspected(baseline, lambda random=random: ordinary(random), 600)
        accused += found is not None
    assert accused <= 12


def test_random_queries_are_found_soon():
    baseline = Baseline.learn(reference(1), STRICT, Random(0))
    columns = list(zip(*reference(1), strict=True))
    for seed in range(10):
        random = Random(seed)

        def anywhere(random=random):
            return [random.uniform(min(column), max(column)) for column in columns]

        number, kind = queries_until_suspected(baseline, anywhere, 500)
        assert number is not None
        assert number < 100
        assert kind == "unlike_reference"


def test_walks_round_a_point_are_found_soon():
    baseline = Baseline.learn(reference(1), STRICT, Random(0))
    for seed in range(10):
        random = Random(seed)
        start = ordinary(random)

        def near(random=random, start=start):
            return [one + random.gauss(0, 0.02) for one in start]

        number, kind = queries_until_suspected(baseline, near, 500)
        assert number is not None
        assert number < 60
        assert kind == "around_own_queries"


def test_copying_after_a_long_honest_time_is_found_too():
    baseline = Baseline.learn(reference(1), STRICT, Random(0))
    random, capital = Random(7), Capital()
    for _ in range(5000):
        assert not capital.look(baseline, ordinary(random))
    assert any(capital.look(baseline, [random.uniform(-9, 9) for _ in range(DIMENSIONS)]) for _ in range(300))


def test_the_same_query_again_and_again_is_no_sign():
    baseline = Baseline.learn(reference(1), STRICT, Random(0))
    row = ordinary(Random(3))
    assert queries_until_suspected(baseline, lambda: row, 2000)[0] is None


@pytest.mark.parametrize("rows", [[], [[1.0]] * 50, [[1.0]] * 200 + [[1.0, 2.0]], [[]] * 200])
def test_a_reference_that_says_nothing_is_refused(rows):
    with pytest.raises(Invalid):
        Baseline.learn(rows, STRICT, Random(0))


def test_a_reference_too_small_for_its_budget_is_refused():
    with pytest.raises(Invalid, match="too few"):
        Baseline.learn(reference(1, 128), Extraction("alert", "r", false_alarms=1e-6, tolerance=10), Random(0))


def test_the_upper_bound_is_clopper_and_pearsons():
    """Against the closed form where nothing happened, and a table's value (5 of 100, one-sided 97.5 %)."""
    assert _upper_bound(0, 100, 0.025) == pytest.approx(1 - 0.025 ** (1 / 100), abs=1e-9)
    assert _upper_bound(5, 100, 0.025) == pytest.approx(0.112835, abs=1e-5)
