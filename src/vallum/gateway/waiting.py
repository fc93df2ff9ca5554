"""Work that may wait for somebody else: guards that ask a service or run a model of an application's own.

It runs in threads of the application's own, so that one whose judge is slow slows itself. A thread cannot be stopped:
work that takes too long goes on unheard, and takes its place until it ends. When all places are taken there is no more
room, and the request is refused at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

__all__ = ["Waiting"]

T = TypeVar("T")

_THREADS = 4
_PLACES = 32  # of one application: those that run and those that are next


class Waiting:
    """For one event loop."""

    def __init__(self, threads: int = _THREADS, places: int = _PLACES) -> None:
        self._threads = threads
        self._places = places
        self._taken: Counter[str] = Counter()
        self._executors: dict[str, ThreadPoolExecutor] = {}

    async def run(self, application: str, seconds: float, work: Callable[..., T], *args: Any, **more: Any) -> T:
        """Raises TimeoutError for what takes longer, or finds no place; and whatever the work raises."""
        if self._taken[application] >= self._places:
            raise TimeoutError("too much of this application's work waits already")
        executor = self._executors.get(application)
        if executor is None:
            executor = ThreadPoolExecutor(self._threads, thread_name_prefix=f"waiting-{application[:32]}")
            self._executors[application] = executor
        self._taken[application] += 1
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(executor, partial(work, *args, **more))
        future.add_done_callback(lambda done: self._leave(application, done))
        return await asyncio.wait_for(asyncio.shield(future), seconds)

    async def close(self) -> None:
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)

    def _leave(self, application: str, done: "asyncio.Future[Any]") -> None:
        self._taken[application] -= 1
        if not done.cancelled():
            done.exception()  # whoever waited for it may have left; then it is nobody's
