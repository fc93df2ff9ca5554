"""A file on its way in: pieces of every size come through, and whoever never ends, sends nothing or dribbles is cut."""

import asyncio
import hashlib

import pytest

from vallum.api import incoming
from vallum.api.incoming import ClientGone, IncomingBody
from vallum.api.routing import BodyTimeout, BodyTooLarge


class Sender:
    """ASGI's `receive`: pieces, then what comes after them."""

    def __init__(self, pieces, after="end"):
        self.pieces = list(pieces)
        self.after = after
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.after != "end"}
        if self.after == "gone":
            return {"type": "http.disconnect"}
        await asyncio.sleep(3600)


def taken(sender, limit=1 << 30, take=lambda body: b"".join(body)):
    async def run():
        body = IncomingBody(sender, limit)
        try:
            return await asyncio.to_thread(take, body)
        finally:
            await body.drain(1 << 20)

    return asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_what_is_sent_arrives(size):
    pieces = [bytes([number % 251]) * size for number in range(4)]
    got = taken(Sender(pieces))
    assert hashlib.sha256(got).digest() == hashlib.sha256(b"".join(pieces)).digest()


def test_small_pieces_are_given_on_together():
    sizes = taken(Sender([b"x" * 10_000] * 500), take=lambda body: [len(piece) for piece in body])
    assert sum(sizes) == 5_000_000
    assert len(sizes) <= 5


def test_too_much_is_cut_and_read_no_further_than_it_must():
    sender = Sender([b"x" * 100_000] * 10_000)
    with pytest.raises(BodyTooLarge, match="larger than 1000000 bytes"):
        taken(sender, limit=1_000_000)
    assert sender.asked < 40


def test_who_leaves_in_the_middle_has_sent_nothing():
    with pytest.raises(ClientGone):
        taken(Sender([b"x" * 10], after="gone"))


def test_silence_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(incoming, "_WAIT_SECONDS", 0.05)
    with pytest.raises(BodyTimeout):
        taken(Sender([b"x" * 10], after="silence"))


def test_who_dribbles_is_cut(monkeypatch):
    monkeypatch.setattr(incoming, "_GRACE_SECONDS", 0.05)

    class Dribbling(Sender):
        async def __call__(self):
            await asyncio.sleep(0.01)
            return await super().__call__()

    sender = Dribbling([b"x"] * 10_000)
    with pytest.raises(BodyTimeout, match="slowly"):
        taken(sender)
    assert sender.asked < 100


def test_who_stops_taking_does_not_hang():
    """The one who stores it fails after a piece; the rest is thrown away, to a bound."""

    def fail(body):
        for _ in body:
            raise OSError("no room")

    sender = Sender([b"x" * 100_000] * 10_000)
    with pytest.raises(OSError, match="no room"):
        taken(sender, take=fail)
    assert sender.asked < 100
