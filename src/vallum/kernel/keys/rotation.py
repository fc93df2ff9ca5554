"""When keys are replaced: how long each kind may be in use, and what is due.

Owns the rule and each keyset's own schedule. Leaves rotating what is due, and saying what is overdue, to
`kernel.upkeep`. A keyset's age is that of its newest version; the root key's is that of the oldest wrapping in use,
since rotating a root wraps every key anew. Answers keys that are in use for longer than anybody meant (NIST SP 800-57
part 1, section 5.3: cryptoperiods).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from sqlalchemy import Connection

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.keys import records as table
from vallum.kernel.keys.keyring import Keyring
from vallum.kernel.keys.model import KeysetRecord, Purpose
from vallum.kernel.values import TenantId

__all__ = ["MAX_ROTATION_DAYS", "Rotation", "RotationRules", "Rotations", "rotation_of"]

MAX_ROTATION_DAYS = 36_500
_GRACE_DAYS = 7  # for which what is due is not yet overdue: the background process, or a person, gets to it

Rotated = Literal["keyset", "root_key", "signing_key", "api_key", "client_secret"]


class Rotation(msgspec.Struct, frozen=True):
    """One thing that is replaced now and then. `name` is `tenant/purpose` for a keyset, else a name or an id.

    `since` is from when its age counts, `every_days` how old it may be (0: any age), `due_at` when it is that old.
    `automatic` says that the background process replaces it.
    """

    kind: Rotated
    name: str
    since: str
    every_days: int
    due_at: str | None
    state: Literal["current", "due", "overdue"]
    automatic: bool = False


class RotationRules(msgspec.Struct, frozen=True):
    """Days for keysets without a schedule of their own; whether keysets rotate by themselves; days for the rest."""

    rotation_days: int = 365
    automatic: bool = True
    max_age_days: int = 365


def rotation_of(
    kind: Rotated, name: str, since: str, every_days: int, now: datetime, *, automatic: bool = False
) -> Rotation:
    """`since` is RFC 3339. A thing of tomorrow, by a clock that was wrong, is current."""
    if not every_days:
        return Rotation(kind, name, since, 0, None, "current", automatic)
    due = datetime.fromisoformat(since) + timedelta(days=every_days)
    state: Literal["current", "due", "overdue"] = "current"
    if now >= due:
        state = "overdue" if now >= due + timedelta(days=_GRACE_DAYS) else "due"
    return Rotation(kind, name, since, every_days, format_time(due), state, automatic)


class Rotations:
    """What the tables of keys say of their age. Safe to share between threads."""

    def __init__(self, keyring: Keyring, clock: Clock, rules: RotationRules) -> None:
        self._keyring = keyring
        self._clock = clock
        self.rules = rules

    def schedule(self, conn: Connection, tenant: TenantId, purpose: Purpose, every_days: int | None) -> None:
        """Rotate this keyset so often; 0 is never, None as the settings say.

        Raises NotFound when nothing was ever sealed there, Invalid for a number out of range.
        """
        if every_days is not None and not 0 <= every_days <= MAX_ROTATION_DAYS:
            raise Invalid(f"a keyset is rotated every 1 to {MAX_ROTATION_DAYS} days, or never (0)")
        if table.newest_key(conn, tenant, purpose) is None:
            raise NotFound(f"there is no keyset for {purpose} of tenant {tenant}; it is made when first used")
        table.put_schedule(conn, tenant, purpose, every_days)

    def status(self, conn: Connection) -> list[Rotation]:
        """Keysets by tenant and purpose, then the root key and signing keys."""
        own = table.schedules(conn)
        return [
            *(self._keyset(keyset, own) for keyset in self._keyring.describe(conn)),
            *self._root_key(table.all_keys(conn)),
            *(self._reported("signing_key", name, since) for name, since in table.signing_keys(conn)),
        ]

    def _keyset(self, keyset: KeysetRecord, own: dict[tuple[str, str], int]) -> Rotation:
        """One whose newest version was destroyed has nothing to replace: the next use makes a fresh one."""
        days = own.get((keyset.tenant, keyset.purpose), self.rules.rotation_days)
        return rotation_of(
            "keyset",
            f"{keyset.tenant}/{keyset.purpose}",
            keyset.versions[-1].created_at,
            days if keyset.current is not None else 0,
            self._clock.now(),
            automatic=self.rules.automatic,
        )

    def _root_key(self, rows: Sequence[table.KeyRow]) -> list[Rotation]:
        wrapped = [row.wrapped_at or row.created_at for row in rows if row.wrapped is not None]
        return [self._reported("root_key", self._keyring.root_name, min(wrapped))] if wrapped else []

    def _reported(self, kind: Rotated, name: str, since: str) -> Rotation:
        return rotation_of(kind, name, since, self.rules.max_age_days, self._clock.now())
