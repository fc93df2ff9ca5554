"""Which system calls a model's process may make: a seccomp filter, as classic BPF for x86-64.

What is not listed fails with EPERM. There is no socket, no exec and no fork (a thread is a clone that shares all), no
memory shared with others, no signal to another process, and after loading no file either. The numbers are those of
Linux's `arch/x86/entry/syscalls/syscall_64.tbl`; the form of a filter is that of seccomp(2).
"""

import struct
from collections.abc import Mapping, Sequence

__all__ = ["AUDIT_ARCH", "NUMBERS", "build_filter"]

AUDIT_ARCH = {"x86_64": 0xC000003E}

NUMBERS: Mapping[str, int] = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "pread64": 17, "readv": 19, "writev": 20, "access": 21, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32,
    "nanosleep": 35, "getpid": 39, "clone": 56, "exit": 60, "uname": 63, "fcntl": 72, "getdents": 78, "getcwd": 79,
    "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102,
    "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "sigaltstack": 131, "prctl": 157, "gettid": 186,
    "time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217, "set_tid_address": 218,
    "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234,
    "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "set_robust_list": 273, "prlimit64": 302,
    "getcpu": 309, "seccomp": 317, "getrandom": 318, "statx": 332, "rseq": 334, "clone3": 435, "faccessat2": 439,
}  # fmt: skip

_FILES = ("open", "openat", "stat", "lstat", "access", "getdents", "getdents64", "getcwd", "readlink", "readlinkat",
          "faccessat", "faccessat2", "seccomp")  # fmt: skip
_JUDGED = ("clone", "clone3", "mmap", "prctl", "tgkill", "prlimit64")

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32 = 0x40000000  # another set of numbers on the same processor: a way round a list that forgets it
_CLONE_THREAD, _MAP_SHARED = 0x00010000, 0x01
_NAMES_OF_THREADS = (15, 16)  # PR_SET_NAME, PR_GET_NAME

_Step = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def build_filter(machine: str, pid: int, *, files: bool) -> bytes:
    """The filter's instructions for the process `pid`. Without `files`, nothing can be opened or listed.

    Raises KeyError for a processor that has no list.
    """
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_GREATER_EQUAL, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for name, number in NUMBERS.items():
        if name in _JUDGED:
            judged = _judged(name, pid)
            steps += [(_JUMP_EQUAL, 0, len(judged), number), *judged]
        elif files or name not in _FILES:
            steps += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _ERRNO | _EPERM))
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def _judged(name: str, pid: int) -> Sequence[_Step]:
    """Every path through these ends in a return."""
    allow, refuse = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | _EPERM)
    match name:
        case "clone":
            return [(_LOAD, 0, 0, _argument(0)), (_JUMP_SET, 1, 0, _CLONE_THREAD), refuse, allow]
        case "clone3":  # its flags lie in memory, where no filter sees them: the C library then uses clone
            return [(_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        case "mmap":  # shared memory is not counted as the process's own
            return [(_LOAD, 0, 0, _argument(3)), (_JUMP_SET, 0, 1, _MAP_SHARED), refuse, allow]
        case "prctl":
            first, second = _NAMES_OF_THREADS
            return [
                (_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 2, 0, first), (_JUMP_EQUAL, 1, 0, second), refuse, allow,
            ]  # fmt: skip
        case "tgkill":  # abort() sends itself a signal
            return [(_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 1, 0, pid), refuse, allow]
        case _:  # prlimit64 that asks, of itself, and sets nothing
            return [
                (_LOAD, 0, 0, _argument(0)), (_JUMP_EQUAL, 0, 4, 0),
                (_LOAD, 0, 0, _argument(2)), (_JUMP_EQUAL, 0, 2, 0),
                (_LOAD, 0, 0, _argument(2) + 4), (_JUMP_EQUAL, 1, 0, 0),
                refuse, allow,
            ]  # fmt: skip


def _argument(number: int) -> int:
    """Where its lower half lies."""
    return _ARGUMENTS_AT + 8 * number
