"""Keeping a claim on long work, so that nobody takes it over while it goes on, and somebody does when it has died."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from sqlalchemy import Connection

from vallum.kernel.errors import Unavailable
from vallum.kernel.store.records import Records

__all__ = ["renewed"]


@contextmanager
def renewed(records: Records, renew: Callable[[Connection], object], seconds: float) -> Iterator[None]:
    """Calls `renew` in a transaction of its own every `seconds` of the block; a database that is away is asked anew."""
    over = Event()

    def keep() -> None:
        while not over.wait(seconds):
            with suppress(Unavailable), records.write() as conn:
                renew(conn)

    thread = Thread(target=keep, name="renewing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
