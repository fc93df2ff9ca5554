"""PostgreSQL's sequencer: among many replicas, one at a time numbers entries and extends the tree.

Elected for each run by a transaction-scoped advisory lock, so that a leader that dies holds nothing. Entries are
taken in insertion order among those committed; one that commits late is simply numbered in a later run.
"""

from threading import Event, Thread

from sqlalchemy import text

from vallum.kernel.errors import VallumError
from vallum.kernel.ledger.ledger import Ledger
from vallum.kernel.store.records import Records

__all__ = ["Sequencer"]

_LOCK = 0x76616C6C756D  # "vallum": one log to a database
MAX_RUN = 5_000


class Sequencer:
    """Harmless on SQLite, where appends number their entries themselves."""

    def __init__(self, ledger: Ledger, records: Records, interval_seconds: float = 0.2) -> None:
        self._ledger = ledger
        self._records = records
        self._interval_seconds = interval_seconds
        self._wake = Event()
        self._stopping = False
        self._thread: Thread | None = None

    def run_once(self) -> int:
        """Number what waits, if no other replica is at it; how many entries were numbered."""
        if self._records.dialect == "sqlite":
            return 0
        with self._records.write() as conn:
            if not conn.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar_one():
                return 0
            return self._ledger.sequence(conn, MAX_RUN)

    def wake(self) -> None:
        """Run soon: something was committed."""
        self._wake.set()

    def start(self) -> None:
        if self._records.dialect == "sqlite":
            return
        self._thread = Thread(target=self._run, name="ledger-sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._interval_seconds)
            self._wake.clear()
            try:
                while self.run_once() == MAX_RUN:
                    pass
            except VallumError:
                continue  # the database is away; entries wait and the next run numbers them
