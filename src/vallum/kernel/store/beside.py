"""Work on bytes as they pass by, in a thread of its own: hashed while they are sealed and written.

What only moves bytes is not worth it: written by another thread than they were sealed by, they are fetched from the
other core's cache, which costs what is gained.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

__all__ = ["Beside"]

_BATCH_BYTES = 1 << 20  # at once: to hand something over costs as much as to hash a tenth of it
_AHEAD_BYTES = 4 << 20  # that the work may lag behind: so that neither core waits for the other


class Beside:
    """`work` is given each piece once, in order. All are done when the block ends; when it is left by an error, those
    that wait are not begun. What `work` raises is raised by a later `add`, or at the end, and nothing follows it."""

    def __init__(self, work: Callable[[bytes], object]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, "beside")
        self._under_way: deque[tuple[int, Future[None]]] = deque()
        self._waiting = 0
        self._batch: list[bytes] = []
        self._size = 0
        self._broke = False

    def add(self, piece: bytes) -> None:
        """Waits while more than some megabytes wait already."""
        self._batch.append(piece)
        self._size += len(piece)
        if self._size >= _BATCH_BYTES:
            self._under_way.append((self._size, self._thread.submit(self._each, self._batch)))
            self._waiting += self._size
            self._batch, self._size = [], 0
        while self._waiting > _AHEAD_BYTES:
            self._wait()

    def __enter__(self) -> "Beside":
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                while self._under_way:
                    self._wait()
                self._each(self._batch)
        finally:
            self._thread.shutdown(cancel_futures=True)

    def _wait(self) -> None:
        size, work = self._under_way.popleft()
        work.result()
        self._waiting -= size

    def _each(self, batch: list[bytes]) -> None:
        if self._broke:
            return
        self._broke = True
        for piece in batch:
            self._work(piece)
        self._broke = False
