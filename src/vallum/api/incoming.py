"""A request's body that is a file: read on the event loop, taken piece by piece by the thread that stores it.

Answers senders that never end, send nothing, or dribble: the body is bounded in size, in the wait for each piece, and
in the time that it may take for what it has brought so far.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import Any

from vallum.api.routing import BodyTimeout, BodyTooLarge

__all__ = ["ClientGone", "IncomingBody"]

_PIECE_BYTES = 1 << 20  # each hop between loop and thread costs some hundred microseconds
_WAIT_SECONDS = 30.0
_GRACE_SECONDS, _LEAST_BYTES_A_SECOND = 60.0, 16_384  # of waiting; what stores it may take as long as it wants

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """Nobody is there to be answered."""


class IncomingBody:
    """Made on the event loop; iterated once, in another thread."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._size = 0
        self._waited = 0.0
        self._ended = False
        self._next: Future[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of a megabyte, the next on its way while one is worked on.

        Raises BodyTooLarge, BodyTimeout, and ClientGone when the sender left before the end.
        """
        following = self._ask()
        while True:
            piece = following.result()
            ended = self._ended
            if not ended:
                following = self._ask()
            if piece:
                yield piece
            if ended:
                return

    async def drain(self, most: int) -> None:
        """Read on and throw away, so that a sender who was refused hears of it; for a while."""
        if self._next is not None:
            with suppress(BodyTooLarge, BodyTimeout, ClientGone):
                await asyncio.wrap_future(self._next)
        until = self._size + most
        with suppress(BodyTimeout, ClientGone):
            while not self._ended and self._size < until:
                await self._one()

    def _ask(self) -> Future[bytes]:
        self._next = asyncio.run_coroutine_threadsafe(self._gather(), self._loop)
        return self._next

    async def _gather(self) -> bytes:
        pieces, size = [], 0
        while size < _PIECE_BYTES and not self._ended:
            piece = await self._one()
            if self._size > self._limit:
                raise BodyTooLarge(f"the body is larger than {self._limit} bytes")
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    async def _one(self) -> bytes:
        began = monotonic()
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                message = await self._receive()
        except TimeoutError:
            self._ended = True
            raise BodyTimeout("the body did not arrive in time: send the file again") from None
        self._waited += monotonic() - began
        if message["type"] == "http.disconnect":
            self._ended = True
            raise ClientGone
        piece: bytes = message.get("body", b"")
        self._size += len(piece)
        self._ended = not message.get("more_body", False)
        if self._waited > _GRACE_SECONDS + self._size / _LEAST_BYTES_A_SECOND:
            self._ended = True
            raise BodyTimeout(f"the body arrives too slowly: at least {_LEAST_BYTES_A_SECOND} bytes a second")
        return piece
