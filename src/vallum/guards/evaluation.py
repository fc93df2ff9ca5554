"""How well scores part attacks from harmless texts, at the few false alarms that anybody can live with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vallum.kernel.errors import Invalid

__all__ = ["Evaluation", "evaluate"]

_RATES = (0.001, 0.005, 0.01, 0.02, 0.05)
_BINS = 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`recall_at` is the share of attacks found at the threshold that gives each share of false alarms.

    `histogram` counts scores in twenty equal bins, harmless and attacks.
    """

    harmless: int
    attacks: int
    threshold: float | None
    false_alarms: float | None
    recall: float | None
    auc: float
    recall_at: dict[str, float]
    histogram: tuple[tuple[int, ...], tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(scores: Sequence[float], labels: Sequence[int], threshold: float | None = None) -> Evaluation:
    """`scores` from 0 to 1, `labels` 1 for an attack. Raises Invalid unless there are both kinds."""
    harmless = sorted(s for s, label in zip(scores, labels, strict=True) if not label)
    attacks = sorted(s for s, label in zip(scores, labels, strict=True) if label)
    if not harmless or not attacks:
        raise Invalid("an evaluation needs texts with label 0 and texts with label 1")
    recall_at = {f"{rate:g}": _share_above(attacks, _quantile(harmless, rate)) for rate in _RATES}
    return Evaluation(
        len(harmless), len(attacks), threshold,
        None if threshold is None else _share_from(harmless, threshold),
        None if threshold is None else _share_from(attacks, threshold),
        round(_auc(harmless, attacks), 4), recall_at, (_histogram(harmless), _histogram(attacks)),
    )  # fmt: skip


def _quantile(harmless: Sequence[float], rate: float) -> float:
    """The score that at most `rate` of the harmless exceed."""
    return harmless[max(0, len(harmless) - 1 - int(rate * len(harmless)))]


def _share_above(scores: Sequence[float], threshold: float) -> float:
    return round(sum(s > threshold for s in scores) / len(scores), 4)


def _share_from(scores: Sequence[float], threshold: float) -> float:
    return round(sum(s >= threshold for s in scores) / len(scores), 4)


def _auc(harmless: Sequence[float], attacks: Sequence[float]) -> float:
    """The chance that an attack scores above a harmless text (Mann-Whitney), ties half."""
    below = equal = total = 0
    for score in attacks:
        while below < len(harmless) and harmless[below] < score:
            below += 1
        equal = max(equal, below)
        while equal < len(harmless) and harmless[equal] == score:
            equal += 1
        total += below + equal
    return total / (2 * len(harmless) * len(attacks))


def _histogram(scores: Sequence[float]) -> tuple[int, ...]:
    bins = [0] * _BINS
    for score in scores:
        bins[min(_BINS - 1, int(score * _BINS))] += 1
    return tuple(bins)
