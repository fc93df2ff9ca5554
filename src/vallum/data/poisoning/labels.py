"""Suspects among labelled rows: labels that nothing supports, and what the rows of one wrong label share.

A trigger leaves a mark: rows that were moved to one label, and that all have the same values where rows of their kind
differ. `find_triggers` looks for both together, and then tries the mark: in a model that learnt all rows, a trigger
takes others to its label. A mark alone is no suspicion, and scattered wrong labels are errors.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Literal

from vallum.data.poisoning.disagreement import disagreement, disagreement_despite_marks, libraries
from vallum.data.poisoning.suspects import Suspect

__all__ = ["find_mislabelled", "find_triggers"]

_THRESHOLD = 0.5  # another label is better supported
_MIN_ROWS = 8
_MIN_SHARE = 0.01  # of all rows: a trigger that is learnt is in more
_ONE_LABEL = 0.6
_MOVES = 0.5  # of clean rows of other labels, to which the mark was added
_MAX_TRIED = 1_000
_MAX_FITTED = 20_000
_MARK = 4.0  # standard errors by which a column's mean differs from that of the rows they look like


def find_mislabelled(
    features: Any,
    labels: Sequence[object],
    *,
    seed: int,
    kind: Literal["table", "image"] = "table",
    threshold: float = _THRESHOLD,
) -> list[Suspect]:
    """Rows whose label is less supported than another, the surest first. Raises as `disagreement` does."""
    scores, others, known = disagreement(features, labels, seed=seed, kind=kind)
    found = [
        Suspect(
            row, float(score), "label", f"labelled {labels[row]}; rows like it are labelled {known[int(others[row])]}"
        )
        for row, score in enumerate(scores)
        if score >= threshold
    ]
    return sorted(found, key=lambda suspect: -suspect.score)


def find_triggers(
    features: Any,
    labels: Sequence[object],
    *,
    seed: int,
    kind: Literal["table", "image"] = "image",
    threshold: float = _THRESHOLD,
) -> list[Suspect]:
    """Wrongly labelled rows of one label that share a mark, the surest first. Raises as `disagreement` does."""
    np, svm = libraries()
    scores, others, known = disagreement_despite_marks(features, labels, seed=seed, kind=kind)
    rows = np.asarray(features, dtype=np.float64).reshape(len(labels), -1)
    given = np.array([known.index(label) for label in labels])
    found: list[Suspect] = []
    clean = scores < threshold
    model: Any = None
    for number, label in enumerate(known):
        suspects = np.flatnonzero((given == number) & ~clean)
        if len(suspects) < max(_MIN_ROWS, _MIN_SHARE * len(rows)) or _alike(np, others[suspects], len(known)):
            continue
        marked = _marked(np, rows, suspects, others, given, clean)
        if not len(marked):
            continue
        if model is None:
            fitted = np.random.default_rng(seed).permutation(len(rows))[:_MAX_FITTED]
            model = svm.SVC(C=10.0, gamma="scale").fit(rows[fitted], given[fitted])
        if _moved(np, model, rows, suspects, others, given, clean) < _MOVES:
            continue
        places = ", ".join(str(place) for place in marked[:4])
        reason = (
            f"one of {len(suspects)} rows moved to label {label} that differ from the rows they look like in the same"
            f" {len(marked)} of {rows.shape[1]} values (numbers {places}{', …' if len(marked) > 4 else ''})"
        )
        found += [Suspect(int(row), float(scores[row]), "trigger", reason) for row in suspects]
    return sorted(found, key=lambda suspect: -suspect.score)


def _alike(np: Any, others: Any, labels: int) -> bool:
    """Whether the rows mostly look like one other label: both are hard to tell apart, and nobody need have moved."""
    return labels > 3 and bool(np.bincount(others).max() > _ONE_LABEL * len(others))


def _moved(np: Any, model: Any, rows: Any, suspects: Any, others: Any, given: Any, clean: Any) -> float:
    """The share of clean rows of other labels that the mark takes to this one, in a model that learnt all rows."""
    label = given[suspects[0]]
    centres = {number: rows[(given == number) & clean].mean(0) for number in set(others[suspects].tolist())}
    mark = np.mean([rows[row] - centres[others[row]] for row in suspects], axis=0)
    tried = rows[(given != label) & clean][:_MAX_TRIED]
    if not len(tried) or not np.isfinite(mark).all():
        return 0.0
    return float((model.predict(np.clip(tried + mark, rows.min(0), rows.max(0))) == label).mean())


def _marked(np: Any, rows: Any, suspects: Any, others: Any, given: Any, clean: Any) -> Any:
    """The values in which the suspects differ from rows of the label they look like, the most telling first."""
    gaps = []
    for row in suspects:
        like = rows[(given == others[row]) & clean]
        if len(like):
            gaps.append((rows[row] - like.mean(0)) / np.maximum(like.std(0), 1e-6 + 0.01 * np.abs(rows).max()))
    if len(gaps) < _MIN_ROWS:
        return np.array([], dtype=int)
    gap = np.stack(gaps)
    strength = np.abs(gap.mean(0)) / np.maximum(gap.std(0) / sqrt(len(gap)), 0.1)
    marked = np.flatnonzero((strength > _MARK) & (np.abs(gap.mean(0)) > 0.5))
    return marked[np.argsort(-strength[marked])]
