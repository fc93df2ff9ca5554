"""Alerts about exports of data that are unusual for whoever makes them, as `data.egress` judges their days."""

from typing import TYPE_CHECKING

from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock
from vallum.kernel.gate import AccessDenied, Gate
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Subject
from vallum.monitor.alerts import AlertDecided, Alerts, new_alert_id
from vallum.monitor.detectors import Activity

if TYPE_CHECKING:  # handed in by who opened the catalogue; other watchers do without it
    from vallum.data.catalogue.exports import Exports, UnusualExports

__all__ = ["ExportAlerts"]


class ExportAlerts:
    """Safe to share between threads."""

    def __init__(
        self, records: Records, alerts: Alerts, gate: Gate, clock: Clock, subject: Subject, exports: "Exports"
    ) -> None:
        """`subject` is who raises: the platform's own schedules."""
        self._records = records
        self._alerts = alerts
        self._gate = gate
        self._clock = clock
        self._subject = subject
        self._exports = exports

    def raise_for(self, unusual: "UnusualExports") -> str | None:
        """The alert's id, in one transaction with the mark that it is there; None where it was there already, or policy
        keeps the platform from saying it."""
        alert_id = new_alert_id()
        named = {f"export_{name}": why for name, why in unusual.found.items()}
        asset = AssetRef("DataSetVersion", unusual.asset).render()
        context = {"alert": alert_id, "about": unusual.subject, "asset": asset, "detectors": " ".join(named)}
        try:
            with self._gate.change(
                self._subject, Action.ALERT_RAISE, AssetRef("System", "vallum"), context, kind="alert"
            ) as change:
                if not self._exports.told(change.conn, unusual):
                    raise AlertDecided("somebody else raised this alert meanwhile")
                activity = Activity(
                    entry_id=change.receipt.entry_id, at_seconds=int(self._clock.now().timestamp()),
                    subject=unusual.subject, action=str(Action.DATA_EXPORT), asset=asset, allowed=True, privileged=True,
                )  # fmt: skip
                self._alerts.raise_(change.conn, alert_id, activity, named, unusual.holder)
        except (AccessDenied, AlertDecided):
            return None  # each is an entry
        return alert_id

    def raise_untold(self) -> int:
        """Alerts whose finder died before raising them; how many there were. Called now and then."""
        with self._records.read() as conn:
            found = self._exports.untold(conn)
        return sum(self.raise_for(each) is not None for each in found)
