"""Rows whose label the rest of the data does not support: flips, and triggers that stand for a label.

Tables are judged by `opinions`: models of several kinds. Where rows may carry a mark that stands for a label (images,
and whatever is searched for triggers), such models would learn the mark and then vouch for it. So there the first
opinion comes from many small random parts of the data, each too small to hold enough poisoned rows to agree with each
other (Levine and Feizi, 2021); nearest neighbours of the parts vote. What they support least is set aside, models are
fitted to the rest, out of fold, and judge every row, several times. A row's score is how far some other label is
better supported. Needs the extra `poisoning` (numpy and scikit-learn). Work grows linearly with the rows; parts stop
at 2,000 rows.
"""

from collections.abc import Sequence
from typing import Any, Literal

from vallum.data.poisoning.opinions import mixed_opinion, neighbours_of
from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["disagreement", "disagreement_despite_marks", "libraries"]

Kind = Literal["table", "image"]

_PARTS = 40
_PARTS_OF_VIEW = 6
_MIN_SIDE = 4  # pixels: what is smaller has no parts worth the name
_PART_SHARE = 0.12
_MAX_PART = 2_000
_MAX_SEEN = 5_000
_LEAST_MOVED = 0.02  # of all rows: fewer are odd ones that every label has
_SCATTERED = 0.25  # of a cluster's rows, at most, read as any one label: a kind of its own reads as two or three
_NEIGHBOURS = 5
_SET_ASIDE = 0.12
_SET_ASIDE_MOST = 0.3
_UNSUPPORTED = 0.75
_ROUNDS = 3
_FOLDS = 5
_MAX_FITTED = 20_000  # rows that a round's models are fitted to


def libraries() -> tuple[Any, Any]:
    """numpy and sklearn.svm. Raises Unavailable without the extra."""
    try:
        import numpy as np
        from sklearn import svm
    except ImportError as e:
        raise Unavailable("looking for poisoned rows needs scikit-learn: install the extra vallum[poisoning]") from e
    return np, svm


def disagreement(
    features: Any, labels: Sequence[object], *, seed: int, kind: Kind = "table"
) -> tuple[Any, Any, list[object]]:
    """How little each row's label is supported (0 to 1; from 0.5 on, another label is better supported).

    `features` is an array with a row each; images may have any further dimensions. Returns the scores, the number of
    the best other label for each row, and the labels by number. Raises Invalid unless there are two labels or more,
    as many as rows, and finite features.
    """
    if kind == "image":
        return disagreement_despite_marks(features, labels, seed=seed, kind=kind)
    np, _ = libraries()
    rows, given, known = _checked(np, features, labels, kind)
    support = mixed_opinion(np, rows / 3, given, len(known), np.random.default_rng(seed))
    return _margin(np, support, given), _best_other(np, support, given), known


def disagreement_despite_marks(
    features: Any, labels: Sequence[object], *, seed: int, kind: Kind
) -> tuple[Any, Any, list[object]]:
    """As `disagreement`, and not taken in by a mark that up to a twentieth of the rows share with their wrong label."""
    np, svm = libraries()
    rows, given, known = _checked(np, features, labels, kind)
    chance = np.random.default_rng(seed)
    views = _views(np, features, rows) if kind == "image" else [np.arange(rows.shape[1])]
    whole, without = _voted(np, rows, given, len(known), chance, views)
    held = _clusters_apart(np, rows, given, len(known), seed) if kind == "image" else np.zeros(len(rows), dtype=bool)
    for left in reversed(range(_ROUNDS)):
        aside = held | _highest(np, whole, _SET_ASIDE) | _highest(np, without, _SET_ASIDE)
        if not left:  # only what is not supported: hard rows come back
            aside = held | ((whole + without) / 2 >= _UNSUPPORTED) & _highest(np, whole + without, _SET_ASIDE_MOST)
        trusted = np.flatnonzero(~aside)
        support = _fitted(np, svm, rows, given, trusted, len(known), chance)
        if left:
            # a large mark confuses a model that never saw it, and no view without it
            whole = _margin(np, support, given)
            without = _seen(np, rows, given, trusted, len(known), views)
    scores = _margin(np, support, given)
    return scores, _best_other(np, support, given), known


def _checked(np: Any, features: Any, labels: Sequence[object], kind: Kind) -> tuple[Any, Any, list[object]]:
    rows = _prepared(np, features, kind)
    known = list(dict.fromkeys(labels))
    numbers = {label: number for number, label in enumerate(known)}
    given = np.array([numbers[label] for label in labels])
    if len(given) != len(rows) or len(known) < 2 or len(rows) < 4 * _NEIGHBOURS:
        raise Invalid("looking for wrong labels takes two labels or more, one for each of 20 rows or more")
    return rows, given, known


def _best_other(np: Any, support: Any, given: Any) -> Any:
    others = support.copy()
    others[np.arange(len(given)), given] = -1
    return others.argmax(1)


def _prepared(np: Any, features: Any, kind: str) -> Any:
    rows = np.asarray(features, dtype=np.float64)
    rows = rows.reshape(len(rows), -1)
    if not np.isfinite(rows).all():
        raise Invalid("features are finite numbers: fill or drop the rest before looking for poisoned rows")
    if kind == "image":
        return rows / max(1e-12, float(np.abs(rows).max()))
    low, middle, high = np.quantile(rows, (0.05, 0.5, 0.95), axis=0)
    spread = np.where(high > low, high - low, np.maximum(rows.std(0), 1e-12))
    return np.clip((rows - middle) / spread * 3, -6, 6)


def _margin(np: Any, support: Any, given: Any) -> Any:
    """0.5 where the label given and the best other are supported alike."""
    places = np.arange(len(given))
    own = support[places, given]
    others = support.copy()
    others[places, given] = -np.inf
    return (others.max(1) - own + 1) / 2


def _views(np: Any, features: Any, rows: Any) -> list[Any]:
    """What is left of an image without one part of it, as columns of its row: some view lacks any mark that is local.

    The parts are the halves, and windows of half the height and width that overlap by half.
    """
    whole = np.arange(rows.shape[1])
    shape = np.asarray(features).shape[1:]
    if len(shape) < 2 or min(shape[:2]) < _MIN_SIDE:
        return [whole]
    places = whole.reshape(shape)
    high, wide = shape[0] // 2, shape[1] // 2
    parts = [places[:high], places[high:], places[:, :wide], places[:, wide:]]
    for top in (0, high // 2, shape[0] - high):
        for left in (0, wide // 2, shape[1] - wide):
            parts.append(places[top : top + high, left : left + wide])
    return [whole, *(np.setdiff1d(whole, np.ravel(part)) for part in parts)]


def _highest(np: Any, scores: Any, share: float) -> Any:
    out = np.zeros(len(scores), dtype=bool)
    out[np.argsort(-scores)[: max(1, int(share * len(scores)))]] = True
    return out


def _voted(np: Any, rows: Any, given: Any, labels: int, chance: Any, views: Any) -> tuple[Any, Any]:
    """Scores by parts drawn at random: of whole rows, and in the view in which a row's label is supported least."""
    size = min(_MAX_PART, max(4 * _NEIGHBOURS, int(_PART_SHARE * len(rows))))
    each = []
    for number, view in enumerate(views):
        seen, support = rows[:, view], np.zeros((len(rows), labels))
        parts = _PARTS_OF_VIEW if number else _PARTS
        for _ in range(parts):
            part = chance.choice(len(rows), size, replace=False)
            support += neighbours_of(np, seen, seen[part], given[part], labels, part, _NEIGHBOURS) / parts
        each.append(_margin(np, support, given))
    return each[0], np.maximum.reduce(each)


def _clusters_apart(np: Any, rows: Any, given: Any, labels: int, seed: int) -> Any:
    """Rows of one label that lie together, apart from its others, and that without each other nothing would label so.

    A mark all over a row draws those that have it together, also within a part (activation clustering and exclusionary
    reclassification: Chen et al., 2018). Without each other, rows that were moved from everywhere read as everything.
    """
    from sklearn.cluster import KMeans

    out = np.zeros(len(rows), dtype=bool)
    for label in range(labels if labels * _SCATTERED > 1.5 else 0):
        mine = np.flatnonzero(given == label)
        if len(mine) < 4 * _NEIGHBOURS:
            continue
        halves = KMeans(2, n_init=3, random_state=seed).fit(rows[mine[:_MAX_SEEN]]).predict(rows[mine])
        for half in (0, 1):
            together = mine[halves == half]
            rest = np.setdiff1d(np.arange(len(rows)), together)
            part = np.random.default_rng(seed).permutation(rest)[:_MAX_SEEN]
            said = neighbours_of(
                np, rows[together], rows[part], given[part], labels, np.array([], dtype=int), _NEIGHBOURS
            )
            if len(together) >= max(4 * _NEIGHBOURS, _LEAST_MOVED * len(rows)) and np.bincount(
                said.argmax(1)
            ).max() <= _SCATTERED * len(together):
                out[together] = True
    return out


def _seen(np: Any, rows: Any, given: Any, trusted: Any, labels: int, views: Any) -> Any:
    """Scores by the nearest trusted rows, in the view in which a row's label is supported least."""
    part = trusted[:_MAX_SEEN]
    scores = np.zeros(len(rows))
    for view in views:
        seen = rows[:, view]
        support = neighbours_of(np, seen, seen[part], given[part], labels, part, _NEIGHBOURS)
        scores = np.maximum(scores, _margin(np, support, given))
    return scores


def _fitted(np: Any, svm: Any, rows: Any, given: Any, trusted: Any, labels: int, chance: Any) -> Any:
    """What models fitted to the trusted rows say of every row, and of trusted ones only where they were left out."""
    order = chance.permutation(trusted)[:_MAX_FITTED]
    said, votes = np.zeros((len(rows), labels)), np.zeros((len(rows), 1))
    for fold in range(_FOLDS):
        mine = order[fold::_FOLDS]
        fit = np.setdiff1d(order, mine)
        if len(set(given[fit])) < 2:
            raise Invalid("too few rows of each label to look for wrong ones")
        judged = np.setdiff1d(np.arange(len(rows)), fit)
        model = svm.SVC(C=10.0, gamma="scale", decision_function_shape="ovr").fit(rows[fit], given[fit])
        raw = model.decision_function(rows[judged])
        raw = np.stack([-raw, raw], 1) if raw.ndim == 1 else raw
        soft = np.exp((raw - raw.max(1, keepdims=True)) * 2)
        soft /= soft.sum(1, keepdims=True)
        placed = np.zeros((len(judged), labels))
        placed[:, model.classes_] = soft
        near = neighbours_of(np, rows[judged], rows[fit], given[fit], labels, np.array([], dtype=int), _NEIGHBOURS)
        said[judged] += placed + near
        votes[judged] += 2
    return said / np.maximum(votes, 1)
