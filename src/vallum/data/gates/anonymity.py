"""k-anonymity and l-diversity as a check: how few rows are alike in what others may know of people, and how few values
of a sensitive column those rows have. Sources: Sweeney (2002); Machanavajjhala et al. (2007), distinct l-diversity.

A null is a value like any other, and NaN is one. What is measured are sizes of groups and how many groups have them:
the numbers that `anonymise.assess` tells risks from. No value of a column leaves an engine.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vallum.data.anonymise import group_risk
from vallum.data.gates.model import Alike, Found, Measure, NotRunnable, Verdict, rows
from vallum.data.table import Kind, Table

__all__ = ["Anonymity"]

_NESTED = (Kind.ARRAY, Kind.OBJECT, Kind.OTHER)


@dataclass(frozen=True, slots=True)
class Anonymity:
    """At least `k` rows are alike in `columns`, whatever a row says there; where there is a `sensitive` column, those
    have at least `values` different ones in it. Names no rows: which ones to coarsen is for a person to say."""

    columns: tuple[str, ...]
    k: int
    sensitive: str = ""
    values: int = 0

    @property
    def name(self) -> str:
        return f"{', '.join(self.columns)}: Anonymity" + (f" of {self.sensitive}" if self.sensitive else "")

    def plan(self, table: Table) -> Sequence[Measure]:
        for name in (*self.columns, *([self.sensitive] if self.sensitive else [])):
            column = table.column(name)
            if column is None:
                raise NotRunnable(f"there is no column {name}")
            if column.kind in _NESTED:
                raise NotRunnable(f"{name} is {column.kind}: rows are not grouped by that")
        return rows(), Alike(self.columns, self.sensitive)

    def judge(self, found: Found) -> Verdict:
        alike: Mapping[tuple[int, int], int] = found.numbers[Alike(self.columns, self.sensitive).key]
        sizes = Counter[int]()
        for (size, _), groups in alike.items():
            sizes[size] += groups
        risk = group_risk(sizes)
        least = min((values for _, values in alike), default=0)
        below = sum(
            size * groups for (size, values), groups in alike.items() if size < self.k or values < self.values
        )  # fmt: skip
        reason = f"k is {risk.k}, and {self.k} is due"
        if self.sensitive:
            reason += f"; l of {self.sensitive} is {least}, and {self.values} is due"
        figures = (
            ("k", risk.k), ("groups", risk.groups), ("unique_rows", risk.unique_rows), ("highest_risk", risk.highest),
            *((("l", least),) if self.sensitive else ()),
        )  # fmt: skip
        where = f"{below} of {risk.rows} rows are in groups below that" if below else f"{risk.groups} groups"
        return Verdict(not below, f"{reason}; {where}", below, figures)
