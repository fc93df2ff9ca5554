"""Python source, by its syntax tree: what it calls, with what, and whether importing it is enough. Nothing is run.

Names are followed through imports, assignments, `getattr`, `__import__` and strings that are put together. What a name
was made of (decoded, fetched, read from a secret's place) follows it, without regard to order: an over-approximation.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import ast
import base64
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from vallum.models.scan.languages.shell import harm_in_commands, is_harmless_command
from vallum.models.scan.model import Verdict

__all__ = ["Harm", "harms_in_python", "parse_python"]

_MAX_CHARACTERS = 512 << 10  # the parser takes about a second for more
_MAX_NODES = 200_000  # about a second
_MAX_WALKS = 400_000

_RUNS = re.compile(
    r"(?:os|posix|nt)\.(?:system|popen|exec\w+|spawn\w+|posix_spawnp?|startfile|fork|forkpty)\Z|subprocess\.(?!PIPE|STDOUT|DEVNULL|\w*Error|\w*Expired)\w+\Z|_posixsubprocess\.\w+\Z"
    r"|pty\.spawn\Z|commands\.get\w+\Z|asyncio\.create_subprocess_\w+\Z|runpy\.run_\w+\Z|code\.(?:interact|InteractiveInterpreter|InteractiveConsole)\Z|pexpect\.\w+\Z|platform\.popen\Z|IPython\.\w*system\Z"
)
_EVALUATES = re.compile(
    r"(?:(?:builtins|__builtins__)\.)?(?:exec|eval|compile|execfile)\Z|types\.(?:FunctionType|CodeType)\Z|code\.compile_command\Z|timeit\.timeit\Z|codeop\.\w+\Z"
)
_DECODES = re.compile(
    r"base64\.\w*decode\w*\Z|binascii\.(?:unhexlify|a2b_\w+)\Z|(?:zlib|gzip|bz2|lzma)\.(?:decompress\w*|open)\Z|marshal\.loads?\Z|codecs\.decode\Z|.*\bfromhex\Z|.*\bdecompress\Z|cryptography\.\w+.*\Z|.*\bb64decode\Z|.*\bFernet\b.*\Z"
)
_FETCHES = re.compile(
    r"(?:urllib\.request\.|urllib\.|urllib2\.)(?:urlopen|urlretrieve|Request)\Z|requests\.(?:get|post|put|request|Session)\Z|(?:httpx|aiohttp)\.\w+\Z|http\.client\.\w+\Z|wget\.download\Z"
    r"|socket\.(?:socket|create_connection|getaddrinfo|gethostbyname\w*)\Z|ftplib\.\w+\Z|smtplib\.\w+\Z|telnetlib\.\w+\Z|paramiko\.\w+\Z|urllib3\.\w+\Z|pycurl\.\w+\Z|websockets?\.\w+\Z|xmlrpc\.client\.\w+\Z|dns\.resolver\.\w+\Z"
)
_SECRETS = re.compile(
    r"\.ssh(?:/|\b)|\bid_(?:rsa|ed25519|ecdsa|dsa)\b|\.aws(?:/|\b)|/etc/(?:passwd|shadow|sudoers)|\.netrc|\.git-credentials|\.docker/config|\.kube/config|\.pypirc|\.npmrc|\.gnupg|Login Data|Local State|cookies\.sqlite|logins\.json|key4\.db"
    r"|wallet\.dat|\.bash_history|\.huggingface/token|huggingface/token|gcloud/(?:credentials|application_default)|\.azure/|/proc/(?:self|\d+)/(?:environ|mem)|\.config/gh/|169\.254\.169\.254|metadata\.google\.internal"
)
_PLANTS = re.compile(
    r"\.bashrc|\.bash_profile|\.zshrc|(?<!\w)\.profile\b|authorized_keys|/etc/cron|/var/spool/cron|/etc/ld\.so\.preload|/etc/rc\.local|systemd/(?:system|user)|LaunchAgents|Start Menu.{0,40}Startup|CurrentVersion\\+Run|sitecustomize\.py|usercustomize\.py|autostart/"
)
_MINES = re.compile(
    r"stratum\+tcp|xmrig|discord(?:app)?\.com/api/webhooks|api\.telegram\.org/bot|\.onion\b|pastebin\.com/raw|webhook\.site|requestbin|burpcollaborator|oast\.(?:fun|live|pro|site)|interact\.sh|ngrok"
)
_NATIVE = re.compile(
    r"VirtualAlloc|VirtualProtect|RtlMoveMemory|CreateThread|CreateRemoteThread|WriteProcessMemory|mprotect|memmove|CFUNCTYPE|PROT_EXEC"
)
_STARRED = {
    "os": "system popen execv execve execvp execl spawnv spawnl dup2 environ startfile",
    "subprocess": "Popen run call check_call check_output getoutput getstatusoutput",
    "base64": "b64decode urlsafe_b64decode b32decode b85decode a85decode decodebytes",
    "urllib.request": "urlopen urlretrieve Request",
    "pty": "spawn",
    "runpy": "run_path run_module",
    "ctypes": "CDLL windll cdll CFUNCTYPE memmove",
    "pickle": "loads load",
    "marshal": "loads load",
}
_INTERNALS = frozenset(
    "__subclasses__ __mro__ __base__ __bases__ __globals__ __builtins__ __code__ __closure__ f_globals f_back gi_frame".split()
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
class _Reading:
    names: dict[str, str] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)
    made_of: dict[str, set[str]] = field(default_factory=dict)
    harms: list[Harm] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    walks: int = _MAX_WALKS


def parse_python(text: str) -> ast.Module | None:
    """None for what is not Python, or is more than is parsed."""
    if len(text) > _MAX_CHARACTERS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def harms_in_python(tree: ast.Module, *, depth: int = 0) -> list[Harm]:
    """Empty for code that does nothing harmful; which does not make it fit to be run."""
    reading = _Reading()
    nodes = list(_nodes(tree))
    for _ in range(2):  # a name may be used above where it is made
        for node, _where in nodes:
            _learn(node, reading)
    for node, where in nodes:
        if isinstance(node, ast.Call):
            _judge_call(node, where, reading, depth)
        elif isinstance(node, ast.FunctionDef):
            _judge_function(node, reading)
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


def _learn(node: ast.AST, reading: _Reading) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            reading.names[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0]
            )
            reading.seen.add("import:" + alias.name)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            reading.names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
            if alias.name == "*":
                reading.names |= {name: f"{node.module}.{name}" for name in _STARRED.get(node.module or "", "").split()}
            reading.seen.add("import:" + (node.module or ""))
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                _learn_name(target.id, node.value, reading)
    elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        _learn_name(node.optional_vars.id, node.context_expr, reading)
    elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
        reading.made_of.setdefault(node.target.id, set()).update(_traits(node.iter, reading))


def _learn_name(name: str, value: ast.expr, reading: _Reading) -> None:
    if (dotted := _dotted(value, reading)) and dotted != name:
        reading.names[name] = dotted
    if (text := _folded(value, reading)) is not None and len(text) < 100_000:
        reading.strings[name] = text
    reading.made_of.setdefault(name, set()).update(_traits(value, reading))


def _dotted(node: ast.expr, reading: _Reading, depth: int = 0) -> str | None:
    """The full name that an expression stands for."""
    if depth > 20:
        return None
    if isinstance(node, ast.Name):
        return reading.names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, reading, depth + 1)
        return f"{owner}.{node.attr}" if owner and len(owner) < 300 else None
    if isinstance(node, ast.Call):
        called = _dotted(node.func, reading, depth + 1)
        if (
            called in ("__import__", "builtins.__import__", "importlib.import_module", "importlib.__import__")
            and node.args
        ):
            return _folded(node.args[0], reading) or "<computed module>"
        if called in ("getattr", "builtins.getattr") and len(node.args) > 1:
            owner, name = _dotted(node.args[0], reading, depth + 1), _folded(node.args[1], reading)
            return f"{owner}.{name}" if owner and name else None
        return f"{called}" if called and called.endswith(("Fernet", "Session", "socket")) else None
    if isinstance(node, ast.Subscript):
        owner, name = _dotted(node.value, reading, depth + 1), _folded(node.slice, reading)
        if isinstance(node.value, ast.Call) and name:
            called = _dotted(node.value.func, reading, depth + 1)
            if called in ("globals", "locals", "vars"):
                return reading.names.get(name, name)
        if owner and name:
            owner = owner.removesuffix(".__dict__")
            return name if owner in ("sys.modules", "__builtins__", "builtins") else f"{owner}.{name}"
    return None


def _folded(node: ast.expr, reading: _Reading, depth: int = 0) -> str | None:
    """The string that an expression always gives, put together as Python would."""
    if depth > 60:
        return None
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return reading.strings.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _folded(node.left, reading, depth + 1), _folded(node.right, reading, depth + 1)
        return left + right if left is not None and right is not None and len(left) + len(right) < 100_000 else None
    if isinstance(node, ast.JoinedStr):
        parts = [_folded(p.value if isinstance(p, ast.FormattedValue) else p, reading, depth + 1) for p in node.values]
        return "".join(p for p in parts if p is not None) if all(p is not None for p in parts) else None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and ast.dump(node.slice) in _REVERSED:
        text = _folded(node.value, reading, depth + 1)
        return text[::-1] if text is not None else None
    if isinstance(node, ast.Call):
        return _folded_call(node, reading, depth)
    return None


_REVERSED = frozenset((ast.dump(ast.Slice(step=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)))),))


def _folded_call(node: ast.Call, reading: _Reading, depth: int) -> str | None:
    called = node.func
    first = node.args[0] if node.args else None
    if (
        isinstance(called, ast.Name)
        and called.id == "chr"
        and isinstance(first, ast.Constant)
        and isinstance(first.value, int)
    ):
        return chr(first.value) if 0 <= first.value < 0x110000 else None
    if isinstance(called, ast.Name) and called.id in ("bytes", "bytearray", "str") and first is not None:
        return _characters(first) if isinstance(first, ast.List | ast.Tuple) else _folded(first, reading, depth + 1)
    if not isinstance(called, ast.Attribute):
        return None
    if called.attr in ("decode", "encode", "strip", "lower") and len(node.args) <= 1:
        own = _folded(called.value, reading, depth + 1)
        if own is not None:
            return own
    if called.attr == "join" and first is not None:
        by = _folded(called.value, reading, depth + 1)
        if isinstance(first, ast.List | ast.Tuple):
            parts = [_folded(part, reading, depth + 1) for part in first.elts[:5000]]
            return (
                by.join(p for p in parts if p is not None)
                if by is not None and all(p is not None for p in parts)
                else None
            )
        if isinstance(first, ast.GeneratorExp | ast.ListComp) and "chr" in ast.dump(first.elt)[:200]:
            return _characters(first.generators[0].iter)
    if called.attr in ("b64decode", "urlsafe_b64decode", "fromhex", "unhexlify") and first is not None:
        text = _folded(first, reading, depth + 1)
        try:
            if text is not None and len(text) < 200_000:
                raw = base64.b64decode(text) if "b64" in called.attr else bytes.fromhex(text)
                return raw.decode("latin-1")
        except ValueError:
            return None
    return None


def _characters(node: ast.expr) -> str | None:
    if not isinstance(node, ast.List | ast.Tuple):
        return None
    codes = [e.value for e in node.elts[:20_000] if isinstance(e, ast.Constant) and isinstance(e.value, int)]
    return "".join(chr(c) for c in codes if 0 <= c < 0x110000) if codes else None


def _traits(node: ast.AST, reading: _Reading) -> set[str]:
    """What an expression is made of: decoded, fetched, secret, environment, file, pieces."""
    traits: set[str] = set()
    for part in ast.walk(node):
        reading.walks -= 1
        if reading.walks < 0:
            break
        if isinstance(part, ast.Call):
            called = _dotted(part.func, reading) or (part.func.attr if isinstance(part.func, ast.Attribute) else "")
            if _DECODES.match(called) or (
                called.endswith("join") and "chr" in {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
            ):
                traits.add("decoded")
            if _FETCHES.match(called):
                traits.add("fetched")
            if called in ("open", "io.open") or called.endswith((".read_text", ".read_bytes", ".recv", ".read")):
                traits.add("fetched" if called.endswith(".recv") else "file")
        elif isinstance(part, ast.Name):
            traits |= reading.made_of.get(part.id, set())
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and _SECRETS.search(part.value[:4096]):
            traits.add("secret")
        elif (
            isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice) and ast.dump(part.slice) in _REVERSED
        ):
            traits.add("reversed")
        if isinstance(part, ast.Attribute) and part.attr == "environ" and _dotted(part, reading) == "os.environ":
            traits.add("environment")
    return traits


def _judge_call(node: ast.Call, where: str, reading: _Reading, depth: int) -> None:
    called = _dotted(node.func, reading)
    line = node.lineno
    attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if called is None:
        if isinstance(node.func, ast.Call | ast.Subscript):
            reading.seen.add("computed call")
            if {"decoded", "reversed"} & _traits(node.func, reading):
                _block(reading, line, "calls what it decodes")
        called = attribute
    elif isinstance(node.func, ast.Subscript | ast.Call) and (_RUNS.match(called) or _EVALUATES.match(called)):
        _block(reading, line, f"reaches `{called[:60]}` by a name in a string")
    arguments = [*node.args, *(k.value for k in node.keywords)]
    if _EVALUATES.match(called):
        _judge_evaluation(called, node, where, reading, depth)
    elif _RUNS.match(called):
        _judge_run(called, node, where, reading)
    elif _FETCHES.match(called):
        reading.seen.add("fetches")
        traits = set().union(*(_traits(argument, reading) for argument in arguments)) if arguments else set()
        if "secret" in traits or (
            "environment" in traits
            and ("post" in called or "Request" in called or "urlopen" in called)
            and _is_whole_environment(arguments)
        ):
            _block(reading, line, "sends credentials or the environment out")
    elif (
        called in ("__import__", "builtins.__import__", "importlib.import_module")
        and node.args
        and not isinstance(node.args[0], ast.Constant)
    ):
        name = _folded(node.args[0], reading)
        if name is not None and not isinstance(node.args[0], ast.Name):
            _block(reading, line, f"imports `{name[:40]}` by a name that it puts together")
        reading.seen.add("computed import")
    elif (
        called in ("getattr", "builtins.getattr")
        and len(node.args) > 1
        and not isinstance(node.args[1], ast.Constant | ast.Name)
    ):
        full = _dotted(node, reading)
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
        if called.startswith("marshal") or {"decoded", "fetched"} & set().union(
            *(_traits(a, reading) for a in arguments), set()
        ):
            _block(reading, line, f"`{called}` of data that it carries or fetches")
    elif called.startswith(("ctypes.", "cffi.")):
        reading.seen.add("native")
        if _NATIVE.search(called):
            reading.seen.add("native memory")
    elif called in ("os.dup2", "socket.dup2"):
        reading.seen.add("dup2")
    elif (
        called == "shutil.rmtree"
        and node.args
        and (_folded(node.args[0], reading) or "") in ("/", "~", "/home", "/etc", "/usr", "/var", "/root", "C:\\")
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
    elif called.endswith((".load_library", "cpp_extension.load", "load_inline", "load_op_library")):
        reading.harms.append(Harm(Verdict.REVIEW, line, "loads native code", "script"))
    if attribute in ("send", "sendall", "sendto", "post", "request", "sendmail", "storbinary", "put"):
        traits = set().union(*(_traits(argument, reading) for argument in arguments), set())
        if "secret" in traits or ("environment" in traits and _is_whole_environment(arguments)):
            _block(reading, line, "sends credentials or the environment out")
    if called.rsplit(".", 1)[-1] == "setup" and any(k.arg == "cmdclass" for k in node.keywords):
        reading.seen.add("cmdclass")
    if any(
        k.arg == "trust_remote_code" and isinstance(k.value, ast.Constant) and k.value.value is True
        for k in node.keywords
    ):
        reading.harms.append(Harm(Verdict.REVIEW, line, "it loads another repository's code", "remote-code"))


def _is_whole_environment(arguments: list[ast.expr]) -> bool:
    """`os.environ` itself, and not one variable of it."""
    one = {id(n.value) for a in arguments for n in ast.walk(a) if isinstance(n, ast.Subscript)}
    got = {id(n.func.value) for a in arguments for n in ast.walk(a) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "get"}  # fmt: skip
    whole = [n for a in arguments for n in ast.walk(a) if isinstance(n, ast.Attribute) and n.attr == "environ"]
    return not whole or any(id(n) not in one | got for n in whole)


def _judge_evaluation(called: str, node: ast.Call, where: str, reading: _Reading, depth: int) -> None:
    if not node.args:
        return
    traits = _traits(node.args[0], reading)
    text = _folded(node.args[0], reading)
    reading.seen.add("evaluates")
    if {"decoded", "fetched", "reversed", "secret"} & traits or called.startswith("types."):
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
        "file" in traits
        and not re.search(r"\.py['\"]", ast.dump(node.args[0])[:4000])
        and not called.endswith("compile")
    ):
        _block(reading, node.lineno, f"`{called}` of a file's content")
    else:
        reading.harms.append(Harm(Verdict.REVIEW, node.lineno, f"`{called}` of a value", "script"))


def _judge_run(called: str, node: ast.Call, where: str, reading: _Reading) -> None:
    reading.seen.add("runs")
    first = (
        node.args[0]
        if node.args
        else next((k.value for k in node.keywords if k.arg in ("args", "cmd", "command")), None)
    )
    command = None
    if isinstance(first, ast.List | ast.Tuple):
        parts = [_folded(part, reading) for part in first.elts]
        if first.elts and parts[0] is not None:
            command = " ".join(p if p is not None else "X" for p in parts)
    elif first is not None:
        command = _folded(first, reading)
    if command is not None and (harm := harm_in_commands(command)):
        _block(reading, node.lineno, f"runs a command that {harm}")
    elif command is not None and is_harmless_command(command):
        reading.harms.append(Harm(Verdict.REVIEW, node.lineno, f"runs `{command[:60]}`", "script"))
    elif first is not None and {"decoded", "fetched", "secret", "reversed"} & _traits(first, reading):
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


def _judge_function(node: ast.FunctionDef, reading: _Reading) -> None:
    if node.name not in ("__reduce__", "__reduce_ex__", "__setstate__", "__getstate__"):
        return
    for part in ast.walk(node):
        reading.walks -= 1
        if reading.walks < 0:
            return
        dotted = _dotted(part, reading) if isinstance(part, ast.Attribute | ast.Name | ast.Call) else None
        if dotted and (_RUNS.match(dotted) or _EVALUATES.match(dotted)):
            _block(reading, node.lineno, f"an object that is unpickled by `{dotted[:60]}`")
            return


def _judge_string(node: ast.Constant, reading: _Reading) -> None:
    text = node.value if isinstance(node.value, str) else bytes(node.value).decode("latin-1")  # type: ignore[arg-type]
    text = text[:65536]
    for pattern, mark in ((_SECRETS, "secrets"), (_PLANTS, "plants"), (_MINES, "mines"), (_NATIVE, "native memory")):
        if pattern.search(text):
            reading.seen.add(mark)
    if any(name in text for name in ("__subclasses__", "__globals__", "__builtins__")):
        reading.seen.add("internals:string")


def _judge_assignment(node: ast.Assign | ast.AugAssign, reading: _Reading) -> None:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if (
            isinstance(target, ast.Attribute | ast.Subscript)
            and (dotted := _dotted(target, reading))
            and _HOOKS.match(dotted)
        ):
            verdict = Verdict.REVIEW if dotted == "sys.modules" else Verdict.BLOCK
            reading.harms.append(Harm(verdict, node.lineno, f"replaces `{dotted[:60]}`"))


def _judge_together(reading: _Reading) -> None:
    seen = reading.seen
    runs = bool(seen & {"runs", "evaluates", "makes executable"})
    if "fetches" in seen and runs:
        _block(reading, 1, "fetches from the network, and runs")
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
    if "cmdclass" in seen and (runs or "fetches" in seen):
        _block(reading, 1, "an installation that runs or fetches")
    if "internals:__subclasses__" in seen or (
        len([s for s in seen if s.startswith("internals:")]) > 1 and seen & {"computed call", "evaluates"}
    ):
        _block(reading, 1, "reaches through Python's internals")
    if seen & {"import:pynput", "import:keyboard", "import:pyautogui", "import:pyscreenshot"}:
        _block(reading, 1, "watches the keyboard or the screen")


def _block(reading: _Reading, line: int, explanation: str) -> None:
    if len(reading.harms) < 50:
        reading.harms.append(Harm(Verdict.BLOCK, line, explanation))
