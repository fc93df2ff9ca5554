"""The vault's secrets: written, never read; versions and who may have them are told."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.gate import Change
from vallum.kernel.keys import MAX_OVERLAP_SECONDS, OVERLAP_SECONDS, SecretRecord, SecretVersion

__all__ = ["ROUTES"]


class SecretValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`consumers` (`provider:NAME`) are who may have it; null keeps those of the version before, of whom there are none
    for a new name. `overlap_seconds` is how long that version stays readable."""

    value: Annotated[str, Meta(min_length=1, max_length=65_536)]
    consumers: Annotated[tuple[str, ...], Meta(max_length=32)] | None = None
    overlap_seconds: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_SECONDS)] = OVERLAP_SECONDS

    def __repr__(self) -> str:
        return "SecretValue(…)"


def list_secrets(services: Services, call: Call) -> list[SecretRecord]:
    return services.vault.list()


def list_versions(services: Services, call: Call) -> list[SecretVersion]:
    return list(services.vault.versions(call.path["name"]))


def put_secret(services: Services, call: Call, change: Change) -> SecretVersion:
    given = call.body
    return services.vault.put(
        change.conn, call.path["name"], given.value.encode(),
        consumers=given.consumers, overlap_seconds=given.overlap_seconds,
    )  # fmt: skip


def rollback(services: Services, call: Call, change: Change) -> SecretVersion:
    return services.vault.rollback(change.conn, call.path["name"])


def delete_secret(services: Services, call: Call, change: Change) -> None:
    services.vault.delete(change.conn, call.path["name"])


def _named(path: Mapping[str, str], body: object) -> dict[str, str | int]:
    return {"name": path["name"][:128]}


def _put(path: Mapping[str, str], body: SecretValue | None) -> dict[str, str | int]:
    if body is None:
        return _named(path, body)
    bound = {} if body.consumers is None else {"consumers": " ".join(body.consumers)[:1000]}
    return {**_named(path, body), **bound, "overlap_seconds": body.overlap_seconds}


ROUTES = (
    Route(
        method="GET", path="/secrets", name="list_secrets", summary="Names in the vault, never values",
        access="read", action=Action.SECRET_LIST, asset=system, perform=list_secrets, answer=list[SecretRecord],
    ),
    Route(
        method="PUT", path="/secrets/{name...}", name="put_secret", summary="Keep a secret, as a new version",
        access="change", action=Action.SECRET_PUT, asset=system, perform=put_secret,
        body=SecretValue, max_body_bytes=1 << 20, answer=SecretVersion, context=_put,
    ),
    Route(
        method="DELETE", path="/secrets/{name...}", name="delete_secret", summary="Forget a secret, all its versions",
        access="change", action=Action.SECRET_DELETE, asset=system, perform=delete_secret, status=204, context=_named,
    ),
    Route(
        method="GET", path="/secret-versions/{name...}", name="list_secret_versions",
        summary="The readable versions of a secret, who may have them and who had them last",
        access="read", action=Action.SECRET_LIST, asset=system, perform=list_versions, answer=list[SecretVersion],
    ),
    Route(
        method="POST", path="/secret-rollbacks/{name...}", name="rollback_secret",
        summary="Use the version of a secret before this one, while it is there",
        access="change", action=Action.SECRET_ROLLBACK, asset=system, perform=rollback, answer=SecretVersion,
        context=_named,
    ),
)  # fmt: skip
