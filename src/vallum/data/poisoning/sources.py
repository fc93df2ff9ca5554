"""Sources that stand out: where far more rows are suspect, or of one label, than elsewhere.

Each source is compared with all others by a two-proportion test, and the thresholds share out one chance of a false
alarm over everything that is compared (Bonferroni). A source must also differ by enough to matter.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from math import erfc, sqrt

from vallum.data.poisoning.suspects import Suspect
from vallum.kernel.errors import Invalid

__all__ = ["find_outlier_sources"]

_CHANCE = 0.001  # of one false alarm among all sources
_MIN_ROWS = 10
_MIN_DIFFERENCE = 0.1


def find_outlier_sources(
    sources: Sequence[Hashable], labels: Sequence[Hashable] | None = None, suspects: Collection[int] = ()
) -> list[Suspect]:
    """Every row of a source that stands out by its labels, or by the rows that other detectors suspect."""
    if labels is not None and len(labels) != len(sources):
        raise Invalid("looking for outlying sources takes one label for each row")
    rows_of: dict[Hashable, list[int]] = defaultdict(list)
    for row, source in enumerate(sources):
        rows_of[source].append(row)
    marks: list[tuple[str, set[int]]] = [("suspect for another reason", set(suspects))]
    if labels is not None:
        by_label: dict[Hashable, set[int]] = defaultdict(set)
        for row, label in enumerate(labels):
            by_label[label].add(row)
        marks += [(f"labelled {label}", rows) for label, rows in by_label.items()]
    total, compared = len(sources), len(rows_of) * len(marks)
    found: dict[int, Suspect] = {}
    for rows in rows_of.values():
        if not _MIN_ROWS <= len(rows) <= total - _MIN_ROWS:
            continue
        for name, marked in marks:
            here = sum(row in marked for row in rows)
            elsewhere = len(marked) - here
            by_chance = _by_chance(here, len(rows), elsewhere, total - len(rows)) * compared
            share, usual = here / len(rows), elsewhere / (total - len(rows))
            if by_chance >= _CHANCE or share - usual < _MIN_DIFFERENCE:
                continue
            reason = f"its source has {share:.0%} of its {len(rows)} rows {name}; elsewhere {usual:.0%}"
            for row in rows:
                if row not in found or found[row].score < 1 - by_chance:
                    found[row] = Suspect(row, 1 - by_chance, "source", reason)
    return sorted(found.values(), key=lambda suspect: (-suspect.score, suspect.row))


def _by_chance(here: int, rows: int, elsewhere: int, others: int) -> float:
    """One-sided, with a pooled share and half a row of continuity."""
    pooled = (here + elsewhere) / (rows + others)
    spread = sqrt(max(1e-12, pooled * (1 - pooled) * (1 / rows + 1 / others)))
    gap = here / rows - elsewhere / others - 0.5 / rows
    return erfc(gap / spread / sqrt(2)) / 2
