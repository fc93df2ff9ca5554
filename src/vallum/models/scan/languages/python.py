"""Python source, by its syntax tree: what it calls, with what, and whether importing it is enough. Nothing is run.

Names are followed through imports, assignments, `getattr`, `__import__` and strings that are put together. What a name
was made of (decoded, fetched, read from a secret's place) follows it, without regard to order: an over-approximation.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vallum.models.scan.languages.python_reading import FETCHES, SECRETS, Reading, dotted, folded, learn, traits
from vallum.models.scan.languages.shell import harm_in_commands, is_harmless_command
from vallum.models.scan.model import Verdict

__all__ = ["MAX_CHARACTERS", "MINES", "Harm", "harms_in_python", "parse_python"]

MAX_CHARACTERS = 512 << 10  # the parser takes about a second for more
_MAX_PIECES = 1_000
_MAX_NODES = 200_000  # about a second

_RUNS = re.compile(
    r"(?:os|posix|nt)\.(?:system|popen|exec\w+|spawn\w+|posix_spawnp?|startfile|fork|forkpty)\Z|subprocess\.(?!PIPE|STDOUT|DEVNULL|\w*Error|\w*Expired)\w+\Z|_posixsubprocess\.\w+\Z"
    r"|pty\.spawn\Z|commands\.get\w+\Z|asyncio\.create_subprocess_\w+\Z|runpy\.run_\w+\Z|code\.(?:interact|InteractiveInterpreter|InteractiveConsole)\Z|pexpect\.\w+\Z|platform\.popen\Z|IPython\.\w*system\Z|pip(?:\._internal(?:\.cli\.main)?)?\.main\Z"
    r"|ctypes\..*\.(?:system|popen|exec\w*|fork|WinExec|ShellExecute\w*|CreateProcess\w*|mprotect|VirtualAlloc|posix_spawn\w*)\Z"
)
_EVALUATES = re.compile(
    r"(?:(?:builtins|__builtins__)\.)?(?:exec|eval|compile|execfile)\Z|types\.(?:FunctionType|CodeType)\Z|code\.compile_command\Z|timeit\.timeit\Z|codeop\.\w+\Z"
)
_PLANTS = re.compile(
    r"\.bashrc|\.bash_profile|\.zshrc|(?<!\w)\.profile\b|authorized_keys|/etc/cron|/var/spool/cron|/etc/ld\.so\.preload|/etc/rc\.local|systemd/(?:system|user)|LaunchAgents|Start Menu.{0,40}Startup|CurrentVersion\\+Run|sitecustomize\.py|usercustomize\.py|autostart/"
)
MINES = re.compile(
    r"stratum\+tcp|xmrig|discord(?:app)?\.com/api/webhooks|api\.telegram\.org/bot|\.onion\b|pastebin\.com/raw|webhook\.site|requestbin|burpcollaborator|oast\.(?:fun|live|pro|site)|interact\.sh|ngrok"
)
_NATIVE = re.compile(
    r"VirtualAlloc|VirtualProtect|RtlMoveMemory|CreateThread|CreateRemoteThread|WriteProcessMemory|mprotect|memmove|CFUNCTYPE|PROT_EXEC"
)
_INTERNALS = frozenset(
    "__subclasses__ __mro__ __base__ __bases__ __globals__ __builtins__ __code__ __closure__ f_globals f_back gi_frame".split()
)
_LOADS_NATIVE = re.compile(
    r"ctypes\.(?:CDLL|PyDLL|WinDLL|OleDLL|(?:cdll|pydll|windll|oledll)\.LoadLibrary)\Z|(?:.*\.)?(?:load_library|load_op_library)\Z|imp\.load_dynamic\Z"
    r"|importlib\.machinery\.ExtensionFileLoader\Z|_imp\.create_dynamic\Z|_ctypes\.dlopen\Z"
)
_UNPICKLES = re.compile(
    r"(?:torch|joblib|pickle|_pickle|cPickle|dill|cloudpickle|skops\.io|torch\.jit|torch\.serialization)\.load\Z"
    r"|(?:pandas|pd)\.read_pickle\Z|torch\.package\.PackageImporter\Z"
)
_HOOKS = re.compile(
    r"sys\.(?:meta_path|path_hooks|settrace|setprofile|addaudithook|modules)\Z|builtins\.\w+\Z|__builtins__\.\w+\Z"
)


@dataclass(frozen=True, slots=True)
class Harm:
    """One thing that the code does. `line` counts from 1."""

    verdict: Verdict
    line: int
    explanation: str
    technique: str = "malicious-script"


@dataclass(slots=True)
class _Judging(Reading):
    harms: list[Harm] = field(default_factory=list)


def parse_python(text: str) -> ast.Module | None:
    """None for what is not Python, or is more than is parsed."""
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def harms_in_python(tree: ast.Module, *, depth: int = 0) -> list[Harm]:
    """Empty for code that does nothing harmful; which does not make it fit to be run."""
    reading = _Judging()
    nodes = list(_nodes(tree))
    for _ in range(2):  # a name may be used above where it is made
        for node, _where in nodes:
            learn(node, reading)
    for name, pieces in reading.added.items():
        added = "".join(pieces[at] for at in sorted(pieces)[:_MAX_PIECES])
        reading.strings[name] = (reading.strings.get(name, "") + added)[:100_000]
    for node, where in nodes:
        if isinstance(node, ast.Call):
            _judge_call(node, where, reading, depth)
        elif isinstance(node, ast.FunctionDef):
            _judge_function(node, reading)
            _judge_decorators(node, reading)
        elif isinstance(node, ast.Attribute) and node.attr in _INTERNALS:
            reading.seen.add("internals:" + node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            _judge_string(node, reading)
        elif isinstance(node, ast.Assign | ast.AugAssign):
            _judge_assignment(node, reading)
    _judge_together(reading)
    return reading.harms


def _nodes(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every node, and whether importing runs it: "import", "main" or the function's name."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "import")]
    left = _MAX_NODES
    while waiting and left:
        left -= 1
        node, where = waiting.pop()
        yield node, where
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = node.name
        elif isinstance(node, ast.Lambda) and where == "import":
            where = "lambda"
        elif isinstance(node, ast.If) and where == "import" and "__main__" in ast.dump(node.test)[:400]:
            where = "main"
        waiting += [(child, where) for child in ast.iter_child_nodes(node)]


_HANDED_ON = re.compile(
    r"(?:os|posix|nt)\.(?:system|popen|exec[lv]\w*|spawn\w+)\Z|subprocess\.(?:Popen|run|call|check_\w+|getoutput|getstatusoutput)\Z"
    r"|pty\.spawn\Z|(?:builtins\.)?(?:exec|eval|__import__)\Z"
)
_ASKS_ABOUT = frozenset("isinstance issubclass hasattr getattr callable type patch patch.object print repr id".split())


def _judge_handed_on(called: str, node: ast.Call, reading: _Judging) -> None:
    """What runs or evaluates, given to something that will call it: a thread, `map`, `partial`, `atexit`."""
    if called.rsplit(".", 1)[-1] in _ASKS_ABOUT:
        return
    for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
        if not isinstance(argument, ast.Name | ast.Attribute):
            continue
        stands = dotted(argument, reading) or ""
        hidden = isinstance(argument, ast.Name) and argument.id in reading.parameters
        if _HANDED_ON.match(stands) and not hidden:
            _block(reading, node.lineno, f"hands `{stands[:60]}` to `{called[:60]}`")


def _made_of(arguments: Sequence[ast.expr], reading: _Judging) -> set[str]:
    return set().union(*(traits(argument, reading) for argument in arguments))


def _judge_call(node: ast.Call, where: str, reading: _Judging, depth: int) -> None:
    called = dotted(node.func, reading)
    _judge_handed_on(called or "", node, reading)
    line = node.lineno
    attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if called is None:
        if isinstance(node.func, ast.Call | ast.Subscript):
            reading.seen.add("computed call")
            if {"decoded", "reversed"} & traits(node.func, reading):
                _block(reading, line, "calls what it decodes")
        called = attribute
    elif isinstance(node.func, ast.Subscript | ast.Call) and (_RUNS.match(called) or _EVALUATES.match(called)):
        _block(reading, line, f"reaches `{called[:60]}` by a name in a string")
    arguments = [*node.args, *(k.value for k in node.keywords)]
    if _EVALUATES.match(called):
        _judge_evaluation(called, node, where, reading, depth)
    elif _RUNS.match(called):
        _judge_run(called, node, where, reading)
    elif FETCHES.match(called):
        reading.seen |= {"fetches", "fetches on import"} if where == "import" else {"fetches"}
        made = _made_of(arguments, reading)
        if "secret" in made or (
            "environment" in made
            and ("post" in called or "Request" in called or "urlopen" in called)
            and _is_whole_environment(arguments)
        ):
            _block(reading, line, "sends credentials or the environment out")
        elif "password" in _made_of(_content(node), reading):
            _block(reading, line, "sends what an environment variable keeps secret")
        elif "environment" in made and called.startswith("socket.get"):
            _block(reading, line, "tells the environment by looking up names")
    elif (
        called in ("__import__", "builtins.__import__", "importlib.import_module")
        and node.args
        and not isinstance(node.args[0], ast.Constant)
    ):
        name = folded(node.args[0], reading)
        if name is not None and not isinstance(node.args[0], ast.Name):
            _block(reading, line, f"imports `{name[:40]}` by a name that it puts together")
        reading.seen.add("computed import")
    elif (
        called in ("getattr", "builtins.getattr")
        and len(node.args) > 1
        and not isinstance(node.args[1], ast.Constant | ast.Name)
    ):
        full = dotted(node, reading)
        if full and (_RUNS.match(full) or _EVALUATES.match(full.removeprefix("__builtins__."))):
            _block(reading, line, f"reaches `{full[:60]}` by a name that it puts together")
    elif called in (
        "pickle.loads",
        "cPickle.loads",
        "_pickle.loads",
        "dill.loads",
        "cloudpickle.loads",
        "marshal.loads",
        "marshal.load",
    ):
        carried = node.args and (folded(node.args[0], reading) or "")
        if called.startswith("marshal") or carried or {"decoded", "fetched"} & _made_of(arguments, reading):
            _block(reading, line, f"`{called}` of data that it carries or fetches")
    elif _UNPICKLES.match(called) and not _is_true(node, "weights_only"):
        if "fetched" in _made_of(arguments, reading):
            _block(reading, line, f"`{called[:60]}` of what it fetches")
        elif where == "import":
            reading.seen.add("unpickles on import")
    elif (_LOADS_NATIVE.match(called) or attribute in ("dlopen", "LoadLibrary")) and arguments:
        reading.seen.add("native")
        _judge_native(called or attribute, arguments[0], where, reading)
    elif called.startswith(("ctypes.", "cffi.")):
        reading.seen.add("native")
        if _NATIVE.search(called):
            reading.seen.add("native memory")
    elif called in ("os.walk", "glob.glob", "os.listdir", "os.scandir") or attribute in ("rglob", "iterdir"):
        reading.seen.add("walks")
    elif attribute == "encrypt":
        reading.seen.add("encrypts")
    elif called == "open" and any((folded(a, reading) or "r")[:1] in "wa" for a in node.args[1:2]):
        reading.seen.add("writes")
    elif called in ("os.dup2", "socket.dup2"):
        reading.seen.add("dup2")
    elif (
        called == "shutil.rmtree"
        and node.args
        and (folded(node.args[0], reading) or "?").rstrip("/")
        in ("", "~", "/home", "/etc", "/usr", "/var", "/root", "C:\\")
    ):
        _block(reading, line, "deletes outside of its folder")
    elif called in ("os.chmod", "os.startfile", "os.fork") or attribute == "chmod":
        reading.seen.add("makes executable")
    elif called in (
        "sys.meta_path.insert",
        "sys.meta_path.append",
        "sys.path_hooks.append",
        "sys.path_hooks.insert",
        "sys.settrace",
        "sys.setprofile",
    ):
        _block(reading, line, "puts itself between the interpreter and what is imported")
    elif called.endswith(("cpp_extension.load", "load_inline")):
        reading.harms.append(Harm(Verdict.REVIEW, line, "loads native code", "script"))
    if attribute in ("send", "sendall", "sendto", "post", "request", "sendmail", "storbinary", "put"):
        made = _made_of(arguments, reading)
        if "secret" in made or ("environment" in made and _is_whole_environment(arguments)):
            _block(reading, line, "sends credentials or the environment out")
    if called.rsplit(".", 1)[-1] == "setup" and any(k.arg == "cmdclass" for k in node.keywords):
        reading.seen.add("cmdclass")
    if any(
        k.arg == "trust_remote_code" and isinstance(k.value, ast.Constant) and k.value.value is True
        for k in node.keywords
    ):
        reading.harms.append(Harm(Verdict.REVIEW, line, "it loads another repository's code", "remote-code"))


def _is_true(node: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords)


def _judge_native(called: str, argument: ast.expr, where: str, reading: _Judging) -> None:
    """A library of the system is known by its bare name; one that comes along has a path, which is made up at times."""
    name = folded(argument, reading)
    comes_along = name is None if isinstance(argument, ast.Call | ast.BinOp | ast.JoinedStr) else "/" in (name or "")
    system = isinstance(argument, ast.Call) and (dotted(argument.func, reading) or "").endswith("find_library")
    beside = name is not None and "/" in name and not name.startswith("/")
    if not system and (beside or (where == "import" and (comes_along or (name or "").endswith((".dll", ".pyd"))))):
        _block(reading, argument.lineno, f"`{called[:60]}` loads native code that comes along")
    else:
        reading.harms.append(Harm(Verdict.REVIEW, argument.lineno, f"`{called[:60]}` loads native code", "script"))


def _content(node: ast.Call) -> list[ast.expr]:
    """What is sent, and where to; a secret among the headers is how a service is signed in to."""
    return [
        *node.args,
        *(k.value for k in node.keywords if k.arg in ("data", "json", "params", "url", "files", "body")),
    ]


def _is_whole_environment(arguments: list[ast.expr]) -> bool:
    """`os.environ` itself, and not one variable of it."""
    one = {id(n.value) for a in arguments for n in ast.walk(a) if isinstance(n, ast.Subscript)}
    got = {id(n.func.value) for a in arguments for n in ast.walk(a) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "get"}  # fmt: skip
    whole = [n for a in arguments for n in ast.walk(a) if isinstance(n, ast.Attribute) and n.attr == "environ"]
    return not whole or any(id(n) not in one | got for n in whole)


def _judge_evaluation(called: str, node: ast.Call, where: str, reading: _Judging, depth: int) -> None:
    if not node.args:
        return
    made = traits(node.args[0], reading)
    text = folded(node.args[0], reading)
    reading.seen.add("evaluates")
    if {"decoded", "fetched", "reversed", "secret", "computed"} & made or called.startswith("types."):
        _block(reading, node.lineno, f"`{called}` of what it decodes, fetches or puts together")
    elif text is not None:
        inner = parse_python(text)
        worse = (
            inner is not None
            and depth < 3
            and any(h.verdict is Verdict.BLOCK for h in harms_in_python(inner, depth=depth + 1))
        )
        if worse or not isinstance(node.args[0], ast.Constant):
            _block(reading, node.lineno, f"`{called}` of code in a string")
        else:
            reading.harms.append(Harm(Verdict.REVIEW, node.lineno, f"`{called}` of a string", "script"))
    elif (
        "file" in made and not re.search(r"\.py['\"]", ast.dump(node.args[0])[:4000]) and not called.endswith("compile")
    ):
        _block(reading, node.lineno, f"`{called}` of a file's content")
    else:
        reading.harms.append(Harm(Verdict.REVIEW, node.lineno, f"`{called}` of a value", "script"))


def _judge_run(called: str, node: ast.Call, where: str, reading: _Judging) -> None:
    reading.seen.add("runs")
    first = (
        node.args[0]
        if node.args
        else next((k.value for k in node.keywords if k.arg in ("args", "cmd", "command")), None)
    )
    command = None
    if isinstance(first, ast.List | ast.Tuple):
        parts = [folded(part, reading) for part in first.elts]
        if first.elts and parts[0] is not None:
            command = " ".join(p if p is not None else "X" for p in parts)
    elif first is not None:
        command = folded(first, reading)
    if command is not None and (harm := harm_in_commands(command)):
        _block(reading, node.lineno, f"runs a command that {harm}")
    elif command is not None and is_harmless_command(command):
        reading.harms.append(Harm(Verdict.REVIEW, node.lineno, f"runs `{command[:60]}`", "script"))
    elif first is not None and {"decoded", "fetched", "secret", "reversed"} & traits(first, reading):
        _block(reading, node.lineno, "runs what it decodes or fetches")
    elif where == "main" or (
        where != "import"
        and called.startswith("subprocess.")
        and isinstance(first, ast.List | ast.Tuple | ast.Name)
        and not _is_shell(node)
    ):
        reading.harms.append(Harm(Verdict.REVIEW, node.lineno, f"starts programs by `{called[:60]}`", "script"))
    else:
        when = "as soon as it is imported" if where == "import" else f"in `{where[:40]}`"
        _block(reading, node.lineno, f"`{called[:60]}` {when}")


def _is_shell(node: ast.Call) -> bool:
    return any(
        k.arg == "shell" and not (isinstance(k.value, ast.Constant) and not k.value.value) for k in node.keywords
    )


def _judge_decorators(node: ast.FunctionDef, reading: _Judging) -> None:
    for decorator in node.decorator_list:
        if (stands := dotted(decorator, reading) or "") and _HANDED_ON.match(stands):
            _block(reading, node.lineno, f"hands a function to `{stands[:60]}`")


def _judge_function(node: ast.FunctionDef, reading: _Judging) -> None:
    if node.name not in ("__reduce__", "__reduce_ex__", "__setstate__", "__getstate__"):
        return
    for part in ast.walk(node):
        reading.walks -= 1
        if reading.walks < 0:
            return
        stands = dotted(part, reading) if isinstance(part, ast.Attribute | ast.Name | ast.Call) else None
        if stands and (_RUNS.match(stands) or _EVALUATES.match(stands)):
            _block(reading, node.lineno, f"an object that is unpickled by `{stands[:60]}`")
            return


def _judge_string(node: ast.Constant, reading: _Judging) -> None:
    text = node.value if isinstance(node.value, str) else bytes(node.value).decode("latin-1")  # type: ignore[arg-type]
    text = text[:65536]
    for pattern, mark in ((SECRETS, "secrets"), (_PLANTS, "plants"), (MINES, "mines"), (_NATIVE, "native memory")):
        if pattern.search(text):
            reading.seen.add(mark)
    if any(name in text for name in ("__subclasses__", "__globals__", "__builtins__")):
        reading.seen.add("internals:string")


def _judge_assignment(node: ast.Assign | ast.AugAssign, reading: _Judging) -> None:
    first = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(first, ast.Name) and first.id in ("__reduce__", "__reduce_ex__", "__setstate__"):
        for part in ast.walk(node.value):
            stands = (dotted(part, reading) or "") if isinstance(part, ast.Attribute | ast.Name) else ""
            if _RUNS.match(stands) or _EVALUATES.match(stands):
                _block(reading, node.lineno, f"an object that is unpickled by `{stands[:60]}`")
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if (
            isinstance(target, ast.Attribute | ast.Subscript)
            and (hooked := dotted(target, reading))
            and _HOOKS.match(hooked)
        ):
            verdict = Verdict.REVIEW if hooked == "sys.modules" else Verdict.BLOCK
            reading.harms.append(Harm(verdict, node.lineno, f"replaces `{hooked[:60]}`"))


def _judge_together(reading: _Judging) -> None:
    seen = reading.seen
    runs = bool(seen & {"runs", "evaluates", "makes executable"})
    if "fetches" in seen and runs:
        _block(reading, 1, "fetches from the network, and runs")
    if {"fetches on import", "unpickles on import"} <= seen:
        _block(reading, 1, "fetches from the network and unpickles, as soon as it is imported")
    if "import:socket" in seen and (seen & {"dup2", "runs", "import:pty"}):
        _block(reading, 1, "a shell over the network")
    if "secrets" in seen:
        _block(reading, 1, "reaches for credentials")
    if "plants" in seen:
        _block(reading, 1, "plants itself where a start or login runs it")
    if "mines" in seen:
        _block(reading, 1, "talks to a place where stolen data or a miner's work goes")
    if "native" in seen and "native memory" in seen:
        _block(reading, 1, "writes machine code into memory")
    if {"encrypts", "walks", "writes"} <= seen:
        _block(reading, 1, "encrypts files that it goes looking for")
    if "cmdclass" in seen and (runs or "fetches" in seen):
        _block(reading, 1, "an installation that runs or fetches")
    if "internals:__subclasses__" in seen or (
        len([s for s in seen if s.startswith("internals:")]) > 1 and seen & {"computed call", "evaluates"}
    ):
        _block(reading, 1, "reaches through Python's internals")
    if seen & {"import:pynput", "import:keyboard", "import:pyautogui", "import:pyscreenshot"}:
        _block(reading, 1, "watches the keyboard or the screen")


def _block(reading: _Judging, line: int, explanation: str) -> None:
    if len(reading.harms) < 50:
        reading.harms.append(Harm(Verdict.BLOCK, line, explanation))
