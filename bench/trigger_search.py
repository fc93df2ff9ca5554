"""The search for triggers in trained models: what it says of digits classifiers with a backdoor and without.

    python bench/trigger_search.py

Ten models of each kind, each fitted to 600 other images; a backdoor is a mark of 2 by 2 pixels on 24 of them. `works`
is how many of the ten backdoors take 75 % of the marked images: one that does not is none to be found.
"""

from collections import Counter

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from vallum.data.poisoning import MOVED, judge_patches, search_patch

KINDS = {
    "support vectors": lambda seed: SVC(C=10),
    "logistic regression": lambda seed: LogisticRegression(max_iter=2000),
    "forest": lambda seed: RandomForestClassifier(100, random_state=seed),
    "network": lambda seed: MLPClassifier((64,), max_iter=600, random_state=seed),
}
LARGEST = (3, 2)


def measure(build, poisoned):
    flat, labels = load_digits(return_X_y=True)
    images = flat.reshape(-1, 8, 8)
    ends = {largest: Counter() for largest in LARGEST}
    works = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        rows = random.permutation(len(images))
        seen, held = rows[:600], rows[600:]
        fitted, known, target = images[seen].copy(), labels[seen].copy(), int(random.integers(10))
        if poisoned:
            bad = random.choice(np.flatnonzero(known != target), 24, replace=False)
            fitted[bad, 6:, 6:] = 16
            known[bad] = target
        model = build(seed).fit(fitted.reshape(-1, 64), known)
        held = held[model.predict(flat[held]) == labels[held]]
        marked = images[held][labels[held] != target].copy()
        marked[:, 6:, 6:] = 16
        works += poisoned and (model.predict(marked.reshape(-1, 64)) == target).mean() >= MOVED
        held = held[:60]
        for largest in LARGEST:
            found = search_patch(
                lambda tried, model=model: model.predict(tried.reshape(-1, 64)).tolist(),
                images[held], labels[held].tolist(), seed=1, largest=largest,
            )  # fmt: skip
            outcome = judge_patches(found)
            wrong = poisoned and outcome == "trigger" and found[0].label != target
            ends[largest]["another label" if wrong else outcome] += 1
    return works, ends


def main():
    for name, build in KINDS.items():
        for poisoned in (False, True):
            works, ends = measure(build, poisoned)
            told = "; ".join(f"--largest {largest}: {dict(count)}" for largest, count in ends.items())
            print(f"{name}, {f'backdoor (works {works})' if poisoned else 'clean'}: {told}", flush=True)


if __name__ == "__main__":
    main()
