"""A scikit-learn model from its pickle or joblib file to ONNX; what it answers then is held to what it answered before.

Done only in the sandbox, and only for what the scanner passed. Needs the extra `convert-onnx`. ONNX computes in 32 bits
and scikit-learn in 64: both are asked about the same rows, and must say the same within `TOLERANCE`.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vallum.kernel.errors import IntegrityError, Invalid, Unavailable
from vallum.models.convert.sklearn_skops import load_sklearn

__all__ = ["TOLERANCE", "convert_onnx"]

TOLERANCE = 1e-3  # of the largest answer's size; classes may differ only where two are as likely within it
_ROWS = 512
_MAX_FEATURES = 1 << 16
_MAX_DEPTH = 6
_MOST_ODD = 0.01  # rows at a tree's very threshold, which 32 bits put on its other side


def convert_onnx(source: Path, destination: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What is to be recorded. Raises Invalid for what ONNX has no operators for, Unavailable without the libraries,
    IntegrityError when the two answer differently."""
    try:
        import numpy as np
        import onnx
        import onnxruntime
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType
    except ImportError as e:
        raise Unavailable(f"{e.name} is not installed: install vallum[convert-onnx]") from e
    model = load_sklearn(source)
    features = getattr(model, "n_features_in_", None)
    if not isinstance(features, int | np.integer) or not 1 <= features <= _MAX_FEATURES:
        raise Invalid("it was not fitted on rows of numbers: ONNX needs to know how many there are")
    if not hasattr(model, "predict"):
        raise Invalid(f"a {type(model).__name__} predicts nothing: convert the model that does")
    is_classifier = hasattr(model, "predict_proba")
    options = {id(model): {"zipmap": False}} if is_classifier else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = to_onnx(
                model, initial_types=[("X", FloatTensorType([None, int(features)]))], options=options, target_opset=17
            )
    except Exception as e:
        raise Invalid(f"ONNX cannot say what this {type(model).__name__} computes: {type(e).__name__}") from e
    for name, value in metadata.items():
        made.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(made)
    raw = made.SerializeToString()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(raw, settings, providers=["CPUExecutionProvider"])
    worst, rows, odd = 0.0, 0, 0
    for given in _samples(model, int(features)):
        far, differing = _compared(model, session.run(None, {"X": given}), given, is_classifier)
        worst, rows, odd = max(worst, far), rows + len(given), odd + differing
    destination.write_bytes(raw)
    alike = f"{rows - odd} of {rows}" if odd else f"{rows}"
    return {
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "verified": f"the same answers on {alike} rows, to {worst:.1e} of their size",
    }


def _samples(model: Any, features: int) -> Iterator[Any]:
    """Rows as the model may have seen them, wider ones, and none at all. The same each time."""
    import numpy as np

    draw = np.random.default_rng(20260101)
    centre, scale = _range(model, features, 0)
    yield np.zeros((1, features), np.float32)
    for width in (0.5, 1.0, 3.0):
        given = draw.normal(centre, np.abs(scale) * width + 1e-6, (_ROWS // 4, features))
        yield given.astype(np.float32)
    yield draw.uniform(centre - 10 * scale, centre + 10 * scale, (_ROWS // 4, features)).astype(np.float32)


def _range(model: Any, features: int, depth: int) -> tuple[Any, Any]:
    """Where its features lie, as far as its parts remember: a scaler's mean, a tree's thresholds."""
    import numpy as np

    for part in (model, *_parts(model)):
        mean, scale = getattr(part, "mean_", None), getattr(part, "scale_", None)
        if isinstance(mean, np.ndarray) and isinstance(scale, np.ndarray) and mean.shape == scale.shape == (features,):
            return mean, scale
        tree = getattr(part, "tree_", None)
        if tree is not None:
            used = tree.feature >= 0
            if used.any():
                at, where = tree.threshold[used], tree.feature[used]
                centre, scale = np.full(features, at.mean()), np.full(features, at.std() + 1.0)
                for feature in np.unique(where):
                    mine = at[where == feature]
                    centre[feature], scale[feature] = mine.mean(), mine.std() + abs(mine.mean()) * 0.5 + 1e-3
                return centre, scale
        if part is not model and depth < _MAX_DEPTH and getattr(part, "n_features_in_", None) == features:
            found = _range(part, features, depth + 1)
            if found[0].any():
                return found
    return np.zeros(features), np.ones(features)


def _parts(model: Any) -> Iterator[Any]:
    """Of a pipeline, the first that sees the rows as they come; of a forest, its trees."""
    steps = getattr(model, "steps", None)
    if isinstance(steps, list) and steps:
        yield steps[0][1]
        return
    inner = getattr(model, "estimators_", None)
    if inner is not None:
        for one in list(inner)[:8]:
            yield from (one if isinstance(one, list | tuple) or hasattr(one, "ravel") else [one])


def _compared(model: Any, answers: list[Any], given: Any, is_classifier: bool) -> tuple[float, int]:
    """How far apart they are, of the size of the largest, and in how many rows they differ. Raises IntegrityError."""
    import numpy as np

    wide = given.astype(np.float64)
    found = np.asarray(answers[0])
    if not is_classifier:
        wanted = np.asarray(model.predict(wide))
        if wanted.dtype.kind not in "fiu":
            differs = wanted.astype(str).ravel() != found.astype(str).ravel()
            _require(float(np.mean(differs)) <= _MOST_ODD)
            return 0.0, int(differs.sum())
        worst, odd = _far(wanted.reshape(len(given), -1), found.reshape(len(given), -1))
        return worst, int(odd.sum())
    likely, ours = np.asarray(model.predict_proba(wide)), np.asarray(answers[1])
    worst, odd = _far(likely, ours.reshape(likely.shape))
    ordered = np.sort(likely, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 10 * TOLERANCE if likely.shape[1] > 1 else np.ones(len(given), bool)
    differs = (np.asarray(model.predict(wide)).astype(str) != found.astype(str)) & clear
    _require(float(np.mean(differs)) <= _MOST_ODD)
    return worst, int((odd | differs).sum())


def _far(wanted: Any, found: Any) -> tuple[float, Any]:
    """The farthest row within `TOLERANCE`, and a mask of those beyond it."""
    import numpy as np

    if wanted.shape != found.shape or not (np.isfinite(wanted) == np.isfinite(found)).all():
        _require(False)
    size = max(float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)), 1e-6)
    rows = np.nan_to_num(np.abs(wanted - found)).max(axis=1) / size
    odd = rows > TOLERANCE
    _require(float(np.mean(odd)) <= _MOST_ODD)
    return float(rows[~odd].max(initial=0.0)), odd


def _require(is_same: bool) -> None:
    if not is_same:
        raise IntegrityError("the ONNX model answers otherwise than the one it was made of: keep the source, or skops")
