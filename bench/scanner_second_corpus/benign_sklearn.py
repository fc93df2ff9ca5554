"""Benign: estimators of scikit-learn that are trained now, and pickled, dumped by joblib, or exported."""

import gzip
import io
import pickle
from collections.abc import Callable, Iterator

import joblib
import numpy
import pandas
from sklearn import (
    cluster,
    compose,
    cross_decomposition,
    datasets,
    decomposition,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    isotonic,
    kernel_approximation,
    linear_model,
    manifold,
    mixture,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from .sample import Sample

__all__ = ["samples"]

FEATURES, TARGET = datasets.load_iris(return_X_y=True)
FRAME = pandas.DataFrame(
    {"age": [20, 31, 44, 52] * 10, "town": ["Kyiv", "Oslo", "Lima", "Oslo"] * 10, "paid": [0, 1, 1, 0] * 10}
)
TEXTS = ["a fine day for a walk", "rain and wind all week", "the walk was fine", "wind from the north"] * 5


def _estimators() -> Iterator[tuple[str, object]]:
    scaled = pipeline.make_pipeline
    yield "forest", ensemble.RandomForestClassifier(8, random_state=0)
    yield "histogram boosting", ensemble.HistGradientBoostingClassifier(max_iter=5)
    yield "gradient boosting", ensemble.GradientBoostingClassifier(n_estimators=4)
    yield "extra trees", ensemble.ExtraTreesClassifier(5)
    yield "bagging of trees", ensemble.BaggingClassifier(tree.DecisionTreeClassifier(), 3)
    yield "AdaBoost", ensemble.AdaBoostClassifier(n_estimators=3)
    yield "stack", ensemble.StackingClassifier([("s", svm.SVC()), ("t", tree.DecisionTreeClassifier())], cv=2)
    yield "vote", ensemble.VotingClassifier([("b", naive_bayes.GaussianNB()), ("k", neighbors.KNeighborsClassifier())])
    yield "isolation forest", ensemble.IsolationForest(n_estimators=5)
    yield "logistic regression", scaled(preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=200))
    yield "ridge of polynomials", scaled(preprocessing.PolynomialFeatures(2), linear_model.Ridge())
    yield "stochastic gradient", linear_model.SGDClassifier()
    yield "Huber", linear_model.HuberRegressor(max_iter=500)
    yield "Bayesian ridge", linear_model.BayesianRidge()
    yield "nearest neighbours, k-d tree", neighbors.KNeighborsClassifier(algorithm="kd_tree")
    yield "local outliers", neighbors.LocalOutlierFactor(novelty=True)
    yield "support vectors", svm.SVC(probability=False)
    yield "linear support vectors", svm.LinearSVC(max_iter=5000)
    yield "Gaussian process", gaussian_process.GaussianProcessClassifier()
    yield "perceptron of layers", neural_network.MLPClassifier((6,), max_iter=600, random_state=0)
    yield "k-means", cluster.KMeans(3, n_init=2)
    yield "mini-batch k-means", cluster.MiniBatchKMeans(3, n_init=2)
    yield "DBSCAN", cluster.DBSCAN()
    yield "Gaussian mixture", mixture.GaussianMixture(2)
    yield "principal components", decomposition.PCA(2)
    yield "non-negative factors", decomposition.NMF(2, max_iter=800)
    yield "partial least squares", cross_decomposition.PLSRegression(2)
    yield "Isomap", manifold.Isomap(n_components=2)
    yield "Nystroem", scaled(kernel_approximation.Nystroem(n_components=5), linear_model.SGDClassifier())
    yield (
        "select the best",
        scaled(feature_selection.SelectKBest(feature_selection.f_classif, k=2), tree.DecisionTreeClassifier()),
    )
    yield "logarithm by a numpy function", scaled(preprocessing.FunctionTransformer(numpy.log1p), linear_model.Ridge())
    yield "grid search", model_selection.GridSearchCV(svm.SVC(), {"C": [0.1, 1.0]}, cv=2)
    yield (
        "random search",
        model_selection.RandomizedSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [1, 2, 3]}, n_iter=2, cv=2),
    )
    yield "one against the rest", multiclass.OneVsRestClassifier(svm.SVC())
    yield "quantiles", preprocessing.QuantileTransformer(n_quantiles=10)
    yield "imputer of neighbours", impute.KNNImputer()


def _dumped(value: object, compress: object = 0, protocol: int | None = None) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, compress=compress, protocol=protocol)
    return file.getvalue()


WAYS: tuple[tuple[str, str, Callable[[object], bytes]], ...] = (
    ("pickle", "model.pkl", pickle.dumps),
    ("joblib", "model.joblib", _dumped),
    ("pickle 2", "model.pickle", lambda value: pickle.dumps(value, 2)),
    ("joblib, zlib", "model.joblib", lambda value: _dumped(value, 3)),
    ("pickle 5", "clf.sav", lambda value: pickle.dumps(value, 5)),
    ("joblib, xz", "model.joblib.xz", lambda value: _dumped(value, ("xz", 3))),
    ("pickle, gzip", "model.pkl.gz", lambda value: gzip.compress(pickle.dumps(value))),
    ("joblib, bz2", "model.z", lambda value: _dumped(value, ("bz2", 3))),
    ("joblib, lz4", "model.lz4", lambda value: _dumped(value, ("lz4", 3))),
    ("text pickle", "model.pkl", lambda value: pickle.dumps(value, 0)),
)


def _tables() -> Iterator[tuple[str, object]]:
    columns = compose.ColumnTransformer(
        [("n", preprocessing.StandardScaler(), ["age"]), ("c", preprocessing.OneHotEncoder(), ["town"])]
    )
    whole = pipeline.Pipeline([("columns", columns), ("model", linear_model.LogisticRegression())]).fit(
        FRAME, FRAME["paid"]
    )
    yield "pipeline over columns of a frame", whole
    yield (
        "model with its frame and notes",
        {"model": whole, "sample": FRAME.head(), "columns": FRAME.columns, "notes": "v2"},
    )
    yield "frame with categories and dates", FRAME.assign(
        town=FRAME["town"].astype("category"), day=pandas.date_range("2024-01-01", periods=40))  # fmt: skip
    words = pipeline.make_pipeline(
        feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2)), naive_bayes.MultinomialNB()
    )
    yield "words and naive Bayes", words.fit(TEXTS, [0, 1, 0, 1] * 5)
    yield (
        "hashed words",
        pipeline.make_pipeline(
            feature_extraction.text.HashingVectorizer(n_features=64), linear_model.SGDClassifier()
        ).fit(TEXTS, [0, 1, 0, 1] * 5),
    )
    yield "isotonic", isotonic.IsotonicRegression().fit([1, 2, 3], [1.0, 2.0, 2.5])
    yield (
        "label encoder and scores",
        {
            "encoder": preprocessing.LabelEncoder().fit(["a", "b"]),
            "scores": numpy.array([0.9, 0.8]),
            "best": numpy.float64(0.9),
        },
    )
    sparse = feature_extraction.text.CountVectorizer().fit_transform(TEXTS)
    yield (
        "sparse matrix and a generator's state",
        {"x": sparse, "random": numpy.random.RandomState(1), "new": numpy.random.default_rng(2)},
    )


def samples() -> Iterator[Sample]:
    for number, (name, made) in enumerate(_estimators()):
        way, file, dump = WAYS[number % len(WAYS)]
        yield Sample("benign: scikit-learn", f"{name}, {way}", {file: dump(made.fit(FEATURES, TARGET))})  # type: ignore[attr-defined]
    for number, (name, made) in enumerate(_tables()):
        way, file, dump = WAYS[(number + 1) % len(WAYS)]
        yield Sample("benign: pandas and numpy objects", f"{name}, {way}", {file: dump(made)})
