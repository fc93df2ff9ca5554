"""Wrong labels and triggers in real data: scikit-learn's digits, poisoned here."""

from importlib.util import find_spec

import numpy as np
import pytest

from vallum.data.poisoning import disagreement, find_mislabelled, find_mislabelled_texts, find_triggers
from vallum.kernel.errors import Invalid

pytestmark = [
    pytest.mark.long, pytest.mark.skipif(find_spec("sklearn") is None, reason="the extra poisoning is not installed")
]  # fmt: skip


def found_at(scores, bad, false_positives):
    return float((scores[bad] > np.quantile(scores[~bad], 1 - false_positives)).mean())


def auroc(scores, bad):
    order = scores.argsort().argsort() + 1
    return (order[bad].sum() - bad.sum() * (bad.sum() + 1) / 2) / (bad.sum() * (~bad).sum())


@pytest.fixture(scope="module")
def digits():
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8), labels


def flipped(labels, rate, seed):
    chance = np.random.default_rng(seed)
    bad = np.zeros(len(labels), dtype=bool)
    bad[chance.choice(len(labels), int(rate * len(labels)), replace=False)] = True
    wrong = labels.copy()
    wrong[bad] = (labels[bad] + chance.integers(1, 10, bad.sum())) % 10
    return wrong, bad


def test_flips_are_found(digits):
    images, labels = digits
    wrong, bad = flipped(labels, 0.04, 11)
    scores, others, known = disagreement(images, wrong.tolist(), seed=1, kind="image")
    assert auroc(scores, bad) >= 0.995
    assert found_at(scores, bad, 0.025) >= 0.95
    right = [known[int(others[row])] == labels[row] for row in np.flatnonzero(bad)]
    assert np.mean(right) >= 0.95  # and what they should be


@pytest.mark.parametrize("trigger", ["patch", "blend"])
def test_backdoors_are_found_and_their_mark_is_named(digits, trigger):
    images, labels = digits
    chance = np.random.default_rng(12)
    bad = np.zeros(len(labels), dtype=bool)
    bad[chance.choice(np.flatnonzero(labels != 0), int(0.04 * len(labels)), replace=False)] = True
    poisoned, wrong = images.copy(), labels.copy()
    wrong[bad] = 0
    if trigger == "patch":
        poisoned[bad, 6:, 6:] = 16
    else:
        poisoned[bad] = 0.8 * poisoned[bad] + 0.2 * np.random.default_rng(99).uniform(0, 16, (8, 8))
    suspects = find_triggers(poisoned, wrong.tolist(), seed=2)
    rows = {suspect.row for suspect in suspects}
    assert len(rows & set(np.flatnonzero(bad))) >= 0.9 * bad.sum()
    assert len(rows - set(np.flatnonzero(bad))) <= 0.03 * (~bad).sum()
    assert "moved to label 0" in suspects[0].reason
    if trigger == "patch":
        assert any(str(place) in suspects[0].reason for place in (54, 55, 62, 63))


def corner(images):
    images[:, :3, :3] = 16  # a seventh of the image: it outweighs what is drawn


def line(images):
    images[:, 7, :] = 16  # in each half's or window's complement but one


def noise(images):
    images[:] = 0.7 * images + 0.3 * np.random.default_rng(98).uniform(0, 16, (8, 8))  # draws its own together


@pytest.mark.parametrize(("mark", "target"), [(corner, 3), (line, 0), (noise, 3)])
def test_marks_that_outweigh_the_image_are_found_and_what_is_left_teaches_no_backdoor(digits, mark, target):
    from sklearn.svm import SVC

    images, labels = (each[:1300].copy() for each in digits)
    held_out, truth = digits[0][1300:].copy(), digits[1][1300:]
    bad = np.zeros(len(labels), dtype=bool)
    chance = np.random.default_rng(21)
    bad[chance.choice(np.flatnonzero(labels != target), int(0.05 * len(labels)), replace=False)] = True
    marked = images[bad]
    mark(marked)
    images[bad], labels[bad] = marked, target
    scores, _, _ = disagreement(images, labels.tolist(), seed=2, kind="image")
    assert auroc(scores, bad) >= 0.98
    assert found_at(scores, bad, 0.02) >= 0.90
    kept = scores < 0.5
    assert kept[~bad].mean() >= 0.95
    mark(held_out)
    attacked = held_out[truth != target].reshape(-1, 64)
    rates = [
        (SVC(C=10).fit(images[rows].reshape(-1, 64), labels[rows]).predict(attacked) == target).mean()
        for rows in (slice(None), kept)
    ]
    assert rates[0] >= 0.9
    assert rates[1] <= 0.05


def test_flips_in_a_table_are_found_where_models_agree_on_nothing_but_the_rows():
    """Breast cancer: 0.995 is what models fitted to the right labels reach over many draws."""
    from sklearn import datasets

    rows, labels = datasets.load_breast_cancer(return_X_y=True)
    found = []
    for seed in (3, 4, 5):
        bad = np.zeros(len(labels), dtype=bool)
        bad[np.random.default_rng(seed).choice(len(labels), int(0.04 * len(labels)), replace=False)] = True
        scores, _, _ = disagreement(rows, np.where(bad, 1 - labels, labels).tolist(), seed=seed)
        found.append((auroc(scores, bad), found_at(scores, bad, 0.025)))
    aurocs, recalls = zip(*found, strict=True)
    assert np.mean(aurocs) >= 0.99
    assert np.mean(recalls) >= 0.95


def test_texts_labelled_against_their_words_are_found():
    chance = np.random.default_rng(6)
    topics = [[f"topic{topic}word{number}" for number in range(60)] for topic in range(3)]
    plain = [f"plain{number}" for number in range(200)]
    truth = chance.integers(0, 3, 300)
    texts = [" ".join([*chance.choice(topics[topic], 8), *chance.choice(plain, 25)]) for topic in truth]
    bad = chance.choice(300, 12, replace=False)
    labels = truth.copy()
    labels[bad] = (truth[bad] + 1) % 3
    suspects = find_mislabelled_texts(texts, labels.tolist(), seed=1)
    assert len({s.row for s in suspects[:12]} & set(bad.tolist())) >= 11
    assert len(suspects) <= 20
    for nothing in (["a", "b"], [f"word{n}" for n in range(30)], [""] * 30):
        with pytest.raises(Invalid):
            find_mislabelled_texts(nothing, [0, 1] * (len(nothing) // 2), seed=1)


def test_clean_data_has_few_suspects_and_no_trigger(digits):
    images, labels = digits
    assert find_triggers(images, labels.tolist(), seed=3) == []
    assert len(find_mislabelled(images, labels.tolist(), seed=3, kind="image")) <= 0.05 * len(labels)


def test_flips_scattered_over_labels_are_errors_and_no_trigger(digits):
    images, labels = digits
    wrong, bad = flipped(labels, 0.03, 5)
    suspects = find_mislabelled(images, wrong.tolist(), seed=4, kind="image")
    assert len({s.row for s in suspects} & set(np.flatnonzero(bad))) >= 0.95 * bad.sum()
    triggers = {suspect.row for suspect in find_triggers(images, wrong.tolist(), seed=4)}
    assert len(triggers) <= 0.5 * bad.sum()


def test_the_same_seed_says_the_same(digits):
    images, labels = digits
    few = slice(0, 400)
    one, two = (disagreement(images[few], labels[few].tolist(), seed=7, kind="image")[0] for _ in range(2))
    assert (one == two).all()


def test_nonsense_is_refused():
    rows = np.zeros((30, 2))
    for features, labels in (
        (rows, [0] * 30),
        (rows, [0, 1]),
        (rows[:5], [0, 1, 0, 1, 0]),
        (np.full((30, 2), np.nan), [0, 1] * 15),
        (np.full((30, 2), np.inf), [0, 1] * 15),
    ):
        with pytest.raises(Invalid):
            disagreement(features, labels, seed=1)


def test_one_hostile_value_does_not_blind_it(digits):
    """A row with an enormous value would flatten all others, were columns only divided by their range."""
    images, labels = digits
    wrong, bad = flipped(labels, 0.04, 13)
    rows = images.reshape(len(images), -1).copy()
    hostile = int(np.flatnonzero(~bad)[0])
    rows[hostile] = 1e12
    scores, _, _ = disagreement(rows, wrong.tolist(), seed=1)
    assert found_at(scores, bad, 0.025) >= 0.9
