"""Rows in clear for a job: private, read-only, and gone however the job or the process ends."""

import json
import os
import signal
import subprocess
import sys

import polars as pl
import pytest

from vallum.client.mount import mounted, sweep
from vallum.kernel.errors import Invalid

FRAMES = [pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [3]})]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "vallum" / "mounts"


def test_a_folder_lasts_as_long_as_it_is_used(tmp_path, state):
    with mounted(iter(FRAMES), {"version": "visits/1"}, within=tmp_path) as folder:
        assert pl.read_parquet(folder / "*.parquet").get_column("a").to_list() == [1, 2, 3]
        assert json.loads((folder / "vallum.json").read_text()) == {"version": "visits/1", "files": 2}
        assert folder.stat().st_mode & 0o777 == 0o500
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}
        assert len(list(state.iterdir())) == 1
        assert sweep() == []
    assert not folder.exists()
    assert list(state.iterdir()) == []


def test_what_lies_there_is_overwritten_before_it_goes(tmp_path):
    kept = tmp_path / "kept"
    with mounted(iter(FRAMES), {}, within=tmp_path) as folder:
        folder.chmod(0o700)
        os.link(folder / "000001.parquet", kept)  # somebody else's name for the same bytes
        assert b"PAR1" in kept.read_bytes()
    assert set(kept.read_bytes()) == {0}


def test_what_the_job_left_there_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("not ours to shred")
    with mounted(iter(FRAMES), {}, within=tmp_path) as folder:
        folder.chmod(0o700)
        (folder / "link").symlink_to(precious)
    assert precious.read_text() == "not ours to shred"
    assert not folder.exists()


def test_rows_that_end_early_leave_nothing(tmp_path, state):
    def torn():
        yield FRAMES[0]
        raise Invalid("the rows came without their end")

    with pytest.raises(Invalid), mounted(torn(), {}, within=tmp_path):
        pytest.fail("the job must not start")
    assert not list(tmp_path.glob("vallum-data-*"))
    assert list(state.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    with pytest.raises(Invalid, match="cannot be laid out"), mounted(iter(FRAMES), {}, within=tmp_path / "none"):
        pass


HOLDER = """
import sys, time, pathlib, polars as pl
from vallum.client.mount import mounted
with mounted(iter([pl.DataFrame({"a": [1]})]), {}, within=pathlib.Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_shredded_by_the_next(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    folder = tmp_path / holder.stdout.readline().strip()
    assert folder.is_dir()
    assert sweep() == []
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert folder.is_dir()
    with mounted(iter(FRAMES), {}, within=tmp_path):
        assert not folder.exists()


def test_a_lease_that_is_over_ends(tmp_path):
    with mounted(iter(FRAMES), {}, within=tmp_path, seconds=-1) as folder:
        assert sweep() == [folder]
        assert not folder.exists()


@pytest.mark.parametrize("lease", [b"", b"[]", b"{}", b'{"folder": "/etc", "pid": 1, "started": "x", "until": 0}'])
def test_a_lease_that_is_none_of_ours_does_no_harm(tmp_path, state, lease):
    state.mkdir(parents=True)
    (state / "x.json").write_bytes(lease)
    sweep()
    assert os.path.isdir("/etc")
