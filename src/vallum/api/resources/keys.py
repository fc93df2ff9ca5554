"""Keysets: their versions, their schedules, and destroying a key."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Prepared, Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.gate import Change
from vallum.kernel.keys import KeysetRecord, Purpose
from vallum.kernel.keys.rotation import MAX_ROTATION_DAYS
from vallum.kernel.ledger.holds import load_holds
from vallum.kernel.upkeep import KeyStatus
from vallum.kernel.values import TenantId

__all__ = ["ROUTES"]

_MAX_VERSION_DIGITS = 10  # of 32 bits


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """0 is never; null is what the settings say."""

    every_days: Annotated[int, Meta(ge=0, le=MAX_ROTATION_DAYS)] | None


class DestroyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`current` says that the version that seals now is meant."""

    current: bool = False


class Rotated(msgspec.Struct, frozen=True):
    version: int


class Counted(msgspec.Struct, frozen=True):
    keys: int


def list_keysets(services: Services, call: Call) -> list[KeysetRecord]:
    with services.records.read() as conn:
        return services.keyring.describe(conn)


def read_key_status(services: Services, call: Call) -> KeyStatus:
    return services.upkeep.status()


def schedule(services: Services, call: Call, change: Change) -> None:
    tenant = TenantId(call.path["tenant"])
    services.upkeep.rotations.schedule(change.conn, tenant, _purpose(call), call.body.every_days)


def rotate(services: Services, call: Call, change: Change) -> Rotated:
    return Rotated(services.keyring.rotate(change.conn, TenantId(call.path["tenant"]), _purpose(call)))


def rewrap(services: Services, call: Call, change: Change) -> Counted:
    return Counted(services.keyring.rewrap(change.conn))


def name_key(services: Services, call: Call) -> Prepared:
    """What the key is known by, for the entry: an auditor can tell which one went."""
    value = services.keyring.check_value(TenantId(call.path["tenant"]), _purpose(call), _version(call))
    return Prepared(context={"check_value": value})


def destroy(services: Services, call: Call, change: Change) -> Counted:
    tenant, purpose, version = TenantId(call.path["tenant"]), _purpose(call), _version(call)
    if purpose is Purpose.CONTENT:
        load_holds(change.conn, lock=True).require_none()
    return Counted(services.keyring.destroy(change.conn, tenant, purpose, version, current=call.query.current))


def _purpose(call: Call) -> Purpose:
    try:
        return Purpose(call.path["purpose"])
    except ValueError:
        raise NotFound(f"a keyset's purpose is one of {', '.join(Purpose)}") from None


def _version(call: Call) -> int:
    text = call.path["version"]
    if not text.isdecimal() or len(text) > _MAX_VERSION_DIGITS:
        raise Invalid("the version of a key is a number")
    return int(text)


def _keyset(path: object, body: object) -> dict[str, str]:
    return {name: str(value)[:128] for name, value in dict(path).items()}  # type: ignore[call-overload]


def _schedule(path: Mapping[str, str], body: Schedule | None) -> dict[str, str | int]:
    every = "default" if body is None or body.every_days is None else body.every_days
    return {**_keyset(path, body), "every_days": every}


ROUTES = (
    Route(
        method="GET", path="/keysets", name="list_keysets", summary="Keysets and the state of their versions",
        access="read", action=Action.KEYSET_READ, asset=system, perform=list_keysets, answer=list[KeysetRecord],
    ),
    Route(
        method="GET", path="/keysets/status", name="read_key_status", summary="What is due for rotation, and when",
        access="read", action=Action.KEYSET_READ, asset=system, perform=read_key_status, answer=KeyStatus,
    ),
    Route(
        method="PUT", path="/keysets/{tenant}/{purpose}/schedule", name="schedule_keyset",
        summary="How often a keyset is rotated",
        access="change", action=Action.KEYSET_SCHEDULE, asset=system, perform=schedule, body=Schedule, status=204,
        context=_schedule,
    ),
    Route(
        method="POST", path="/keysets/rewrap", name="rewrap_keysets", summary="Wrap all under the newest root key",
        access="change", action=Action.KEYSET_ROTATE, asset=system, perform=rewrap, answer=Counted,
    ),
    Route(
        method="POST", path="/keysets/{tenant}/{purpose}/versions", name="rotate_keyset",
        summary="A fresh key version; older ones still open what they sealed",
        access="change", action=Action.KEYSET_ROTATE, asset=system, perform=rotate, answer=Rotated, status=201,
        context=_keyset,
    ),
    Route(
        method="DELETE", path="/keysets/{tenant}/{purpose}/versions/{version}", name="destroy_key",
        summary="Destroy a key version, and with it everything it sealed",
        access="change", action=Action.KEYSET_DESTROY, asset=system, prepare=name_key, perform=destroy,
        query=DestroyQuery, answer=Counted,
        context=_keyset,
    ),
)  # fmt: skip
