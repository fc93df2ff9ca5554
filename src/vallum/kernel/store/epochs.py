"""Epochs: how every process learns that what it holds in memory is out of date.

A change bumps a named counter in its own transaction; each process polls the one small table several times a
second and drops what depends on a counter that moved. This reaches every replica within the one second that
revocation promises, on SQLite and PostgreSQL alike and with no message bus. A process that cannot poll cannot
commit ledger entries either, so under strict audit it answers nobody on stale state.
"""

from collections.abc import Callable, Mapping
from threading import Event, Thread

from sqlalchemy import BigInteger, Column, Connection, Table, Text, select, update

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.records import Records, metadata
from vallum.kernel.store.upsert import upsert

__all__ = ["EpochWatch", "bump_epoch", "read_epochs"]

_epochs = Table("epochs", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False))


def bump_epoch(conn: Connection, name: str) -> None:
    """Tell every process that `name` changed, when and only when the caller's transaction commits."""
    insert = upsert(conn, _epochs)
    conn.execute(insert.values(name=name, value=0).on_conflict_do_nothing())
    conn.execute(update(_epochs).where(_epochs.c.name == name).values(value=_epochs.c.value + 1))


def read_epochs(conn: Connection) -> Mapping[str, int]:
    return {row.name: row.value for row in conn.execute(select(_epochs))}


class EpochWatch:
    """Calls what subscribed to an epoch, from its own thread, after that epoch moved."""

    def __init__(self, records: Records, interval_seconds: float = 0.25) -> None:
        self._records = records
        self._interval_seconds = interval_seconds
        self._subscribers: dict[str, list[Callable[[], None]]] = {}
        self._seen: Mapping[str, int] = {}
        self._stop = Event()
        self._thread: Thread | None = None

    def subscribe(self, name: str, refresh: Callable[[], None]) -> None:
        """`refresh` must be quick and safe to call twice; it runs on the watch's thread.

        Before `start` or after it, from any thread; who subscribes after it refreshes once itself.
        """
        self._subscribers.setdefault(name, []).append(refresh)

    def poll_once(self) -> None:
        """Read the table and refresh what moved. Raises Unavailable when the database does not answer."""
        with self._records.read() as conn:
            current = read_epochs(conn)
        moved = [name for name in list(self._subscribers) if current.get(name) != self._seen.get(name)]
        for name in moved:
            for refresh in self._subscribers[name]:
                refresh()
        self._seen = current

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="epoch-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            try:
                self.poll_once()
            except Unavailable:
                continue  # the next poll sees every move this one missed
