"""What a row's label would be by four kinds of model that did not see it, weighed by how often they are right.

Which model tells labels apart differs from table to table: lines, neighbours, smooth borders, or trees. Each judges
rows it was not fitted to; its certainty is put right by one temperature; and the mixture's weights are those under
which the labels given are the likeliest (expectation maximisation), with one more member that guesses and so takes up
the wrong ones. What few wrong labels do to a model's fit is small, and setting rows aside first costs more than it
gives: hard rows go too.
"""

from typing import Any

from vallum.kernel.errors import Invalid

__all__ = ["mixed_opinion", "neighbours_of"]

_FOLDS = 5
_NEIGHBOURS = 10
_TREES = 200
_MAX_FITTED = 20_000
_MAX_SUPPORT = 4_000  # rows a support vector machine is fitted to: its cost grows with their square
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
_LEAST = 1e-4  # what a model may call impossible
_WRONG = 0.05  # of labels, while temperatures are chosen: a model must not pay all for the wrong ones
_STEPS = 100
_HEARD = 0.02  # the least weight of a member, before weights are made to add up


def mixed_opinion(np: Any, rows: Any, given: Any, labels: int, chance: Any) -> Any:
    """The support of each label for each row, adding up to 1. `rows` are scaled; `given` are numbers of labels."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    order = chance.permutation(len(rows))[:_MAX_FITTED]
    if len(set(given[order].tolist())) < 2:
        raise Invalid("too few rows of each label to look for wrong ones")
    near = neighbours_of(np, rows, rows[order], given[order], labels, order, _NEIGHBOURS)
    linear = _out_of_fold(np, lambda: LogisticRegression(max_iter=1000, tol=1e-3), _chances, rows, given, order, labels)
    support = _out_of_fold(np, lambda: SVC(C=5.0), _decisions, rows, given, order[:_MAX_SUPPORT], labels)
    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=int(chance.integers(1 << 31))
    ).fit(rows[order], given[order])
    trees = _placed(np, forest.predict_proba(rows), forest.classes_, labels)
    trees[order] = _placed(np, np.nan_to_num(forest.oob_decision_function_), forest.classes_, labels)
    tempered = [_tempered(np, said, given, labels) for said in (near, linear, support, trees)]
    return _mixed(np, tempered, given, labels)


def neighbours_of(np: Any, rows: Any, part: Any, part_labels: Any, labels: int, part_rows: Any, number: int) -> Any:
    """The nearest rows of `part` vote, the near ones more; nobody votes on itself. `part_rows` are their numbers."""
    from sklearn.neighbors import NearestNeighbors

    number = min(number, len(part) - 1)
    found = NearestNeighbors(n_neighbors=number + 1, algorithm="brute").fit(part).kneighbors(rows)
    near, nearest = found[0] ** 2, found[1]
    itself = np.full(len(rows), -1)
    itself[part_rows] = np.arange(len(part_rows))
    heard = nearest != itself[:, None]
    heard[heard.all(1), -1] = False  # one too many was asked for
    middle = (near * heard).sum(1, keepdims=True) / number
    weights = heard / (near + middle * 0.1 + 1e-9)
    weights /= weights.sum(1, keepdims=True)
    cells = np.arange(len(rows))[:, None] * labels + part_labels[nearest]
    return np.bincount(cells.ravel(), weights.ravel(), len(rows) * labels).reshape(len(rows), labels)


def _out_of_fold(np: Any, make: Any, say: Any, rows: Any, given: Any, order: Any, labels: int) -> Any:
    """Rows that no fold was fitted to are judged by all of them."""
    order = order[np.argsort(given[order], kind="stable")]  # each fold has its share of each label
    said, votes = np.zeros((len(rows), labels)), np.zeros((len(rows), 1))
    for fold in range(_FOLDS):
        fit = np.concatenate([order[other::_FOLDS] for other in range(_FOLDS) if other != fold])
        if len(set(given[fit].tolist())) < 2:
            raise Invalid("too few rows of each label to look for wrong ones")
        judged = np.setdiff1d(np.arange(len(rows)), fit)
        model = make().fit(rows[fit], given[fit])
        said[judged] += _placed(np, say(np, model, rows[judged]), model.classes_, labels)
        votes[judged] += 1
    return said / votes


def _chances(np: Any, model: Any, rows: Any) -> Any:
    return model.predict_proba(rows)


def _decisions(np: Any, model: Any, rows: Any) -> Any:
    raw = model.decision_function(rows)
    return _softmax(np, 2 * (np.stack([-raw, raw], 1) if raw.ndim == 1 else raw))


def _placed(np: Any, said: Any, classes: Any, labels: int) -> Any:
    out = np.zeros((len(said), labels))
    out[:, classes] = said
    return out


def _softmax(np: Any, raw: Any) -> Any:
    raised = np.exp(raw - raw.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def _tempered(np: Any, said: Any, given: Any, labels: int) -> Any:
    logs, own = np.log(np.maximum(said, _LEAST)), np.arange(len(given))

    def likelihood(temperature: float) -> float:
        likely = (1 - _WRONG) * _softmax(np, logs * temperature)[own, given] + _WRONG / labels
        return float(np.log(likely).mean())

    return _softmax(np, logs * max(_TEMPERATURES, key=likelihood))


def _mixed(np: Any, said: Any, given: Any, labels: int) -> Any:
    own = np.arange(len(given))
    likely = np.stack([*(each[own, given] for each in said), np.full(len(given), 1 / labels)])
    weights = np.full(len(likely), 1 / len(likely))
    for _ in range(_STEPS):
        shares = weights[:, None] * likely
        weights = (shares / np.maximum(shares.sum(0), 1e-300)).mean(1)
    heard = weights[:-1] + _HEARD
    return sum(weight * each for weight, each in zip(heard / heard.sum(), said, strict=True))
