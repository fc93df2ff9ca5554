"""The platform's own state."""

import msgspec

from vallum import __version__
from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.monitor import read_until

__all__ = ["ROUTES", "Status"]


class Status(msgspec.Struct, frozen=True):
    """`ledger_size` counts entries in the tree, `ledger_pending` durable ones that wait for their number, and
    `unwatched` those that watching has not read yet.
    """

    version: str
    environment: str
    policy_set: str
    ledger_size: int
    ledger_pending: int
    unwatched: int
    applications: int
    models: int
    providers: int


def read_status(services: Services, call: Call) -> Status:
    configuration = services.inventory.configuration
    with services.records.read() as conn:
        size, pending = services.ledger.size(conn), services.ledger.pending(conn)
        unwatched = size - read_until(conn, "accounts", size)
    return Status(
        __version__, services.environment, services.policy.policy_set.digest, size, pending, unwatched,
        len(configuration.applications), len(configuration.models), len(configuration.providers),
    )  # fmt: skip


ROUTES = (
    Route(
        method="GET", path="/status", name="read_status", summary="The platform's state at a glance",
        access="read", action=Action.STATUS_READ, asset=system, perform=read_status, answer=Status,
    ),
)  # fmt: skip
