"""A bill of materials back into facts, and facts out of a model's folder.

A folder says what it says: its files by digest, what lies beside the weights (requirements, locks, `MLmodel`,
`config.json`), and its card. Whoever knows more (who signed, what the scan found) adds it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from vallum.kernel.errors import Invalid
from vallum.models.bom.validate import BomRefused
from vallum.models.cards import CardRefused, ModelCard, parse_card
from vallum.models.dependencies.declared import Declared, declared_at, read_small_file
from vallum.models.facts import BaseModel, Dataset, Dependency, Evaluation, FileFact, ModelFacts, Signature
from vallum.models.signing.manifest import hash_model
from vallum.models.strict_json import NotStrictJson, parse_strict_json

__all__ = ["facts_of_bom", "facts_of_folder"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LIBRARIES = {
    "scikit-learn": "sklearn",
    "torch": "pytorch",
    "onnxruntime": "onnx",
    **{name: name for name in ("xgboost", "lightgbm", "catboost", "transformers", "onnx", "keras", "tensorflow")},
}


def facts_of_folder(path: Path, *, name: str = "", version: str = "") -> tuple[ModelFacts, Declared]:
    """What a model's folder or file says of itself, and which dependencies it declares with what cannot be told.

    Raises Invalid for a path that is none or holds links, OSError for what cannot be read.
    """
    manifest, others = hash_model(path)
    if others:
        shown = ", ".join(f"{one.kind} {one.name}" for one in others[:10])
        raise Invalid(f"{path} holds what no digest shows: {shown}")
    base = path if path.is_dir() else path.parent
    files = tuple(FileFact(one.name, one.digest, (base / one.name).stat().st_size) for one in manifest.resources)
    declared = declared_at(path) if path.is_dir() else Declared((), (), ())
    card = _card(path)
    data = card.data if card is not None else {}
    config = _config(path / "config.json") if path.is_dir() else {}
    found = [str(data.get("library_name") or "")] + [_LIBRARIES.get(one.name, "") for one in declared.dependencies]
    facts = ModelFacts(
        name=name or manifest.model,
        version=version,
        digest=manifest.root,
        licence=next(iter(_texts(data.get("license"))), ""),
        task=next(iter(_texts(data.get("pipeline_tag"))), ""),
        architecture=", ".join(_texts(config.get("architectures"))) or next(iter(_texts(config.get("model_type"))), ""),
        frameworks=tuple(dict.fromkeys(one for one in found if one)),
        files=files,
        dependencies=declared.dependencies,
        datasets=tuple(Dataset(one) for one in dict.fromkeys(_texts(data.get("datasets")))),
        base_models=tuple(BaseModel(one) for one in dict.fromkeys(_texts(data.get("base_model")))),
        evaluations=tuple(dict.fromkeys(_evaluations(data.get("model-index")))),
    )
    return facts, declared


def facts_of_bom(bom: Mapping[str, Any]) -> ModelFacts:
    """Of a bill that `parse_bom` has read. Raises BomRefused for one that is about no model, or malformed in parts."""
    try:
        return _facts(bom)
    except (Invalid, AttributeError, KeyError, TypeError, ValueError, StopIteration, msgspec.ValidationError) as e:
        raise BomRefused("the bill of materials is about no model, or malformed where it says so") from e


def _facts(bom: Mapping[str, Any]) -> ModelFacts:
    model = bom["metadata"]["component"]
    if model["type"] != "machine-learning-model":
        raise Invalid("it is about no model")
    parts = bom.get("components", [])
    card = model.get("modelCard", {})
    parameters = card.get("modelParameters", {})
    properties = _properties(model)
    signature = next((one for one in model.get("externalReferences", ()) if one["type"] == "digital-signature"), None)
    return ModelFacts(
        name=model["name"],
        version=model.get("version", ""),
        digest=_sha256(model),
        description=model.get("description", ""),
        owner=model.get("supplier", {}).get("name", ""),
        licence=_licence(model),
        risk_class=next(iter(properties.get("vallum:risk-class", ())), ""),
        task=parameters.get("task", ""),
        architecture=parameters.get("modelArchitecture", ""),
        frameworks=tuple(properties.get("vallum:framework", ())),
        files=tuple(_file(one) for one in parts if one["type"] == "file"),
        dependencies=tuple(one for part in parts if part["type"] == "library" for one in _dependencies(part)),
        datasets=tuple(_dataset(one) for one in parts if one["type"] == "data"),
        base_models=tuple(
            BaseModel(one["name"], one.get("version", ""), _sha256(one))
            for one in parts
            if one["type"] == "machine-learning-model"
        ),
        evaluations=tuple(_metric(one) for one in card.get("quantitativeAnalysis", {}).get("performanceMetrics", ())),
        inputs=tuple(one["format"] for one in parameters.get("inputs", ())),
        outputs=tuple(one["format"] for one in parameters.get("outputs", ())),
        signature=_signature(signature) if signature is not None else None,
        scan_verdict=next(iter(properties.get("vallum:scan:verdict", ())), ""),
    )


def _file(part: Mapping[str, Any]) -> FileFact:
    (size,) = _properties(part).get("vallum:file:bytes", ("0",))
    return FileFact(part["name"], _sha256(part), int(size))


def _dataset(part: Mapping[str, Any]) -> Dataset:
    data: Mapping[str, Any] = next(iter(part.get("data", ())), {})
    url = data.get("contents", {}).get("url", "") or next(iter(_properties(part).get("vallum:data:place", ())), "")
    return Dataset(part["name"], part.get("version", ""), _sha256(part), url, data.get("classification", ""))


def _dependencies(part: Mapping[str, Any]) -> Iterator[Dependency]:
    properties = _properties(part)
    for declared_in in properties.get("vallum:dependency:declared-in", ("",)):
        yield Dependency(
            part["name"],
            part.get("version", ""),
            next(iter(properties.get("vallum:dependency:specifier", ())), ""),
            next(iter(properties.get("vallum:dependency:source", ())), ""),
            declared_in,
            _licence(part),
            part["bom-ref"].partition(":")[0] if part["bom-ref"].startswith(("pypi:", "conda:")) else "pypi",
        )


def _metric(said: Mapping[str, Any]) -> Evaluation:
    """A slice is one text in CycloneDX: what it was made of is not taken apart again."""
    return Evaluation(said["type"], float(said["value"]), slice=said.get("slice", ""))


def _signature(said: Mapping[str, Any]) -> Signature:
    url = "" if said["url"] == "urn:vallum:signature" else unquote(said["url"])
    return Signature(said.get("comment", "").removeprefix("signed by "), url, _sha256(said))


def _properties(part: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in part.get("properties", ()):
        found.setdefault(one["name"], []).append(one["value"])
    return found


def _sha256(part: Mapping[str, Any]) -> str:
    return next((one["content"] for one in part.get("hashes", ()) if one["alg"] == "SHA-256"), "")


def _licence(part: Mapping[str, Any]) -> str:
    for one in part.get("licenses", ()):
        if "expression" in one:
            return str(one["expression"])
        return str(one["license"].get("id") or one["license"]["name"])
    return ""


def _card(path: Path) -> ModelCard | None:
    if not path.is_dir():
        return None
    with suppress(OSError, ValueError, CardRefused):  # a card that cannot be read says nothing: `models card` says why
        return parse_card(read_small_file(path / "README.md"))
    return None


def _config(file: Path) -> dict[str, Any]:
    with suppress(OSError, NotStrictJson, ValueError):
        said = parse_strict_json(read_small_file(file), max_bytes=16 << 20)
        return said if isinstance(said, dict) else {}
    return {}


def _texts(value: object) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one]


def _evaluations(index: object) -> Iterator[Evaluation]:
    """From the card's `model-index`; a figure that is no number is left out."""
    for result in _nested(index, "results"):
        task, dataset = result.get("task"), result.get("dataset")
        where = dataset if isinstance(dataset, dict) else {}
        kind = task.get("type", "") if isinstance(task, dict) else ""
        for metric in _dicts(result.get("metrics")):
            value, name = metric.get("value"), metric.get("type")
            if isinstance(value, int | float) and not isinstance(value, bool) and isinstance(name, str):
                about = str(where.get("type") or where.get("name") or "")
                yield Evaluation(name, float(value), str(kind), about, str(where.get("split") or ""))


def _nested(value: object, name: str) -> Iterator[dict[str, Any]]:
    for one in _dicts(value):
        yield from _dicts(one.get(name))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
