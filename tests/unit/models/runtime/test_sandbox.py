"""The walls round a model's process, from inside: each way out is tried by real code behind the real walls."""

import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import vallum
from vallum.models.runtime.sandbox import what_this_machine_permits

pytestmark = pytest.mark.skipif(
    not what_this_machine_permits().holds, reason="this kernel has no Landlock or no seccomp for this processor"
)

SOURCE = str(Path(vallum.__file__).parents[1])

# Each is a way out that some code in a model might try. It prints what came of it.
ATTACKS = {
    "a socket": "import socket; socket.socket()",
    "a socket of the local machine": "import socket; socket.socket(socket.AF_UNIX)",
    "a pair of sockets": "import socket; socket.socketpair()",
    "a name looked up": "import socket; socket.create_connection(('localhost', 1))",
    "another program": "import os; os.execv('/bin/true', ['true'])",
    "a fork": "import os; os.fork()",
    "a child program": "import subprocess; subprocess.run(['/bin/true'])",
    "a spawned program": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "a file of the system": "open('/etc/passwd').read()",
    "a file beside its folder": "open(folder + '/../secret').read()",
    "a link out of its folder": "open(folder + '/link').read()",
    "the parent's environment": "open(f'/proc/{parent}/environ', 'rb').read()",
    "the parent's memory": "open(f'/proc/{parent}/mem', 'rb').read(1)",
    "the parent's files": "import os; os.listdir(f'/proc/{parent}/fd')",
    "a listing of the disk": "import os; os.listdir('/')",
    "a new file": "open(folder + '/new', 'w').write('x')",
    "a changed file": "open(folder + '/model', 'r+b').write(b'x')",
    "a removed file": "import os; os.unlink(folder + '/model')",
    "a file in memory": "import os; os.memfd_create('x')",
    "memory shared": "import mmap; mmap.mmap(-1, 4096)",
    "a signal to the parent": "import os; os.kill(parent, 0)",
    "a signal to everybody": "import os; os.kill(-1, 0)",
    "tracing the parent": "import ctypes; r = libc.ptrace(16, parent, 0, 0); assert r == 0, ctypes.get_errno()",
    "the parent's memory by vector": "assert libc.syscall(310, parent, 0, 0, 0, 0, 0) == 0",
    "more memory allowed": "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))",
    "more processors": "import os; os.sched_setaffinity(0, range(64))",
    "to outlive its parent": "assert libc.prctl(1, 0, 0, 0, 0) == 0",
    "a namespace": "assert libc.unshare(0x10000000) == 0",
    "a mount": "assert libc.mount(b'none', folder.encode(), b'tmpfs', 0, 0) == 0",
    "io_uring, which has its own calls": "assert libc.syscall(425, 1, 0) >= 0",
    "bpf": "assert libc.syscall(321, 0, 0, 0) >= 0",
    "keys of the kernel": "assert libc.syscall(250, 0, 0, 0, 0, 0) >= 0",
    "a pipe": "import os; os.pipe()",
    "as root": "import os; os.setuid(0)",
}

PROGRAM = """
import ctypes, json, os, sys
sys.path.insert(0, {source!r})
from pathlib import Path
from vallum.models.runtime.sandbox import bound, close_files, enter
libc = ctypes.CDLL(None, use_errno=True)
folder, parent = sys.argv[1], os.getppid()
bound(512 << 20, 1)
import socket, subprocess, mmap, resource  # what is imported later is read from the disk later
walls = enter(Path(folder), parent)
assert open(folder + "/model").read() == "model"
{more}
import json as again
answers = {{}}
for name, code in json.loads(sys.argv[2]).items():
    try:
        exec(code, {{"folder": folder, "parent": parent, "libc": libc, "ctypes": ctypes}})
        answers[name] = "DONE"
    except BaseException as e:
        answers[name] = type(e).__name__
os.write(1, json.dumps([walls.landlock, walls.seccomp, walls.namespaces, answers]).encode())
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "model").write_text("model")
    (tmp_path / "secret").write_text("secret")
    (made / "link").symlink_to(tmp_path / "secret")
    return made


def inside(folder, attacks, more=""):
    program = textwrap.dedent(PROGRAM).format(source=SOURCE, more=more)
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(folder), json.dumps(attacks)], capture_output=True, timeout=60
    )
    assert done.stdout, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def test_every_way_out_is_closed(folder):
    landlock, seccomp, _, answers = inside(folder, ATTACKS)
    assert landlock >= 1
    assert seccomp
    assert {name: said for name, said in answers.items() if said == "DONE"} == {}
    assert (folder / "model").read_text() == "model"


def test_the_same_code_gets_out_where_there_are_no_walls(folder):
    """Else the test above would hold for any code."""
    tried = ("a socket", "a file of the system", "a fork", "a new file", "a file in memory", "memory shared", "a pipe")
    program = (
        "import os, sys, json\n"
        "for code in json.loads(sys.argv[2]):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        exec(code, {'folder': sys.argv[1]})\n"
        "        os._exit(0)\n"
        "    assert os.waitpid(pid, 0)[1] == 0, code\n"
    )
    arguments = [str(folder), json.dumps([ATTACKS[name] for name in tried])]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=60)


def test_after_loading_no_file_opens_at_all(folder):
    attacks = {
        "its own file": "open(folder + '/model').read()",
        "a library": "open(ctypes.__file__).read()",
        "what is there": "import os; os.listdir(folder)",
    }
    *_, answers = inside(folder, attacks, more="close_files()")
    assert set(answers.values()) == {"PermissionError"}


def test_threads_are_held_too(folder):
    more = textwrap.dedent(
        """
        import threading
        said, go = [], threading.Event()
        def work():
            go.wait()
            try:
                open(folder + "/model").read()
                said.append("DONE")
            except OSError as e:
                said.append(type(e).__name__)
        thread = threading.Thread(target=work)
        thread.start()
        close_files()
        go.set()
        thread.join()
        """
    )
    *_, answers = inside(folder, {"a thread's": "raise RuntimeError(said)", "x": "0"}, more)
    # A thread that was there before the second wall is behind it.
    more += "\nassert said == ['PermissionError'], said\n"
    inside(folder, {}, more)
    assert answers["x"] == "DONE"


def test_memory_is_bounded(folder):
    *_, answers = inside(folder, {"a gigabyte": "bytearray(1 << 30)", "a little": "bytearray(1 << 20)"})
    assert answers == {"a gigabyte": "MemoryError", "a little": "DONE"}


def test_it_dies_with_its_parent(folder, tmp_path):
    inner = textwrap.dedent(PROGRAM).format(
        source=SOURCE, more="os.write(1, str(os.getpid()).encode() + b'\\n'); import time; time.sleep(60)"
    )
    outer = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-I', '-c', sys.argv[1], sys.argv[2], '{}'], stdout=1)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", outer, inner, str(folder)], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_processor_without_a_list_has_no_sandbox(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not what_this_machine_permits().holds
