"""A scikit-learn model from its pickle or joblib file to skops: the one conversion that has to load the source.

It is done only in the sandbox, and only for what the scanner passed. Needs the extra `convert`.
"""

from pathlib import Path
from typing import Any

from vallum.kernel.errors import IntegrityError, Invalid, Unavailable

__all__ = ["convert_sklearn", "load_sklearn"]

_MAX_DEPTH = 60


def convert_sklearn(source: Path, destination: Path) -> dict[str, Any]:
    """What is to be recorded. Raises Invalid, Unavailable without the libraries, IntegrityError for another model."""
    try:
        import skops.io
    except ImportError as e:
        raise Unavailable(f"{e.name} is not installed: install vallum[convert], and the libraries of the model") from e
    model = load_sklearn(source)
    skops.io.dump(model, destination)
    untrusted = skops.io.get_untrusted_types(file=destination)
    again = skops.io.load(destination, trusted=untrusted)
    if not _same(model, again, 0):
        raise IntegrityError("what skops reads back is not the model that was written")
    return {"model": f"{type(model).__module__}.{type(model).__qualname__}", "untrusted_types": untrusted}


def load_sklearn(source: Path) -> Any:
    """Unpickled: in the sandbox alone. Raises Invalid for what is no scikit-learn model, Unavailable."""
    try:
        import joblib
    except ImportError as e:
        raise Unavailable(f"{e.name} is not installed: install vallum[convert], and the libraries of the model") from e
    try:
        model = joblib.load(source)
    except ImportError as e:
        raise Unavailable(f"the model needs {e.name}, which is not installed") from e
    except Exception as e:
        raise Invalid(f"it cannot be loaded as a pickle or joblib file: {type(e).__name__}") from e
    if not hasattr(model, "get_params"):
        raise Invalid(f"it holds a {type(model).__name__}, which is no scikit-learn model")
    return model


def _same(one: Any, other: Any, depth: int) -> bool:
    """The same classes with the same parts, arrays by their bits."""
    import numpy

    if type(one) is not type(other) or depth > _MAX_DEPTH:
        return False
    if isinstance(one, numpy.ndarray) and one.dtype.names:  # between the fields of a record may lie anything
        return one.dtype == other.dtype and all(_same(one[n], other[n], depth + 1) for n in one.dtype.names)
    if isinstance(one, numpy.ndarray) and one.dtype != object:
        return bool(one.dtype == other.dtype) and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, numpy.ndarray | list | tuple):
        return len(one) == len(other) and all(_same(a, b, depth + 1) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(
            _same(a, b, depth + 1) for a, b in zip(one.values(), other.values(), strict=True)
        )
    if isinstance(one, numpy.random.RandomState | numpy.random.Generator):
        return True  # its state is its own, and changes with use
    if isinstance(one, type) or callable(one):
        return one is other or repr(one) == repr(other) or type(one).__module__ != "builtins"
    state, again = getattr(one, "__dict__", None), getattr(other, "__dict__", None)
    if not state and not isinstance(one, str | bytes | int | float | complex | None.__class__):
        reduced = one.__reduce_ex__(4), other.__reduce_ex__(4)
        if isinstance(reduced[0], tuple) and len(reduced[0]) > 2:
            return _same(reduced[0][2], reduced[1][2], depth + 1)
    return _same(state, again, depth + 1) if state else repr(one) == repr(other)
