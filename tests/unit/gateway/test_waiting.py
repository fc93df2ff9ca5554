"""A guard that waits for others harms its own application, for as long as its budget, and nobody else."""

import asyncio
import threading
import time

import pytest

from vallum.gateway.waiting import Waiting


async def test_what_takes_too_long_is_left_and_others_go_on():
    waiting, hang = Waiting(threads=1, places=2), threading.Event()
    with pytest.raises(TimeoutError):
        await waiting.run("slow", 0.05, hang.wait)
    with pytest.raises(TimeoutError):  # the thread is still taken
        await waiting.run("slow", 0.05, lambda: 1)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="waits already"):  # and now both places are
        await waiting.run("slow", 5, lambda: 1)
    assert await waiting.run("other", 5, lambda: 2) == 2
    assert time.monotonic() - started < 1
    hang.set()
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not waiting._taken["slow"]:
            break
    assert await waiting.run("slow", 5, lambda: 3) == 3
    await waiting.close()


async def test_what_the_work_raises_is_raised():
    waiting = Waiting()

    def fail(what):
        raise ValueError(what)

    with pytest.raises(ValueError, match="this"):
        await waiting.run("one", 5, fail, "this")
    assert waiting._taken["one"] == 0
    await waiting.close()
