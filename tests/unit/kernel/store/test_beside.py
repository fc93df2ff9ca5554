"""Work beside is done once and in order, never far behind; what fails is told, and nothing follows it."""

import hashlib
import threading

import pytest

from vallum.kernel.store import beside as module
from vallum.kernel.store.beside import Beside

MIB = 1 << 20


@pytest.mark.parametrize("sizes", [[], [0], [7], [MIB], [MIB - 1, 1, 3], [100_000] * 90, [5 * MIB, 1, 5 * MIB]])
def test_what_passes_is_worked_on_once_and_in_order(sizes):
    pieces, digest = [bytes([at % 251]) * size for at, size in enumerate(sizes)], hashlib.sha256()
    with Beside(digest.update) as hashing:
        for piece in pieces:
            hashing.add(piece)
    assert digest.digest() == hashlib.sha256(b"".join(pieces)).digest()


def test_who_is_too_far_ahead_waits():
    may, returned, done = threading.Semaphore(0), threading.Semaphore(0), []

    def work(piece):
        may.acquire()
        done.append(piece[0])

    def bring():
        with Beside(work) as working:
            for at in range(40):
                working.add(bytes([at]) * MIB)
                returned.release()

    bringing = threading.Thread(target=bring)
    bringing.start()
    for _ in range(module._AHEAD_BYTES // MIB):
        assert returned.acquire(timeout=20)
    for _ in range(3):
        assert not returned.acquire(timeout=0.05)
        may.release()
        assert returned.acquire(timeout=20)
    may.release(40)
    bringing.join(20)
    assert done == list(range(40))


def test_a_failure_is_raised_and_nothing_follows_it():
    done = []

    def work(piece):
        if piece[0] == 3:
            raise OSError("full")
        done.append(piece[0])

    for many in (4, 40):
        done.clear()
        with pytest.raises(OSError, match="full"), Beside(work) as working:
            for at in range(many):
                working.add(bytes([at]) * MIB)
        assert done == [0, 1, 2]


def test_an_error_of_the_block_is_raised_and_leaves_no_thread(monkeypatch):
    before, done = threading.active_count(), []
    with pytest.raises(KeyError), Beside(done.append) as working:
        for _ in range(3):
            working.add(bytes(MIB))
        raise KeyError
    assert threading.active_count() == before
    assert len(done) <= 3
