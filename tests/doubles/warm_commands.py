"""The command line in processes forked from one that has imported it already, which spares each a second of imports.

Each is a process of its own and runs the installed script, with arguments, environment and files of its own. Starting
it cold is what `tests/unit/test_lean.py` and `test_command_line.py` do, and scenarios that say so.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

VALLUM = str(Path(sys.executable).with_name("vallum"))

_IMPORTED = (
    "alembic.command", "alembic.runtime.migration", "dbos", "rich.console", "rich.table", "sqlalchemy.dialects.sqlite",
    "vallum.api.table", "vallum.cli.bringup", "vallum.client", "vallum.compose_gateway", "vallum.kernel.store.blobs",
    "vallum.kernel.store.durable", "vallum.serving.notices",
)  # fmt: skip


class WarmCommands:
    """Forks commands. `close` ends it; commands that still run go on."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

    def close(self) -> None:
        self._socket.close()
        self._process.wait(20)

    def start(self, arguments, stdin, stdout, stderr, env=None) -> "Command":
        """Files as `subprocess.Popen` takes them, if they are open."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, tempfile.TemporaryFile() as asked:
            whole = {**os.environ, **(env or {})}
            asked.write(json.dumps([list(map(str, arguments)), whole, str(Path.cwd())]).encode())
            asked.flush()
            files = [theirs.fileno(), asked.fileno(), *(file.fileno() for file in (stdin, stdout, stderr))]
            socket.send_fds(self._socket, [b"start"], files)
        return Command(ours, arguments)

    def run(self, *arguments, stdin=None, env=None, timeout=60) -> subprocess.CompletedProcess:
        """As `subprocess.run` with text that is captured."""
        with _file() as given, _file() as out, _file() as err:
            given.write(stdin or "")
            given.seek(0)
            with self.start(arguments, given, out, err, env) as command:
                code = command.wait(timeout)
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


class Command:
    """As much of `subprocess.Popen` as tests ask for."""

    def __init__(self, told, arguments) -> None:
        self._told = told
        self._arguments = arguments
        self.returncode = None
        self.pid = int(told.recv(64))

    def poll(self):
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout=None):
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = int(self._told.recv(64))
            except (TimeoutError, BlockingIOError) as e:
                raise subprocess.TimeoutExpired(self._arguments, timeout) from e
            self._told.close()
        return self.returncode

    def send_signal(self, number) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *exception) -> None:
        if self.poll() is None:
            self.kill()
            self.wait()


def _file():
    return tempfile.TemporaryFile("w+")


def _serve(asking: socket.socket) -> tuple[list[str], str] | None:
    """Fork for each that is asked for: None when nobody asks any more, and in a child what it is to run, and where."""
    children: dict[int, socket.socket] = {}
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(asking, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                for pid, code in _ended(children):
                    with children.pop(pid) as told:
                        told.send(b"%d" % code)
            if asking not in ready:
                continue
            message, files, _, _ = socket.recv_fds(asking, 64, 8)
            if not message:
                return None
            told = socket.socket(fileno=files[0])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (asking, woken, wakes, told, *children.values()):
                    other.close()
                break
            children[pid] = told
            for file in files[1:]:
                os.close(file)
            told.send(b"%d" % pid)
    return _take(files[1:])


def _ended(children):
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            yield pid, os.waitstatus_to_exitcode(status)


def _take(files: list[int]) -> tuple[list[str], str]:
    """What was asked for, after its files, its environment and its folder have taken the place of ours."""
    asked, *standard = files
    os.lseek(asked, 0, os.SEEK_SET)
    with open(asked) as opened:
        arguments, environment, folder = json.load(opened)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    return arguments, folder


def _main() -> None:
    for name in _IMPORTED:
        import_module(name)
    from vallum.cli.tree import whole_tree

    whole_tree()
    gc.collect()
    gc.freeze()  # what is shared with the commands stays shared
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would copy the locks of threads"
    found = _serve(socket.socket(fileno=int(sys.argv[1])))
    if found is not None:
        arguments, folder = found
        os.chdir(folder)
        sys.argv = [VALLUM, *arguments]
        runpy.run_path(VALLUM, run_name="__main__")


if __name__ == "__main__":
    _main()
