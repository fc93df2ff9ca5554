"""What Vallum attests of a model: published predicate types, each with the value that it carries.

| said | predicate | why this one |
|---|---|---|
| how it was trained | SLSA provenance v1 | what every supply-chain verifier reads |
| what the scanner found | in-toto test-result v0.1 | PASSED, WARNED, FAILED are our pass, review, block, by name |
| what its dependencies have | in-toto vulns v0.2 | made for vulnerability scanners, with the database's age |
| how it stands attacks | in-toto SCAI attribute report v0.2 | an attribute *under conditions*, with evidence |
| who approved it | in-toto SVR v0.1 | a verifier, a time, and the property that now holds |

A value becomes a statement by `statement_of`; `read_*` takes it back from a verified one and refuses what contradicts
itself (a PASSED with failed tests). Times are RFC 3339 in UTC.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, assert_never

import msgspec

from vallum.kernel.errors import Invalid
from vallum.models.attestations import shapes
from vallum.models.attestations.statement import AttestationRefused, Statement, Subject

__all__ = [
    "APPROVAL",
    "DEPENDENCY_SCAN",
    "MODEL_SCAN",
    "PREDICATE_TYPES",
    "ROBUSTNESS",
    "TRAINING_BUILD_TYPE",
    "TRAINING_PROVENANCE",
    "Approval",
    "DependencyScan",
    "Material",
    "ModelScan",
    "Robustness",
    "TrainingRun",
    "Vulnerability",
    "read_approval",
    "read_dependency_scan",
    "read_model_scan",
    "read_robustness",
    "read_training",
    "statement_of",
]

TRAINING_PROVENANCE = "https://slsa.dev/provenance/v1"
MODEL_SCAN = "https://in-toto.io/attestation/test-result/v0.1"
DEPENDENCY_SCAN = "https://in-toto.io/attestation/vulns/v0.2"
ROBUSTNESS = "https://in-toto.io/attestation/scai/attribute-report/v0.2"
APPROVAL = "https://in-toto.io/attestation/svr/v0.1"
PREDICATE_TYPES = (TRAINING_PROVENANCE, MODEL_SCAN, DEPENDENCY_SCAN, ROBUSTNESS, APPROVAL)

TRAINING_BUILD_TYPE = "urn:vallum:training-run:v1"
_APPROVED = "VALLUM_APPROVED_"
_ROBUST = "ROBUST_AGAINST_"
_RESULTS = {"pass": "PASSED", "review": "WARNED", "block": "FAILED"}
_MAX_LISTED = 10_000


class Material(msgspec.Struct, frozen=True):
    """Code, data or a base model that went into a run: where it is, and its digests."""

    uri: str
    digest: Mapping[str, str]


class TrainingRun(msgspec.Struct, frozen=True, kw_only=True):
    """`parameters` are what whoever asked for the run chose; `environment` is what the platform chose for it."""

    run: str
    builder: str
    started_at: datetime
    finished_at: datetime
    parameters: Mapping[str, Any] = {}
    environment: Mapping[str, Any] = {}
    materials: tuple[Material, ...] = ()


class ModelScan(msgspec.Struct, frozen=True, kw_only=True):
    """`blocked` and `reviewed` name findings (`technique place`), `passed` the files with none."""

    verdict: Literal["pass", "review", "block"]
    scanner: str
    version: str
    passed: tuple[str, ...] = ()
    reviewed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


class Vulnerability(msgspec.Struct, frozen=True):
    """`score` is a CVSS base score, None where no severity is published."""

    id: str
    package: str
    version: str
    score: float | None = None


class DependencyScan(msgspec.Struct, frozen=True, kw_only=True):
    """`cannot_tell` names what could not be judged, and why: a scan with any of it is not clear."""

    scanner: str
    version: str
    database: str
    database_updated_at: datetime
    started_at: datetime
    finished_at: datetime
    vulnerabilities: tuple[Vulnerability, ...] = ()
    cannot_tell: tuple[str, ...] = ()


class Robustness(msgspec.Struct, frozen=True, kw_only=True):
    """One attack, its conditions, and what was measured against what was asked: it held when `measured >= needed`."""

    attack: str
    metric: str
    measured: float
    needed: float
    conditions: Mapping[str, Any] = {}
    evidence: Material | None = None

    @property
    def held(self) -> bool:
        return self.measured >= self.needed


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """`approver` is a URI for who approved, `purpose` for what (an environment, a use), `reason` their words."""

    approver: str
    purpose: str
    at: datetime
    reason: str = ""


Said = TrainingRun | ModelScan | DependencyScan | Robustness | Approval


def statement_of(subjects: Sequence[Subject], said: Said) -> Statement:
    """Raises Invalid for a value that contradicts itself, such as a pass with findings."""
    match said:
        case TrainingRun():
            return Statement(tuple(subjects), TRAINING_PROVENANCE, _training(said))
        case ModelScan():
            return Statement(tuple(subjects), MODEL_SCAN, _model_scan(said))
        case DependencyScan():
            return Statement(tuple(subjects), DEPENDENCY_SCAN, _dependency_scan(said))
        case Robustness():
            return Statement(tuple(subjects), ROBUSTNESS, _robustness(said))
        case Approval():
            return Statement(tuple(subjects), APPROVAL, _approval(said))
        case _:
            assert_never(said)


def read_training(statement: Statement) -> TrainingRun:
    """Raises AttestationRefused for another predicate or one that does not fit; so do all `read_*`."""
    said = _of_type(statement, TRAINING_PROVENANCE, shapes.Provenance)
    definition, details = said.buildDefinition, said.runDetails
    if definition.buildType != TRAINING_BUILD_TYPE:
        raise AttestationRefused("the provenance is of another kind of build than a training run")
    return TrainingRun(
        run=details.metadata.invocationId,
        builder=details.builder.id,
        started_at=_time(details.metadata.startedOn),
        finished_at=_time(details.metadata.finishedOn),
        parameters=definition.externalParameters,
        environment=definition.internalParameters,
        materials=tuple(Material(one.uri, one.digest) for one in definition.resolvedDependencies),
    )


def read_model_scan(statement: Statement) -> ModelScan:
    """Refuses a verdict that its own findings contradict."""
    said = _of_type(statement, MODEL_SCAN, shapes.TestResult)
    if len(said.configuration) != 1:
        raise AttestationRefused("the scan names not one scanner")
    verdict = next((ours for ours, theirs in _RESULTS.items() if theirs == said.result), None)
    if verdict is None or not _consistent(verdict, said.warnedTests, said.failedTests):
        raise AttestationRefused("the scan's result is none, or is contradicted by its findings")
    configuration = said.configuration[0]
    return ModelScan(
        verdict=verdict,  # type: ignore[arg-type]  # a key of _RESULTS
        scanner=configuration.name,
        version=configuration.annotations.get("version", ""),
        passed=said.passedTests,
        reviewed=said.warnedTests,
        blocked=said.failedTests,
    )


def read_dependency_scan(statement: Statement) -> DependencyScan:
    """See `read_training` for what it raises."""
    said = _of_type(statement, DEPENDENCY_SCAN, shapes.Vulns)
    return DependencyScan(
        scanner=said.scanner.uri,
        version=said.scanner.version,
        database=said.scanner.db.uri,
        database_updated_at=_time(said.scanner.db.lastUpdate),
        started_at=_time(said.metadata.scanStartedOn),
        finished_at=_time(said.metadata.scanFinishedOn),
        vulnerabilities=tuple(_vulnerability(one) for one in said.scanner.result),
        cannot_tell=said.metadata.vallum_cannotTell,
    )


def read_robustness(statement: Statement) -> Robustness:
    """See `read_training` for what it raises."""
    said = _of_type(statement, ROBUSTNESS, shapes.AttributeReport)
    if len(said.attributes) != 1 or not said.attributes[0].attribute.startswith(_ROBUST):
        raise AttestationRefused("the report is not about one attack")
    one = said.attributes[0]
    conditions = dict(one.conditions)
    metric, measured, needed = (conditions.pop(name, None) for name in ("metric", "measured", "needed"))
    if not isinstance(metric, str) or not _is_number(measured) or not _is_number(needed):
        raise AttestationRefused("the report does not say what was measured, and what was needed")
    return Robustness(
        attack=one.attribute.removeprefix(_ROBUST),
        metric=metric,
        measured=float(measured),
        needed=float(needed),
        conditions=conditions,
        evidence=Material(one.evidence.uri, one.evidence.digest) if one.evidence is not None else None,
    )


def read_approval(statement: Statement) -> Approval:
    """See `read_training` for what it raises."""
    said = _of_type(statement, APPROVAL, shapes.Verification)
    approved = [one.removeprefix(_APPROVED) for one in said.properties if one.startswith(_APPROVED)]
    if len(approved) != 1:
        raise AttestationRefused("what is attested is no approval for one purpose")
    return Approval(
        approver=said.verifier.id, purpose=approved[0], at=_time(said.timeCreated), reason=said.verifier.vallum_reason
    )


def _training(run: TrainingRun) -> dict[str, Any]:
    return {
        "buildDefinition": {
            "buildType": TRAINING_BUILD_TYPE,
            "externalParameters": dict(run.parameters),
            "internalParameters": dict(run.environment),
            "resolvedDependencies": [{"uri": one.uri, "digest": dict(one.digest)} for one in run.materials],
        },
        "runDetails": {
            "builder": {"id": run.builder},
            "metadata": {
                "invocationId": run.run,
                "startedOn": _rendered(run.started_at),
                "finishedOn": _rendered(run.finished_at),
            },
        },
    }


def _model_scan(scan: ModelScan) -> dict[str, Any]:
    if not _consistent(scan.verdict, scan.reviewed, scan.blocked):
        raise Invalid(f"a scan with these findings is no {scan.verdict}")
    if max(len(scan.passed), len(scan.reviewed), len(scan.blocked)) > _MAX_LISTED * 10:
        raise Invalid("a scan lists at most a hundred thousand files and findings of a kind")
    return {
        "result": _RESULTS[scan.verdict],
        "configuration": [{"name": scan.scanner, "annotations": {"version": scan.version}}],
        "passedTests": list(scan.passed),
        "warnedTests": list(scan.reviewed),
        "failedTests": list(scan.blocked),
    }


def _consistent(verdict: str, reviewed: Sequence[str], blocked: Sequence[str]) -> bool:
    """A review may have no finding (nothing was understood); a pass has none, a block names what it blocks for."""
    if verdict == "block":
        return bool(blocked)
    return not blocked and (verdict == "review" or not reviewed)


def _dependency_scan(scan: DependencyScan) -> dict[str, Any]:
    return {
        "scanner": {
            "uri": scan.scanner,
            "version": scan.version,
            "db": {"uri": scan.database, "lastUpdate": _rendered(scan.database_updated_at)},
            "result": [
                {
                    "id": one.id,
                    "severity": [] if one.score is None else [{"method": "cvss_score", "score": f"{one.score:.1f}"}],
                    "annotations": [{"package": one.package, "version": one.version}],
                }
                for one in scan.vulnerabilities
            ],
        },
        "metadata": {
            "scanStartedOn": _rendered(scan.started_at),
            "scanFinishedOn": _rendered(scan.finished_at),
            "vallum_cannotTell": list(scan.cannot_tell),
        },
    }


def _robustness(found: Robustness) -> dict[str, Any]:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", found.attack):
        raise Invalid("an attack's name is letters, digits and _ . : -")
    if {"metric", "measured", "needed"} & found.conditions.keys():
        raise Invalid("conditions name what the attack was given, and not what was measured")
    attribute: dict[str, Any] = {
        "attribute": _ROBUST + found.attack,
        "conditions": {
            **found.conditions,
            "metric": found.metric,
            "measured": found.measured,
            "needed": found.needed,
        },
    }
    if found.evidence is not None:
        attribute["evidence"] = {"uri": found.evidence.uri, "digest": dict(found.evidence.digest)}
    return {"attributes": [attribute]}


def _approval(approval: Approval) -> dict[str, Any]:
    if not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,128}", approval.purpose):
        raise Invalid("an approval's purpose is letters, digits and _ . : / -")
    if ":" not in approval.approver:
        raise Invalid("an approver is named by a URI")
    return {
        "verifier": {"id": approval.approver, "vallum_reason": approval.reason},
        "timeCreated": _rendered(approval.at),
        "properties": [_APPROVED + approval.purpose],
    }


_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def _of_type(statement: Statement, wanted: str, shape: type[_Shape]) -> _Shape:
    if statement.predicate_type != wanted:
        raise AttestationRefused(f"the attestation is a {statement.predicate_type}, not a {wanted}")
    try:
        return msgspec.convert(dict(statement.predicate), shape)
    except msgspec.ValidationError as e:
        raise AttestationRefused(f"the attestation does not have the shape of its kind: {e}") from e


def _vulnerability(said: shapes.Result) -> Vulnerability:
    where: dict[str, Any] = {}
    for annotation in said.annotations:
        where |= annotation
    score = next((one.score for one in said.severity if one.method == "cvss_score"), None)
    if score is not None and not re.fullmatch(r"\d{1,2}(\.\d)?", score):
        raise AttestationRefused("the attestation has a score that is none")
    return Vulnerability(
        said.id, str(where.get("package", "")), str(where.get("version", "")), float(score) if score else None
    )


def _rendered(at: datetime) -> str:
    if at.tzinfo is None:
        raise Invalid("a time has its zone")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as e:
        raise AttestationRefused("the attestation has a time that is none") from e
    if found.tzinfo is None:
        raise AttestationRefused("the attestation has a time without its zone")
    return found.astimezone(UTC)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
