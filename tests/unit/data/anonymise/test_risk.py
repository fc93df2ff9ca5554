"""Groups that look alike, and how likely somebody is found in them: against figures worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.anonymise import assess, closeness, diversity, group_rows
from vallum.kernel.errors import Invalid

# Table 3 of Machanavajjhala et al.: ages and postal codes generalised, three groups of four.
AGES = ["<30"] * 4 + [">=40"] * 4 + ["3*"] * 4
ZIPS = ["130**"] * 4 + ["1485*"] * 4 + ["130**"] * 4
CONDITIONS = ["heart", "heart", "viral", "viral", "cancer", "heart", "viral", "viral", *["cancer"] * 4]
TABLE = {"age": AGES, "zip": ZIPS, "condition": CONDITIONS}


def test_a_published_table_is_4_anonymous_and_tells_the_cancer_of_its_last_group():
    report = assess(TABLE, ["age", "zip"], sensitive="condition")
    assert (report.rows, report.groups, report.k, report.unique_rows) == (12, 3, 4, 0)
    assert report.prosecutor_highest == report.journalist_highest == 0.25
    assert report.marketer == 0.25
    assert report.prosecutor_at_risk == 1.0
    assert report.distinct_l == 1
    assert report.entropy_l == pytest.approx(1.0)
    assert report.t == pytest.approx(1 - 5 / 12)


def test_ordered_closeness_is_the_published_example():
    """Li et al., section 4.2: salaries 3k to 11k; {3k, 4k, 5k} is at 0.375, {6k, 8k, 11k} at 0.167."""
    salaries = [3, 4, 5, 6, 8, 11, 7, 9, 10]
    groups = group_rows([["a"] * 3 + ["b"] * 3 + ["c"] * 3])
    assert closeness(groups, salaries, ordered=True) == pytest.approx(0.375)
    second = group_rows([["r"] * 3 + ["b"] * 3 + ["r"] * 3])
    assert closeness(second, salaries, ordered=True) == pytest.approx(1 / 6, abs=0.001)


def test_a_register_lowers_the_journalists_risk_and_not_the_prosecutors():
    people = {("<30", "130**"): 40, (">=40", "1485*"): 8, ("3*", "130**"): 400}
    report = assess(TABLE, ["age", "zip"], population=people)
    assert report.prosecutor_highest == 0.25
    assert report.journalist_highest == 1 / 8
    assert report.marketer == pytest.approx((4 / 40 + 4 / 8 + 4 / 400) / 12)
    with pytest.raises(Invalid, match="register"):
        assess(TABLE, ["age", "zip"], population={**people, ("3*", "130**"): 3})


def test_the_rows_to_suppress_are_those_of_small_groups():
    groups = group_rows([["a", "a", "b", "a", "c"]])
    assert groups.k == 1
    assert groups.rows_below(2) == [2, 4]
    assert groups.rows_below(1) == []


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60)


@given(rows)
def test_risks_are_in_order_and_coarser_columns_never_raise_them(given_rows):
    one, two, three = map(list, zip(*given_rows, strict=True))
    fine = assess({"a": one, "b": two, "s": three}, ["a", "b"], sensitive="s")
    coarse = assess({"a": one, "b": [v // 2 for v in two], "s": three}, ["a", "b"], sensitive="s")
    assert 0 < fine.marketer <= fine.prosecutor_highest <= 1
    assert coarse.k >= fine.k
    assert coarse.marketer <= fine.marketer
    assert fine.entropy_l <= fine.distinct_l + 1e-9
    assert 0 <= coarse.t <= fine.t + 1e-9  # a group of groups is closer to all than the farthest of them
    assert fine.k * fine.groups <= fine.rows


def test_nothing_is_no_risk_and_nonsense_is_refused():
    assert assess({"a": []}, ["a"], sensitive=None).prosecutor_highest == 0.0
    assert diversity(group_rows([[]]), []) == (0, 0.0)
    for call in (
        lambda: group_rows([]),
        lambda: group_rows([[1], [1, 2]]),
        lambda: assess(TABLE, ["height"]),
        lambda: assess(TABLE, ["age"], sensitive="height"),
        lambda: assess(TABLE, ["age"], threshold=0),
        lambda: closeness(group_rows([[1, 2]]), [1]),
    ):
        with pytest.raises(Invalid):
            call()
