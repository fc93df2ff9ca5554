"""Triggers in tables: a rare value, or a rare pair of values, that decides the label of every row it is in.

As in texts (`tokens`), two things together make one: rows with it have one label far more often than chance allows,
and their other values speak for another. A third sets it apart from what merely tells the label: rows of the same
eighth of a number's order, or with one value of the pair, do not have that label anyway.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations

from vallum.data.poisoning.suspects import Suspect
from vallum.data.poisoning.tokens import deciding
from vallum.kernel.errors import Invalid

__all__ = ["find_value_triggers"]

_MAX_COLUMNS = 24  # pairs grow with their square
_MAX_ROWS = 50_000
_PARTS = 8
_REPEATS = 5  # rows that a value is in, to count as one


def find_value_triggers(columns: Mapping[str, Sequence[Hashable]], labels: Sequence[Hashable]) -> list[Suspect]:
    """Rows that hold a trigger, the surest first. Reads the first 50,000 rows and 24 columns; reasons quote no value.

    Raises Invalid unless there is one label and one value of each column for each row.
    """
    if any(len(values) != len(labels) for values in columns.values()):
        raise Invalid("looking for triggers takes one label and one value of each column for each row")
    rows = min(len(labels), _MAX_ROWS)
    said = [_said(str(number), values[:rows]) for number, values in enumerate(list(columns.values())[:_MAX_COLUMNS])]
    held: list[frozenset[str]] = []
    wider: dict[str, tuple[str, ...]] = {}
    for row in zip(*said, strict=True):
        exact = [cell for cell in row if cell and "=" in cell[0]]
        pairs = {f"{a[0]} {b[0]}": (*a, *b) for a, b in combinations(exact, 2)}
        wider |= pairs
        wider |= {cell[0]: cell[1:] for cell in exact}
        held.append(frozenset(each for cell in row for each in cell) | pairs.keys())
    return deciding(held, labels[:rows], "a value, or a pair of them,", "other values", wider)


def _said(column: str, values: Sequence[Hashable]) -> list[tuple[str, ...]]:
    """For each row the value, where it repeats, and the eighth it lies in, where the column holds numbers."""
    times = Counter(values)
    numbers = sorted(v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and v == v)
    edges = [numbers[len(numbers) * part // _PARTS] for part in range(1, _PARTS)] if len(times) > _PARTS else []
    out = []
    for value in values:
        own: tuple[str, ...] = (f"{column}={value!r}",) if times[value] >= _REPEATS else ()
        if len(numbers) == len(values) and edges and isinstance(value, int | float):
            own += (f"{column}~{sum(value >= edge for edge in edges)}",)
        out.append(own)
    return out
