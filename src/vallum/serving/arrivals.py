"""Requests that have not wholly arrived when a worker is told to stop: they get moments, and not the whole drain.

A worker that stops waits for what it has begun. Whoever sends half a body and then nothing would hold it for all of
`server.drain_seconds`, and have it killed at the end, with everybody else's work. What has arrived is carried out.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["Arrivals", "tell_of_stop"]

_GRACE_SECONDS = 2.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Arrivals:
    """For one event loop."""

    def __init__(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._waiting: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()
        self._is_late = False

    def hurry(self) -> None:
        """From a handler of signals on the loop: from now on, bodies have the grace and no more."""
        asyncio.get_running_loop().call_later(self._grace_seconds, self._end)

    def receiver(self, receive: Receive) -> Receive:
        """As `receive`, with a disconnect in the place of what comes too late."""
        arrived = False

        async def one() -> Message:
            nonlocal arrived
            if arrived:
                return await receive()
            if self._is_late:
                return {"type": "http.disconnect"}
            # A time-out for each request would cost ten times as much, and is for a moment that comes once.
            task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # a request has one
            self._waiting.add(task)
            try:
                message = await receive()
            except asyncio.CancelledError:
                if task not in self._cut:
                    raise
                task.uncancel()
                return {"type": "http.disconnect"}
            finally:
                self._waiting.discard(task)
            arrived = not message.get("more_body", False)
            return message

        return one

    def _end(self) -> None:
        self._is_late = True
        for task in self._waiting:
            self._cut.add(task)
            task.cancel()


def tell_of_stop(stopping: Callable[[], None]) -> None:
    """Call `stopping` on this worker's loop at its first SIGTERM or SIGINT, beside what Granian does.

    In a worker, before Granian sets its handlers: it tells an application only when everything has been drained.
    """
    import granian._signals as granian_signals

    set_handlers = granian_signals.set_loop_signals

    def set_loop_signals(loop: asyncio.AbstractEventLoop) -> Any:
        stop: Any = set_handlers(loop)  # type: ignore[no-untyped-call]  # Granian's own

        def both() -> None:
            stop.set()
            stopping()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, both)
        return stop

    granian_signals.set_loop_signals = set_loop_signals
