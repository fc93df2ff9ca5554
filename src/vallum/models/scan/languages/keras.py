"""A Keras object as its configuration describes it: what deserialising it would look up, run or read."""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from vallum.models.scan.languages.dotted import leads_to_harm
from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.policy import is_standard
from vallum.models.scan.port import Scan

__all__ = ["judge_keras_object", "judge_training"]

_FRAMEWORK = re.compile(r"(?:keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras|keras_core)(?:\.|\Z)")
_AREAS = re.compile(
    r"\.(?:layers|models|initializers|regularizers|optimizers|losses|metrics|constraints|activations|ops|dtype_policies|backend|random|quantizers|distribution|applications|engine|mixed_precision|callbacks|legacy)(?:\.|\Z)"
)
_ACTIVATIONS = frozenset(
    """relu relu6 sigmoid softmax tanh linear elu selu gelu softplus softsign swish silu exponential hard_sigmoid
    hard_silu hard_swish leaky_relu log_softmax mish celu glu log_sigmoid hard_tanh hard_shrink soft_shrink tanh_shrink
    threshold squareplus sparse_plus sparse_sigmoid sparsemax crelu mse mae mape msle
    categorical_crossentropy sparse_categorical_crossentropy binary_crossentropy mean_squared_error mean_absolute_error accuracy
    binary_accuracy categorical_accuracy sparse_categorical_accuracy huber log_cosh hinge poisson kl_divergence cosine_similarity""".split()
)
_VOCABULARIES = frozenset("TextVectorization StringLookup IntegerLookup IndexLookup".split())
_LANGUAGE = frozenset(
    "__keras_tensor__ __tuple__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__ __typespec__ __complex__ __set__".split()
)
_FUNCTION_LAYERS = frozenset(
    "TFOpLambda SlicingOpLambda ClassMethod InstanceMethod InstanceProperty TensorFlowOpLayer".split()
)
_FUNCTIONS = frozenset(
    """binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy categorical_crossentropy
    categorical_focal_crossentropy categorical_generalized_cross_entropy categorical_hinge celu circle
    concordance_correlation cosine_similarity ctc dice elu exponential gelu glu hard_shrink hard_sigmoid hard_silu
    hard_swish hard_tanh hinge huber kl_divergence leaky_relu linear log_cosh log_sigmoid log_softmax
    mean_absolute_error mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error mish
    pearson_correlation poisson relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign
    sparse_categorical_accuracy sparse_categorical_crossentropy sparse_plus sparse_sigmoid
    sparse_top_k_categorical_accuracy sparsemax squared_hinge squareplus swish tanh tanh_shrink threshold
    top_k_categorical_accuracy tversky
    acc accuracy ce crossentropy mse mae mape msle bce kld cosine cosine_proximity logcosh kullback_leibler_divergence auc
    precision recall root_mean_squared_error binary_iou f1_score""".split()
)
_HARMFUL_FUNCTION = re.compile(
    r"(?:^|\.)(?:io|raw_ops|saved_model|config|compat|data|autograph)\.|py_func|numpy_function|load_|read_file|write_file|eval|exec|system"
)


def judge_keras_object(value: dict[str, object], place: str, scan: Scan) -> None:
    """For a mapping with `class_name`; of other libraries' it says nothing."""
    name, module, config = value.get("class_name"), value.get("module"), value.get("config")
    registered = value.get("registered_name")
    if not isinstance(name, str) or "config" not in value:
        return
    settings = config if isinstance(config, dict) else {}
    if name in ("Lambda", "__lambda__") or (isinstance(registered, str) and registered.endswith("Lambda")):
        _judge_lambda(name, settings, place, scan)
    if name == "TFSMLayer":
        text = f"it loads and runs another model, from `{str(settings.get('filepath'))[:120]}`"
        scan.report(Verdict.BLOCK, "keras-custom-object", place, text)
    if name in _FUNCTION_LAYERS and _HARMFUL_FUNCTION.search(
        str(settings.get("function", settings.get("node_def", "")))[:2000]
    ):
        scan.report(Verdict.BLOCK, "keras-lambda", place, f"{name} calls a function that reads, writes or runs")
    if name in _VOCABULARIES and isinstance(path := settings.get("vocabulary"), str) and path:
        outside = path.startswith(("/", "\\", "~")) or ".." in path or "://" in path or path[1:2] == ":"
        scan.report(
            Verdict.BLOCK if outside else Verdict.REVIEW,
            "keras-custom-object",
            place,
            f"{name} reads the file `{path[:120]}` while it loads",
        )
    if isinstance(module, str):
        _judge_module(module, name, config, place, scan)
    elif "module" in value and name not in _LANGUAGE | {"__lambda__", "Lambda"}:
        scan.report(
            Verdict.REVIEW, "keras-custom-object", place, f"`{name[:80]}` is code that the model does not bring"
        )
    elif "." in name and leads_to_harm(name):
        scan.report(Verdict.BLOCK, "keras-custom-object", place, f"it asks for `{name[:120]}`")
    elif (
        ">" in name
        or ("module" not in value and not _is_own(name))
        or (isinstance(registered, str) and ">" in registered and not registered.startswith(("keras", "Keras")))
    ):
        scan.report(
            Verdict.REVIEW, "keras-custom-object", place, f"`{name[:80]}` is code that the model does not bring"
        )


def judge_training(value: dict[str, object], place: str, scan: Scan) -> None:
    """For a mapping that says how a model was compiled: losses and metrics that are functions of somebody's."""
    if not {"optimizer_config", "loss_weights", "weighted_metrics"} & value.keys():
        return
    for name in sorted(set(_strings([value.get(key) for key in ("loss", "metrics", "weighted_metrics")]))):
        if not _is_own(name) and name.lower() not in _FUNCTIONS:
            text = f"the loss or metric `{name[:80]}` is code that the model does not bring"
            scan.report(Verdict.REVIEW, "keras-custom-object", place, text)
            return


def _strings(value: object) -> Iterator[str]:
    waiting, left = [value], 10_000
    while waiting and left:
        left -= 1
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, dict) and "class_name" not in part:
            waiting += part.values()


def _is_own(name: str) -> bool:
    return name in _own_classes() or name in _ACTIVATIONS or name in _LANGUAGE or name in ("__lambda__", "Lambda")


@cache
def _own_classes() -> frozenset[str]:
    text = files(__package__).joinpath("keras_classes.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def _judge_lambda(name: str, settings: dict[str, object], place: str, scan: Scan) -> None:
    module = settings.get("module")
    function = settings.get("function", settings.get("value"))
    if isinstance(function, str) and isinstance(module, str) and leads_to_harm(f"{module}.{function}"):
        scan.report(Verdict.BLOCK, "keras-lambda", place, f"a Lambda of `{module[:60]}.{function[:60]}`")
    elif isinstance(function, str) and re.fullmatch(r"\w{1,60}", function) and name == "Lambda":
        scan.report(Verdict.REVIEW, "keras-lambda", place, "a Lambda of a named function")
    else:
        scan.report(
            Verdict.BLOCK,
            "keras-lambda",
            place,
            "a Lambda that carries code, which runs when the model is loaded or called",
        )


def _judge_module(module: str, name: str, config: object, place: str, scan: Scan) -> None:
    called = config if name == "function" and isinstance(config, str) else name
    dotted = f"{module}.{called}"[:300]
    if module == "builtins" and (called in _ACTIVATIONS or name in _LANGUAGE or name == "__lambda__"):
        return
    if _FRAMEWORK.match(module):
        if leads_to_harm(dotted) or re.search(r"\.(?:utils|saving|export|src\.api_export)(?:\.|\Z)", module):
            scan.report(
                Verdict.BLOCK,
                "keras-custom-object",
                place,
                f"it asks for `{dotted[:120]}`, which is not a part of a model",
            )
        elif not (called[:1].isupper() or called in _ACTIVATIONS or ".ops" in module) or not (
            _AREAS.search(module) or "." not in module
        ):
            scan.report(Verdict.REVIEW, "keras-custom-object", place, f"it asks for `{dotted[:120]}`")
        return
    if module == "builtins" and name == "function" and not leads_to_harm(f"x.{called}") and not leads_to_harm(called):
        scan.report(Verdict.REVIEW, "keras-custom-object", place, f"the function `{called[:80]}` is not Keras's")
    elif leads_to_harm(dotted) or (module != "builtins" and is_standard(module) and module.partition(".")[0] != "test"):
        scan.report(
            Verdict.BLOCK, "keras-custom-object", place, f"it asks for `{dotted[:120]}`, which runs, opens or imports"
        )
    else:
        scan.report(Verdict.REVIEW, "keras-custom-object", place, f"it asks for `{dotted[:120]}`, which is not Keras's")
