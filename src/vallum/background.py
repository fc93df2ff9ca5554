"""What one process of all does beside serving: numbering, publishing, watching, and forgetting what has expired.

Each on a thread that outlives whatever a single round of it runs into: nobody would start it again.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from vallum.compose import SYSTEM_SUBJECT, Platform
from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound, VallumError
from vallum.kernel.ledger.publisher import Publisher
from vallum.kernel.ledger.sequencer import Sequencer
from vallum.kernel.values import AssetRef
from vallum.monitor import AccountWatch, Notifier
from vallum.serving.witnesses import open_witnessing
from vallum.settings import Settings

__all__ = ["Background", "expire_contents", "expire_data", "expire_uploads", "published_checkpoint"]

_log = logging.getLogger("vallum")

_HOURLY = "17 * * * *"
_DAILY = "41 3 * * *"
_WATCH_SECONDS = 2.0
_TRIAL_SECONDS = 10.0
_ERASURE_SECONDS = 3.0
_SCHEDULES_AFTER_SECONDS = 30  # the most frequent is once a minute; half a second's work, which no first request shares
_EXPORT_SECONDS = 30.0
_EXPIRED_AT_ONCE = 50  # a name of 128 characters and a digest each, of the 64 kB that an entry has
_WATCH_STOP_SECONDS = 5.0  # what a receiver of notices is waited for; its notice is sent again after the next start


class Background:
    """`check`, `start`, and `stop` before the platform is closed."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        from vallum.kernel.store.blobs import Blobs

        settings = platform.settings
        self._sequencer = Sequencer(platform.ledger, platform.records)
        blobs = Blobs.open(settings.blobs_url)
        files = _LedgerFiles(blobs)
        witnessing = open_witnessing(settings.ledger.witness_policy_file)
        self._publisher = Publisher(platform.ledger, platform.records, files, settings.checkpoint_path, witnessing)
        self._stop = Event()
        # A thread each: a receiver of notices that dribbles holds up no other, and no watching.
        self._watching = [
            Thread(target=self._watch, args=(poll,), name="watching", daemon=True) for poll in _watchers(platform)
        ]
        self._publishing = Thread(target=self._publish, name="ledger-publisher", daemon=True)
        self._durable_work = Thread(target=self._work, name="durable-work", daemon=True)
        self._durable: Any = None

    def check(self) -> None:
        """Raises LedgerRolledBack when the database is not a continuation of its published checkpoint."""
        self._publisher.check()

    def start(self) -> None:
        if self._platform.records.dialect == "postgresql":  # on SQLite an entry has its number when it is durable
            self._sequencer.start()
        self._publishing.start()
        for thread in self._watching:
            thread.start()
        self._durable_work.start()

    def stop(self) -> None:
        if not self._publishing.is_alive():
            return  # never started
        self._stop.set()
        if self._platform.records.dialect == "postgresql":
            self._sequencer.stop()
        self._publishing.join()
        for thread in self._watching:
            thread.join(_WATCH_STOP_SECONDS)
        self._durable_work.join()
        if self._durable is not None:
            self._durable.stop()
        self._publish_once()

    def _watch(self, poll: Callable[[], int]) -> None:
        """Reads on from where it was, whatever happened the last time."""
        while not self._stop.wait(_WATCH_SECONDS):
            try:
                poll()
            except VallumError as e:
                _log.warning("watching: %s", e)
            except Exception as e:  # noqa: BLE001  the outermost loop of a thread that nobody would start again
                _log.error("watching: %s", type(e).__name__, exc_info=e)

    def _publish(self) -> None:
        while not self._stop.wait(self._platform.settings.ledger.publish_seconds):
            self._publish_once()

    def _publish_once(self) -> None:
        try:
            self._publisher.run_once()
        except VallumError as e:
            _log.error("the ledger was not published: %s", e)
        except Exception as e:  # noqa: BLE001  the outermost loop of a thread that nobody would start again
            _log.error("the ledger was not published: %s", type(e).__name__, exc_info=e)

    def _work(self) -> None:
        """Imports and opens the durable engine after the start, which need not wait for it."""
        if self._stop.wait(_SCHEDULES_AFTER_SECONDS):
            return
        from vallum.kernel.store.durable import Durable

        try:
            durable = Durable(self._platform.settings.records_url)
            durable.schedule("retention", _HOURLY, partial(expire_contents, self._platform))
            durable.schedule("uploads", _HOURLY, partial(expire_uploads, self._platform))
            durable.schedule("data-sets", _HOURLY, partial(expire_data, self._platform))
            minutes = self._platform.settings.releases.verify_minutes
            durable.schedule("releases", f"*/{minutes} * * * *", self._platform.control.services.release_watch.run)
            durable.schedule("upkeep", _HOURLY, self._platform.control.services.upkeep.run)
            durable.schedule("dependencies", _DAILY, self._platform.control.services.dependency_watch.run)
            durable.start()
        except VallumError as e:
            _log.error("schedules do not run: %s", e)
            return
        self._durable = durable


def _watchers(platform: Platform) -> list[Callable[[], int]]:
    """What follows the ledger: accounts, and whoever is to be told."""
    from vallum.serving.notices import open_channels

    settings, records, ledger = platform.settings, platform.records, platform.ledger
    alerts = platform.control.services.alerts
    accounts = AccountWatch(records, ledger, platform.gate, alerts, SYSTEM_SUBJECT)
    channels = open_channels(settings.notices, platform.clock)
    trials = _now_and_then(_TRIAL_SECONDS, platform.control.services.release_watch.run_trials)
    erasures = _now_and_then(_ERASURE_SECONDS, platform.control.services.subject_erasures.go_on)
    exports = _now_and_then(_EXPORT_SECONDS, platform.control.services.export_alerts.raise_untold)
    return [
        accounts.poll,
        trials,
        erasures,
        exports,
        *(Notifier(channel, records, ledger, settings.url).poll for channel in channels),
    ]


def _now_and_then(seconds: float, work: Callable[[], object]) -> Callable[[], int]:
    """`work` at most that often, of a poll that comes more often."""
    last = -seconds

    def poll() -> int:
        nonlocal last
        if monotonic() - last < seconds:
            return 0
        last = monotonic()
        work()
        return 1

    return poll


def expire_contents(platform: Platform) -> None:
    """Remove sealed contents whose retention is over; the change is one entry. Nothing expired, no entry."""
    with platform.records.read() as conn:
        if not platform.ledger.expired(conn):
            return
    ledger = AssetRef("Ledger", "vallum")
    with platform.gate.change(SYSTEM_SUBJECT, Action.CONTENT_EXPIRE, ledger, {}) as change:
        platform.ledger.shred_expired(change.conn)


def expire_uploads(platform: Platform) -> None:
    """Let uploads of models vanish that nothing arrived for since yesterday; the change is one entry."""
    uploads = platform.control.services.models.uploads
    with platform.records.read() as conn:
        found = uploads.expired(conn)
    if not found:
        return
    system = AssetRef("System", "vallum")
    with platform.gate.change(SYSTEM_SUBJECT, Action.UPLOAD_EXPIRE, system, {"uploads": len(found)}) as change:
        uploads.expire(change.conn)


def expire_data(platform: Platform) -> None:
    """Destroy the keys of data whose time is over, and let intakes vanish that nothing happened to since yesterday;
    fifty versions are one entry. What is under legal hold or in use stays, and the latter is told of once a week."""
    data = platform.control.services.data
    with platform.records.read() as conn:
        due = [one for one in data.retention.due(conn) if one.state == "due"]
        cases, intakes = data.retention.orphaned(conn), data.intakes.expired(conn)
        overdue = data.retention.untold(conn)
    system = AssetRef("System", "vallum")
    for first in range(0, max(len(due), bool(cases or intakes)), _EXPIRED_AT_ONCE):
        some = due[first : first + _EXPIRED_AT_ONCE]
        told: dict[str, str | int] = {
            "versions": " ".join(one.id for one in some), "digests": " ".join(one.digest for one in some),
            "cases": " ".join(cases[:_EXPIRED_AT_ONCE]), "intakes": len(intakes),
        }  # fmt: skip
        with platform.gate.change(SYSTEM_SUBJECT, Action.DATA_EXPIRE, system, told) as change:
            data.retention.expire(change.conn, some, cases[:_EXPIRED_AT_ONCE])
            data.intakes.erase(change.conn, intakes)
        cases, intakes = cases[_EXPIRED_AT_ONCE:], []
    for one in overdue:
        context: dict[str, str | int] = {
            "version": one.id, "until": one.expires_at, "used_by": ", ".join(one.used_by)[:500]
        }  # fmt: skip
        asset = AssetRef("DataSetVersion", one.id)
        with platform.gate.change(SYSTEM_SUBJECT, Action.DATA_OVERDUE, asset, context, kind="alert") as change:
            data.retention.told(change.conn, one)


def published_checkpoint(settings: Settings) -> bytes | None:
    """The newest head in the blob store; None when none was published."""
    from vallum.kernel.store.blobs import Blobs

    url = settings.blobs_url
    if url.startswith("file://") and not Path(url.removeprefix("file://")).exists():
        return None  # opening a folder makes it, and whoever only looks makes nothing
    try:
        return _LedgerFiles(Blobs.open(url)).get("checkpoint")
    except NotFound:
        return None


class _LedgerFiles:
    """The part of the blob store that the published log lives in."""

    def __init__(self, blobs: Any) -> None:
        """`blobs` is `kernel.store.blobs.Blobs`, which only the processes that publish import."""
        self._blobs = blobs

    def put(self, key: str, data: bytes) -> None:
        self._blobs.put(f"ledger/{key}", data)

    def get(self, key: str) -> bytes:
        return bytes(self._blobs.get(f"ledger/{key}"))
