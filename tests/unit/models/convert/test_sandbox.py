"""What is unpickled is unpickled without a network, or not at all."""

import pickle
import socket
import subprocess
import sys

_CHILD = """
import sys
from vallum.kernel.errors import Unavailable
from vallum.models.convert import child, sandbox

sandbox._leave_network = lambda: False  # a system that gives no namespaces
sandbox._permits = lambda: sandbox.Walls(0, False, False)  # and has neither Landlock nor seccomp
given = {"kind": "sklearn", "source": sys.argv[1], "folder": sys.argv[2], "metadata": {}, "wrapped": False}
try:
    child._converted(given)
except Unavailable as e:
    print(e)
"""


class Opens:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_without_walls_nothing_is_unpickled(tmp_path):
    source, mark = tmp_path / "model.pkl", tmp_path / "mark"
    source.write_bytes(pickle.dumps(Opens(str(mark))))
    command = [sys.executable, "-c", _CHILD, str(source), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "only without a network" in done.stdout
    assert not mark.exists()


_WALLED = """
import os, socket, sys
from pathlib import Path
from vallum.models.convert import sandbox

source, folder, outside = map(Path, sys.argv[1:4])
said = sandbox.hold(source, folder)
assert "Landlock" in said, said
(folder / "converted").write_bytes(b"what it is for")
tried = {
    "write beside": lambda: (outside / "mark").write_text("x"),
    "append": lambda: (outside / "kept").open("a"),
    "read beside": lambda: (outside / "kept").read_text(),
    "read the system": lambda: Path("/etc/hostname").read_text(),
    "write a library": lambda: Path(os.__file__).open("a"),
    "link out": lambda: os.symlink(outside, folder / "link"),
    "connect": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[4])), 2),
    "listen": lambda: socket.socket(),
    "exec": lambda: os.execv("/bin/sh", ["sh", "-c", "touch " + str(outside / "mark")]),
    "fork": lambda: os.fork(),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "signal the parent": lambda: os.kill(os.getppid(), 9),
    "remove": lambda: os.unlink(outside / "kept"),
}
for name, work in tried.items():
    try:
        work()
    except OSError:
        continue
    print("DONE", name)
print("walled")
"""


def test_what_is_unpickled_reads_writes_and_reaches_nothing_else(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "source").write_bytes(b"x")
    (outside / "kept").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = [str(folder / "source"), str(folder), str(outside), str(server.getsockname()[1])]
        command = [sys.executable, "-c", _WALLED, *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "walled\n"), done.stderr
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (folder / "converted").read_bytes() == b"what it is for"
