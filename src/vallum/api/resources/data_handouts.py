"""Who was handed rows of a data set, and has them mounted: told from the ledger, which keeps each of these reads."""

from typing import Literal

import msgspec

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.clock import format_time
from vallum.kernel.ledger.entry import StoredEntry

__all__ = ["ROUTES", "HandOut"]

_MOST_VERSIONS = 100
_MOST_OF_A_VERSION = 500  # entries that are looked at
_MOST = 200


class HandOut(msgspec.Struct, frozen=True):
    """Rows that were sent. A mount lies with `run` until its job ends, and until `until` at most; `mounted`
    says that this is not over. `masked` of the `columns` came masked."""

    version: str
    kind: Literal["mount", "read", "export"]
    at: str
    by: str
    purpose: str
    rows: int
    columns: int
    masked: int
    run: str
    until: str
    mounted: bool
    entry_id: str


def list_handouts(services: Services, call: Call) -> list[HandOut]:
    found: list[HandOut] = []
    now = format_time(services.clock.now())
    with services.records.read() as conn:
        for version in services.data.versions(conn, call.path["name"], limit=_MOST_VERSIONS):
            entries = services.ledger.entries(
                conn, asset=f"DataSetVersion:{version.id}", effect="allow", newest_first=True, limit=_MOST_OF_A_VERSION
            )
            found += [_handed(version.id, one, now) for one in entries if one.action in _SENT and "rows" in one.context]
    return sorted(found, key=lambda one: one.at, reverse=True)[:_MOST]


_SENT = (Action.DATA_READ, Action.DATA_EXPORT)


def _handed(version: str, entry: StoredEntry, now: str) -> HandOut:
    told = entry.context
    until = str(told.get("until", ""))
    kind: Literal["mount", "read", "export"] = "export" if entry.action == Action.DATA_EXPORT else "read"
    return HandOut(
        version, "mount" if until else kind, entry.time, entry.subject, str(told.get("purpose", "")),
        int(told["rows"]), int(told.get("columns", 0)), int(told.get("masked", 0)), str(told.get("run", "")), until,
        until > now, entry.entry_id,
    )  # fmt: skip


ROUTES = (
    Route(
        method="GET", path="/data-sets/{name}/handouts", name="list_data_handouts",
        summary="Who was handed rows of a data set, by mount, read or export, the newest first",
        access="read", action=Action.DATA_EGRESS_READ, asset=system, perform=list_handouts, answer=list[HandOut],
    ),
)  # fmt: skip
