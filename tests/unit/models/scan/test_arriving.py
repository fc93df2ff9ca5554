"""What is found while a file arrives is what is found in the whole of it, however it was cut."""

import os
import pickle
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.models.scan import Verdict
from vallum.models.scan.child import scan_isolated
from vallum.models.scan.forks import Scanner
from vallum.models.scan.pickles.arriving import ArrivingStarts
from vallum.models.scan.pickles.starts import CANDIDATE, LONGEST, OLD_CANDIDATE, starts_of

_SOME = (
    b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", b"\x80\x02J\x80\x02J\x80\x02c", b"cos\nsystem\n",
    b"cmultiprocessing." + b"a" * 60 + b"\n" + b"b" * 60 + b"\n", b"\x80", b"c", b"\n",
    b"\x80\x03\x8e\x01\x00\x00\x00" + bytes(4),
)  # fmt: skip


def whole(data: bytes):
    view = memoryview(data)
    return len(data), list(starts_of(CANDIDATE, view, 0)), list(starts_of(OLD_CANDIDATE, view, 0))


def in_pieces(data: bytes, sizes):
    arriving, at = ArrivingStarts(), 0
    for size in sizes:
        arriving.see(data[at : at + size])
        at += size
    arriving.see(data[at:])
    return tuple(arriving.starts())


@given(
    contents=st.lists(st.sampled_from(_SOME) | st.binary(max_size=40), max_size=30),
    sizes=st.lists(st.integers(0, 90), max_size=20),
)
def test_small_pieces(contents, sizes):
    data = b"".join(contents)
    assert in_pieces(data, sizes) == whole(data)


@pytest.mark.parametrize("seed", range(4))
def test_large_pieces_and_what_begins_at_every_place_around_their_borders(seed):
    dice = random.Random(seed)
    data = bytearray(dice.randbytes(600_000))
    sizes = [dice.choice((65_536, 65_537, 100_000, 70, 1, LONGEST, LONGEST - 1)) for _ in range(40)]
    border = 0
    for size in sizes:
        border += size
        some = dice.choice(_SOME)
        at = max(border - dice.randrange(len(some) + 1), 0)
        data[at : at + len(some)] = some
    assert in_pieces(bytes(data), sizes) == whole(bytes(data))
    assert len(whole(bytes(data))[1]) > 3


def test_nothing_that_matches_is_longer_than_what_is_waited_for():
    longest = max(re.findall(r"[\w.]+", OLD_CANDIDATE.decode()), key=len)
    data = b"c" + longest.encode() + b"." + b"a" * 60 + b"\n" + b"b" * 60 + b"\n"
    assert re.fullmatch(OLD_CANDIDATE, data, re.DOTALL)
    assert len(data) <= LONGEST


def test_too_many_are_left_to_whoever_scans():
    arriving = ArrivingStarts()
    arriving.see(b"\x80\x02]]" * 30_000)
    assert arriving.starts() is None


class Harm:
    def __reduce__(self):
        return os.system, ("true",)


def test_a_scan_that_is_told_where_to_look_says_what_one_says_that_looks_itself(tmp_path):
    data = random.Random(5).randbytes(1 << 21)
    data = data[: 1 << 20] + pickle.dumps(Harm(), 4) + data[1 << 20 :]
    (tmp_path / "weights").write_bytes(data)
    arriving = ArrivingStarts()
    arriving.see(data)
    scanner = Scanner()
    try:
        told = scanner.scan(tmp_path, {"weights": arriving.starts()})
        assert told == scan_isolated(tmp_path)
        assert told.verdict is Verdict.BLOCK
        assert "hidden-payload" in {finding.technique for finding in told.findings}
        nowhere = arriving.starts()._replace(new=(), old=())
        assert "hidden-payload" not in {f.technique for f in scanner.scan(tmp_path, {"weights": nowhere}).findings}
        of_another_file = nowhere._replace(size=nowhere.size + 1)
        assert scanner.scan(tmp_path, {"weights": of_another_file}) == told
    finally:
        scanner.close()
