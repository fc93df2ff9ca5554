"""A trigger searched for in models that were trained here: with one, and without."""

import numpy as np
import pytest

from vallum.data.poisoning import judge_patches, search_patch
from vallum.kernel.errors import Invalid

datasets = pytest.importorskip("sklearn.datasets")
svm = pytest.importorskip("sklearn.svm")


@pytest.fixture(scope="module")
def digits():
    images, labels = datasets.load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8), labels


def trained(digits, poison):
    images, labels = digits[0][:600].copy(), digits[1][:600].copy()
    bad = np.random.default_rng(3).choice(np.flatnonzero(labels != 4), 24, replace=False)
    poison(images, labels, bad)
    model = svm.SVC(C=10).fit(images.reshape(-1, 64), labels)
    return lambda tried: model.predict(tried.reshape(-1, 64))


def test_a_model_with_a_backdoor_is_told_from_those_without(digits):
    def with_patch(images, labels, bad):
        images[bad, 6:, 6:] = 16
        labels[bad] = 4

    def with_wrong_labels(images, labels, bad):
        labels[bad] = 4  # as many, and no mark: nothing was hidden in it

    held, known = digits[0][1400:1430], digits[1][1400:1430].tolist()
    found = search_patch(trained(digits, with_patch), held, known, seed=1)
    assert (found[0].label, found[0].is_trigger) == (4, True)
    assert (found[0].top, found[0].left, found[0].value) >= (5, 5, 16)
    assert not any(patch.is_trigger for patch in found[1:])
    for clean in (lambda *_: None, with_wrong_labels):
        assert not any(patch.is_trigger for patch in search_patch(trained(digits, clean), held, known, seed=1))


def test_a_model_of_one_answer_has_no_trigger_and_the_work_is_bounded():
    asked = []

    def constant(images):
        asked.append(len(images))
        return [7] * len(images)

    images = np.random.default_rng(1).uniform(0, 1, (20, 34, 40))
    found = search_patch(constant, images, [7] * 20, seed=1)
    assert found == []
    assert sum(asked) <= 1_536 * 20
    assert max(asked) <= 4_096


def test_it_says_how_far_it_is_and_tries_no_larger_patch_than_it_may():
    told = []
    images = np.random.default_rng(1).uniform(0, 1, (20, 16, 16))
    found = search_patch(
        lambda tried: [int(one > 0.9) for one in tried[:, 0, 0]], images, [0] * 10 + [1] * 10, seed=1, largest=1,
        progress=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)
    assert {patch.side for patch in found} == {2}
    assert judge_patches(found) == "undecided"  # either value of that corner decides, for all
    assert judge_patches([]) == "nothing"
    for largest in (0, 4):
        with pytest.raises(Invalid):
            search_patch(len, images, [0] * 20, seed=1, largest=largest)


def test_nonsense_is_refused():
    images = np.zeros((20, 8, 8))
    for given, labels, predict in (
        (images[:19], [1] * 19, len),
        (images, [1] * 19, len),
        (images.reshape(20, 64), [1] * 20, len),
        (images + np.nan, [1] * 20, len),
        (images, [1] * 20, lambda tried: [1]),
    ):
        with pytest.raises(Invalid):
            search_patch(predict, given, labels, seed=1)
