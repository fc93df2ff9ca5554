"""Poisoned rows found in scikit-learn's data sets, beside what others would find, as JSON.

    .venv/bin/python bench/poisoning.py [--seeds 3] [--sets digits,breast_cancer]

Flips: labels of some rows become another's. Backdoors: rows of other digits get a mark (`patch`: four pixels of a
corner; `corner`: nine of another; `line`: the lowest row; `blend` and `noise`: 20 and 30 % of a fixed noise image) and
label 0. Beside ours, over the same rows: weighted agreement of 15 nearest neighbours (the simple thing to beat),
cleanlab's self-confidence from out-of-fold logistic regression, and spectral signatures (Tran et al., 2018) over the
pixels, by label. `attack` is how often a marked test image of
another digit is read as 0 by a support vector machine, trained on all rows, then on what is left after `suspects`
(score 0.5 and more, no knowledge of the poison) are taken out.
"""

import argparse
import json
import statistics
import warnings
from collections import defaultdict

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from vallum.data.poisoning import disagreement

RATES = (0.03, 0.05)


def ours(rows, labels, seed, image):
    shaped = rows.reshape(-1, 8, 8) if image else rows
    return disagreement(shaped, labels.tolist(), seed=seed, kind="image" if image else "table")[0]


def neighbours(rows, labels, seed, image):
    scaled = StandardScaler().fit_transform(rows) if not image else rows
    distances, near = NearestNeighbors(n_neighbors=16).fit(scaled).kneighbors(scaled)
    weights = 1 / (distances[:, 1:] + 1e-9)
    return 1 - (weights * (labels[near[:, 1:]] == labels[:, None])).sum(1) / weights.sum(1)


def cleanlab(rows, labels, seed, image):
    from cleanlab.rank import get_label_quality_scores

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    said = cross_val_predict(model, rows, labels, cv=5, method="predict_proba")
    return 1 - get_label_quality_scores(labels, said)


def spectral(rows, labels, seed, image):
    scores = np.zeros(len(rows))
    for label in set(labels.tolist()):
        mine = labels == label
        centred = rows[mine] - rows[mine].mean(0)
        scores[mine] = np.abs(centred @ np.linalg.svd(centred, full_matrices=False)[2][0])
    return scores


JUDGES = {"vallum": ours, "neighbours": neighbours, "cleanlab": cleanlab, "spectral": spectral}


def found_at(scores, bad, rate):
    return float((scores[bad] > np.quantile(scores[~bad], 1 - rate)).mean())


def marked(images, how):
    out = images.reshape(-1, 8, 8).copy()
    if how == "patch":
        out[:, 6:, 6:] = 16
    elif how == "corner":
        out[:, :3, :3] = 16
    elif how == "line":
        out[:, 7, :] = 16
    else:
        share = {"blend": 0.2, "noise": 0.3}[how]
        out = (1 - share) * out + share * np.random.default_rng(99).uniform(0, 16, (8, 8))
    return out.reshape(len(images), -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", default="digits,breast_cancer")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    figures = defaultdict(list)
    for name in given.sets.split(","):
        rows, truth = getattr(datasets, f"load_{name}")(return_X_y=True)
        image = name == "digits"
        for seed in range(given.seeds):
            for rate in RATES:
                chance = np.random.default_rng([seed, int(rate * 1000)])
                bad = np.zeros(len(rows), dtype=bool)
                bad[chance.choice(len(rows), int(rate * len(rows)), replace=False)] = True
                labels, count = truth.copy(), int(truth.max()) + 1
                labels[bad] = (truth[bad] + chance.integers(1, count, bad.sum())) % count
                for judge, score in JUDGES.items():
                    scores = score(rows, labels, seed, image)
                    figures[f"{name} flips", judge].append((roc_auc_score(bad, scores), found_at(scores, bad, 0.025)))
                if not image:
                    continue
                for how in ("patch", "corner", "line", "blend", "noise"):
                    order = chance.permutation(len(rows))
                    train, test = order[:1300], order[1300:]
                    bad = np.zeros(1300, dtype=bool)
                    bad[chance.choice(np.flatnonzero(truth[train] != 0), int(rate * 1300), replace=False)] = True
                    images, labels = rows[train].copy(), truth[train].copy()
                    images[bad], labels[bad] = marked(images[bad], how), 0
                    attack = marked(rows[test][truth[test] != 0], how)
                    for judge, score in JUDGES.items():
                        scores = score(images, labels, seed, True)
                        found = [roc_auc_score(bad, scores), found_at(scores, bad, 0.02)]
                        if judge == "vallum":
                            kept = scores < 0.5
                            for left in (slice(None), kept):
                                model = SVC(C=10).fit(images[left], labels[left])
                                found.append(float((model.predict(attack) == 0).mean()))
                            found.append(float((~kept[~bad]).mean()))
                        figures[f"{name} {how}", judge].append(tuple(found))
    names = ("auroc", "recall", "attack_before", "attack_after", "clean_rows_suspected")
    report = defaultdict(dict)
    for (what, judge), runs in figures.items():
        report[what][judge] = {
            key: {"mean": round(statistics.fmean(v), 4), "worst": round(max(v) if number > 1 else min(v), 4)}
            for number, (key, v) in enumerate(zip(names, zip(*runs, strict=True), strict=False))
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
