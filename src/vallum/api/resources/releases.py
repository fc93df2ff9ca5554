"""Releases, promotions and environments: building, deciding, going back, and looking."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vallum.api.assets import named, system
from vallum.api.control import Call, Services
from vallum.api.routing import EVIDENCE_SECONDS, Prepared, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound, Unauthenticated
from vallum.kernel.gate import Change
from vallum.kernel.values import Subject
from vallum.releases import (
    CheckResult,
    Declaration,
    EnvironmentState,
    Evidence,
    HistoryEntry,
    Manifest,
    Promotion,
    Release,
    Trial,
    Verification,
    Wanted,
)
from vallum.releases.model import EvidenceKind

__all__ = ["ROUTES"]

Text = Annotated[str, Meta(max_length=500)]
ReleaseId = Annotated[str, Meta(min_length=1, max_length=64)]
ProductName = Annotated[str, Meta(min_length=1, max_length=64)]
EnvironmentName = Annotated[str, Meta(min_length=1, max_length=32)]


class ReleaseQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model`: releases that hold that version, NAME/NUMBER."""

    product: ProductName | None = None
    model: Annotated[str, Meta(max_length=160)] | None = None


class PromotionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: Literal["waiting", "approved", "denied", "cancelled"] | None = None


class EnvironmentQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    environment: EnvironmentName


class OtherQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    other: ReleaseId


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    product: ProductName


class ReleaseDetail(msgspec.Struct, frozen=True):
    """`envelope` is the signed statement (DSSE, in-toto) that others verify; `manifest` is what it says."""

    release: Release
    manifest: Manifest
    evidence: list[Evidence]
    envelope: str


class Difference(msgspec.Struct, frozen=True):
    field: str
    before: str
    after: str


class EvidenceGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`report` is the SHA-256 of the document that it stands on."""

    passed: bool
    report: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    note: Text = ""


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Text


class PromotionAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`mode` is the whole of the requests, or a share beside what runs.

    An answer slower than `slow_milliseconds` speaks against a canary; 0 leaves that out.
    """

    release: ReleaseId
    reason: Text
    mode: Literal["whole", "canary", "shadow"] = "whole"
    percent: Annotated[int, Meta(ge=1, le=100)] = 100
    slow_milliseconds: Annotated[int, Meta(ge=0, le=3_600_000)] = 0


class PromotionVerdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Text = ""


class RollbackAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To the last good release, or to an earlier one by its id."""

    product: ProductName
    release: ReleaseId | None = None


class ProductAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    product: ProductName


class Revoked(msgspec.Struct, frozen=True):
    """`environments` are those that it ran in; their last good release runs now, or nothing does."""

    release: Release
    environments: list[str]


# Releases.


def list_releases(services: Services, call: Call) -> list[Release]:
    return services.releases.catalogue.listed(call.query.product, call.query.model)


def build_release(services: Services, call: Call, change: Change) -> Release:
    return services.releases.catalogue.build(change.conn, call.body, _by(call))


def read_release(services: Services, call: Call) -> ReleaseDetail:
    catalogue, release_id = services.releases.catalogue, call.path["id"]
    with services.records.read() as conn:
        release, manifest = catalogue.manifest(conn, release_id)
        evidence, envelope = catalogue.evidence(conn, release_id), catalogue.envelope(conn, release_id)
    return ReleaseDetail(release, manifest, evidence, envelope.decode())


def diff_releases(services: Services, call: Call) -> list[Difference]:
    catalogue = services.releases.catalogue
    with services.records.read() as conn:
        release, before = catalogue.manifest(conn, call.path["id"])
        other, after = catalogue.manifest(conn, call.query.other)
        if other.tenant != release.tenant:  # nobody decided about this one: it sounds like what is not there
            raise NotFound(f"there is no release {call.query.other}")
    old, new = dict(_flat(msgspec.to_builtins(before))), dict(_flat(msgspec.to_builtins(after)))
    names = [*old, *(name for name in new if name not in old)]
    return [Difference(n, old.get(n, ""), new.get(n, "")) for n in names if old.get(n) != new.get(n)]


def check_release(services: Services, call: Call) -> list[CheckResult]:
    with services.records.read() as conn:
        return list(services.releases.promotions.check(conn, call.path["id"], call.query.environment))


def keep_reason(services: Services, call: Call) -> Prepared:
    return Prepared({"reason": call.body.reason.encode()}, EVIDENCE_SECONDS)


def revoke_release(services: Services, call: Call, change: Change) -> Revoked:
    release = services.releases.catalogue.revoke(change.conn, call.path["id"], call.body.reason, _by(call))
    return Revoked(release, services.releases.environments.revoke(change.conn, release.id, _by(call)))


def _attest(kind: EvidenceKind) -> Route:
    def attest(services: Services, call: Call, change: Change) -> Evidence:
        said = call.body
        catalogue = services.releases.catalogue
        return catalogue.attest(change.conn, call.path["id"], kind, said.passed, said.report, said.note, _by(call))

    action = {"data": Action.EVIDENCE_DATA, "tests": Action.EVIDENCE_TESTS, "threats": Action.EVIDENCE_THREATS}[kind]
    return Route(
        method="POST", path=f"/releases/{{id}}/evidence/{kind}", name=f"attest_{kind}",
        summary={
            "data": "Say whether the data that a release rests on is approved",
            "tests": "Say how a release's tests went",
            "threats": "Say whether a release's threat model holds",
        }[kind],
        access="change", action=action, asset=named("Release", "id"), perform=attest, body=EvidenceGiven,
        answer=Evidence, status=201,
        context=lambda path, body: {"passed": str(body.passed).lower(), "report": body.report},
    )  # fmt: skip


# Promotions.


def list_promotions(services: Services, call: Call) -> list[Promotion]:
    return services.releases.promotions.list(call.query.state)


def read_promotion(services: Services, call: Call) -> Promotion:
    with services.records.read() as conn:
        return services.releases.promotions.one(conn, call.path["id"])


def request_promotion(services: Services, call: Call, change: Change) -> Promotion:
    wanted = Wanted(environment=call.path["environment"], **msgspec.structs.asdict(call.body))
    return services.releases.promotions.request(change.conn, wanted, _by(call))


def verify_promoted(services: Services, call: Call) -> Prepared:
    """The bytes, before the transaction that deploys: reading models takes time that the database is not held for."""
    with services.records.read() as conn:
        promotion = services.releases.promotions.one(conn, call.path["id"])
        digest = services.releases.catalogue.release(conn, promotion.release).digest
    services.release_watch.verify_bytes(promotion.release)
    return Prepared(context={"release": promotion.release, "environment": promotion.environment, "digest": digest})


def verify_asked(services: Services, call: Call) -> Prepared:
    services.release_watch.verify_bytes(call.body.release)
    return keep_reason(services, call)


def approve_promotion(services: Services, call: Call, change: Change) -> Promotion:
    return services.releases.promotions.approve(change.conn, call.path["id"], _by(call), call.body.note)


def deny_promotion(services: Services, call: Call, change: Change) -> Promotion:
    return services.releases.promotions.deny(change.conn, call.path["id"], _by(call), call.body.note)


def cancel_promotion(services: Services, call: Call, change: Change) -> Promotion:
    return services.releases.promotions.cancel(change.conn, call.path["id"], _by(call))


# Environments.


def list_environments(services: Services, call: Call) -> list[EnvironmentState]:
    return services.releases.status(services.release_watch)


def list_deployments(services: Services, call: Call) -> list[HistoryEntry]:
    environment = call.path["environment"]
    services.releases.environments.require(environment)
    with services.records.read() as conn:
        return services.releases.environments.history(conn, environment, call.query.product)


def roll_back(services: Services, call: Call, change: Change) -> HistoryEntry:
    asked = call.body
    return services.releases.environments.roll_back(
        change.conn, call.path["environment"], asked.product, _by(call), asked.release
    )


def look(services: Services, call: Call) -> Prepared:
    problems = services.release_watch.look(call.path["environment"], call.body.product)
    kinds = " ".join(sorted({problem.kind for problem in problems}))
    return Prepared(context={"product": call.body.product, "problems": kinds}, value=problems)


def verify_environment(services: Services, call: Call, change: Change) -> Verification:
    environment, product = call.path["environment"], call.body.product
    return services.release_watch.keep(change.conn, environment, product, call.prepared.value)


def adopt_canary(services: Services, call: Call, change: Change) -> HistoryEntry:
    return services.releases.promotions.adopt(change.conn, call.path["environment"], call.path["product"], _by(call))


def stop_canary(services: Services, call: Call, change: Change) -> Trial:
    return services.releases.trials.stop(change.conn, call.path["environment"], call.path["product"])


def _by(call: Call) -> Subject:
    if call.subject is None:
        raise Unauthenticated("sign in first")
    return call.subject


def _flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted names; what stands in a list with a name of its own goes by that."""
    if isinstance(value, dict):
        pairs = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple) and value and all(isinstance(one, dict) and "name" in one for one in value):
        pairs = [(str(one["name"]), {k: v for k, v in one.items() if k != "name"}) for one in value]
    else:
        return [(prefix.rstrip("."), msgspec.json.encode(value).decode())]
    return [found for name, inner in pairs for found in _flat(inner, f"{prefix}{name}.")]


_environment = named("Environment", "environment")

ROUTES = (
    Route(
        method="GET", path="/releases", name="list_releases", summary="Releases, newest first",
        access="read", action=Action.RELEASE_READ, asset=system, perform=list_releases, query=ReleaseQuery,
        answer=list[Release],
    ),
    Route(
        method="POST", path="/releases", name="build_release",
        summary="Build a release: one signed, immutable manifest",
        access="change", action=Action.RELEASE_BUILD, asset=system, perform=build_release, body=Declaration,
        max_body_bytes=8 << 20, answer=Release, status=201, context=lambda path, body: {"product": body.product},
    ),
    Route(
        method="GET", path="/releases/{id}", name="read_release", summary="A release, its manifest and its evidence",
        access="read", action=Action.RELEASE_READ, asset=named("Release", "id"), perform=read_release,
        answer=ReleaseDetail,
    ),
    Route(
        method="GET", path="/releases/{id}/differences", name="diff_releases",
        summary="What differs between two releases",
        access="read", action=Action.RELEASE_READ, asset=named("Release", "id"), perform=diff_releases,
        query=OtherQuery, answer=list[Difference],
    ),
    Route(
        method="GET", path="/releases/{id}/checks", name="check_release",
        summary="What an environment demands of a release, and how it stands",
        access="read", action=Action.RELEASE_READ, asset=named("Release", "id"), perform=check_release,
        query=EnvironmentQuery, answer=list[CheckResult],
    ),
    Route(
        method="POST", path="/releases/{id}/revocation", name="revoke_release",
        summary="Revoke a release for good; what ran it goes back",
        access="change", action=Action.RELEASE_REVOKE, asset=named("Release", "id"), prepare=keep_reason,
        perform=revoke_release, body=Reason, answer=Revoked,
    ),
    _attest("data"),
    _attest("tests"),
    _attest("threats"),
    Route(
        method="GET", path="/promotions", name="list_promotions", summary="Promotions, newest first",
        access="read", action=Action.RELEASE_READ, asset=system, perform=list_promotions, query=PromotionQuery,
        answer=list[Promotion],
    ),
    Route(
        method="GET", path="/promotions/{id}", name="read_promotion", summary="One promotion and its checks",
        access="read", action=Action.RELEASE_READ, asset=named("Promotion", "id"), perform=read_promotion,
        answer=Promotion,
    ),
    Route(
        method="POST", path="/promotions/{id}/approval", name="approve_promotion",
        summary="Approve a promotion; the last approval that is needed deploys",
        access="change", action=Action.PROMOTION_APPROVE, asset=named("Promotion", "id"), prepare=verify_promoted,
        perform=approve_promotion, body=PromotionVerdict, answer=Promotion,
    ),
    Route(
        method="POST", path="/promotions/{id}/denial", name="deny_promotion", summary="Refuse a promotion",
        access="change", action=Action.PROMOTION_DENY, asset=named("Promotion", "id"), perform=deny_promotion,
        body=PromotionVerdict, answer=Promotion,
    ),
    Route(
        method="DELETE", path="/promotions/{id}", name="cancel_promotion", summary="Cancel your own promotion",
        access="change", action=Action.PROMOTION_CANCEL, asset=named("Promotion", "id"), perform=cancel_promotion,
        answer=Promotion,
    ),
    Route(
        method="GET", path="/environments", name="list_environments",
        summary="What runs where, since when, by whom approved, and when it was verified",
        access="read", action=Action.ENVIRONMENT_READ, asset=system, perform=list_environments,
        answer=list[EnvironmentState],
    ),
    Route(
        method="GET", path="/environments/{environment}/deployments", name="list_deployments",
        summary="What ran in an environment, newest first",
        access="read", action=Action.ENVIRONMENT_READ, asset=_environment, perform=list_deployments,
        query=HistoryQuery, answer=list[HistoryEntry],
    ),
    Route(
        method="POST", path="/environments/{environment}/promotions", name="request_promotion",
        summary="Ask that a release runs in an environment",
        access="change", action=Action.PROMOTION_REQUEST, asset=_environment, prepare=verify_asked,
        perform=request_promotion, body=PromotionAsked, answer=Promotion, status=201,
        context=lambda path, body: {"release": body.release, "mode": body.mode},
    ),
    Route(
        method="POST", path="/environments/{environment}/rollbacks", name="roll_back",
        summary="Run the last good release again, or an earlier one",
        access="change", action=Action.ENVIRONMENT_ROLLBACK, asset=_environment, perform=roll_back,
        body=RollbackAsked, answer=HistoryEntry, status=201,
        context=lambda path, body: {"product": body.product, "to": body.release or "last good"},
    ),
    Route(
        method="POST", path="/environments/{environment}/verifications", name="verify_environment",
        summary="Verify what runs of a product now",
        access="change", action=Action.ENVIRONMENT_VERIFY, asset=_environment, prepare=look,
        perform=verify_environment, body=ProductAsked, answer=Verification, status=201,
    ),
    Route(
        method="POST", path="/environments/{environment}/canaries/{product}/adoption", name="adopt_canary",
        summary="Run the release on trial for every request",
        access="change", action=Action.CANARY_ADOPT, asset=_environment, perform=adopt_canary, answer=HistoryEntry,
        context=lambda path, body: {"product": path["product"]},
    ),
    Route(
        method="DELETE", path="/environments/{environment}/canaries/{product}", name="stop_canary",
        summary="End a trial: every request meets the stable release",
        access="change", action=Action.CANARY_STOP, asset=_environment, perform=stop_canary, answer=Trial,
        context=lambda path, body: {"product": path["product"]},
    ),
)  # fmt: skip
