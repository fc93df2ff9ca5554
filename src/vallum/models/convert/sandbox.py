"""A child that converts: no network, nothing written but its folder, bounds on memory, time, files and processes.

The walls of a serving model (`models.runtime.sandbox`): Landlock, so that it reads Python's libraries and its folder
and writes nowhere else, and seccomp, so that it has no socket, no fork and no exec. Around them bubblewrap, where it is
and works. Where the kernel has neither wall: a network namespace of its own, or limits alone, with which nothing is
unpickled. Which of them it was is part of every conversion's record.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from vallum.kernel.errors import IntegrityError, Invalid, Unavailable
from vallum.models.runtime.sandbox import Walls, enter, what_this_machine_permits

__all__ = ["LIMITS_ONLY", "hold", "run_in_sandbox"]

LIMITS_ONLY = "limits only: this system gave it no namespaces"
_SECONDS = 900
_MEMORY_BYTES = 2 << 30  # beside twice the source
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_READ_ONLY = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")


def run_in_sandbox(kind: str, source: Path, folder: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """What the child says it did. `source` and what is written lie in `folder`. Raises what the child raised."""
    child = [sys.executable, "-I", "-m", "vallum.models.convert.child"]
    wrapped = _bubblewrap(folder)
    given = json.dumps(
        {"kind": kind, "source": str(source), "folder": str(folder), "metadata": metadata, "wrapped": bool(wrapped)}
    )
    said = _ask([*wrapped, *child], given, folder)
    if said is None:
        raise Unavailable("the sandboxed conversion died: too slow, too much memory, or a damaged file")
    if "error" in said:
        raise {"invalid": Invalid, "unavailable": Unavailable}.get(said["code"], IntegrityError)(said["error"])
    if wrapped:
        said["sandbox"] = f"bubblewrap: no network, a read-only system; {said['sandbox']}"
    return said


def _ask(command: list[str], given: str, folder: Path) -> dict[str, Any] | None:
    try:
        ran = subprocess.run(  # noqa: S603  this interpreter
            command, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder,
            env={"HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        said = json.loads(ran.stdout.rpartition("\n\x1e")[2] or "null")
    except (subprocess.TimeoutExpired, OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _bubblewrap(folder: Path) -> list[str]:
    """Empty where there is none, or where it may not make namespaces."""
    found = shutil.which("bwrap")
    if found is None:
        return []
    command = [found, "--unshare-all", "--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"]
    for place in dict.fromkeys([*_READ_ONLY, sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)]):
        command += ["--ro-bind-try", place, place]
    command += ["--bind", str(folder), str(folder)]
    tried = subprocess.run([*command, sys.executable, "-I", "-c", "0"], capture_output=True, check=False)  # noqa: S603
    return command if tried.returncode == 0 else []


def hold(source: Path, folder: Path) -> str:
    """In the child, before it reads anything: its limits and walls, for good. Says what they are."""
    size = source.stat().st_size
    for limit, value in (
        (resource.RLIMIT_DATA, _MEMORY_BYTES + 2 * size), (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_FSIZE, (64 << 20) + 4 * size), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(limit, (value, value))
    if _permits().holds:
        walls = enter(folder, os.getppid(), writable=True)
        return f"Landlock {walls.landlock} and seccomp: no network, no process, no file but its own; limits"
    return "limits, and no network" if _leave_network() else LIMITS_ONLY


def _permits() -> Walls:
    return what_this_machine_permits()


def _leave_network() -> bool:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.unshare(_NEW_NETWORK) == 0 or libc.unshare(_NEW_USER | _NEW_NETWORK) == 0)
