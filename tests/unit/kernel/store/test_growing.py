import os
import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.store.growing import GrowingFile

MB = 1 << 20


@given(sizes=st.lists(st.sampled_from([0, 1, 4095, 70_000, MB - 1, MB, 3 * MB]), max_size=6))
def test_a_file_holds_what_was_written_and_nothing_behind_it(tmp_path_factory, sizes):
    path = tmp_path_factory.mktemp("growing") / "file"
    pieces = [os.urandom(size) for size in sizes]
    with GrowingFile(path) as out:
        for piece in pieces:
            out.write(piece)
        out.write_all(pieces)
        out.write_all([])
        out.write(b"end")
    assert path.read_bytes() == 2 * b"".join(pieces) + b"end"


def test_many_little_pieces_are_written_with_few_calls_however_much_each_takes(tmp_path, monkeypatch):
    calls, pieces = [], [bytes([at % 251]) * (at % 9) for at in range(4000)]
    real = os.writev

    def short(fd, left):
        calls.append(len(left))
        return real(fd, [left[0][:2]] if len(calls) % 2 else left[:3])

    with GrowingFile(tmp_path / "file") as out:
        monkeypatch.setattr(os, "writev", lambda fd, left: calls.append(0) or real(fd, left))
        out.write_all(pieces)
        assert len(calls) <= 9
        monkeypatch.setattr(os, "writev", short)
        out.write_all(pieces)
    assert (tmp_path / "file").read_bytes() == 2 * b"".join(pieces)


def test_what_breaks_off_is_as_long_as_what_was_written(tmp_path):
    with pytest.raises(KeyError), GrowingFile(tmp_path / "file") as out:
        out.write(bytes(5 * MB))
        raise KeyError
    assert (tmp_path / "file").stat().st_size == 5 * MB


def test_room_is_asked_for_in_steps_and_what_was_not_needed_is_given_back(tmp_path):
    with GrowingFile(tmp_path / "file") as out:
        taken = []
        for _ in range(40):
            out.write(bytes(MB))
            taken.append((tmp_path / "file").stat().st_blocks * 512)
        assert all(written * MB <= blocks <= 2 * written * MB + MB for written, blocks in enumerate(taken, 1))
        assert len(set(taken)) <= 8
    assert (tmp_path / "file").stat().st_blocks * 512 <= 40 * MB + 4096


def test_a_little_file_takes_only_what_it_is(tmp_path):
    with GrowingFile(tmp_path / "file") as out:
        out.write(b"little")
        assert (tmp_path / "file").stat().st_size == 6


@pytest.fixture
def small_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MB, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, former)


def test_where_no_room_is_given_ahead_it_is_written_without(tmp_path, small_files):
    """And what then finds none says so."""
    with GrowingFile(tmp_path / "file") as out:
        for _ in range(3):
            out.write(b"x" * MB)
        with pytest.raises(OSError, match="File too large"):
            out.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x" * 3 * MB


@pytest.mark.parametrize("there", ["file", "link"])
def test_nothing_that_is_there_is_written_through(tmp_path, there):
    (tmp_path / "other").write_text("mine")
    if there == "file":
        (tmp_path / "file").write_text("mine")
    else:
        (tmp_path / "file").symlink_to(tmp_path / "other")
    with pytest.raises(FileExistsError):
        GrowingFile(tmp_path / "file")
    assert (tmp_path / "file").read_text() == (tmp_path / "other").read_text() == "mine"


def test_only_its_owner_reads_it_where_that_is_asked(tmp_path):
    GrowingFile(tmp_path / "file", 0o600).close()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
