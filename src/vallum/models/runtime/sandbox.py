"""What a model's process takes away from itself before it looks at the model. Linux only, by system calls alone.

In this order: it dies with its parent; it can gain no privileges; namespaces of its own (users, network, names,
messages) where the kernel gives them to anybody; bounds on memory, files and cores; Landlock, so that it reads
Python's own libraries and the model's folder and nothing else; seccomp, so that it has no socket, no fork and no exec.
After loading, a second filter takes every file away too.

Landlock and seccomp must both work, or `enter` raises and nothing is loaded. The namespaces are a second wall: many
container runtimes refuse them, and the first wall holds without.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vallum.kernel.errors import Unavailable
from vallum.models.runtime.syscalls import AUDIT_ARCH, build_filter

__all__ = ["NoSandbox", "Walls", "bound", "close_files", "die_with_parent", "enter", "what_this_machine_permits"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SYS_SECCOMP, _SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 317, 444, 445, 446
_SECCOMP_SET_MODE_FILTER, _SECCOMP_TSYNC = 1, 1
_CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x04000000, 0x08000000, 0x10000000, 0x40000000
_LANDLOCK_VERSION, _LANDLOCK_PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
_WRITE = 1 << 1 | 1 << 8 | 1 << 14  # into files, to make regular ones, and from version 3 on to cut them
_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS = 0b11  # bind and connect TCP, from version 4 on
_SCOPES = 0b11  # abstract sockets and signals, from version 6 on
_MAX_FILES = 64

# What libraries look up when they start: how many cores, which processor, where shared libraries lie.
_SYSTEM_PATHS = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/sys/devices/system/cpu",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/self/maps", "/proc/self/status", "/dev/null", "/dev/urandom",
)  # fmt: skip


class NoSandbox(Unavailable):
    """This machine cannot hold a model in: none is loaded."""

    code = "no_sandbox"


@dataclass(frozen=True, slots=True)
class Walls:
    """What stands. `landlock` is its version, 0 where there is none."""

    landlock: int
    seccomp: bool
    namespaces: bool

    @property
    def holds(self) -> bool:
        return self.landlock > 0 and self.seccomp


def what_this_machine_permits() -> Walls:
    """Asked without changing anything; whether namespaces are given is only seen on entering."""
    supported = sys.platform == "linux" and platform.machine() in AUDIT_ARCH
    if not supported:
        return Walls(0, False, False)
    allow = ctypes.c_uint32(0x7FFF0000)
    seccomp = _libc().syscall(_SYS_SECCOMP, 2, 0, ctypes.byref(allow)) == 0
    return Walls(_landlock_version(), seccomp, False)


def die_with_parent(parent: int) -> None:
    """Raises NoSandbox where the parent has gone already."""
    _check("prctl", _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        raise NoSandbox("the process that asked for this model is gone")


def bound(memory_bytes: int, cores: int) -> None:
    """Files count where they are written or open; memory where it is the process's own."""
    for limit, value in (
        (resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES), (resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0),
    ):  # fmt: skip
        resource.setrlimit(limit, (value, value))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    os.nice(5)  # the gateway goes first


def enter(folder: Path, parent: int, *, writable: bool = False) -> Walls:
    """Raise the walls, with `folder` to read; with `writable`, to make, write and truncate files in, too.

    For a process of one thread. Raises NoSandbox, and then load nothing.
    """
    permits = what_this_machine_permits()
    if not permits.holds:
        raise NoSandbox("this kernel has no Landlock or no seccomp for this processor, so no model can be held in")
    libc = _libc()
    _check("prctl", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check("prctl", libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    namespaces = libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS) == 0
    die_with_parent(parent)  # a change of credentials may forget it
    _landlock(permits.landlock, [folder, *map(Path, _SYSTEM_PATHS), *_libraries()], folder if writable else None)
    _seccomp(files=True)
    return Walls(permits.landlock, True, namespaces)


def close_files() -> None:
    """After loading: no thread of this process opens a file or lists a folder any more. Raises NoSandbox."""
    _seccomp(files=False)


def _libraries() -> Iterable[Path]:
    """Where Python finds its modules, some of which are imported late."""
    return [Path(entry) for entry in sys.path if entry]


def _landlock(version: int, readable: Iterable[Path], writable: Path | None) -> None:
    rights = _FS_RIGHTS[min(version, max(_FS_RIGHTS))]
    ruleset = struct.pack("=QQQ", rights, _NET_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    ruleset = ruleset[: 8 if version < 4 else 16 if version < 6 else 24]
    libc = _libc()
    fd = _check("landlock_create_ruleset", libc.syscall(_SYS_LANDLOCK_CREATE, ruleset, len(ruleset), 0))
    try:
        for path in readable:
            _allow(fd, path, (_WRITE & rights) if path == writable else 0)
        _check("landlock_restrict_self", libc.syscall(_SYS_LANDLOCK_RESTRICT, fd, 0))
    finally:
        os.close(fd)


def _allow(ruleset: int, path: Path, more: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    try:
        rights = _READ_FILE | (_READ_DIR if path.is_dir() else 0) | more
        rule = struct.pack("=Qi", rights, fd)
        added = _libc().syscall(_SYS_LANDLOCK_ADD, ruleset, _LANDLOCK_PATH_BENEATH, rule, 0)
        _check("landlock_add_rule", added)
    finally:
        os.close(fd)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _seccomp(*, files: bool) -> None:
    """For every thread there is, and every one to come."""
    steps = build_filter(platform.machine(), os.getpid(), files=files)
    program = _Program(len(steps) // 8, steps)
    done = _libc().syscall(_SYS_SECCOMP, _SECCOMP_SET_MODE_FILTER, _SECCOMP_TSYNC, ctypes.byref(program))
    _check("seccomp", done)


def _landlock_version() -> int:
    return max(0, int(_libc().syscall(_SYS_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(what: str, result: int) -> int:
    if result < 0 or (result > 0 and what == "seccomp"):  # seccomp names the thread that it could not reach
        raise NoSandbox(f"{what} failed: {os.strerror(ctypes.get_errno())}")
    return result
