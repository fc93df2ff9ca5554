"""A data set's privacy budget: what all releases about it together may give away, kept to the millionth.

Pure epsilon, added up (sequential composition): the bound holds whatever is asked in whatever order, by whoever. The
accountant is a value: `spend` returns the next one or raises, and whoever owns the data set stores it in the same
transaction as the release. Asking again spends again: keep the answer instead.
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

import msgspec

from vallum.kernel.errors import Denied, Invalid

__all__ = ["BudgetSpent", "PrivacyBudget", "Spending"]

_MICRO = Decimal(1_000_000)


class BudgetSpent(Denied):
    """A release would take more of a data set's privacy budget than is left."""

    code = "privacy_budget_spent"


class Spending(msgspec.Struct, frozen=True):
    """One release: what was asked, never what was answered."""

    query: str
    micro_epsilon: int
    at: str
    by: str


class PrivacyBudget(msgspec.Struct, frozen=True):
    """In millionths of epsilon, so that sums are exact."""

    dataset: str
    total_micro_epsilon: int
    spent: tuple[Spending, ...] = ()

    @staticmethod
    def of(dataset: str, epsilon: float | str) -> "PrivacyBudget":
        return PrivacyBudget(dataset, micro(epsilon))

    @property
    def left_micro_epsilon(self) -> int:
        return self.total_micro_epsilon - sum(each.micro_epsilon for each in self.spent)

    @property
    def left_epsilon(self) -> float:
        return self.left_micro_epsilon / float(_MICRO)

    def spend(self, query: str, epsilon: float | str, *, at: str, by: str) -> "PrivacyBudget":
        """The budget after the release. Raises BudgetSpent, and nothing may be released, when too little is left."""
        wanted = micro(epsilon)
        if wanted > self.left_micro_epsilon:
            raise BudgetSpent(
                f"{query} wants epsilon {wanted / _MICRO} of data set {self.dataset}, which has"
                f" {self.left_micro_epsilon / _MICRO} left of {self.total_micro_epsilon / _MICRO}"
            )
        return msgspec.structs.replace(self, spent=(*self.spent, Spending(query, wanted, at, by)))


def micro(epsilon: float | str) -> int:
    """Millionths, rounded up: never less than is spent. Raises Invalid unless finite and above 0."""
    try:
        number = Decimal(str(epsilon))
    except InvalidOperation as e:
        raise Invalid("epsilon is a number") from e
    if not number.is_finite() or not 0 < number <= 1000:
        raise Invalid("epsilon is above 0 and at most 1,000")
    return int((number * _MICRO).to_integral_value(ROUND_CEILING))
