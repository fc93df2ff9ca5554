"""The predicates' own JSON shapes, under the names that their specifications give.

What has to be there is required; what is not known is ignored: it is signed, so the signer put it there.
"""

from typing import Any

import msgspec

__all__ = ["AttributeReport", "Provenance", "Result", "TestResult", "Verification", "Vulns"]


class Descriptor(msgspec.Struct):
    name: str = ""
    uri: str = ""
    digest: dict[str, str] = {}
    annotations: dict[str, Any] = {}


class Definition(msgspec.Struct):
    buildType: str
    externalParameters: dict[str, Any]
    internalParameters: dict[str, Any] = {}
    resolvedDependencies: tuple[Descriptor, ...] = ()


class Builder(msgspec.Struct):
    id: str


class RunMetadata(msgspec.Struct):
    invocationId: str
    startedOn: str
    finishedOn: str


class RunDetails(msgspec.Struct):
    builder: Builder
    metadata: RunMetadata


class Provenance(msgspec.Struct):
    buildDefinition: Definition
    runDetails: RunDetails


class TestResult(msgspec.Struct):
    result: str
    configuration: tuple[Descriptor, ...]
    passedTests: tuple[str, ...] = ()
    warnedTests: tuple[str, ...] = ()
    failedTests: tuple[str, ...] = ()


class Severity(msgspec.Struct):
    method: str
    score: str


class Result(msgspec.Struct):
    id: str
    severity: tuple[Severity, ...] = ()
    annotations: tuple[dict[str, Any], ...] = ()


class Database(msgspec.Struct):
    lastUpdate: str
    uri: str = ""


class Scanner(msgspec.Struct):
    uri: str
    db: Database
    result: tuple[Result, ...]
    version: str = ""


class ScanMetadata(msgspec.Struct):
    scanStartedOn: str
    scanFinishedOn: str
    vallum_cannotTell: tuple[str, ...] = ()


class Vulns(msgspec.Struct):
    scanner: Scanner
    metadata: ScanMetadata


class Attribute(msgspec.Struct):
    attribute: str
    conditions: dict[str, Any] = {}
    evidence: Descriptor | None = None


class AttributeReport(msgspec.Struct):
    attributes: tuple[Attribute, ...]


class Verifier(msgspec.Struct):
    id: str
    vallum_reason: str = ""


class Verification(msgspec.Struct):
    verifier: Verifier
    timeCreated: str
    properties: tuple[str, ...]
