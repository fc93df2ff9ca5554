"""Scanning again and again: children that are forked from one process in which every inspector is loaded already.

To start an interpreter and load some forty modules of formats takes as long as to hash 150 MB, for every model. The
process that forks never sees what is scanned: it hands a path on, forks, and reaps. One child is forked ahead, since to
fork and to touch memory for the first time takes as long as to hash 8 MB. Each is told once, is held to what any
scanner's child is held to (`child`), and ends when whoever asked for it closes its line, or dies. So do all of them
with the process that asks.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from vallum.models.scan.model import Report

if TYPE_CHECKING:
    from vallum.models.scan.child import Child
    from vallum.models.scan.port import Starts

__all__ = ["Scanner"]

_MAX_MESSAGE_BYTES = 1 << 16
_IDLE_SECONDS = 600.0  # then whoever forks ends, and with it some 40 MB; the next scan starts it anew
_SECONDS_TO_END = 10.0  # for a child to be killed; then whoever forks is killed itself
_COMMAND = ("-I", "-m", "vallum.models.scan.forks")  # -I: nothing of the folder that it is started in is imported


class Scanner:
    """Safe to share between threads. Starts when it is first asked; `close` when nothing more is."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._server: _Server | None = None

    def scan(self, folder: Path, starts_in: "Mapping[str, Starts] | None" = None) -> Report:
        """As `scan_isolated`. Raises OSError for what cannot be read at all, or when no process can be started."""
        from vallum.models.scan.child import scan_isolated  # some forty modules of formats

        return scan_isolated(folder, self._start, starts_in)

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None

    def _start(self, arguments: Sequence[str]) -> "Child":
        with self._lock:
            if self._server is not None and self._server.has_ended:
                self._server.close()
                self._server = None
            if self._server is None:
                self._server = _Server()
            return self._server.fork(arguments)


class _Server:
    """The process that forks, seen from outside."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = str(theirs.fileno())
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  this interpreter, and a number
                    [sys.executable, *_COMMAND, number], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, cwd="/", env={}, pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            except OSError:
                self._line.close()
                raise

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def fork(self, arguments: Sequence[str]) -> "_Forked":
        """One that says nothing when the process is no more."""
        mine, theirs = socket.socketpair()
        asked, tell = os.pipe()
        hear, said = os.pipe()
        forked = _Forked(mine, os.fdopen(tell, "wb"), os.fdopen(hear, "rb"), self._process.kill)
        with theirs, suppress(OSError):
            socket.send_fds(self._line, [json.dumps(list(arguments)).encode()], [asked, said, theirs.fileno()])
        os.close(asked)
        os.close(said)
        return forked

    def close(self) -> None:
        self._line.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Forked:
    """A child of the process that forks. It lives while its line is open."""

    def __init__(self, line: socket.socket, stdin: BinaryIO, stdout: BinaryIO, kill_all: Callable[[], None]) -> None:
        self._line = line
        self.stdin, self.stdout = stdin, stdout
        self._kill_all = kill_all

    def kill(self) -> None:
        """Returns when it does nothing any more."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
            self._line.settimeout(_SECONDS_TO_END)
            try:
                self._line.recv(1)
            except TimeoutError:
                self._kill_all()

    def __enter__(self) -> "_Forked":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self._line.close()
        with suppress(OSError):  # what was not written: it died before it read
            self.stdin.close()
        self.stdout.close()


def _serve(line: socket.socket) -> None:
    """Fork ahead, give out, kill when a line closes, and end with whoever asks."""
    from vallum.models.scan.child import inspectors, repository_inspectors
    from vallum.models.scan.pickles.starts import load_search

    inspectors(), repository_inspectors()
    load_search()
    gc.collect()
    gc.freeze()  # what is shared with the children stays shared
    children: dict[socket.socket, int] = {}
    spare = _fork(line)
    while True:
        ready, _, _ = select.select([line, *children], [], [], _IDLE_SECONDS)
        if not ready and not children:
            _end(spare)
            return
        for its in ready:
            if its is not line:
                _end((its, children.pop(its)))
                continue
            message, descriptors, _, _ = socket.recv_fds(line, _MAX_MESSAGE_BYTES, 3)
            if not message:
                for one in (spare, *children.items()):
                    _end(one)
                return
            asked, said, lifeline = descriptors
            own, pid = spare
            with own, suppress(OSError):  # it was killed while it waited: whoever asks hears nothing, and asks again
                socket.send_fds(own, [message], [asked, said])
            os.close(asked)
            os.close(said)
            children[socket.socket(fileno=lifeline)] = pid
            spare = _fork(line, *children)


def _fork(*others: socket.socket) -> tuple[socket.socket, int]:
    """A child that waits to be told by the line that is returned; with its number. It keeps none of `others` open."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        _become(its, [mine, *others])
    its.close()
    return mine, pid


def _end(child: tuple[socket.socket, int]) -> None:
    """Reaped only here, so that the number is no other process's."""
    its, pid = child
    os.kill(pid, signal.SIGKILL)
    its.close()  # first: to take down what it had mapped takes milliseconds, which nobody has to wait for
    os.waitpid(pid, 0)


def _become(line: socket.socket, others: Sequence[socket.socket]) -> NoReturn:
    """In the child, once it is told: nothing is open but what it is asked by, and what it answers to."""
    from vallum.models.scan.child import scan_as_told
    from vallum.models.scan.pickles.starts import begin_helper

    try:
        for other in others:
            other.close()
        begin_helper()
        message, descriptors, _, _ = socket.recv_fds(line, _MAX_MESSAGE_BYTES, 2)
        line.close()
        if message:
            asked, said = descriptors
            os.dup2(asked, 0)
            os.dup2(said, 1)
            os.close(asked)
            os.close(said)
            sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
            scan_as_told(json.loads(message))
    finally:
        os._exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
