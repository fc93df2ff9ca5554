"""Benign, wave 2: more estimators, and the plain values of Python, pandas, numpy and scipy that
people save with them.
"""

import argparse
import collections
import datetime
import decimal
import fractions
import functools
import io
import operator
import pathlib
import pickle
import re
import types
import uuid
from collections.abc import Iterator

import joblib
import numpy
import pandas
import scipy.interpolate
import scipy.sparse
import scipy.spatial
import scipy.stats
from sklearn import (
    calibration,
    cluster,
    covariance,
    datasets,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_extraction,
    linear_model,
    mixture,
    multioutput,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    svm,
    tree,
)

from .sample import Sample

__all__ = ["samples"]

FEATURES, TARGET = datasets.load_wine(return_X_y=True)


def _estimators() -> Iterator[tuple[str, object]]:
    yield "calibrated", calibration.CalibratedClassifierCV(naive(), cv=2)
    yield "Birch", cluster.Birch(n_clusters=3)
    yield "HDBSCAN", cluster.HDBSCAN(min_cluster_size=5, copy=True)
    yield "spectral", cluster.SpectralClustering(3, affinity="nearest_neighbors")
    yield "one class", svm.OneClassSVM()
    yield "elliptic envelope", covariance.EllipticEnvelope(support_fraction=0.9)
    yield "discriminants", discriminant_analysis.LinearDiscriminantAnalysis()
    yield "quadratic discriminants", discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1)
    yield "dummy", dummy.DummyClassifier()
    yield "RANSAC", linear_model.RANSACRegressor(random_state=0)
    yield "Poisson", linear_model.PoissonRegressor(max_iter=500)
    yield "elastic net by folds", linear_model.ElasticNetCV(cv=3, max_iter=20000)
    yield "splines", pipeline.make_pipeline(preprocessing.SplineTransformer(), linear_model.Ridge())
    yield "bins", preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")
    yield "target encoder", preprocessing.TargetEncoder()
    yield "power", preprocessing.PowerTransformer()
    yield "union", pipeline.FeatureUnion([("a", decomposition.PCA(2)), ("b", preprocessing.MinMaxScaler())])
    yield "random projection", random_projection.GaussianRandomProjection(3)
    yield "sparse coding", decomposition.DictionaryLearning(3, max_iter=5)
    yield "independent components", decomposition.FastICA(3, max_iter=2000)
    yield "topics", decomposition.LatentDirichletAllocation(3)
    yield "Boltzmann machine", neural_network.BernoulliRBM(3, n_iter=2)
    yield "Bayesian mixture", mixture.BayesianGaussianMixture(n_components=2)
    yield "radius", neighbors.RadiusNeighborsClassifier(5000.0)
    yield "kernel density", neighbors.KernelDensity()
    yield "many outputs", multioutput.MultiOutputClassifier(tree.DecisionTreeClassifier())
    yield "embedding of trees", ensemble.RandomTreesEmbedding(3, max_depth=2)


def naive() -> object:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB()


def _values() -> Iterator[tuple[str, object]]:
    yield "arguments of a run", {"args": argparse.Namespace(lr=0.1, layers=[4, 8], name="run"), "epoch": 3}
    yield "paths", {"root": pathlib.PosixPath("data/train"), "name": pathlib.PurePosixPath("a/b")}
    yield (
        "times",
        {
            "at": datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC),
            "day": datetime.date(2024, 5, 1),
            "took": datetime.timedelta(0, 9),
        },
    )
    yield (
        "counters and defaults",
        {
            "seen": collections.Counter("abca"),
            "by": collections.defaultdict(list, {"a": [1]}),
            "last": collections.deque([1], 5),
        },
    )
    yield "a pattern of a tokenizer", {"split": re.compile(r"\w+|[^\w\s]+"), "vocabulary": {"os": 0, "system": 1}}
    yield "exact numbers", [decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7), complex(1, 2)]
    yield (
        "a partial of numpy",
        {"clip": functools.partial(numpy.clip, a_min=0, a_max=1), "key": operator.itemgetter("loss")},
    )
    yield (
        "sets and ranges",
        {"a": {1, 2}, "b": frozenset("ab"), "c": range(4), "d": slice(1, 2), "e": bytearray(b"x"), "f": Ellipsis},
    )
    yield "a plain name space", types.SimpleNamespace(width=4, depth=2)
    yield (
        "arrays of many kinds",
        {
            "m": numpy.ma.masked_array([1.0, 2.0], [0, 1]),
            "d": numpy.array(["2024-01-01"], "datetime64[D]"),
            "r": numpy.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
            "o": numpy.array(["a", None], object),
            "k": numpy.dtype("f4"),
            "f": numpy.tanh,
            "t": numpy.float32,
            "p": numpy.poly1d([1, 2]),
        },
    )
    yield (
        "sparse matrices",
        [scipy.sparse.csr_matrix(numpy.eye(3)), scipy.sparse.coo_array(numpy.eye(2)), scipy.sparse.lil_matrix((2, 2))],
    )
    yield (
        "splines and trees of scipy",
        [
            scipy.interpolate.CubicSpline([0, 1, 2], [1, 4, 9]),
            scipy.spatial.cKDTree(numpy.eye(3)),
            scipy.interpolate.interp1d([0, 1], [2, 3]),
        ],
    )
    yield (
        "distributions of scipy",
        {
            "lr": scipy.stats.uniform(0, 1),
            "n": scipy.stats.randint(1, 9),
            "g": scipy.stats.gaussian_kde([1.0, 2.0, 4.0]),
        },
    )
    wide = pandas.DataFrame(
        {("a", "x"): [1, 2], ("a", "y"): [3.5, None]}, index=pandas.MultiIndex.from_tuples([("u", 1), ("v", 2)])
    )
    yield "frame of many levels", wide
    yield (
        "types of pandas",
        {
            "i": pandas.Interval(0, 1),
            "p": pandas.Period("2024-05"),
            "t": pandas.Timestamp("2024-05-01", tz="Europe/Oslo"),
            "s": pandas.Series(["a", None], dtype="string"),
            "n": pandas.Series([1, None], dtype="Int64"),
            "c": pandas.Categorical(["a", "b"]),
            "d": pandas.Timedelta("3h"),
            "r": pandas.RangeIndex(4),
        },
    )
    hashed = feature_extraction.DictVectorizer().fit([{"a": 1, "b": "x"}])
    yield (
        "dictionary of features",
        {"vectorizer": hashed, "threshold": numpy.float32(0.4), "created": datetime.datetime(2024, 1, 1)},
    )


def samples() -> Iterator[Sample]:
    for number, (name, made) in enumerate(_estimators()):
        target = numpy.column_stack([TARGET, TARGET]) if name == "many outputs" else TARGET
        fitted = made.fit(abs(FEATURES), target)  # type: ignore[attr-defined]
        file = io.BytesIO()
        joblib.dump(fitted, file, compress=(0, 3, ("gzip", 1))[number % 3])
        data = file.getvalue() if number % 2 else pickle.dumps(fitted, number % 6)
        yield Sample(
            "benign: scikit-learn", f"2: {name}", {"model.joblib" if number % 2 else "model.pkl": data}, wave=2
        )
    for number, (name, value) in enumerate(_values()):
        data = pickle.dumps(value, (4, 2, 5, 3)[number % 4])
        yield Sample("benign: pandas and numpy objects", f"2: {name}", {"state.pkl": data}, wave=2)
