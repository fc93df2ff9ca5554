"""Bodies that come too late when a worker stops; what has arrived is nobody's business here."""

import asyncio

from vallum.serving.arrivals import Arrivals

GONE = {"type": "http.disconnect"}
PIECE = {"type": "http.request", "body": b"he", "more_body": True}
LAST = {"type": "http.request", "body": b"re", "more_body": False}


def giving(*messages):
    """Then nothing more, for ever."""
    left = list(messages)

    async def receive():
        return left.pop(0) if left else await asyncio.get_running_loop().create_future()

    return receive


async def read(receive):
    while (message := await receive()).get("more_body"):
        pass
    return message


async def test_what_has_not_arrived_is_a_disconnect_and_its_task_goes_on():
    arrivals = Arrivals(0.05)

    async def carry():
        said = await read(arrivals.receiver(giving(PIECE)))
        await asyncio.sleep(0)  # it is cancelled no more: an entry can be written
        return said

    waiting = asyncio.create_task(carry())
    await asyncio.sleep(0)
    arrivals.hurry()
    assert await waiting == GONE
    assert await arrivals.receiver(giving(PIECE))() == GONE  # and one that begins later


async def test_what_arrives_within_the_grace_and_what_waits_for_its_end_are_left_alone():
    arrivals = Arrivals(0.05)
    receive = arrivals.receiver(giving(PIECE, LAST))
    arrivals.hurry()
    assert await read(receive) == LAST
    listening = asyncio.create_task(receive())  # whether the client goes away, while its answer is made
    await asyncio.sleep(0.1)
    assert not listening.done()
    listening.cancel()


async def test_who_is_cancelled_for_another_reason_is_cancelled():
    arrivals = Arrivals(0.05)
    waiting = asyncio.create_task(read(arrivals.receiver(giving(PIECE))))
    await asyncio.sleep(0)
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        return
    raise AssertionError("it went on")
