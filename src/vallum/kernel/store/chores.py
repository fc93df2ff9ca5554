"""Small work that each process does now and then, on a thread of its own: nothing that others wait for waits for it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic

from vallum.kernel.errors import VallumError

__all__ = ["Chores"]

_log = logging.getLogger("vallum")

_TICK_SECONDS = 1.0


@dataclass(slots=True)
class _Chore:
    seconds: float
    work: Callable[[], None]
    due: float


class Chores:
    def __init__(self) -> None:
        self._work: list[_Chore] = []
        self._stop = Event()
        self._thread: Thread | None = None

    def every(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this now and then while running, and once more at the end. One that fails is tried again the next time.

        Before `start` or after it, from any thread.
        """
        self._work.append(_Chore(seconds, work, monotonic() + seconds))

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="chores", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            for chore in list(self._work):
                if monotonic() >= chore.due:
                    _do(chore.work)
                    chore.due = monotonic() + chore.seconds
        for chore in list(self._work):
            _do(chore.work)


def _do(work: Callable[[], None]) -> None:
    try:
        work()
    except VallumError as e:
        _log.warning("a chore was not done: %s", e)
    except Exception as e:  # noqa: BLE001  the outermost loop of a thread that nobody would start again
        _log.error("a chore was not done: %s", type(e).__name__, exc_info=e)
