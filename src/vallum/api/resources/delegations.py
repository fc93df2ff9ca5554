"""What a person lets applications do for them at the gateway."""

from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import Invalid
from vallum.kernel.gate import Change
from vallum.kernel.identity import Delegation, IssuedDelegation
from vallum.kernel.identity.delegations import MAX_DELEGATION_SECONDS
from vallum.kernel.values import AssetRef

__all__ = ["ROUTES"]


class NewDelegation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    application_id: Annotated[str, Meta(max_length=256)]
    seconds: Annotated[int, Meta(ge=60, le=MAX_DELEGATION_SECONDS)] = 8 * 3600


def create_delegation(services: Services, call: Call, change: Change) -> IssuedDelegation:
    wanted = call.body
    return services.identity.delegations.create(
        change.conn, _person_id(call), wanted.application_id, wanted.seconds
    )  # fmt: skip


def list_delegations(services: Services, call: Call) -> list[Delegation]:
    return services.identity.delegations.list(_person_id(call))


def end_delegation(services: Services, call: Call, change: Change) -> None:
    services.identity.delegations.end(change.conn, call.path["id"], _person_id(call))


def _person_id(call: Call) -> str:
    if call.session is None:
        raise Invalid("this is for people who are signed in: vallum login")
    return call.session.person_id


ROUTES = (
    Route(
        method="POST", path="/delegations", name="create_delegation",
        summary="Let an application act for you at the gateway; the token is shown once",
        access="change", action=Action.DELEGATION_CREATE,
        asset=lambda path, body: AssetRef("Application", body.application_id if body is not None else ""),
        perform=create_delegation, body=NewDelegation, answer=IssuedDelegation, status=201,
        context=lambda path, body: {"seconds": body.seconds},
    ),
    Route(
        method="GET", path="/delegations", name="list_delegations", summary="The applications that may act for you",
        access="read", action=Action.ACCOUNT_READ, asset=system, perform=list_delegations, answer=list[Delegation],
    ),
    Route(
        method="DELETE", path="/delegations/{id}", name="end_delegation",
        summary="End what you let an application do, everywhere within a second",
        access="change", action=Action.DELEGATION_END, asset=system, perform=end_delegation, status=204,
        context=lambda path, body: {"delegation": path["id"][:128]},
    ),
)  # fmt: skip
