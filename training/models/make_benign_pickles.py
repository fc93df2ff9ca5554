"""Trains small models with the real libraries and keeps what they write, for the scanner's tests: all must pass.

    python training/models/make_benign_pickles.py tests/unit/models/scan/corpus/benign_pickles.zip

Needs numpy, scikit-learn, joblib, torch, xgboost, lightgbm. One archive, since each alone would be mostly overhead.
"""

import collections
import datetime
import io
import pickle
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import torch
import xgboost
from sklearn import (
    cluster,
    compose,
    decomposition,
    ensemble,
    gaussian_process,
    impute,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.feature_extraction import text

warnings.simplefilter("ignore")
generator = np.random.default_rng(5)
X = generator.normal(size=(80, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
TEXTS = ["a good model", "a bad model", "good data", "bad data"] * 5


def estimators() -> Iterator[tuple[str, Any]]:
    scaled = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    yield "logistic", linear_model.LogisticRegression()
    yield "ridge", linear_model.RidgeCV()
    yield "sgd", linear_model.SGDClassifier()
    yield "pipeline", scaled
    yield "forest", ensemble.RandomForestClassifier(3, max_depth=3)
    yield "gradient", ensemble.GradientBoostingClassifier(n_estimators=3)
    yield "histogram", ensemble.HistGradientBoostingClassifier(max_iter=3)
    yield "isolation", ensemble.IsolationForest(n_estimators=3, max_samples=16)
    yield "voting", ensemble.VotingClassifier([("a", tree.DecisionTreeClassifier()), ("b", naive_bayes.GaussianNB())])
    yield "tree", tree.DecisionTreeRegressor(max_depth=3)
    yield "svc", svm.SVC(probability=True)
    yield "neighbours", neighbors.KNeighborsClassifier(algorithm="kd_tree")
    yield "ball", neighbors.KNeighborsClassifier(algorithm="ball_tree")
    yield "kmeans", cluster.KMeans(3, n_init=1)
    yield "pca", decomposition.PCA(2)
    yield "mlp", neural_network.MLPClassifier((5,), max_iter=20)
    yield "gaussian-process", gaussian_process.GaussianProcessClassifier()
    yield "grid", model_selection.GridSearchCV(scaled, {"logisticregression__C": [0.1, 1.0]}, cv=2, scoring="f1")
    yield "log-transform", pipeline.make_pipeline(preprocessing.FunctionTransformer(np.log1p), linear_model.Lasso())
    columns = [("n", impute.SimpleImputer(), [0, 1]), ("s", preprocessing.QuantileTransformer(n_quantiles=10), [2, 3])]
    yield "columns", pipeline.make_pipeline(compose.ColumnTransformer(columns), naive_bayes.GaussianNB())
    yield "xgboost", xgboost.XGBClassifier(n_estimators=2, max_depth=2)
    yield "lightgbm", lightgbm.LGBMClassifier(n_estimators=2, max_depth=2, verbose=-1)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for index, (name, estimator) in enumerate(estimators()):
        estimator.fit(np.abs(X) if name == "log-transform" else X, Y)
        yield f"{name}.pkl", pickle.dumps(estimator, protocol=index % 6)
        joblib.dump(estimator, folder / "j")
        yield f"{name}.joblib", (folder / "j").read_bytes()
    words = pipeline.make_pipeline(text.TfidfVectorizer(ngram_range=(1, 2)), linear_model.LogisticRegression())
    words.fit(TEXTS, [1, 0] * 10)
    yield "tfidf.pkl", pickle.dumps(words)
    joblib.dump(words, folder / "j")
    yield "tfidf.joblib", (folder / "j").read_bytes()
    for name, compression in (("zlib", ("zlib", 3)), ("gzip", ("gzip", 3)), ("xz", ("xz", 3)), ("bz2", ("bz2", 3))):
        joblib.dump(words, folder / "j", compress=compression)
        yield f"tfidf.joblib.{name}", (folder / "j").read_bytes()
    joblib.dump({"x": np.array(["a", None], dtype=object), "y": np.arange(4.0)}, folder / "j")
    yield "objects.joblib", (folder / "j").read_bytes()
    yield from arrays()
    yield from networks()


def arrays() -> Iterator[tuple[str, bytes]]:
    record = np.zeros(3, dtype=[("a", "<f4"), ("b", "S5"), ("c", "<i2", (2,))])
    data = [np.arange(6), np.float32(3), np.array(["x", "y"]), record, np.ma.masked_array([1, 2], [0, 1])]
    data += [np.random.RandomState(0), np.random.default_rng(0), np.datetime64("2020-01-01"), np.asfortranarray(X)]
    plain = [
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    ]
    for protocol in range(6):
        yield f"arrays-{protocol}.pkl", pickle.dumps(data, protocol=protocol)
        yield f"plain-{protocol}.pkl", pickle.dumps([*plain, {1, 2}, b"bytes", Path("a/b")], protocol=protocol)
    for name, array in (("record", record), ("floats", X), ("text", np.array(["x", "yy"])), ("scalar", np.array(1.0))):
        written = io.BytesIO()
        np.save(written, array)
        yield f"{name}.npy", written.getvalue()


def networks() -> Iterator[tuple[str, bytes]]:
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 1)
    )
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.randn(5, 4)).sum().backward()
    optimiser.step()
    checkpoint = {"model": network.state_dict(), "optimiser": optimiser.state_dict(), "epoch": 1}
    for name, thing in (("state", network.state_dict()), ("checkpoint", checkpoint), ("module", network)):
        written = io.BytesIO()
        torch.save(thing, written, _use_new_zipfile_serialization=False)
        yield f"{name}-legacy.pt", written.getvalue()
        written = io.BytesIO()
        torch.save(thing, written)
        with zipfile.ZipFile(io.BytesIO(written.getvalue())) as archive:
            inner = next(member for member in archive.namelist() if member.endswith("data.pkl"))
            yield f"{name}-data.pkl", archive.read(inner)
    yield "tensor.pkl", pickle.dumps({"w": torch.ones(3)})


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in files(Path(folder)):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
