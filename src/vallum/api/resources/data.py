"""Data sets: intake, versions and their rows, quarantine, lineage, legal hold, erasure, what left."""

from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import Download, Prepared, RawBody, Route
from vallum.data.catalogue import (
    DataIntake,
    DataSet,
    DataSetVersion,
    DataUse,
    Erasure,
    ExportCount,
    QuarantineCase,
    Rows,
    VersionColumn,
)
from vallum.data.catalogue.arrow import MEDIA_TYPE, ipc_stream
from vallum.data.catalogue.model import MAX_CONTRACT_BYTES, check_words
from vallum.data.catalogue.provenance import render_croissant, render_run_event
from vallum.data.catalogue.retention import DueVersion
from vallum.inventory.model import Classification
from vallum.kernel.actions import Action
from vallum.kernel.clock import format_time
from vallum.kernel.errors import Invalid, NotFound, Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.values import AssetRef, Subject

__all__ = ["ROUTES"]

MAX_SOURCE_BYTES = 1 << 40  # what a source may have is a setting

Word = Annotated[str, Meta(max_length=1000)]
Reason = Annotated[str, Meta(min_length=10, max_length=1000)]
Purpose = Annotated[str, Meta(max_length=200)]


DataVersionName = Annotated[str, Meta(max_length=140)]


class CreateDataSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`owner` is who answers for it; whoever creates it without."""

    name: Annotated[str, Meta(max_length=128)]
    owner: Word = ""
    classification: Classification = "internal"
    description: Word = ""
    purpose: Purpose = ""
    licence: Word = ""


class BeginIntake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`file_name` says the format; `contract` is ODCS 3.1, YAML or JSON; `purpose` the contract's own, without.

    `parents` are the tables that the contract refers to (its name for each, and a version NAME/NUMBER or a data set for
    its newest), `evaluation` the set of which no row may stand in the source.
    """

    file_name: Annotated[str, Meta(max_length=200)]
    contract: Annotated[str, Meta(max_length=MAX_CONTRACT_BYTES)]
    purpose: Purpose = ""
    parents: Annotated[dict[Annotated[str, Meta(max_length=128)], DataVersionName], Meta(max_length=20)] = {}
    evaluation: DataVersionName = ""


class DataReason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason


class NewUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`used_by` names what was made, as in churn/3 for a model's version."""

    kind: Literal["run", "model", "release", "index"]
    used_by: Annotated[str, Meta(min_length=1, max_length=256)]


class EraseSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every row whose `column` is `value` goes. `reference` names the request, and is kept; the value is not."""

    column: Annotated[str, Meta(min_length=1, max_length=1000)]
    value: Annotated[str, Meta(min_length=1, max_length=10_000)]
    reference: Annotated[str, Meta(min_length=1, max_length=200)]


class RevealToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token that intake put in a value's place."""

    column: Annotated[str, Meta(min_length=1, max_length=1000)]
    token: Annotated[str, Meta(min_length=1, max_length=10_000)]


class DataVersionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class RowsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`columns` are names divided by commas; all without. Columns of personal data want the version's `purpose`. Rows
    that are mounted for a job say its `run`, and for how many seconds they lie there at most."""

    purpose: Purpose = ""
    columns: Annotated[str, Meta(max_length=1000)] = ""
    run: Annotated[str, Meta(max_length=256)] = ""
    lease_seconds: Annotated[int, Meta(ge=0, le=366 * 86_400)] = 0


class RetentionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Also what will be over within so many days."""

    within_days: Annotated[int, Meta(ge=0, le=3650)] = 30


class QuarantineQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataset: Annotated[str, Meta(max_length=128)] | None = None
    state: Literal["open", "released", "destroyed"] | None = None


class DataEgressQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subject: Annotated[str, Meta(max_length=256)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class HeldRow(msgspec.Struct, frozen=True):
    """One row in quarantine with its values as text, and why it is there."""

    row: int
    reasons: tuple[str, ...]
    values: dict[str, str | None]


class RevealedToken(msgspec.Struct, frozen=True):
    value: str


class SignedReport(msgspec.Struct, frozen=True):
    """`report` is the JSON whose SHA-256 the envelope (DSSE, in-toto) names as its subject."""

    report: str
    envelope: str


# Data sets.


def create(services: Services, call: Call, change: Change) -> DataSet:
    asked = call.body
    return services.data.create(
        change.conn, asked.name, _by(call), owner=asked.owner, classification=asked.classification,
        description=asked.description, purpose=asked.purpose, licence=asked.licence,
    )  # fmt: skip


def list_data_sets(services: Services, call: Call) -> list[DataSet]:
    with services.records.read() as conn:
        return services.data.data_sets(conn)


def read_data_set(services: Services, call: Call) -> DataSet:
    with services.records.read() as conn:
        return services.data.data_set(conn, call.path["name"])


def set_hold(services: Services, call: Call, change: Change) -> DataSet:
    return services.data.hold(change.conn, call.path["name"], call.body.reason, _by(call))


def release_hold(services: Services, call: Call, change: Change) -> DataSet:
    return services.data.release_hold(change.conn, call.path["name"])


# Intake.


def begin(services: Services, call: Call, change: Change) -> DataIntake:
    asked, contract = call.body, call.body.contract.encode()
    by = _by(call)

    def allowed(version: str, column: VersionColumn) -> bool:
        """What the answer of a check tells of another version is a read of it."""
        wanted = [(Action.DATA_READ, AssetRef("DataSetVersion", version))]
        if column.classification in ("confidential", "restricted"):
            wanted.append((Action.COLUMN_READ, AssetRef("DataColumn", f"{version}/{column.name}")))
        return all(services.policy.decide(by, action, ref).effect == "allow" for action, ref in wanted)

    return services.data.intakes.begin(
        change.conn, call.path["name"], asked.file_name, contract, asked.purpose, by,
        parents=asked.parents, evaluation=asked.evaluation, allowed=allowed,
    )  # fmt: skip


def read_intake(services: Services, call: Call) -> DataIntake:
    return services.data.intakes.intake(call.path["name"], call.path["intake"], _by(call))


def abandon(services: Services, call: Call, change: Change) -> None:
    services.data.intakes.abandon(change.conn, call.path["name"], call.path["intake"], _by(call))


def receive_source(services: Services, call: Call) -> Prepared:
    """Before the transaction: a source may take minutes to arrive."""
    received = services.data.intakes.receive(call.path["name"], call.path["intake"], _by(call), call.body.chunks)
    return Prepared(context={"bytes": received.size, "sha256": received.sha256}, value=received)


def keep_source(services: Services, call: Call, change: Change) -> None:
    services.data.intakes.keep(change.conn, call.prepared.value)


def judge_source(services: Services, call: Call) -> Prepared:
    """Before the transaction: judging takes its time."""
    completion = services.data.intakes.complete(call.path["name"], call.path["intake"], _by(call))
    told: dict[str, str | int] = {"intake": call.path["intake"]}
    new = completion.new
    if new is not None:
        told |= {
            "digest": new.digest, "report_sha256": new.report_sha256, "source_sha256": new.source_sha256,
            "state": "available" if new.passed else "failed", "rows": new.layout.rows, "quarantined": new.quarantined,
            "purpose": new.purpose, "dropped": len(new.dropped),
        }  # fmt: skip
    if completion.cases:
        told["case"] = " ".join(case.id for case in completion.cases)
    if completion.present is not None:
        told["version"] = completion.present.id
    return Prepared(context=told, value=completion)


def complete(services: Services, call: Call, change: Change) -> DataSetVersion:
    return services.data.intakes.finish(change.conn, call.prepared.value)


# Versions.


def list_versions(services: Services, call: Call) -> list[DataSetVersion]:
    with services.records.read() as conn:
        return services.data.versions(conn, call.path["name"], limit=call.query.limit)


def read_version(services: Services, call: Call) -> DataSetVersion:
    with services.records.read() as conn:
        return services.data.version(conn, *_version(call))


def read_report(services: Services, call: Call) -> SignedReport:
    with services.records.read() as conn:
        report, envelope = services.data.signed_report(conn, *_version(call))
    return SignedReport(report.decode(), envelope.decode())


def read_contract(services: Services, call: Call) -> Download:
    with services.records.read() as conn:
        raw = services.data.contract(conn, *_version(call))
    return Download("application/yaml", "contract.odcs.yaml", iter([raw]), len(raw))


def approve(services: Services, call: Call, change: Change) -> DataSetVersion:
    return services.data.approve(change.conn, *_version(call), _by(call), call.body.reason)


def plan_read(services: Services, call: Call) -> Prepared:
    """Which columns come masked is decided before anything is recorded, and recorded with the read."""
    dataset, number = _version(call)
    purpose, by = call.query.purpose, _by(call)

    def allowed(column: str) -> bool:
        ref = AssetRef("DataColumn", f"{dataset}/{number}/{column}")
        return services.policy.decide(by, Action.COLUMN_READ, ref).effect == "allow"

    columns = [name for name in call.query.columns.split(",") if name] or None
    plan = services.data.plan_rows(dataset, number, purpose, allowed, columns)
    told: dict[str, str | int] = {
        "purpose": purpose, "rows": plan.version.rows, "bytes": plan.version.size, "columns": len(plan.columns),
        "masked": len(plan.masked), "digest": plan.version.digest,
    }  # fmt: skip
    if call.query.lease_seconds:
        until = services.clock.now() + timedelta(seconds=call.query.lease_seconds)
        told |= {"run": check_words(call.query.run, "run"), "until": format_time(until)}
    return Prepared(context=told, value=plan)


def plan_export(services: Services, call: Call) -> Prepared:
    if not call.query.purpose:
        raise Invalid("purpose: an export says what it is for")
    return plan_read(services, call)


def send_rows(services: Services, call: Call) -> Download:
    """What leaves is counted before its first byte does, and told of where it is unusual."""
    plan: Rows = call.prepared.value
    by, frames = _by(call), services.data.open_rows(plan)
    with services.records.write() as conn:
        unusual = services.data.exports.count(
            conn, by, plan.version.dataset, plan.version.id, plan.version.rows, plan.version.size
        )
    if unusual is not None:
        services.export_alerts.raise_for(unusual)
    if not plan.version.rows:
        frames = iter([services.data.empty_rows(plan)])
    return Download(MEDIA_TYPE, f"{plan.version.dataset}-{plan.version.number}.arrows", ipc_stream(frames))


def reveal_token(services: Services, call: Call) -> RevealedToken:
    asked = call.body
    return RevealedToken(services.data.treatments.reveal(call.path["name"], asked.column, asked.token))


# Retention.


def list_due(services: Services, call: Call) -> list[DueVersion]:
    with services.records.read() as conn:
        return services.data.retention.due(conn, within_days=call.query.within_days)


def retire(services: Services, call: Call, change: Change) -> DueVersion:
    return services.data.retention.retire(change.conn, *_version(call))


# Provenance and lineage.


def render_event(services: Services, call: Call) -> Prepared:
    with services.records.read() as conn:
        dataset, number = _version(call)
        version = services.data.version(conn, dataset, number)
        return Prepared(value=render_run_event(version, services.data.data_set(conn, dataset), services.public_url))


def render_card(services: Services, call: Call) -> Prepared:
    with services.records.read() as conn:
        dataset, number = _version(call)
        version = services.data.version(conn, dataset, number)
        return Prepared(value=render_croissant(version, services.data.data_set(conn, dataset), services.public_url))


def send_json(services: Services, call: Call) -> Download:
    raw: bytes = call.prepared.value
    return Download("application/json", "provenance.json", iter([raw]), len(raw))


def record_use(services: Services, call: Call, change: Change) -> DataUse:
    return services.data.use(change.conn, *_version(call), call.body.kind, call.body.used_by, _by(call))


def list_uses(services: Services, call: Call) -> list[DataUse]:
    with services.records.read() as conn:
        return services.data.uses(conn, call.path["name"])


# Quarantine.


def list_cases(services: Services, call: Call) -> list[QuarantineCase]:
    with services.records.read() as conn:
        return services.data.desk.cases(conn, dataset=call.query.dataset, state=call.query.state)


def read_case(services: Services, call: Call) -> QuarantineCase:
    with services.records.read() as conn:
        return services.data.desk.case(conn, call.path["case"])


def read_held_rows(services: Services, call: Call) -> list[HeldRow]:
    found = services.data.desk.rows(call.path["case"])
    return [HeldRow(one["row"], tuple(one["reasons"]), one["values"]) for one in found]


def prepare_release(services: Services, call: Call) -> Prepared:
    prepared = services.data.desk.prepare_release(call.path["case"])
    return Prepared(context={"digest": prepared.new.digest, "rows": prepared.new.layout.rows}, value=prepared)


def release_case(services: Services, call: Call, change: Change) -> DataSetVersion:
    return services.data.desk.release(
        change.conn, call.path["case"], call.prepared.value, _by(call), call.body.reason
    )  # fmt: skip


def destroy_case(services: Services, call: Call, change: Change) -> QuarantineCase:
    return services.data.desk.destroy(change.conn, call.path["case"], _by(call), call.body.reason)


# Erasure, and what left.


def plan_erasure(services: Services, call: Call) -> Prepared:
    """Before the transaction: every version is read through."""
    asked = call.body
    plan = services.data.erasures.plan(call.path["name"], asked.column, asked.value, asked.reference)
    told: dict[str, str | int] = {
        "rows": plan.rows, "tokens": plan.token_count, "not_searched": ", ".join(plan.not_searched)[:500],
        "erased": " ".join(str(number) for number, _ in plan.versions)[:500],
        "cases": " ".join(one.case for one in plan.cases)[:500],
        "digests": " ".join(new.digest for _, new in plan.versions)[:1000],
    }  # fmt: skip
    return Prepared(context=told, value=plan)


def erase(services: Services, call: Call, change: Change) -> Erasure:
    return services.data.erasures.carry_out(change.conn, call.prepared.value, _by(call))


def list_erasures(services: Services, call: Call) -> list[Erasure]:
    with services.records.read() as conn:
        return services.data.erasures.list(conn, call.path["name"])


def list_exports(services: Services, call: Call) -> list[ExportCount]:
    with services.records.read() as conn:
        return services.data.exports.counts(conn, subject=call.query.subject, limit=call.query.limit)


def _version(call: Call) -> tuple[str, int]:
    text = call.path["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound("a version is a number")
    return call.path["name"], int(text)


def _by(call: Call) -> Subject:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject


def _reason(path: Any, body: Any) -> dict[str, str | int]:
    return {"reason": body.reason}


_SET = named("DataSet", "name")
_VERSION = named("DataSetVersion", "name", "number")
_CASE = named("QuarantineCase", "case")
_ONE_SET = "/data-sets/{name}"
_INTAKES = _ONE_SET + "/intakes"
_VERSIONS = _ONE_SET + "/versions"
_ONE = _VERSIONS + "/{number}"
_ONE_CASE = "/data-quarantine/{case}"

ROUTES = (
    Route(
        method="GET", path="/data-sets", name="list_data_sets", summary="Data sets", access="read",
        action=Action.DATA_SET_READ, asset=system, perform=list_data_sets, answer=list[DataSet],
    ),
    Route(
        method="POST", path="/data-sets", name="create_data_set",
        summary="Create a data set: a name that versions are taken in under",
        access="change", action=Action.DATA_SET_CREATE, asset=system, perform=create, body=CreateDataSet,
        answer=DataSet, status=201,
        context=lambda path, body: {"name": body.name, "classification": body.classification},
    ),
    Route(
        method="GET", path=_ONE_SET, name="read_data_set", summary="A data set, its class, owner and legal hold",
        access="read", action=Action.DATA_SET_READ, asset=_SET, perform=read_data_set, answer=DataSet,
    ),
    Route(
        method="PUT", path=_ONE_SET + "/hold", name="hold_data_set",
        summary="Put a data set under legal hold: nothing of it is erased, destroyed or expires",
        access="change", action=Action.HOLD_SET, asset=_SET, perform=set_hold, body=DataReason, answer=DataSet,
        context=_reason,
    ),
    Route(
        method="DELETE", path=_ONE_SET + "/hold", name="release_data_hold", summary="End a data set's legal hold",
        access="change", action=Action.HOLD_RELEASE, asset=_SET, perform=release_hold, answer=DataSet,
    ),
    Route(
        method="POST", path=_INTAKES, name="begin_data_intake",
        summary="Begin an intake: the source follows, and what is left for a day vanishes",
        access="change", action=Action.DATA_INTAKE, asset=_SET, perform=begin, body=BeginIntake, answer=DataIntake,
        status=201, max_body_bytes=2 * MAX_CONTRACT_BYTES,
        context=lambda path, body: {
            "file_name": body.file_name, "purpose": body.purpose,
            **({"parents": " ".join(body.parents.values())[:500]} if body.parents else {}),
            **({"evaluation": body.evaluation} if body.evaluation else {}),
        },
    ),
    Route(
        method="GET", path=_INTAKES + "/{intake}", name="read_data_intake",
        summary="How far one's own intake is",
        access="read", action=Action.DATA_INTAKE, asset=_SET, perform=read_intake, answer=DataIntake,
    ),
    Route(
        method="DELETE", path=_INTAKES + "/{intake}", name="abandon_data_intake",
        summary="Let one's own intake vanish, with its key",
        access="change", action=Action.DATA_INTAKE, asset=_SET, perform=abandon, status=204,
        context=lambda path, body: {"intake": path["intake"]},
    ),
    Route(
        method="PUT", path=_INTAKES + "/{intake}/source", name="send_data_source",
        summary="Send the source, as it is; again, and it takes the former's place",
        access="change", action=Action.DATA_INTAKE, asset=_SET, prepare=receive_source, perform=keep_source,
        body=RawBody, status=204, takes_long=True, max_body_bytes=MAX_SOURCE_BYTES,
        context=lambda path, body: {"intake": path["intake"]},
    ),
    Route(
        method="POST", path=_INTAKES + "/{intake}/completion", name="complete_data_intake",
        summary="Judge what arrived, hold what fails, seal the rest, and make the version",
        access="change", action=Action.DATA_INTAKE, asset=_SET, prepare=judge_source, perform=complete,
        answer=DataSetVersion, takes_long=True,
    ),
    Route(
        method="GET", path=_VERSIONS, name="list_data_versions", summary="A data set's versions, the newest first",
        access="read", action=Action.DATA_SET_READ, asset=_SET, perform=list_versions, query=DataVersionQuery,
        answer=list[DataSetVersion],
    ),
    Route(
        method="GET", path=_ONE, name="read_data_version", summary="A version: its columns with their classes",
        access="read", action=Action.DATA_SET_READ, asset=_VERSION, perform=read_version, answer=DataSetVersion,
    ),
    Route(
        method="GET", path=_ONE + "/report", name="read_data_report",
        summary="What intake found (profile, classes, gates, suspects), signed",
        access="read", action=Action.DATA_SET_READ, asset=_VERSION, perform=read_report, answer=SignedReport,
    ),
    Route(
        method="GET", path=_ONE + "/contract", name="read_data_contract", summary="The contract a version was held to",
        access="read", action=Action.DATA_SET_READ, asset=_VERSION, perform=read_contract, answer=Download,
        media_type="application/yaml",
    ),
    Route(
        method="POST", path=_ONE + "/approval", name="approve_data_version",
        summary="Vouch for a version that somebody else took in, for promotions to rest on",
        access="change", action=Action.DATA_APPROVE, asset=_VERSION, perform=approve, body=DataReason,
        answer=DataSetVersion, context=_reason,
    ),
    Route(
        method="GET", path=_ONE + "/rows", name="read_data_rows",
        summary="A version's rows as an Arrow stream; columns that the decision does not have come masked",
        access="read", action=Action.DATA_READ, asset=_VERSION, prepare=plan_read, perform=send_rows, query=RowsQuery,
        answer=Download, recorded_each=True, media_type=MEDIA_TYPE,
    ),
    Route(
        method="GET", path=_ONE + "/export", name="export_data_rows",
        summary="As rows, to be taken elsewhere: says what for",
        access="read", action=Action.DATA_EXPORT, asset=_VERSION, prepare=plan_export, perform=send_rows,
        query=RowsQuery, answer=Download, recorded_each=True, media_type=MEDIA_TYPE,
    ),
    Route(
        method="POST", path=_ONE_SET + "/token-values", name="reveal_data_token",
        summary="The value behind a token that intake put in its place",
        access="read", action=Action.TOKEN_REVEAL, asset=_SET, perform=reveal_token, body=RevealToken,
        answer=RevealedToken, recorded_each=True, context=lambda path, body: {"column": body.column[:200]},
    ),
    Route(
        method="GET", path=_ONE + "/openlineage", name="read_data_lineage_event",
        summary="How a version came to be, as an OpenLineage 2-0-2 run event",
        access="read", action=Action.DATA_SET_READ, asset=_VERSION, prepare=render_event, perform=send_json,
        answer=Download, media_type="application/json",
    ),
    Route(
        method="GET", path=_ONE + "/croissant", name="read_data_card", summary="A version as a Croissant 1.1 card",
        access="read", action=Action.DATA_SET_READ, asset=_VERSION, prepare=render_card, perform=send_json,
        answer=Download, media_type="application/json",
    ),
    Route(
        method="POST", path=_ONE + "/uses", name="record_data_use",
        summary="Record that a model, run, release or index was made from a version",
        access="change", action=Action.DATA_USE, asset=_VERSION, perform=record_use, body=NewUse, answer=DataUse,
        status=201, context=lambda path, body: {"kind": body.kind, "used_by": body.used_by},
    ),
    Route(
        method="GET", path=_ONE_SET + "/uses", name="list_data_uses", summary="What was made from a data set",
        access="read", action=Action.DATA_SET_READ, asset=_SET, perform=list_uses, answer=list[DataUse],
    ),
    Route(
        method="GET", path="/data-retention", name="list_data_retention",
        summary="Versions whose time is over or soon will be: what goes by itself, and what is held or in use",
        access="read", action=Action.DATA_SET_READ, asset=system, perform=list_due, query=RetentionQuery,
        answer=list[DueVersion],
    ),
    Route(
        method="POST", path=_ONE + "/retirement", name="retire_data_version",
        summary="Destroy a version that is in use and whose time is over",
        access="change", action=Action.DATA_RETIRE, asset=_VERSION, perform=retire, body=DataReason,
        answer=DueVersion, context=_reason,
    ),
    Route(
        method="GET", path="/data-quarantine", name="list_quarantine",
        summary="Cases of rows that are held, with their reasons and without their values",
        access="read", action=Action.DATA_SET_READ, asset=system, perform=list_cases, query=QuarantineQuery,
        answer=list[QuarantineCase],
    ),
    Route(
        method="GET", path=_ONE_CASE, name="read_quarantine_case", summary="A case, without values",
        access="read", action=Action.DATA_SET_READ, asset=_CASE, perform=read_case, answer=QuarantineCase,
    ),
    Route(
        method="GET", path=_ONE_CASE + "/rows", name="read_quarantined_rows",
        summary="The held rows themselves, for a steward's eye",
        access="read", action=Action.QUARANTINE_READ, asset=_CASE, perform=read_held_rows, answer=list[HeldRow],
        recorded_each=True,
    ),
    Route(
        method="POST", path=_ONE_CASE + "/release", name="release_quarantine",
        summary="Let somebody else's held rows out, as a new version",
        access="change", action=Action.QUARANTINE_RELEASE, asset=_CASE, prepare=prepare_release, perform=release_case,
        body=DataReason, answer=DataSetVersion, takes_long=True, context=_reason,
    ),
    Route(
        method="POST", path=_ONE_CASE + "/destruction", name="destroy_quarantine",
        summary="Destroy held rows, with their key",
        access="change", action=Action.QUARANTINE_DESTROY, asset=_CASE, perform=destroy_case, body=DataReason,
        answer=QuarantineCase, context=_reason,
    ),
    Route(
        method="POST", path=_ONE_SET + "/erasures", name="erase_data_subject",
        summary="Erase a person's rows: versions are made anew without them, and the former's keys destroyed",
        access="change", action=Action.SUBJECT_ERASE, asset=_SET, prepare=plan_erasure, perform=erase,
        body=EraseSubject, answer=Erasure, takes_long=True,
        context=lambda path, body: {"column": body.column[:200], "reference": body.reference},
    ),
    Route(
        method="GET", path=_ONE_SET + "/erasures", name="list_data_erasures", summary="Erasures of a data set",
        access="read", action=Action.DATA_SET_READ, asset=_SET, perform=list_erasures, answer=list[Erasure],
    ),
    Route(
        method="GET", path="/data-egress", name="list_data_egress",
        summary="What was sent of data sets, by subject and day",
        access="read", action=Action.DATA_EGRESS_READ, asset=system, perform=list_exports, query=DataEgressQuery,
        answer=list[ExportCount],
    ),
)  # fmt: skip
