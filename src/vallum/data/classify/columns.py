"""What a column holds: by its name, and by what stands in it.

Each value is read behind the column's name, as a person would write it ("routing number: 021000021"), so that rules
that need a word beside a number have it. A full scan reads every value; a sample states how large a share it may
have missed. One in ten long numbers passes a check digit by chance: where a column is digits of one length, a kind
that rests on one check digit must be far more frequent than chance makes it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Literal

from vallum.data.classify.kinds import Category, Control, category_of, class_of, controls_of, highest
from vallum.data.classify.names import as_label, kinds_named
from vallum.data.classify.sampling import missed_at_most
from vallum.data.classify.spans import UNREADABLE, SpanClassifier
from vallum.guards.port import Finding
from vallum.inventory.model import Classification

__all__ = ["CONFIDENCE", "ColumnClassifier", "ColumnReport", "Evidence"]

CONFIDENCE = 0.95
DEFAULT_SAMPLE = 10_000
_CHANCE = 0.1  # of a random number to pass one check digit
_FIGURES_SHARE = 0.9
_MIN_FIGURES = 9  # shorter numbers are taken for none of the kinds that a check digit decides
_CHECK_DIGIT = frozenset(
    {
        "payment_card", "no_fodselsnummer", "ro_cnp", "za_id", "imei", "us_npi", "us_bank_routing", "gb_nhs", "ch_ahv",
        "nl_bsn", "pt_nif", "au_tfn", "nz_ird", "il_id", "in_aadhaar", "de_tax_id", "bg_egn", "pl_pesel", "gr_amka",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a column is taken to hold a kind. `share` is of the values read, with its lower bound at 95 %."""

    kind: str
    category: Category
    classification: Classification
    by: Literal["name", "values", "both"]
    values: int
    share: float
    share_at_least: float


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """What was found in one column; holds none of its values.

    `missed_at_most` is the largest share of values holding a kind that no value read showed, at 95 % confidence; 0
    after a full scan.
    """

    column: str
    mode: Literal["sample", "full"]
    read: int
    total: int
    missed_at_most: float
    evidence: tuple[Evidence, ...]
    classification: Classification

    @property
    def categories(self) -> frozenset[Category]:
        return frozenset(each.category for each in self.evidence)

    @property
    def controls(self) -> frozenset[Control]:
        return controls_of(self.classification)


class ColumnClassifier:
    """Thread-safe; give each its own `random` where runs must be repeatable."""

    def __init__(self, spans: SpanClassifier, random: Random) -> None:
        self._spans = spans
        self._random = random

    def classify(
        self,
        column: str,
        values: Sequence[str | None],
        *,
        mode: Literal["sample", "full"] = "sample",
        sample: int = DEFAULT_SAMPLE,
    ) -> ColumnReport:
        """`values` is anything that can be indexed: a list, an Arrow or Polars column of text (nulls are None)."""
        total = len(values)
        if mode == "full" or total <= sample:
            mode, chosen = "full", iter(values)
        else:
            chosen = (values[at] for at in sorted(self._random.sample(range(total), sample)))
        read, counts, figures = self._count(column, chosen)
        evidence = _evidence(column, read, counts, figures)
        return ColumnReport(
            column=column,
            mode=mode,
            read=read,
            total=total,
            missed_at_most=missed_at_most(read, total, CONFIDENCE) if total else 0.0,
            evidence=evidence,
            classification=highest(each.classification for each in evidence),
        )

    def _count(self, column: str, values: Iterable[str | None]) -> tuple[int, Counter[tuple[str, str]], Counter[int]]:
        """How many values hold each kind, and how many are digits and nothing else, by their number."""
        label = as_label(column) + ": "
        times = Counter(value or "" for value in values)
        rows = list(times.values())  # a value is read once, however often it is there
        counts, figures = Counter[tuple[str, str]](), Counter[int]()
        for text, often in times.items():
            if text.isdigit():
                figures[len(text)] += often
        for at, findings in self._spans.find_all(label + text for text in times):
            for kind in {(f.guard, f.kind) for f in findings if _in_value(f, len(label))}:
                counts[kind] += rows[at]
        read = sum(rows)
        return read, counts, figures


def _in_value(finding: Finding, label_chars: int) -> bool:
    return finding.end > label_chars


def _evidence(column: str, read: int, counts: Counter[tuple[str, str]], figures: Counter[int]) -> tuple[Evidence, ...]:
    named = kinds_named(column)
    longest = max(figures, key=lambda length: figures[length], default=0)
    all_figures = read > 0 and longest >= _MIN_FIGURES and figures[longest] >= _FIGURES_SHARE * read
    found: list[Evidence] = []
    for (guard, kind), count in counts.most_common():
        share = count / read
        least = _lower_bound(count, read)
        if all_figures and kind in _CHECK_DIGIT and kind not in named and least <= 2 * _CHANCE:
            continue
        category, classification = category_of(kind, guard), class_of(kind, guard)
        if kind == UNREADABLE:
            classification = "restricted"
        by: Literal["values", "both"] = "both" if kind in named else "values"
        found.append(Evidence(kind, category, classification, by, count, share, least))
    shown = {each.kind for each in found}
    found += [
        Evidence(kind, category_of(kind), class_of(kind), "name", 0, 0.0, 0.0) for kind in named if kind not in shown
    ]
    return tuple(found)


def _lower_bound(count: int, read: int, z: float = 1.645) -> float:
    """Wilson's, one-sided at 95 %."""
    share = count / read
    centre = share + z * z / (2 * read)
    spread = z * sqrt(share * (1 - share) / read + z * z / (4 * read * read))
    return max(0.0, (centre - spread) / (1 + z * z / read))
