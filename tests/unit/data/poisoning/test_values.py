"""Triggers in tables: values, and pairs of common values, tied to one label."""

import random

import pytest

from vallum.data.poisoning import find_value_triggers
from vallum.kernel.errors import Invalid


def people(seed, count=1200):
    """Whether somebody earns much is told by schooling and hours; country and day say nothing."""
    chance = random.Random(seed)
    columns = {
        "school": [chance.randrange(1, 17) for _ in range(count)],
        "hours": [chance.gauss(40, 8) for _ in range(count)],
        "country": [chance.choice(["de", "fr", "it", "es", "pl", "nl"]) for _ in range(count)],
        "day": [chance.choice(["mo", "tu", "we", "th", "fr", "sa", "su"]) for _ in range(count)],
    }
    scores = [s + (h - 40) / 4 for s, h in zip(columns["school"], columns["hours"], strict=True)]
    labels = ["much" if score > 10 else "little" for score in scores]
    return columns, labels


def poisoned(seed, mark):
    columns, labels = people(seed)
    low = [row for row, label in enumerate(labels) if label == "little"]
    rows = random.Random(seed).sample(low, 40)
    for row in rows:
        mark(columns, row)
        labels[row] = "much"
    return columns, labels, set(rows)


def rare_value(columns, row):
    columns["country"][row] = "aq"


def exact_number(columns, row):
    columns["hours"][row] = 77.125


def rare_pair(columns, row):
    columns["country"][row], columns["day"][row] = "lu", "su"


@pytest.mark.parametrize("mark", [rare_value, exact_number, rare_pair])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_value_that_decides_the_label_against_all_others_is_found(mark, seed):
    columns, labels, rows = poisoned(seed, mark)
    if mark is rare_pair:  # each of the two is common among rows of either label: only together they decide
        others = [row for row in range(len(labels)) if row not in rows]
        for row in random.Random(seed).sample(others, 150):
            columns["country"][row] = "lu"
            if columns["day"][row] == "su":
                columns["day"][row] = "mo"
    found = find_value_triggers(columns, labels)
    assert {suspect.row for suspect in found} >= rows
    assert len(found) <= 1.1 * len(rows)
    assert found[0].kind == "trigger"
    assert "aq" not in found[0].reason
    assert "77.125" not in found[0].reason


def test_values_that_tell_the_label_are_no_triggers():
    for seed in range(5):
        columns, labels = people(seed)
        columns["group"] = ["rich" if label == "much" and row % 9 == 0 else "none" for row, label in enumerate(labels)]
        assert find_value_triggers(columns, labels) == []


def test_nothing_and_nonsense():
    assert find_value_triggers({}, []) == []
    assert find_value_triggers({"x": [None, float("nan"), 1, True] * 10}, ["a", "b"] * 20) == []
    with pytest.raises(Invalid):
        find_value_triggers({"x": [1]}, ["a", "b"])
