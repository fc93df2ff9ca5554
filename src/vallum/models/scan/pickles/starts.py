"""Where a pickle may begin in bytes that are something else: all that a search of gigabytes looks at.

RE2 leaps from one first letter of a pattern to the next, which makes it five times faster here than `re` is. It is no
part of the standard library, and is asked for only where there is much to search; without it `re` finds the same.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from os import getpid
from queue import SimpleQueue
from threading import Thread
from typing import Any

from vallum.models.scan.pickles.machine import OPCODES
from vallum.models.scan.pickles.policy import capable_roots

__all__ = ["CANDIDATE", "LONGEST", "OLD_CANDIDATE", "begin_helper", "load_search", "starts_meanwhile", "starts_of"]

_MUCH_BYTES = 1 << 20
_WORTH_HELP_BYTES = 8 << 20  # some milliseconds; what is shorter is searched before another thread wakes up
# What could be told apart by its next byte is: each candidate costs as much as to search a tenth of a megabyte. Every
# opcode that a pickle can begin with is here; the others need something on the stack.
_OPCODE = b"[" + b"".join(b"\\x%02x" % op for op in sorted(OPCODES)) + b"]"
CANDIDATE = (
    rb"\x80[\x00-\x05](?:\x95.{6}\x00\x00"
    rb"|(?:[(\x7d\x5d\x8f)N\x88\x89\x97]|[K\x82].|[M\x83]..|[J\x84].{4}|G.{8})" + _OPCODE
    + rb"|[XBT].{3}[\x00-\x3f]|\x8b.{3}\x00|[\x8d\x8e\x96].{4}\x00{4}|c[A-Za-z_]|S[ '\"]|P[ -~]"
    + rb"|[IL][\x09-\x0d +\--9_]|F[\x09-\x0d +\--9_inIN]|[\x8a\x8cCUV])"
)  # fmt: skip
_ROOTS = sorted(capable_roots())
OLD_CANDIDATE = rb"c(?:" + "|".join(_ROOTS).encode() + rb")(?:\.[0-9A-Za-z_.]{1,60})?\n[0-9A-Za-z_.]{2,60}\n"
LONGEST = max(map(len, _ROOTS)) + 124  # bytes that either pattern can match


def starts_of(pattern: bytes, data: memoryview, start: int, *, much: bool | None = None) -> Iterator[int]:
    """Every offset from `start` at which the pattern matches, in order: also within the match before, or a few bytes in
    front of a pickle that look like another would hide it. `much` says whether there is, or will be, much to search."""
    search = _compiled(pattern, len(data) - start >= _MUCH_BYTES if much is None else much).search
    while (found := search(data, start)) is not None:
        yield found.start()
        start = found.start() + 1


def starts_meanwhile(pattern: bytes, data: memoryview, start: int, most: int) -> Callable[[], Iterable[int]]:
    """What gives the first `most` of `starts_of`. Where there is much, a second thread looks for them from now on: RE2
    lets others run, and two patterns in gigabytes are two cores' work."""
    if len(data) - start < _WORTH_HELP_BYTES:
        return lambda: starts_of(pattern, data, start)
    try:
        return _helper(getpid()).asked(lambda: list(islice(starts_of(pattern, data, start), most)))
    except RuntimeError:  # no thread may be started here
        return lambda: starts_of(pattern, data, start)


def begin_helper() -> None:
    """Start the second thread now: for whoever may start none later."""
    _helper(getpid())


def load_search() -> None:
    """Load and compile what is else loaded when it is first needed: for whoever forks."""
    for pattern in (CANDIDATE, OLD_CANDIDATE):
        for much in (True, False):
            _compiled(pattern, much)


class _Helper:
    """One more thread, that does one thing after another."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[], list[int]], SimpleQueue[list[int] | BaseException]]] = SimpleQueue()
        Thread(target=self._help, name="searching", daemon=True).start()

    def asked(self, work: Callable[[], list[int]]) -> Callable[[], list[int]]:
        """Begins when what was asked before is done; what this returns waits for it, and raises what it raised."""
        answer: SimpleQueue[list[int] | BaseException] = SimpleQueue()
        self._asked.put((work, answer))

        def found() -> list[int]:
            said = answer.get()
            if isinstance(said, BaseException):
                raise said
            return said

        return found

    def _help(self) -> None:
        while True:
            work, answer = self._asked.get()
            try:
                answer.put(work())
            except BaseException as e:  # noqa: BLE001  whoever asked raises it
                answer.put(e)
            del work, answer  # and with them the file that is mapped


@cache
def _helper(process: int) -> _Helper:
    """Of this process: one that was forked has none of the threads."""
    del process
    return _Helper()


@cache
def _compiled(pattern: bytes, much: bool) -> Any:
    if much:
        try:
            import re2  # takes as long to load as a megabyte to search
        except ImportError:
            return _compiled(pattern, much=False)
        options = re2.Options()
        options.encoding, options.dot_nl, options.never_capture = re2.Options.Encoding.LATIN1, True, True
        return re2.compile(pattern, options)
    return re.compile(pattern, re.DOTALL)
