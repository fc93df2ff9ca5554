"""A bill of materials held to the official schema, and to what no schema says.

CycloneDX publishes JSON Schemas; `cyclonedx-python-lib[json-validation]` (the extra `bom`) carries them, offline.
Beyond them: every reference leads to a component, no `bom-ref` is there twice, all that is needed is listed, the
serial number is that of the content where the bill is one of ours, and a time is one.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from vallum.kernel.errors import Invalid, Unavailable
from vallum.models.bom.render import SPEC_VERSIONS, serial_number
from vallum.models.strict_json import NotStrictJson, parse_strict_json

__all__ = ["BomRefused", "parse_bom", "validate_bom"]

MAX_BOM_BYTES = 64 << 20  # a hundred thousand files take some forty


class BomRefused(Invalid):
    """The bill of materials is malformed, or contradicts itself."""

    code = "bom_refused"


def parse_bom(raw: bytes) -> dict[str, Any]:
    """The document as plain values, held to all but the schema. Raises BomRefused, whatever the bytes are."""
    try:
        bom = parse_strict_json(raw, max_bytes=MAX_BOM_BYTES)
    except NotStrictJson as e:
        raise BomRefused(f"the bill of materials cannot be read: {e}") from e
    if not isinstance(bom, dict) or bom.get("bomFormat") != "CycloneDX" or bom.get("specVersion") not in SPEC_VERSIONS:
        raise BomRefused(f"this is no bill of materials in CycloneDX {' or '.join(SPEC_VERSIONS)}")
    problem = next(_problems(bom), None)
    if problem is not None:
        raise BomRefused(f"the bill of materials contradicts itself: {problem}")
    return bom


def validate_bom(raw: bytes) -> dict[str, Any]:
    """As `parse_bom`, and by the official schema, strictly. Raises BomRefused; Unavailable without the extra `bom`."""
    bom = parse_bom(raw)
    try:
        from cyclonedx.exception import MissingOptionalDependencyException
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as e:
        raise Unavailable("the official schemas are not installed: pip install 'vallum[bom]'") from e
    version = SchemaVersion.from_version(bom["specVersion"])
    try:
        found = JsonStrictValidator(version).validate_str(raw.decode())
    except MissingOptionalDependencyException as e:
        raise Unavailable("the official schemas are not installed: pip install 'vallum[bom]'") from e
    if found is not None:
        raise BomRefused(f"the bill of materials does not fit the schema of CycloneDX: {_place(found)}")
    return bom


def _place(found: Any) -> str:
    """Where, and which rule; the value itself may be anything."""
    error = getattr(found, "data", None)
    path = "/".join(str(part) for part in getattr(error, "absolute_path", ()))[:200]
    return f"{path or 'the document'} ({getattr(error, 'validator', 'rule')})"


def _problems(bom: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(bom.get("version", 1), int):
        yield "its version is no number"
    metadata = bom.get("metadata", {})
    if not isinstance(metadata, dict):
        yield "its metadata are no object"
        return
    if "timestamp" in metadata and not _is_time(metadata["timestamp"]):
        yield "its time is none"
    refs: set[str] = set()
    links: set[str] = set()
    for place, name, value in _references(bom):
        if not isinstance(value, str) or not value:
            yield f"{place}: a reference is no text"
        elif name == "bom-ref":
            if value in refs:
                yield f"{value[:100]} is there twice"
            refs.add(value)
        elif not value.startswith("urn:cdx:"):  # another document's, which this one cannot answer for
            links.add(value)
    missing = sorted(links - refs)
    if missing:
        yield f"{missing[0][:100]} is referred to, and not there"
    listed = [one.get("ref") for one in _objects(bom.get("dependencies"))]
    if len(set(map(str, listed))) != len(listed):
        yield "the dependencies of one thing are listed twice"
    component = metadata.get("component")
    if _is_ours(metadata) and bom.get("serialNumber") != serial_number(bom):
        yield "its serial number is another content's"
    if isinstance(component, dict) and component.get("type") == "machine-learning-model":
        root = component.get("bom-ref")
        needed = next(
            (one.get("dependsOn") for one in _objects(bom.get("dependencies")) if one.get("ref") == root), None
        )
        parts = {one.get("bom-ref") for one in _objects(bom.get("components"))}
        if _is_ours(metadata) and parts != set(needed if isinstance(needed, list) else ()):
            yield "the model does not depend on all that is listed"


def _references(bom: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Every `bom-ref`, and every link to one: in `dependencies`, and in data sets of model cards."""
    waiting: list[tuple[str, Any, str]] = [("", bom, "")]
    while waiting:
        place, value, inside = waiting.pop()
        if isinstance(value, dict):
            if "bom-ref" in value:
                yield place, "bom-ref", value["bom-ref"]
            if inside in ("dependencies", "datasets") and "ref" in value:
                yield place, "ref", value["ref"]
            for name in ("dependsOn", "provides"):
                if inside == "dependencies" and isinstance(value.get(name), list):
                    for link in value[name]:
                        yield place, name, link
            waiting += [(f"{place}/{name}", inner, name) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(place, inner, inside) for inner in value]


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_ours(metadata: Mapping[str, Any]) -> bool:
    tools = metadata.get("tools")
    parts = tools.get("components") if isinstance(tools, dict) else None
    return any(one.get("bom-ref") == "tool:vallum" for one in _objects(parts))


def _is_time(text: object) -> bool:
    try:
        return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
