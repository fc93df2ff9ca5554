"""How a version came to be, in formats that others read: an OpenLineage run event and a Croissant card. Pure rendering.

Neither holds a value of the data. Sources: OpenLineage 2-0-2 with facets 1-1-1 (schema), 1-0-1 (version)
and 1-2-0 (column lineage); Croissant format specification 1.1, with the context of its appendix 1 (https for
schema.org, as mlcroissant wants it).
"""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from vallum.data.catalogue.model import DataSet, DataSetVersion

__all__ = ["CROISSANT", "OPENLINEAGE", "render_croissant", "render_run_event"]

OPENLINEAGE = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
CROISSANT = "http://mlcommons.org/croissant/1.1"
_PRODUCER = "https://github.com/vallum/vallum"
_FACETS = "https://openlineage.io/spec/facets"
_TYPES = {
    "string": "sc:Text", "integer": "sc:Integer", "number": "sc:Float", "boolean": "sc:Boolean", "date": "sc:Date",
    "timestamp": "sc:DateTime", "time": "sc:Time",
}  # fmt: skip
_CROISSANT_TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract",
    "field", "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath",
    "key", "md5", "parentField", "path", "recordSet", "references", "regex", "readLines", "repeated", "replace",
    "samplingRate", "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value",
)  # fmt: skip
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
}


def render_run_event(version: DataSetVersion, of: DataSet, url: str) -> bytes:
    """The intake that made this version, as one event: COMPLETE, or FAIL for one whose gates did not pass."""
    columns = [{"name": c.name, "type": c.type, "description": c.classification} for c in version.columns]
    made_from: list[dict[str, Any]] = [
        {"namespace": f"{url}/sources", "name": version.source, "facets": {
            "version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=version.source_sha256)}}
    ]  # fmt: skip
    if version.derived_from is not None:
        made_from = [
            {"namespace": url, "name": of.name, "facets": {
                "version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=str(version.derived_from))}}
        ]  # fmt: skip
    job = "rows changed" if version.derived_from is not None else "intake"
    event = {
        "eventType": "COMPLETE" if version.state != "failed" else "FAIL",
        "eventTime": version.created_at,
        "producer": _PRODUCER,
        "schemaURL": OPENLINEAGE,
        "run": {"runId": str(_run_id(version))},
        "job": {"namespace": url, "name": f"data {job} {of.name}"},
        "inputs": made_from,
        "outputs": [
            {
                "namespace": url,
                "name": of.name,
                "facets": {
                    "schema": _facet("1-1-1/SchemaDatasetFacet", fields=columns),
                    "version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=str(version.number)),
                    "columnLineage": _facet("1-2-0/ColumnLineageDatasetFacet", fields=_lineage(version, made_from[0])),
                },
                "outputFacets": {
                    "outputStatistics": _facet(
                        "1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=version.rows, size=version.size
                    )
                },
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(event), indent=2)


def render_croissant(version: DataSetVersion, of: DataSet, url: str) -> bytes:
    """The card. Its one file is the Arrow stream that the gate serves; what is masked there depends on the reader."""
    page = f"{url}/console/data/{of.name}/{version.number}"
    rows = f"{url}/api/v1/data-sets/{of.name}/versions/{version.number}/rows"
    fields = []
    for column in version.columns:
        field: dict[str, Any] = {
            "@type": "cr:Field", "@id": f"rows/{column.name}", "name": column.name,
            "description": f"class {column.classification}"
            + (f"; holds {', '.join(column.kinds)}" if column.kinds else "")
            + (f"; treated before it was kept: {column.treatment}" if column.treatment else ""),
            "dataType": _TYPES.get(column.type, "sc:Text"),
            "source": {"fileObject": {"@id": "rows.arrows"}, "extract": {"column": column.name}},
        }  # fmt: skip
        if column.type == "array":
            field |= {"isArray": True, "arrayShape": "-1"}
        fields.append(field)
    card = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT,
        "name": of.name,
        "description": of.description or f"version {version.number} of {of.name}",
        "license": of.licence or "https://spdx.org/licenses/LicenseRef-not-stated",
        "url": page,
        "citeAs": f"{of.name}, version {version.number}, sha256:{version.digest}",
        "version": f"{version.number}.0.0",
        "creator": {"@type": "sc:Organization", "name": of.owner},
        "datePublished": version.created_at,
        "isLiveDataset": True,  # the version never changes; the bytes served do, with what a reader may see
        "rai:dataUseCases": version.purpose or "not stated",
        "rai:personalSensitiveInformation": sorted({kind for c in version.columns for kind in c.kinds}),
        "rai:dataPreprocessingProtocol": [
            *(f"{c.name}: {c.treatment}" for c in version.columns if c.treatment),
            *(f"{name}: drop" for name in version.dropped),
        ],
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": "rows.arrows", "name": "rows.arrows", "contentUrl": rows,
                "description": "an Arrow stream, served through the gate alone",
                "encodingFormat": "application/vnd.apache.arrow.stream", "contentSize": f"{version.size} B",
                "identifier": version.digest,  # not sha256: what a reader gets masked, others do not
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(card), indent=2)


def _lineage(version: DataSetVersion, of: Mapping[str, Any]) -> dict[str, Any]:
    """What became of each column on its way, in the facet's words: `masking` where the value is not to be had back."""
    fields = {}
    for column in version.columns:
        treated = column.treatment and version.derived_from is None
        how = {
            "type": "DIRECT", "subtype": "TRANSFORMATION" if treated else "IDENTITY",
            "description": column.treatment if treated else "", "masking": bool(treated),
        }  # fmt: skip
        of_column = {"namespace": of["namespace"], "name": of["name"], "field": column.name, "transformations": [how]}
        fields[column.name] = {"inputFields": [of_column]}
    return fields


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    name = schema.partition("/")[2]
    return {"_producer": _PRODUCER, "_schemaURL": f"{_FACETS}/{schema.replace(name, f'{name}.json#/$defs/{name}')}",
            **values}  # fmt: skip


def _run_id(version: DataSetVersion) -> UUID:
    """Of the version itself, so that the same event is told the same way each time."""
    return UUID(bytes=hashlib.sha256(f"{version.id} {version.digest}".encode()).digest()[:16], version=5)
