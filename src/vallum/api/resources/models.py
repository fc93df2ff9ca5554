"""Registered models: uploads, versions, reviews, what may be downloaded, and what is attested of them."""

import base64
import binascii
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import Download, Prepared, RawBody, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid, NotFound, Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.values import Subject
from vallum.models.registry import (
    CardReport,
    DependencyReport,
    Egress,
    ModelFile,
    ModelVersion,
    RegisteredModel,
    SigningKeyRecord,
    Upload,
    UploadPart,
)
from vallum.models.registry.model import MAX_SIGNATURE_BYTES, Classification, RiskClass

__all__ = ["ROUTES"]

MAX_FILE_BYTES = 1 << 40  # what a version may have in all is a setting
_MAX_ENVELOPE_CHARS = 6 << 20

Word = Annotated[str, Meta(max_length=1000)]
Reason = Annotated[str, Meta(min_length=10, max_length=1000)]


class RegisterModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`owner` is who answers for it; whoever registers it without. `risk_class` as the EU AI Act grades uses."""

    name: Annotated[str, Meta(max_length=128)]
    owner: Word = ""
    classification: Classification = "internal"
    risk_class: RiskClass = "limited"
    description: Word = ""


class BeginUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`source` says where the model comes from: a repository, a training run."""

    source: Word = ""


class JoinParts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file as its sender has it: SHA-256 in lower-case hexadecimal, and size in bytes."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`release` lets it out of quarantine, `reject` revokes it; `note` says why."""

    decision: Literal["release", "reject"]
    note: Reason


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason


class KeyRevocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`since` (RFC 3339) spares what the ledger recorded before; without, nothing that the key signed counts."""

    reason: Reason
    since: Annotated[str, Meta(max_length=40)] | None = None


class NewAttestation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`envelope` is a DSSE envelope (JSON) around an in-toto statement, in base64."""

    envelope: Annotated[str, Meta(max_length=_MAX_ENVELOPE_CHARS)]


class AttestationRecord(msgspec.Struct, frozen=True):
    """A statement about a version. `envelope` is its DSSE envelope as it was given, in base64."""

    predicate_type: str
    envelope: str
    at: str
    by: str


class VersionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class BomQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    spec_version: Literal["1.6", "1.7"] = "1.6"


class EgressQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subject: Annotated[str, Meta(max_length=256)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


def register(services: Services, call: Call, change: Change) -> RegisteredModel:
    asked = call.body
    return services.models.register(
        change.conn, asked.name, _by(call), owner=asked.owner, classification=asked.classification,
        risk_class=asked.risk_class, description=asked.description,
    )  # fmt: skip


def list_models(services: Services, call: Call) -> list[RegisteredModel]:
    with services.records.read() as conn:
        return services.models.models(conn)


def read_model(services: Services, call: Call) -> RegisteredModel:
    with services.records.read() as conn:
        return services.models.model(conn, call.path["name"])


def list_versions(services: Services, call: Call) -> list[ModelVersion]:
    with services.records.read() as conn:
        return services.models.versions(conn, call.path["name"], limit=call.query.limit)


def read_version(services: Services, call: Call) -> ModelVersion:
    with services.records.read() as conn:
        return services.models.version(conn, *_version(call))


# Uploads.


def begin(services: Services, call: Call, change: Change) -> Upload:
    return services.models.uploads.begin(change.conn, call.path["name"], call.body.source, _by(call))


def read_upload(services: Services, call: Call) -> Upload:
    return services.models.uploads.upload(call.path["name"], call.path["upload"], _by(call))


def abandon(services: Services, call: Call, change: Change) -> None:
    services.models.uploads.abandon(change.conn, call.path["name"], call.path["upload"], _by(call))


def receive_file(services: Services, call: Call) -> Prepared:
    """Before the transaction: a file may take minutes to arrive."""
    path, uploads = call.path, services.models.uploads
    received = uploads.receive(path["name"], path["upload"], _by(call), path["path"], call.body.chunks)
    told: dict[str, str | int] = {"path": path["path"], "bytes": received.file.size, "sha256": received.file.sha256}
    return Prepared(context=told, value=received)


def keep_file(services: Services, call: Call, change: Change) -> ModelFile:
    return services.models.uploads.keep(change.conn, call.prepared.value)


def receive_part(services: Services, call: Call) -> Prepared:
    """Before the transaction, as a file."""
    path, begin = call.path, call.path["begin"]
    if not (begin.isascii() and begin.isdigit() and len(begin) < 16):
        raise Invalid("a part begins at a byte of its file, a number")
    received = services.models.parts.receive(
        path["name"], path["upload"], _by(call), path["path"], int(begin), call.body.chunks
    )
    part = received.part
    told: dict[str, str | int] = {"path": path["path"], "begin": part.begin, "bytes": part.size, "sha256": part.sha256}
    return Prepared(context=told, value=received)


def keep_part(services: Services, call: Call, change: Change) -> UploadPart:
    return services.models.parts.keep(change.conn, call.prepared.value)


def join_parts(services: Services, call: Call, change: Change) -> ModelFile:
    path, said = call.path, (call.body.sha256, call.body.size)
    return services.models.parts.join(change.conn, path["name"], path["upload"], _by(call), path["path"], said)


def remove_file(services: Services, call: Call, change: Change) -> None:
    path = call.path
    services.models.uploads.remove_file(change.conn, path["name"], path["upload"], _by(call), path["path"])


def receive_signature(services: Services, call: Call) -> Prepared:
    return Prepared(value=b"".join(call.body.chunks))


def bring_signature(services: Services, call: Call, change: Change) -> None:
    path, brought = call.path, call.prepared.value
    services.models.uploads.bring_signature(change.conn, path["name"], path["upload"], _by(call), brought)


def scan_upload(services: Services, call: Call) -> Prepared:
    """Before the transaction: scanning takes its time."""
    completion = services.models.uploads.complete(call.path["name"], call.path["upload"], _by(call))
    made = completion.version
    told: dict[str, str | int] = {"upload": call.path["upload"]}
    if made is not None:
        told |= {
            "version": made.id, "verdict": made.verdict, "state": made.state, "digest": made.digest,
            "bytes": made.size, "files": len(made.files), "signer": made.signer or "",
            "techniques": " ".join(sorted({one.technique for one in made.findings}))[:500],
        }  # fmt: skip
    return Prepared(context=told, value=completion)


def complete(services: Services, call: Call, change: Change) -> ModelVersion:
    return services.models.finish(change.conn, call.prepared.value)


# Versions.


def review(services: Services, call: Call, change: Change) -> ModelVersion:
    model, number = _version(call)
    return services.models.review(change.conn, model, number, _by(call), call.body.decision, call.body.note)


def revoke(services: Services, call: Call, change: Change) -> ModelVersion:
    """What runs it steps back to the last good release in the same transaction, or runs no more."""
    model, number = _version(call)
    revoked = services.models.revoke(change.conn, model, number, _by(call), call.body.reason)
    services.releases.environments.revoke_version(change.conn, model, number, _by(call))
    return revoked


def find_file(services: Services, call: Call) -> Prepared:
    file = services.models.file(*_version(call), call.path["path"])
    return Prepared(context={"path": file.path, "bytes": file.size, "sha256": file.sha256}, value=file)


def download(services: Services, call: Call) -> Download:
    """What may leave is counted before the first byte does."""
    model, number = _version(call)
    file: ModelFile = call.prepared.value
    chunks = services.models.download(model, number, file.path)
    with services.records.write() as conn:
        services.models.count_egress(conn, _by(call).render(), file.size)
    return Download("application/octet-stream", "model.bin", chunks, file.size)


# Descriptions.


def read_card(services: Services, call: Call) -> CardReport:
    with services.records.read() as conn:
        return services.model_descriptions.card(conn, *_version(call))


def render_bill(services: Services, call: Call) -> Prepared:
    with services.records.read() as conn:
        return Prepared(value=services.model_descriptions.bom(conn, *_version(call), call.query.spec_version))


def read_bom(services: Services, call: Call) -> Download:
    bill: bytes = call.prepared.value
    return Download(_CYCLONEDX, "model.cdx.json", iter([bill]), len(bill))


def read_dependencies(services: Services, call: Call) -> DependencyReport:
    with services.records.read() as conn:
        return services.dependency_watch.report(conn, *_version(call))


def find_signature(services: Services, call: Call) -> Prepared:
    bundle = services.models.signature(*_version(call))
    return Prepared(context={"bytes": len(bundle)}, value=bundle)


def read_signature(services: Services, call: Call) -> Download:
    bundle: bytes = call.prepared.value
    return Download(_BUNDLE, "model.sig", iter([bundle]), len(bundle))


def list_signing_keys(services: Services, call: Call) -> list[SigningKeyRecord]:
    return list(services.models.signing_keys())


def rotate_signing_key(services: Services, call: Call, change: Change) -> SigningKeyRecord:
    return services.models.rotate_signing_key(change.conn)


def revoke_signing_key(services: Services, call: Call, change: Change) -> SigningKeyRecord:
    number = call.path["number"]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound("a signing key is a number")
    return services.models.revoke_signing_key(change.conn, int(number), call.body.reason, call.body.since)


def attest(services: Services, call: Call, change: Change) -> AttestationRecord:
    model, number = _version(call)
    try:
        envelope = base64.b64decode(call.body.envelope, validate=True)
    except (binascii.Error, ValueError) as e:
        raise Invalid("envelope: write the DSSE envelope in base64") from e
    return _attestation(services.models.attest(change.conn, model, number, envelope, _by(call).render()))


def list_attestations(services: Services, call: Call) -> list[AttestationRecord]:
    with services.records.read() as conn:
        return [_attestation(one) for one in services.models.attestations(conn, *_version(call))]


def list_egress(services: Services, call: Call) -> list[Egress]:
    with services.records.read() as conn:
        return services.models.egress(conn, subject=call.query.subject, limit=call.query.limit)


def _attestation(one: Any) -> AttestationRecord:
    return AttestationRecord(one.predicate_type, base64.b64encode(one.envelope).decode(), one.at, one.by)


def _version(call: Call) -> tuple[str, int]:
    text = call.path["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound("a version is a number")
    return call.path["name"], int(text)


def _by(call: Call) -> Subject:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject


_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_CYCLONEDX = "application/vnd.cyclonedx+json"
_MODEL = named("RegisteredModel", "name")
_VERSION = named("ModelVersion", "name", "number")
_UPLOADS = "/registered-models/{name}/uploads"
_VERSIONS = "/registered-models/{name}/versions"
_ONE = _VERSIONS + "/{number}"

ROUTES = (
    Route(
        method="GET", path="/registered-models", name="list_registered_models", summary="Registered models",
        access="read", action=Action.REGISTERED_MODEL_READ, asset=system, perform=list_models,
        answer=list[RegisteredModel],
    ),
    Route(
        method="POST", path="/registered-models", name="register_model",
        summary="Register a model: a name that versions are uploaded under",
        access="change", action=Action.REGISTERED_MODEL_CREATE, asset=system, perform=register, body=RegisterModel,
        answer=RegisteredModel, status=201,
        context=lambda path, body: {"name": body.name, "classification": body.classification,
                                    "risk_class": body.risk_class},
    ),
    Route(
        method="GET", path="/registered-models/{name}", name="read_registered_model",
        summary="A registered model, and where its aliases lead",
        access="read", action=Action.REGISTERED_MODEL_READ, asset=_MODEL, perform=read_model, answer=RegisteredModel,
    ),
    Route(
        method="GET", path=_VERSIONS, name="list_model_versions", summary="A model's versions, the newest first",
        access="read", action=Action.VERSION_READ, asset=_MODEL, perform=list_versions, query=VersionQuery,
        answer=list[ModelVersion],
    ),
    Route(
        method="GET", path=_ONE, name="read_model_version",
        summary="A version: its files, the scanner's verdict with places, its signer",
        access="read", action=Action.VERSION_READ, asset=_VERSION, perform=read_version, answer=ModelVersion,
    ),
    Route(
        method="POST", path=_UPLOADS, name="begin_model_upload",
        summary="Begin a version: its files follow, and what is left for a day vanishes",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, perform=begin, body=BeginUpload, answer=Upload,
        status=201,
    ),
    Route(
        method="GET", path=_UPLOADS + "/{upload}", name="read_model_upload",
        summary="What has arrived of one's own upload, to go on with it",
        access="read", action=Action.VERSION_UPLOAD, asset=_MODEL, perform=read_upload, answer=Upload,
    ),
    Route(
        method="DELETE", path=_UPLOADS + "/{upload}", name="abandon_model_upload",
        summary="Let one's own upload vanish, with its key",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, perform=abandon, status=204,
        context=lambda path, body: {"upload": path["upload"]},
    ),
    Route(
        method="PUT", path=_UPLOADS + "/{upload}/files/{path...}", name="upload_model_file",
        summary="Send one file, as it is; again, and it takes the former's place",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, prepare=receive_file, perform=keep_file,
        body=RawBody, answer=ModelFile, takes_long=True, max_body_bytes=MAX_FILE_BYTES,
        context=lambda path, body: {"upload": path["upload"]},
    ),
    Route(
        method="PUT", path=_UPLOADS + "/{upload}/parts/{begin}/{path...}", name="upload_model_part",
        summary="Send the next part of a large file, from byte `begin` on; who is cut off goes on after the last one",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, prepare=receive_part, perform=keep_part,
        body=RawBody, answer=UploadPart, takes_long=True, max_body_bytes=MAX_FILE_BYTES,
        context=lambda path, body: {"upload": path["upload"]},
    ),
    Route(
        method="POST", path=_UPLOADS + "/{upload}/files/{path...}", name="join_model_parts",
        summary="Make a file of the parts that arrived, when digest and size are the sender's",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, perform=join_parts, body=JoinParts,
        answer=ModelFile,
        context=lambda path, body: {"upload": path["upload"], "path": path["path"], "bytes": body.size,
                                    "sha256": body.sha256},
    ),
    Route(
        method="DELETE", path=_UPLOADS + "/{upload}/files/{path...}", name="remove_model_file",
        summary="Take a file out of one's own upload",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, perform=remove_file, status=204,
        context=lambda path, body: {"upload": path["upload"], "path": path["path"]},
    ),
    Route(
        method="PUT", path=_UPLOADS + "/{upload}/signature", name="bring_model_signature",
        summary="Bring a signature (OMS 1.0) by a signer who is trusted here, in place of the platform's",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, prepare=receive_signature,
        perform=bring_signature, body=RawBody, takes_long=True, max_body_bytes=MAX_SIGNATURE_BYTES, status=204,
        context=lambda path, body: {"upload": path["upload"]},
    ),
    Route(
        method="POST", path=_UPLOADS + "/{upload}/completion", name="complete_model_upload",
        summary="Scan what was uploaded as one repository, sign it, and make the version",
        access="change", action=Action.VERSION_UPLOAD, asset=_MODEL, prepare=scan_upload, perform=complete,
        answer=ModelVersion, takes_long=True,
    ),
    Route(
        method="POST", path=_ONE + "/review", name="review_model_version",
        summary="Let somebody else's version out of quarantine, or reject it",
        access="change", action=Action.VERSION_REVIEW, asset=_VERSION, perform=review, body=Review,
        answer=ModelVersion, context=lambda path, body: {"decision": body.decision, "note": body.note},
    ),
    Route(
        method="POST", path=_ONE + "/revocation", name="revoke_model_version", summary="Revoke a version, for ever",
        access="change", action=Action.VERSION_REVOKE, asset=_VERSION, perform=revoke, body=Revocation,
        answer=ModelVersion, context=lambda path, body: {"reason": body.reason},
    ),
    Route(
        method="GET", path=_ONE + "/files/{path...}", name="download_model_file",
        summary="One file of a version that is available; its bytes are counted",
        access="read", action=Action.VERSION_DOWNLOAD, asset=_VERSION, prepare=find_file, perform=download,
        answer=Download, recorded_each=True, media_type="application/octet-stream",
    ),
    Route(
        method="GET", path=_ONE + "/signature", name="read_model_signature",
        summary="A version's signature (OMS 1.0), for model_signing and vallum models verify",
        access="read", action=Action.VERSION_DOWNLOAD, asset=_VERSION, prepare=find_signature, perform=read_signature,
        answer=Download, media_type=_BUNDLE,
    ),
    Route(
        method="GET", path=_ONE + "/card", name="read_model_card",
        summary="A version's model card with what the platform knows, and what its risk class still asks for",
        access="read", action=Action.VERSION_READ, asset=_VERSION, perform=read_card, answer=CardReport,
    ),
    Route(
        method="GET", path=_ONE + "/bom", name="read_model_bom", summary="A version's bill of materials, CycloneDX",
        access="read", action=Action.VERSION_READ, asset=_VERSION, prepare=render_bill, perform=read_bom,
        query=BomQuery, answer=Download, media_type=_CYCLONEDX,
    ),
    Route(
        method="GET", path=_ONE + "/dependencies", name="read_model_dependencies",
        summary="What a version needs, held against known weaknesses",
        access="read", action=Action.VERSION_READ, asset=_VERSION, perform=read_dependencies,
        answer=DependencyReport,
    ),
    Route(
        method="GET", path="/model-signing-keys", name="list_model_signing_keys",
        summary="The public halves of the keys that the platform signs versions with",
        access="read", action=Action.REGISTERED_MODEL_READ, asset=system, perform=list_signing_keys,
        answer=list[SigningKeyRecord],
    ),
    Route(
        method="POST", path="/model-signing-keys", name="rotate_model_signing_key",
        summary="A fresh key signs versions from now on; what former ones signed goes on verifying",
        access="change", action=Action.SIGNING_KEY_ROTATE, asset=system, perform=rotate_signing_key,
        answer=SigningKeyRecord, status=201, takes_long=True,
    ),
    Route(
        method="POST", path="/model-signing-keys/{number}/revocation", name="revoke_model_signing_key",
        summary="Nothing counts any more that this key signed, but what the ledger recorded before `since`",
        access="change", action=Action.SIGNING_KEY_REVOKE, asset=system, perform=revoke_signing_key,
        body=KeyRevocation, answer=SigningKeyRecord, takes_long=True,
        context=lambda path, body: {"number": path["number"][:10], "since": body.since or "", "reason": body.reason},
    ),
    Route(
        method="GET", path=_ONE + "/attestations", name="list_model_attestations",
        summary="What is attested of a version, the oldest first",
        access="read", action=Action.VERSION_READ, asset=_VERSION, perform=list_attestations,
        answer=list[AttestationRecord],
    ),
    Route(
        method="POST", path=_ONE + "/attestations", name="attest_model_version",
        summary="Append a signed statement about a version; none is ever taken away",
        access="change", action=Action.VERSION_ATTEST, asset=_VERSION, perform=attest, body=NewAttestation,
        answer=AttestationRecord, status=201, max_body_bytes=_MAX_ENVELOPE_CHARS + 1024,
    ),
    Route(
        method="GET", path="/model-egress", name="list_model_egress",
        summary="What was downloaded of models, by subject and day",
        access="read", action=Action.EGRESS_READ, asset=system, perform=list_egress, query=EgressQuery,
        answer=list[Egress],
    ),
)  # fmt: skip
