"""Small work that each process does now and then, on a thread of its own: nothing that others wait for waits for it."""

import logging
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

from vallum.kernel.errors import VallumError

__all__ = ["Chores"]

_log = logging.getLogger("vallum")

_TICK_SECONDS = 1.0


class Chores:
    def __init__(self) -> None:
        self._work: list[tuple[float, Callable[[], None]]] = []
        self._stop = Event()
        self._thread: Thread | None = None

    def every(self, seconds: float, work: Callable[[], None]) -> None:
        """Do this now and then while running, and once more at the end. One that fails is tried again the next time."""
        self._work.append((seconds, work))

    def start(self) -> None:
        self._thread = Thread(target=self._run, name="chores", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due = [monotonic() + seconds for seconds, _ in self._work]
        while not self._stop.wait(_TICK_SECONDS):
            for number, (seconds, work) in enumerate(self._work):
                if monotonic() >= due[number]:
                    _do(work)
                    due[number] = monotonic() + seconds
        for _, work in self._work:
            _do(work)


def _do(work: Callable[[], None]) -> None:
    try:
        work()
    except VallumError as e:
        _log.warning("a chore was not done: %s", e)
