"""How likely somebody is found in a table, for three attackers.

*Prosecutor*: knows that the target is in the table; risk 1 / size of the target's group. *Journalist*: wants to find
anybody who is in it, and has a register of the population; 1 / size of the group in the register. *Marketer*: matches
everybody and counts the hits; the expected share. Sources: El Emam and Dankar (2008); Dankar and El Emam (2010).
Without a register the population is taken to be the table itself, the worst case.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import msgspec

from vallum.data.anonymise.groups import closeness, diversity, group_rows
from vallum.kernel.errors import Invalid

__all__ = ["GroupRisk", "RiskReport", "assess", "group_risk"]


class RiskReport(msgspec.Struct, frozen=True, kw_only=True):
    """Holds sizes and shares, no value. `None` where there is no sensitive column."""

    rows: int
    quasi_identifiers: tuple[str, ...]
    groups: int
    k: int
    unique_rows: int
    prosecutor_highest: float
    prosecutor_at_risk: float  # the share of rows above the threshold
    journalist_highest: float
    marketer: float
    threshold: float
    distinct_l: int | None
    entropy_l: float | None
    t: float | None


class GroupRisk(msgspec.Struct, frozen=True):
    """What sizes of groups alone tell: `highest` is a prosecutor's risk for whoever is in the smallest group."""

    rows: int
    groups: int
    k: int
    unique_rows: int
    highest: float


def group_risk(sizes: Mapping[int, int]) -> GroupRisk:
    """`sizes` are how many groups there are of each size."""
    k = min(sizes, default=0)
    rows = sum(size * groups for size, groups in sizes.items())
    return GroupRisk(rows, sum(sizes.values()), k, sizes.get(1, 0), 1 / k if rows else 0.0)


def assess(
    columns: Mapping[str, Sequence[Hashable]],
    quasi_identifiers: Sequence[str],
    *,
    sensitive: str | None = None,
    sensitive_is_ordered: bool = False,
    population: Mapping[tuple[Hashable, ...], int] | None = None,
    threshold: float = 0.09,
) -> RiskReport:
    """`population` counts people by their quasi-identifiers, in the same order.

    The default threshold is what the European Medicines Agency asks of clinical data (policy 0070). Raises Invalid for
    unknown columns, and for a register with fewer people in a group than the table has rows in it.
    """
    missing = [name for name in (*quasi_identifiers, *((sensitive,) if sensitive else ())) if name not in columns]
    if missing:
        raise Invalid(f"the table has no column {missing[0]!r}")
    if not 0 < threshold <= 1:
        raise Invalid("a threshold for risk is above 0 and at most 1")
    groups = group_rows([columns[name] for name in quasi_identifiers])
    sizes = groups.sizes
    known_by = group_risk(Counter(sizes))
    rows, people = known_by.rows, sizes
    if population is not None:
        people = tuple(population.get(key, 0) for key in groups.keys)
        if any(known < size for known, size in zip(people, sizes, strict=True)):
            raise Invalid("the register has fewer people in some group than the table has rows")
    distinct = entropy = t = None
    if sensitive is not None:
        distinct, entropy = diversity(groups, columns[sensitive])
        t = closeness(groups, columns[sensitive], ordered=sensitive_is_ordered)
    at_risk = sum(size for size in sizes if 1 / size > threshold)
    return RiskReport(
        rows=rows,
        quasi_identifiers=tuple(quasi_identifiers),
        groups=known_by.groups,
        k=known_by.k,
        unique_rows=known_by.unique_rows,
        prosecutor_highest=known_by.highest,
        prosecutor_at_risk=at_risk / rows if rows else 0.0,
        journalist_highest=1 / min(people) if rows else 0.0,
        marketer=sum(size / known for size, known in zip(sizes, people, strict=True)) / rows if rows else 0.0,
        threshold=threshold,
        distinct_l=distinct,
        entropy_l=entropy,
        t=t,
    )
