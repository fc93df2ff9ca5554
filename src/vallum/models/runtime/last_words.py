"""Why a model's process ended: what it wrote while it loaded, and how the kernel says that it went.

Its standard error is read until it is ready and not after: from then on it has inputs, a library may quote one, and no
log holds content. What is read comes from a process that the model may have taken over: it is bounded, and nothing in
it moves a terminal's cursor or makes a line of its own in a log.
"""

import asyncio
import signal
import subprocess
from contextlib import suppress

__all__ = ["LastWords", "how_it_ended"]

_KEPT_BYTES = 8_192
_SHOWN_LINES, _SHOWN_CHARS = 4, 600
_END_SECONDS = 2.0  # a process whose socket has closed is on its way out
_REST_SECONDS = 0.1
_HINTS = {
    signal.SIGKILL: "killed from outside, as the kernel does where memory is short",
    signal.SIGSYS: "a system call that its sandbox forbids",
    signal.SIGABRT: "it gave up by itself, as libraries do without memory",
}


class LastWords(asyncio.Protocol):
    """The end of what a process writes to its standard error, until `stop`."""

    def __init__(self) -> None:
        self._kept = b""
        self._transport: asyncio.BaseTransport | None = None
        self._listening = True
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-_KEPT_BYTES:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def stop(self) -> None:
        """Read no more, and forget what was read; the process gets an error where it writes on."""
        self._kept, self._listening = b"", False
        if self._transport is not None:
            self._transport.close()

    def shown(self) -> str:
        """The last lines in one, after `, and said`; empty where nobody listened."""
        if not self._listening:
            return ""
        lines = [line.strip() for line in self._kept.decode("utf-8", "replace").splitlines()]
        said = " | ".join([line for line in lines if line][-_SHOWN_LINES:])
        if not said:
            return ", and said nothing"
        return ", and said: " + "".join(one if one.isprintable() else "?" for one in said)[-_SHOWN_CHARS:]


async def how_it_ended(process: "subprocess.Popen[bytes]", words: LastWords) -> str:
    """`ended with status 1, and said: …`, of a process that closed its socket. Waits no longer than moments."""
    with suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(process.wait, _END_SECONDS)
    with suppress(TimeoutError):  # what it wrote last may lie in the pipe, which something else may hold open
        async with asyncio.timeout(_REST_SECONDS):
            await words.ended.wait()
    return _ended(process.returncode) + words.shown()


def _ended(status: int | None) -> str:
    if status is None:
        return "closed its connection"
    if status >= 0:
        return f"ended with status {status}"
    try:
        by = signal.Signals(-status)
    except ValueError:
        return f"was ended by signal {-status}"
    hint = _HINTS.get(by)
    return f"was ended by {by.name}" + (f" ({hint})" if hint else "")
