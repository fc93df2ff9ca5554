"""A version's rows as a folder of Parquet files that a training job reads, for as long as it runs.

What lies there is in clear, and is what the reader's decision allows: other columns are masked as ever. The folder is
private, read-only, in memory where the machine has such a place, and shredded when the job ends. Each is leased: a
file of the person's own state names the folder and the process that answers for it, so that what a killed process
left is shredded by the next mount, or by `sweep`. Overwriting is no proof on flash or copying file systems: the
place in memory is the safe one.
"""

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

__all__ = ["mounted", "sweep"]

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory on Linux; the folder made in it is private
_PIECE = bytes(1 << 20)


@contextmanager
def mounted(
    frames: "Iterator[pl.DataFrame]", told: Mapping[str, Any], *, within: Path | None = None, seconds: float = 86_400
) -> Iterator[Path]:
    """The folder, while it lasts: `NNNNNN.parquet` in order, and `vallum.json` with what `told` says of them.

    `within` is a folder to make it in; memory without. Raises Invalid where it cannot be written. After `seconds`
    anybody's `sweep` may end it.
    """
    sweep()
    place = within or (_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else Path(tempfile.gettempdir()))
    lease = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="vallum-data-", dir=place))  # for its owner alone
        lease = _lease(folder, seconds)
        number = 0
        for number, frame in enumerate(frames, 1):
            _private(folder / f"{number:06}.parquet", lambda file, f=frame: f.write_parquet(file))
        said = json.dumps({**told, "files": number}).encode()
        _private(folder / "vallum.json", lambda file: file.write(said))
        folder.chmod(0o500)
    except OSError as e:
        _end(lease)
        raise Invalid(f"{place}: the rows cannot be laid out there: {e.strerror}") from e
    except BaseException:
        _end(lease)
        raise
    try:
        yield folder
    finally:
        _end(lease)


def sweep() -> list[Path]:
    """Shred what processes left that are no more, and what is past its time; the folders that went."""
    gone = []
    for lease in _state().glob("*.json") if _state().is_dir() else ():
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(lease.read_bytes())
            if told["until"] < time.time() or _started(told["pid"]) != told["started"]:
                gone.append(Path(told["folder"]))
                _end(lease)
    return gone


def _lease(folder: Path, seconds: float) -> Path:
    state = _state()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = state / f"{secrets.token_hex(8)}.json"
    told = {
        "folder": str(folder), "pid": os.getpid(), "started": _started(os.getpid()), "until": time.time() + seconds,
    }  # fmt: skip
    _private(lease, lambda file: file.write(json.dumps(told).encode()))
    return lease


def _end(lease: Path | None) -> None:
    if lease is None:
        return
    try:
        folder = Path(json.loads(lease.read_bytes())["folder"])
    except FileNotFoundError:
        return  # its time was over, and somebody has swept it
    if folder.name.startswith("vallum-data-") and folder.is_dir() and not folder.is_symlink():
        _shred(folder)
    lease.unlink(missing_ok=True)


def _shred(folder: Path) -> None:
    with suppress(OSError):
        folder.chmod(0o700)
    for file in folder.iterdir():
        if file.is_symlink() or not file.is_file():
            continue  # what the job put there goes below, and is not followed
        with suppress(OSError):
            file.chmod(0o600)
            left = file.stat().st_size
            with file.open("r+b", buffering=0) as opened:
                while left > 0:
                    left -= opened.write(_PIECE[: min(left, len(_PIECE))]) or 0
                os.fsync(opened.fileno())
    shutil.rmtree(folder, ignore_errors=True)


def _private(path: Path, write: Any) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
        write(file)


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks, so that a number that was given out again is not taken for it."""
    try:
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "alive"  # where the system does not say when


def _state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "vallum" / "mounts"
