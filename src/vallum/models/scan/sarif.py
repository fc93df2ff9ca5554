"""Findings as SARIF 2.1.0 (OASIS), for code review tools: a rule for each technique, a result for each finding."""

from collections.abc import Sequence
from typing import Any

from vallum.models.scan.model import TECHNIQUES, Report, Verdict

__all__ = ["render_sarif"]

_LEVELS = {Verdict.BLOCK: "error", Verdict.REVIEW: "warning", Verdict.PASS: "note"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_sarif(reports: Sequence[Report], version: str) -> dict[str, Any]:
    findings = [(report, finding) for report in reports for finding in report.findings]
    used = sorted({finding.technique for _, finding in findings})
    rules = [
        {
            "id": name,
            "shortDescription": {"text": TECHNIQUES[name].title},
            "properties": {"tags": list(TECHNIQUES[name].ids)},
        }
        for name in used
    ]
    results = [
        {
            "ruleId": finding.technique,
            "ruleIndex": used.index(finding.technique),
            "level": _LEVELS[finding.verdict],
            "message": {"text": finding.explanation},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": _uri(finding.place)}},
                    "logicalLocations": [{"fullyQualifiedName": f"{report.path}: {finding.place}"}],
                }
            ],
        }
        for report, finding in findings
    ]
    driver = {"name": "vallum models scan", "version": version, "rules": rules}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _uri(place: str) -> str:
    """The file alone: what is inside of it has no address that such tools would open."""
    from urllib.parse import quote

    return quote(place.partition("!")[0].partition("@")[0])
