"""Rows that look alike: k-anonymity, l-diversity and t-closeness over columns of a table.

Sources: Sweeney (2002); Machanavajjhala et al. (2007); Li, Li, Venkatasubramanian (2007), whose distances are used:
for categories half the sum of differences, for numbers the ordered distance. A null is a value like any other.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import exp, log

from vallum.kernel.errors import Invalid

__all__ = ["Groups", "closeness", "diversity", "group_rows"]


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows by what their quasi-identifiers say. `of_row[i]` is the number of row i's group."""

    of_row: tuple[int, ...]
    sizes: tuple[int, ...]
    keys: tuple[tuple[Hashable, ...], ...]

    @property
    def k(self) -> int:
        """The size of the smallest group; 0 where there are no rows."""
        return min(self.sizes, default=0)

    def rows_below(self, k: int) -> list[int]:
        """The rows to suppress or generalise further for k-anonymity."""
        return [row for row, group in enumerate(self.of_row) if self.sizes[group] < k]


def group_rows(columns: Sequence[Sequence[Hashable]]) -> Groups:
    """`columns` are the quasi-identifiers, each with a value for every row. Raises Invalid for none, or uneven ones."""
    if not columns:
        raise Invalid("rows are grouped by at least one column")
    if len({len(column) for column in columns}) != 1:
        raise Invalid("the columns that rows are grouped by are of different lengths")
    numbers: dict[tuple[Hashable, ...], int] = {}
    of_row = tuple(numbers.setdefault(key, len(numbers)) for key in zip(*columns, strict=True))
    counts = Counter(of_row)
    return Groups(of_row, tuple(counts[number] for number in range(len(numbers))), tuple(numbers))


def diversity(groups: Groups, sensitive: Sequence[Hashable]) -> tuple[int, float]:
    """Distinct l and entropy l of the group where each is least: a group of one value tells it of everybody in it."""
    tallies = _tallies(groups, sensitive)
    if not tallies:
        return 0, 0.0
    return min(map(len, tallies)), min(exp(_entropy(tally)) for tally in tallies)


def closeness(groups: Groups, sensitive: Sequence[Hashable], *, ordered: bool = False) -> float:
    """t: how far the values of some group are from those of all rows, 0 to 1. `ordered` values are compared as such."""
    tallies = _tallies(groups, sensitive)
    if not tallies:
        return 0.0
    overall = Counter(sensitive)
    values = sorted(overall) if ordered else list(overall)  # type: ignore[type-var]
    rows = len(sensitive)
    shares = [overall[value] / rows for value in values]
    worst = 0.0
    for tally in tallies:
        size = tally.total()
        gaps = [tally[value] / size - share for value, share in zip(values, shares, strict=True)]
        worst = max(worst, _ordered(gaps) if ordered else sum(map(abs, gaps)) / 2)
    return min(1.0, worst)


def _ordered(gaps: list[float]) -> float:
    if len(gaps) < 2:
        return 0.0
    moved = carried = 0.0
    for gap in gaps:
        carried += gap
        moved += abs(carried)
    return moved / (len(gaps) - 1)


def _tallies(groups: Groups, sensitive: Sequence[Hashable]) -> list[Counter[Hashable]]:
    if len(sensitive) != len(groups.of_row):
        raise Invalid("the sensitive column has another number of rows than the groups")
    tallies: list[Counter[Hashable]] = [Counter() for _ in groups.sizes]
    for group, value in zip(groups.of_row, sensitive, strict=True):
        tallies[group][value] += 1
    return tallies


def _entropy(tally: Counter[Hashable]) -> float:
    total = tally.total()
    return -sum(n / total * log(n / total) for n in tally.values())
