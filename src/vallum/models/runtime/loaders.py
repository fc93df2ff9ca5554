"""From a model's file to what answers: one loader a format, none of which executes what the file holds.

For the sandboxed process only: libraries are imported here, and nowhere in the gateway. There is no pickle: ONNX and
safetensors hold graphs and numbers, XGBoost's JSON and UBJ and LightGBM's text hold trees, and skops rebuilds a
scikit-learn model from types that skops trusts or that the approved configuration names.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vallum.kernel.errors import Invalid
from vallum.models.runtime.model import OutputTensor, ServingConfiguration

__all__ = ["Predictor", "load_model"]

Array = np.ndarray[Any, np.dtype[Any]]
Predictor = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Inputs by name, outputs by the configuration's names."""


def load_model(configuration: ServingConfiguration, folder: Path) -> Predictor:
    """Raises Invalid for a file that is not of its format or does not fit its configuration; and whatever the library
    that reads the format raises."""
    path = folder / configuration.file
    return _LOADERS[configuration.format](configuration, path)


def _onnx(configuration: ServingConfiguration, path: Path) -> Predictor:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = configuration.limits.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    takes, gives = {one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()}
    wanted = {output.name: output.source or output.name for output in configuration.outputs}
    declared = {one.name for one in configuration.inputs}
    if takes != declared or not set(wanted.values()) <= gives:
        raise Invalid(
            f"the graph takes {sorted(takes)} and gives {sorted(gives)}; the configuration says {sorted(declared)} and "
            f"{sorted(wanted.values())}"
        )
    sources = list(wanted.values())

    def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = session.run(sources, dict(inputs))
        return dict(zip(wanted, map(np.asarray, found), strict=True))

    return predict


def _sklearn(configuration: ServingConfiguration, path: Path) -> Predictor:
    from skops.io import get_untrusted_types, load

    unknown = sorted(set(get_untrusted_types(file=path)) - set(configuration.trusted))
    if unknown:
        raise Invalid(f"the skops file holds types that its configuration does not trust: {', '.join(unknown[:10])}")
    model = load(path, trusted=list(configuration.trusted))
    methods = {output.name: _method(model, output) for output in configuration.outputs}

    def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
        matrix = _matrix(configuration, inputs)
        return {name: np.asarray(method(matrix)) for name, method in methods.items()}

    return predict


_METHODS = {
    "label": "predict", "values": "predict", "probabilities": "predict_proba", "logits": "decision_function",
}  # fmt: skip


def _method(model: Any, output: OutputTensor) -> Callable[[Any], Any]:
    method = getattr(model, _METHODS[output.role], None)
    if not callable(method):
        raise Invalid(f"the model has no {_METHODS[output.role]} for the output {output.name}")
    return method  # type: ignore[no-any-return]


def _xgboost(configuration: ServingConfiguration, path: Path) -> Predictor:
    import xgboost

    booster = xgboost.Booster({"nthread": configuration.limits.threads})
    booster.load_model(path)
    booster.set_param({"nthread": configuration.limits.threads})

    def scores(matrix: Array, raw: bool) -> Array:
        found = booster.inplace_predict(matrix, predict_type="margin" if raw else "value", validate_features=False)
        return np.asarray(found)

    return _boosted(configuration, scores)


def _lightgbm(configuration: ServingConfiguration, path: Path) -> Predictor:
    import lightgbm

    booster = lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))
    threads = configuration.limits.threads

    def scores(matrix: Array, raw: bool) -> Array:
        return np.asarray(booster.predict(matrix, raw_score=raw, num_threads=threads))

    return _boosted(configuration, scores)


def _boosted(configuration: ServingConfiguration, scores: Callable[[Array, bool], Array]) -> Predictor:
    """Of boosted trees: the score is the probability where the objective is one, and the value else."""
    outputs = {output.name: output.role for output in configuration.outputs}

    def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
        matrix = _matrix(configuration, inputs)
        found = {raw: scores(matrix, raw) for raw in {role == "logits" for role in outputs.values()}}
        return {name: _boosted_output(role, found[role == "logits"]) for name, role in outputs.items()}

    return predict


def _boosted_output(role: str, found: Array) -> Array:
    if role == "label":
        return found.argmax(axis=1) if found.ndim == 2 else (found > 0.5).astype(np.int64)
    if role == "probabilities" and found.ndim == 1:
        return np.stack([1 - found, found], axis=1)
    return found


def _torch(configuration: ServingConfiguration, path: Path) -> Predictor:
    from vallum.models.runtime.layers import build_network, read_safetensors

    network = build_network(configuration.architecture, read_safetensors(path))
    outputs = {output.name: output.role for output in configuration.outputs}
    name = configuration.inputs[0].name

    def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
        given = inputs[name] if len(configuration.inputs) == 1 else _matrix(configuration, inputs)
        found = network(given.astype(np.float32))
        return {one: found.argmax(axis=1) if role == "label" else found for one, role in outputs.items()}

    return predict


def _matrix(configuration: ServingConfiguration, inputs: Mapping[str, Array]) -> Array:
    """The one input, or the columns of all of them beside each other in the configuration's order."""
    if len(configuration.inputs) == 1:
        return inputs[configuration.inputs[0].name]
    given = [inputs[one.name] for one in configuration.inputs]
    return np.column_stack([one.astype(np.float64) for one in given])


_LOADERS: Mapping[str, Callable[[ServingConfiguration, Path], Predictor]] = {
    "onnx": _onnx, "sklearn": _sklearn, "xgboost": _xgboost, "lightgbm": _lightgbm, "torch": _torch,
}  # fmt: skip
