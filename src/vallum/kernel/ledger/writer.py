"""Group commit: concurrent records share one transaction, and each caller learns when its own is durable.

One thread drains a queue. While a commit is on its way to the disk the next batch gathers by itself, so that one
caller waits for one commit and a thousand callers wait for few. Where many requests are under way, the first to end
waits some milliseconds for others to share its commit; a lone one never waits. A commit that fails fails every caller
in it: nobody is told that an entry exists that does not.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from vallum.kernel.errors import Unavailable
from vallum.kernel.ledger.entry import EntryDraft, Receipt
from vallum.kernel.ledger.ledger import Ledger, PreparedEntry
from vallum.kernel.store.records import Records

__all__ = ["LedgerWriter"]

_MANY = 8  # requests under way that make waiting for company worth it
_GATHER_SECONDS = 0.004  # some commits' worth of work; nothing beside the answer of a model
MAX_BATCH = 512  # keeps one transaction short enough that a control-plane change need not wait for it


class WriterClosed(Unavailable):
    """The process is shutting down."""

    code = "ledger_closed"


@dataclass(frozen=True, slots=True)
class _Waiting:
    prepared: PreparedEntry
    future: "asyncio.Future[Receipt] | Future[Receipt]"
    loop: asyncio.AbstractEventLoop | None


class LedgerWriter:
    """Start before use; `close` flushes what was accepted."""

    def __init__(self, ledger: Ledger, records: Records, *, after_commit: Callable[[], None] = lambda: None) -> None:
        """`after_commit` is told of each commit (the sequencer's wake-up); it must be quick."""
        self.under_way: Callable[[], int] = lambda: 0  # how many will record before long, as far as anybody knows
        self._ledger = ledger
        self._records = records
        self._after_commit = after_commit
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="ledger-writer", daemon=True)
        self._closed = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Refuse new entries, commit the accepted ones, and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    async def record(self, draft: EntryDraft) -> Receipt:
        """Return once the entry is durable. Raises Unavailable when it cannot be, Invalid for a bad draft."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        self._put(_Waiting(self._ledger.prepare(draft), future, loop))
        return await future

    def record_sync(self, draft: EntryDraft) -> Receipt:
        """The same for threads."""
        future: Future[Receipt] = Future()
        self._put(_Waiting(self._ledger.prepare(draft), future, None))
        return future.result()

    def _put(self, waiting: _Waiting) -> None:
        if self._closed:
            raise WriterClosed("the ledger is closing: send the request again")
        self._queue.put(waiting)

    def _run(self) -> None:
        closing = False
        while not closing:
            batch: list[_Waiting] = []
            item = self._queue.get()
            if item is not None and self.under_way() >= _MANY:
                time.sleep(_GATHER_SECONDS)
            while True:
                if item is None:
                    closing = True
                    break
                batch.append(item)
                if len(batch) >= MAX_BATCH:
                    break
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            with self._records.write() as conn:
                receipts = self._ledger.append_prepared(conn, [waiting.prepared for waiting in batch])
        except Exception as e:  # noqa: BLE001  the outermost loop of this thread: whoever waits must hear of it
            failure = Unavailable("the ledger could not be written, so the request was refused; try again")
            failure.__cause__ = e
            _settle(batch, failure)
            return
        _settle(batch, receipts)
        self._after_commit()


def _settle(batch: Sequence[_Waiting], outcome: Sequence[Receipt] | Exception) -> None:
    """Wake each event loop once for all of its waiters."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
    for at, waiting in enumerate(batch):
        result = outcome if isinstance(outcome, Exception) else outcome[at]
        if waiting.loop is None:
            _resolve(waiting.future, result)
        else:
            by_loop.setdefault(waiting.loop, []).append(_resolver(waiting.future, result))
    for loop, resolvers in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_run_all, resolvers)


def _resolver(future: "asyncio.Future[Receipt] | Future[Receipt]", result: Receipt | Exception) -> Callable[[], None]:
    return lambda: _resolve(future, result)


def _run_all(resolvers: Sequence[Callable[[], None]]) -> None:
    for resolve in resolvers:
        resolve()


def _resolve(future: "asyncio.Future[Receipt] | Future[Receipt]", result: Receipt | Exception) -> None:
    if future.done():  # the caller was cancelled; its entry exists all the same
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
