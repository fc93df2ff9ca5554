"""What Vallum does for its own keys: rotate what is due, say what is overdue, erase secrets that were replaced.

Through the gate, as anybody.

The background process calls `run` each hour. What cannot be replaced without somebody's help (the root key, signing
keys, API keys, client secrets) is only reported: one entry of kind `alert` a week for each thing that is overdue, so
that monitoring can tell people. One thing that fails keeps nothing else from being done.
"""

import logging

import msgspec

from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock
from vallum.kernel.errors import VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.identity.ageing import ageing_credentials
from vallum.kernel.keys import Keyring, Purpose, Rotation, Rotations, Vault
from vallum.kernel.keys.records import alert_due, keep_alert
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Subject, TenantId

__all__ = ["KeyStatus", "Upkeep"]

_log = logging.getLogger("vallum")

_ALERT_SECONDS = 7 * 86_400
_SYSTEM = AssetRef("System", "vallum")


class KeyStatus(msgspec.Struct, frozen=True):
    """`rotations` are all keysets, the root key and signing keys, and of credentials those that are due."""

    root: str
    overdue: int
    rotations: tuple[Rotation, ...]


class Upkeep:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        keyring: Keyring,
        vault: Vault,
        rotations: Rotations,
        gate: Gate,
        clock: Clock,
        subject: Subject,
    ) -> None:
        """`subject` is Vallum itself."""
        self._records = records
        self._keyring = keyring
        self._vault = vault
        self._gate = gate
        self._clock = clock
        self._subject = subject
        self.rotations = rotations

    def status(self) -> KeyStatus:
        with self._records.read() as conn:
            found = self.rotations.status(conn)
            found += ageing_credentials(conn, self._clock, self.rotations.rules.max_age_days)
        overdue = sum(one.state == "overdue" for one in found)
        return KeyStatus(self._keyring.root_name, overdue, tuple(found))

    def run(self) -> None:
        """Nothing due, no entry. What another process erased has no copy left in SQLite's log afterwards."""
        self._erase_secrets()
        self._records.cut_log()
        for one in self.status().rotations:
            try:
                if one.automatic and one.state != "current":
                    self._rotate(one)
                elif one.state == "overdue":
                    self._alert(one)
            except VallumError as e:
                _log.error("the upkeep of %s %s failed: %s", one.kind, one.name, e)

    def _erase_secrets(self) -> None:
        with self._records.read() as conn:
            versions = self._vault.expired(conn)
        if not versions:
            return
        with self._gate.change(self._subject, Action.SECRET_EXPIRE, _SYSTEM, {"versions": versions}) as change:
            self._vault.erase_expired(change.conn)

    def _rotate(self, one: Rotation) -> None:
        tenant, _, purpose = one.name.rpartition("/")
        context = {"tenant": tenant, "purpose": purpose, "due_at": one.due_at or ""}
        with self._gate.change(self._subject, Action.KEYSET_ROTATE, _SYSTEM, context) as change:
            self._keyring.rotate(change.conn, TenantId(tenant), Purpose(purpose))

    def _alert(self, one: Rotation) -> None:
        name, now = f"{one.kind}:{one.name}", int(self._clock.now().timestamp())
        with self._records.read() as conn:
            if not alert_due(conn, name, now, _ALERT_SECONDS):
                return
        context = {"thing": one.kind, "name": one.name, "since": one.since, "due_at": one.due_at or ""}
        with self._gate.change(self._subject, Action.ROTATION_OVERDUE, _SYSTEM, context, kind="alert") as change:
            keep_alert(change.conn, name, now)
