"""Objects of scipy as it pickles them itself, and what somebody makes of the ways that they are made in."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from vallum.models.scan import Verdict, scan

np = pytest.importorskip("numpy")
pytest.importorskip("scipy")
from scipy import interpolate, optimize, signal, sparse, spatial, special, stats  # noqa: E402

_X = np.linspace(0, 1, 20)
_Y = np.sin(_X)
_POINTS = np.random.default_rng(0).random((30, 2))
_MATRIX = sparse.random(6, 6, 0.3)
_FORMATS = ("csr", "csc", "coo", "bsr", "dia", "dok", "lil")
_PASS: dict[str, Callable[[], Any]] = {
    "normal": lambda: stats.norm(1, 2),
    "gamma": lambda: stats.gamma,
    "levy": lambda: stats.levy_stable(1.8, -0.5),
    "normals": lambda: stats.multivariate_normal([0, 0], np.eye(2)),
    "dirichlet": lambda: stats.dirichlet([1.0, 2]),
    "histogram": lambda: stats.rv_histogram(np.histogram(_Y)),
    "density": lambda: stats.gaussian_kde(_Y),
    "spline": lambda: interpolate.CubicSpline(_X, _Y),
    "univariate": lambda: interpolate.UnivariateSpline(_X, _Y),
    "grid": lambda: interpolate.RegularGridInterpolator((_X, _X), np.outer(_Y, _Y)),
    "radial": lambda: interpolate.RBFInterpolator(_POINTS, _POINTS[:, 0]),
    "tree": lambda: spatial.KDTree(_POINTS),
    "tree in C": lambda: spatial.cKDTree(_POINTS),
    "rotation": lambda: spatial.transform.Rotation.from_euler("z", 1),
    "minimum": lambda: optimize.minimize(lambda v: (v - 1) @ (v - 1), [0.0, 0.0], method="Nelder-Mead"),
    "programme": lambda: optimize.linprog([1, 1], bounds=(0, 1)),
    "bounds": lambda: optimize.Bounds([0], [1]),
    "root": lambda: optimize.root_scalar(np.cos, bracket=[1, 2]),
} | {name: lambda name=name: _MATRIX.asformat(name) for name in _FORMATS}
_NO_BLOCK: dict[str, Callable[[], Any]] = {
    "binomial": lambda: stats.binom(5, 0.3),
    "poisson": lambda: stats.poisson,
    "values": lambda: stats.rv_discrete(values=([1, 2], [0.5, 0.5])),
    "test": lambda: stats.kstest(_Y, "norm"),
    "correlation": lambda: stats.pearsonr(_X, _Y),
    "regression": lambda: stats.linregress(_X, _Y),
    "linear": lambda: interpolate.interp1d(_X, _Y),
    "hull": lambda: spatial.ConvexHull(_POINTS),
    "quasi": lambda: optimize.minimize(lambda v: (v - 1) @ (v - 1), [0.0, 0.0], method="L-BFGS-B"),
    "system": lambda: signal.TransferFunction([1], [1, 2]),
    "ufunc": lambda: special.gammaln,
}


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_scipy_writes(protocol: int, tmp_path) -> None:
    file = tmp_path / "model.pkl"
    for name, make in _PASS.items():
        file.write_bytes(pickle.dumps(make(), protocol))
        assert scan(file).verdict is Verdict.PASS, name
    for name, make in _NO_BLOCK.items():
        file.write_bytes(pickle.dumps(make(), protocol))
        assert scan(file).verdict is not Verdict.BLOCK, name


_NEW = b"\x80\x02cfunctools\npartial\n(cbuiltins\ngetattr\n(cscipy.stats._stats_py\nKstestResult\nV__new__\ntRq\x05tR"


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (_NEW + b"(h\x05(cscipy.stats._stats_py\nKstestResult\nt}Ntb)R.", "review"),
        (_NEW + b")R.", "block"),  # no state, so that nothing is known of what it binds
        (_NEW + b"(cevil.pack\nstarts\n(t}Ntb)R.", "block"),  # a state with another function
        (_NEW + b"(h\x05(cevil.pack\nstarts\nt}Ntb(tR.", "review"),  # a class it cannot be: raises, and runs nothing
        (_NEW + b"(h\x05(cscipy.stats._stats_py\nKstestResult\nt}Ntb(V/etc/passwd\ntR.", "block"),
        (_NEW + b"(h\x05(V/etc/passwd\nt}Ntb)R.", "block"),
        (_NEW + b"(h\x05(cos\nsystem\nt}Ntb)R.", "block"),
        (b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\ntype\nV__new__\ntR.", "block"),
        (b"\x80\x02cbuiltins\ngetattr\n(cpackage.part\nThing\nV__new__\ntR(tR.", "block"),
        (b"\x80\x02cbuiltins\ngetattr\n(cpackage.part\nThing\nV__init__\ntR.", "block"),
        (b"\x80\x02cnumpy\nvectorize\n(cos\nsystem\ntR(V true\ntR.", "block"),
        (b"\x80\x02cnumpy\nvectorize\n(cevil.pack\nstarts\ntR(V true\ntR.", "block"),
        (b"\x80\x02cnumpy\nvectorize\n)\x81}Vpyfunc\ncevil.pack\nstarts\nsb(V true\ntR.", "block"),
        (b"\x80\x02(cnumpy\nvectorize\nVtrue\no.", "block"),
        (b"\x80\x02cscipy.stats._multivariate\nwishart_gen\n)\x81}V_parse_arg_template\nVprint(1)\nsb.", "block"),
    ],
)
def test_the_same_ways_for_something_else(made: bytes, verdict: str, tmp_path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(made)
    assert scan(file).verdict == verdict


def test_a_search_over_distributions(tmp_path) -> None:
    """They keep some of their own methods, bound."""
    file = tmp_path / "search.pkl"
    for name in ("randint", "uniform", "loguniform", "binom"):
        made = stats.binom(5, 0.3) if name == "binom" else getattr(stats, name)(1, 50)
        made.rvs(2)
        file.write_bytes(pickle.dumps({"C": made}))
        assert scan(file).verdict is Verdict.PASS, name


@pytest.mark.parametrize("name", ["_construct_argparser", "_attach_methods", "__init__", "__reduce__"])
def test_other_methods_of_a_distribution(tmp_path, name: str) -> None:
    made = pickle.dumps(stats.norm(1, 2), 2)[2:-1]
    file = tmp_path / "method.pkl"
    file.write_bytes(b"\x80\x02cbuiltins\ngetattr\n(" + made + b"V" + name.encode() + b"\ntR.")
    assert scan(file).verdict is not Verdict.PASS
