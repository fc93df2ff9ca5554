"""A CycloneDX ML-BOM (1.6 or 1.7) from facts. The same facts and time give the same bytes.

The model is the subject (`machine-learning-model`, with its model card); its files, data sets, base models and packages
are components; `dependencies` says what needs what. The serial number is derived from the content, so two bills that
say the same have the same name, and one that was changed has another.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from vallum.kernel.errors import Invalid
from vallum.models.facts import BaseModel, Dataset, Dependency, FileFact, ModelFacts

__all__ = ["SPEC_VERSIONS", "SpecVersion", "render_bom", "serial_number"]

SpecVersion = Literal["1.6", "1.7"]
SPEC_VERSIONS: tuple[SpecVersion, ...] = ("1.6", "1.7")
# A namespace of our own for names of bills: UUID version 5 of the project's name, in the namespace for URLs.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:vallum:bom")
_EXPRESSION = re.compile(r"\s(?:AND|OR|WITH)\s|[()]")
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/(?:[\w.~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?", re.ASCII)
_SPDX_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


def render_bom(facts: ModelFacts, at: datetime, *, spec_version: SpecVersion = "1.6", tool_version: str = "") -> bytes:
    """UTF-8 JSON, indented, members in a fixed order. Raises Invalid for another version of the format."""
    if spec_version not in SPEC_VERSIONS:
        raise Invalid(f"a bill of materials is written in CycloneDX {' or '.join(SPEC_VERSIONS)}")
    if at.tzinfo is None:
        raise Invalid("a time has its zone")
    model = _model(facts)
    parts = [
        *(_file(one) for one in sorted(facts.files)),
        *(_dataset(one) for one in sorted(facts.datasets)),
        *(_base_model(one) for one in sorted(facts.base_models)),
        *_packages(facts),
    ]
    tool: dict[str, Any] = {"type": "application", "bom-ref": "tool:vallum", "name": "vallum"}
    if tool_version:
        tool["version"] = tool_version
    bom: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{spec_version}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": spec_version,
        "version": 1,
        "metadata": {
            "timestamp": at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "tools": {"components": [tool]},
            "component": model,
        },
        "components": parts,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": sorted(part["bom-ref"] for part in parts)},
            *({"ref": part["bom-ref"]} for part in sorted(parts, key=lambda part: str(part["bom-ref"]))),
        ],
    }
    bom["serialNumber"] = serial_number(bom)
    return (json.dumps(bom, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode()


def serial_number(bom: Mapping[str, Any]) -> str:
    """A UUID (version 5) over all that the bill says but its own number: anybody can compute it again."""
    rest = {name: value for name, value in bom.items() if name != "serialNumber"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return uuid.uuid5(_NAMESPACE, hashlib.sha256(canonical.encode()).hexdigest()).urn


def _model(facts: ModelFacts) -> dict[str, Any]:
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _ref("model", facts.name, facts.version),
        "name": facts.name,
        "modelCard": _model_card(facts),
    }
    if facts.version:
        model["version"] = facts.version
    if facts.description:
        model["description"] = facts.description
    if facts.owner:
        model["supplier"] = {"name": facts.owner}
    if facts.licence:
        model["licenses"] = _licences(facts.licence)
    if facts.digest:
        model["hashes"] = _hashes(facts.digest)
    if facts.signature is not None:
        signature: dict[str, Any] = {
            "type": "digital-signature",
            "url": quote(facts.signature.file) or "urn:vallum:signature",
            "comment": f"signed by {facts.signature.signer}",
        }
        if facts.signature.sha256:
            signature["hashes"] = _hashes(facts.signature.sha256)
        model["externalReferences"] = [signature]
    properties = [
        ("vallum:risk-class", facts.risk_class),
        ("vallum:scan:verdict", facts.scan_verdict),
        *(("vallum:framework", one) for one in sorted(facts.frameworks)),
    ]
    if any(value for _, value in properties):
        model["properties"] = [{"name": name, "value": value} for name, value in properties if value]
    return model


def _model_card(facts: ModelFacts) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if facts.task:
        parameters["task"] = facts.task
    if facts.architecture:
        parameters["modelArchitecture"] = facts.architecture
    if facts.datasets:
        parameters["datasets"] = [{"ref": _dataset_ref(one)} for one in sorted(facts.datasets)]
    if facts.inputs:
        parameters["inputs"] = [{"format": one} for one in facts.inputs]
    if facts.outputs:
        parameters["outputs"] = [{"format": one} for one in facts.outputs]
    card: dict[str, Any] = {"modelParameters": parameters} if parameters else {}
    if facts.evaluations:
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [
                {"type": one.metric, "value": repr(float(one.value))}
                | ({"slice": where} if (where := "/".join(filter(None, (one.task, one.dataset, one.slice)))) else {})
                for one in sorted(facts.evaluations)
            ]
        }
    return card


def _file(file: FileFact) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{file.path}",
        "name": file.path,
        "hashes": _hashes(file.sha256),
        "properties": [{"name": "vallum:file:bytes", "value": str(file.size)}],
    }


def _dataset(dataset: Dataset) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "dataset", "name": dataset.name}
    if _URL.fullmatch(dataset.url):
        data["contents"] = {"url": dataset.url}
    if dataset.classification:
        data["classification"] = dataset.classification
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": _dataset_ref(dataset),
        "name": dataset.name,
        "data": [data],
    }
    if dataset.url and "contents" not in data:
        component["properties"] = [{"name": "vallum:data:place", "value": dataset.url}]  # no URL that the schema takes
    if dataset.version:
        component["version"] = dataset.version
    if dataset.sha256:
        component["hashes"] = _hashes(dataset.sha256)
    return component


def _base_model(model: BaseModel) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _ref("base-model", model.name, model.version),
        "name": model.name,
        "purl": _purl("huggingface", model.name, model.version),
    }
    if model.version:
        component["version"] = model.version
    if model.sha256:
        component["hashes"] = _hashes(model.sha256)
    return component


def _packages(facts: ModelFacts) -> Iterator[dict[str, Any]]:
    """Each package at each version once; what is not pinned has no version, and says what was asked for."""
    grouped: dict[tuple[str, str, str, str], list[Dependency]] = {}
    for one in sorted(facts.dependencies):
        key = (one.ecosystem, one.name, one.version, one.source or ("" if one.version else one.specifier))
        grouped.setdefault(key, []).append(one)
    for (ecosystem, name, version, origin), asked in grouped.items():
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": _ref(ecosystem, name, version) + (f"#{origin}" if origin else ""),
            "name": name,
        }
        if version:
            component["version"] = version
        if not asked[0].source:
            component["purl"] = _purl(ecosystem, name, version)
        if licence := next((one.licence for one in asked if one.licence), ""):
            component["licenses"] = _licences(licence)
        properties = [
            ("vallum:dependency:source", asked[0].source),
            ("vallum:dependency:specifier", "" if version else asked[0].specifier),
            *(("vallum:dependency:declared-in", file) for file in sorted({one.declared_in for one in asked})),
        ]
        if any(value for _, value in properties):
            component["properties"] = [{"name": name, "value": value} for name, value in properties if value]
        yield component


def _dataset_ref(dataset: Dataset) -> str:
    return _ref("data", dataset.name, dataset.version)


def _ref(kind: str, name: str, version: str) -> str:
    """Two different things have two: what separates the parts stands in none of them."""
    return f"{kind}:{_part(name)}" + (f"@{_part(version)}" if version else "")


def _part(text: str) -> str:
    return text.replace("%", "%25").replace("@", "%40").replace("#", "%23")


def _purl(kind: str, name: str, version: str) -> str:
    return f"pkg:{kind}/{quote(name, safe='/')}" + (f"@{quote(version, safe='')}" if version else "")


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _licences(licence: str) -> list[dict[str, Any]]:
    """By name: whether it is an identifier of SPDX's list is for the reader's list, which changes, to say."""
    if _EXPRESSION.search(licence):
        return [{"expression": licence}]
    found = _SPDX.get(licence.casefold()) if _SPDX_ID.fullmatch(licence) else None
    return [{"license": {"id": found} if found else {"name": licence}}]


# The licences of models and of what they are built with, as SPDX writes them; others go by their name.
_SPDX = {
    name.casefold(): name
    for name in (
"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "GPL-2.0-only", "GPL-3.0-only",
        "GPL-3.0-or-later", "LGPL-2.1-only", "LGPL-3.0-only", "AGPL-3.0-only", "AGPL-3.0-or-later", "EPL-2.0",
        "BSL-1.0", "Zlib", "Unlicense", "WTFPL", "AFL-3.0", "Artistic-2.0", "PSF-2.0", "Python-2.0", "CC0-1.0",
        "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0",
        "CC-BY-3.0", "CC-BY-SA-3.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "ODbL-1.0",
        "EUPL-1.2", "EUPL-1.1", "MS-PL", "NCSA", "PostgreSQL", "ECL-2.0", "OSL-3.0", "LPPL-1.3c", "OFL-1.1", "0BSD",
        "Unicode-3.0",
    )
}  # fmt: skip
