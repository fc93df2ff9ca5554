"""The privacy budget: never more than was granted, whatever is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.anonymise import BudgetSpent, PrivacyBudget
from vallum.kernel.errors import Invalid

AT = {"at": "2026-01-01T00:00:00Z", "by": "ana"}


@given(st.lists(st.floats(1e-7, 2), max_size=40))
def test_what_was_released_never_exceeds_the_budget(asked):
    budget = PrivacyBudget.of("customers", 1)
    released = 0.0
    for epsilon in asked:
        try:
            budget = budget.spend("count", epsilon, **AT)
        except BudgetSpent:
            continue
        released += epsilon
    assert released <= 1 + 1e-9
    assert budget.left_micro_epsilon >= 0


def test_a_tenth_ten_times_is_exactly_one():
    """Ten times 0.1 is not 1 in floating point; it is here."""
    budget = PrivacyBudget.of("customers", "1")
    for _ in range(10):
        budget = budget.spend("count", 0.1, **AT)
    assert budget.left_micro_epsilon == 0
    with pytest.raises(BudgetSpent, match="has 0 left") as caught:
        budget.spend("count", "0.000001", **AT)
    assert caught.value.code == "privacy_budget_spent"


def test_dust_is_rounded_up():
    budget = PrivacyBudget.of("customers", 1).spend("count", 1e-12, **AT)
    assert budget.left_micro_epsilon == 999_999


@pytest.mark.parametrize("epsilon", [0, -1, float("nan"), float("inf"), "much", 1001])
def test_nonsense_is_refused(epsilon):
    with pytest.raises(Invalid):
        PrivacyBudget.of("customers", 1).spend("count", epsilon, **AT)


def test_a_refusal_leaves_the_budget_as_it_was():
    budget = PrivacyBudget.of("customers", 1)
    with pytest.raises(BudgetSpent):
        budget.spend("count", 2, **AT)
    assert budget == PrivacyBudget.of("customers", 1)
