"""What names stand for in Python source, and what values are made of, without running anything.

Names are followed through imports, assignments, `getattr`, `__import__` and strings that are put together. What a name
was made of (decoded, fetched, read from a secret's place) follows it, without regard to order: an over-approximation.
"""

# ruff: noqa: E501  tables of names and patterns, one a line

import ast
import base64
import codecs
import re
from dataclasses import dataclass, field

__all__ = ["FETCHES", "SECRETS", "Reading", "dotted", "folded", "learn", "traits"]

_MAX_WALKS = 400_000
_MAX_ITEMS = 200
_DECODES = re.compile(
    r"base64\.\w*decode\w*\Z|binascii\.(?:unhexlify|a2b_\w+)\Z|(?:zlib|gzip|bz2|lzma)\.(?:decompress\w*|open)\Z|marshal\.loads?\Z|codecs\.decode\Z|.*\bfromhex\Z|.*\bdecompress\Z|cryptography\.\w+.*\Z|.*\bb64decode\Z|.*\bFernet\b.*\Z"
)
FETCHES = re.compile(
    r"(?:urllib\.request\.|urllib\.|urllib2\.)(?:urlopen|urlretrieve|Request)\Z|requests\.(?:get|post|put|request|Session)\Z|(?:httpx|aiohttp)\.\w+\Z|http\.client\.\w+\Z|wget\.download\Z"
    r"|socket\.(?:socket|create_connection|getaddrinfo|gethostbyname\w*)\Z|ftplib\.\w+\Z|smtplib\.\w+\Z|telnetlib\.\w+\Z|paramiko\.\w+\Z|urllib3\.\w+\Z|pycurl\.\w+\Z|websockets?\.\w+\Z|xmlrpc\.client\.\w+\Z|dns\.resolver\.\w+\Z"
)
SECRETS = re.compile(
    r"\.ssh(?:/|\b)|\bid_(?:rsa|ed25519|ecdsa|dsa)\b|\.aws(?:/|\b)|/etc/(?:passwd|shadow|sudoers)|\.netrc|\.git-credentials|\.docker/config|\.kube/config|\.pypirc|\.npmrc|\.gnupg|Login Data|Local State|cookies\.sqlite|logins\.json|key4\.db"
    r"|wallet\.dat|\.bash_history|huggingface/token(?!\w)|gcloud/(?:credentials|application_default)|\.azure/|/proc/(?:self|\d+)/(?:environ|mem)|\.config/gh/|169\.254\.169\.254|metadata\.google\.internal"
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


@dataclass(slots=True)
class Reading:
    names: dict[str, str] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)
    made_of: dict[str, set[str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    added: dict[str, dict[tuple[int, int], str]] = field(default_factory=dict)  # to strings, and where
    parameters: set[str] = field(default_factory=set)  # names of arguments, which hide those of builtins
    walks: int = _MAX_WALKS


def learn(node: ast.AST, reading: Reading) -> None:
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
                if isinstance(node, ast.AugAssign) and (text := folded(node.value, reading)) is not None:
                    reading.added.setdefault(target.id, {})[node.lineno, node.col_offset] = text
                    reading.made_of.setdefault(target.id, set()).update(traits(node.value, reading))
                else:
                    _learn_name(target.id, node.value, reading)
            elif isinstance(target, ast.Tuple | ast.List) and isinstance(node.value, ast.Tuple | ast.List):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(one, ast.Name):
                        _learn_name(one.id, value, reading)
    elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
        _learn_name(node.optional_vars.id, node.context_expr, reading)
    elif isinstance(node, ast.arguments):
        reading.parameters.update(argument.arg for argument in (*node.args, *node.kwonlyargs, *node.posonlyargs))
    elif isinstance(node, ast.For) and isinstance(node.target, ast.Name):
        reading.made_of.setdefault(node.target.id, set()).update(traits(node.iter, reading))


def _learn_name(name: str, value: ast.expr, reading: Reading) -> None:
    if isinstance(value, ast.Dict | ast.List | ast.Tuple):
        _learn_items(name, value, reading)
    if (stands := dotted(value, reading)) and stands != name:
        reading.names[name] = stands
    if (text := folded(value, reading)) is not None and len(text) < 100_000:
        reading.strings[name] = text
    reading.made_of.setdefault(name, set()).update(traits(value, reading))


def _learn_items(name: str, value: ast.Dict | ast.List | ast.Tuple, reading: Reading) -> None:
    """What a table of callables has at each place."""
    if isinstance(value, ast.Dict):
        items = [(folded(k, reading) or _index(k), v) for k, v in zip(value.keys, value.values, strict=False) if k]
    else:
        items = [(str(number), item) for number, item in enumerate(value.elts)]
    for key, item in items[:_MAX_ITEMS]:
        if isinstance(item, ast.Name | ast.Attribute) and key and (stands := dotted(item, reading)):
            reading.names[f"{name}[{key}]"] = stands


def dotted(node: ast.expr, reading: Reading, depth: int = 0) -> str | None:
    """The full name that an expression stands for."""
    if depth > 20:
        return None
    if isinstance(node, ast.NamedExpr):
        return dotted(node.value, reading, depth + 1)
    if isinstance(node, ast.Name):
        return reading.names.get(node.id, node.id)
    if isinstance(node, ast.IfExp):
        return dotted(node.body, reading, depth + 1) or dotted(node.orelse, reading, depth + 1)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, reading, depth + 1)
        if owner == "__builtins__":
            owner = "builtins"
        return _through(f"{owner}.{node.attr}") if owner and len(owner) < 300 else None
    if isinstance(node, ast.Call):
        called = dotted(node.func, reading, depth + 1)
        if called in ("__import__", "builtins.__import__", "importlib.import_module", "importlib.__import__") and (
            given := [*node.args, *(k.value for k in node.keywords if k.arg == "name")]
        ):
            return folded(given[0], reading) or "<computed module>"
        if (reached := _reached(node, called, reading, depth)) is not None:
            return reached
        if called in ("getattr", "builtins.getattr") and len(node.args) > 1:
            owner, name = dotted(node.args[0], reading, depth + 1), folded(node.args[1], reading)
            return f"{owner}.{name}" if owner and name else None
        if called and called.startswith("ctypes."):
            return called  # a library, whose functions are its attributes
        return f"{called}" if called and called.endswith(("Fernet", "Session", "socket")) else None
    if isinstance(node, ast.Subscript):
        owner, name = dotted(node.value, reading, depth + 1), folded(node.slice, reading)
        if name and isinstance(node.value, ast.Attribute) and node.value.attr in _OF_FRAMES:
            return reading.names.get(name, name)
        if isinstance(node.value, ast.Call) and name:
            called = dotted(node.value.func, reading, depth + 1)
            if called in ("globals", "locals", "vars") and not node.value.args:
                return reading.names.get(name, name)
            if called == "vars" and (owner := dotted(node.value.args[0], reading, depth + 1)):
                return _through(f"{owner}.{name}")
        if owner and (kept := reading.names.get(f"{owner}[{name or _index(node.slice)}]")):
            return kept
        if owner and name:
            owner = owner.removesuffix(".__dict__")
            return name if owner in ("sys.modules", "__builtins__", "builtins") else _through(f"{owner}.{name}")
    return None


_OF_FRAMES = frozenset(("f_builtins", "f_globals", "__globals__", "__builtins__"))


def _index(node: ast.expr) -> str | None:
    return str(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, int) else None


def _reached(node: ast.Call, called: str | None, reading: Reading, depth: int) -> str | None:
    """What a call gives that takes an attribute by its name, in one of the ways other than `getattr`."""
    if (
        called in ("functools.reduce", "reduce")
        and len(node.args) == 3
        and isinstance(node.args[1], ast.List | ast.Tuple)
    ):
        owner, names = dotted(node.args[2], reading, depth + 1), [folded(n, reading) for n in node.args[1].elts[:20]]
        by = dotted(node.args[0], reading, depth + 1)
        return _through(".".join([owner, *map(str, names)])) if owner and by == "getattr" and all(names) else None
    if isinstance(node.func, ast.Call) and node.args and node.func.args:
        owner, name = dotted(node.args[0], reading, depth + 1), folded(node.func.args[0], reading)
        getter = dotted(node.func.func, reading, depth + 1) in ("operator.attrgetter", "attrgetter")
        return _through(f"{owner}.{name}") if getter and owner and name else None
    if isinstance(node.func, ast.Attribute) and node.args:
        owner, name = dotted(node.func.value, reading, depth + 1), folded(node.args[-1], reading)
        if node.func.attr in ("__getattribute__", "__getattr__"):
            owner = dotted(node.args[0], reading, depth + 1) if len(node.args) == 2 else owner
            return _through(f"{owner}.{name}") if owner and name else None
        if node.func.attr in ("get", "__getitem__", "pop") and owner and (name := folded(node.args[0], reading)):
            if owner == "sys.modules":
                return name
            return _through(f"{owner.removesuffix('.__dict__')}.{name}") if owner.endswith(".__dict__") else None
    return None


_CAPABLE = re.compile(
    r"\A(?!self\.|cls\.)[A-Za-z_][\w.]*\.(?=(?:os|subprocess|posix|builtins|pty|socket|ctypes|sys\.modules)\.)"
)


def _through(name: str) -> str:
    """A module that another one imported is that module: `shutil.os.system` is `os.system`."""
    return _CAPABLE.sub("", name) if ".os." in name or ".subprocess." in name or _CAPABLE.match(name) else name


def folded(node: ast.expr, reading: Reading, depth: int = 0) -> str | None:
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
        left, right = folded(node.left, reading, depth + 1), folded(node.right, reading, depth + 1)
        return left + right if left is not None and right is not None and len(left) + len(right) < 100_000 else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _formatted(node, reading, depth)
    if isinstance(node, ast.JoinedStr):
        parts = [folded(p.value if isinstance(p, ast.FormattedValue) else p, reading, depth + 1) for p in node.values]
        return "".join(p for p in parts if p is not None) if all(p is not None for p in parts) else None
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and ast.dump(node.slice) in _REVERSED:
        text = folded(node.value, reading, depth + 1)
        return text[::-1] if text is not None else None
    if isinstance(node, ast.Call):
        return _folded_call(node, reading, depth)
    return None


_REVERSED = frozenset((ast.dump(ast.Slice(step=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)))),))


def _folded_call(node: ast.Call, reading: Reading, depth: int) -> str | None:
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
        return _characters(first) if isinstance(first, ast.List | ast.Tuple) else folded(first, reading, depth + 1)
    if not isinstance(called, ast.Attribute):
        return None
    if called.attr in ("expanduser", "expandvars", "abspath", "normpath") and first is not None:
        return folded(first, reading, depth + 1)
    if called.attr == "home" and not node.args:
        return "~"
    own = folded(called.value, reading, depth + 1) if called.attr in _OF_TEXT else None
    if own is not None:
        arguments = [folded(argument, reading, depth + 1) for argument in node.args]
        if (text := _called_on_text(called.attr, own, arguments)) is not None:
            return text
    if called.attr in ("decode", "encode", "strip", "lower") and len(node.args) <= 1:
        own = folded(called.value, reading, depth + 1)
        if own is not None:
            return own
    if called.attr == "join" and first is not None:
        by = folded(called.value, reading, depth + 1)
        if isinstance(first, ast.List | ast.Tuple):
            parts = [folded(part, reading, depth + 1) for part in first.elts[:5000]]
            return (
                by.join(p for p in parts if p is not None)
                if by is not None and all(p is not None for p in parts)
                else None
            )
        if (
            isinstance(first, ast.Call)
            and isinstance(first.func, ast.Name)
            and first.func.id == "map"
            and len(first.args) > 1
        ):
            return (
                _characters(first.args[1])
                if isinstance(first.args[0], ast.Name) and first.args[0].id == "chr"
                else None
            )
        if isinstance(first, ast.GeneratorExp | ast.ListComp) and "chr" in ast.dump(first.elt)[:200]:
            return _characters(first.generators[0].iter)
    if called.attr in ("b64decode", "urlsafe_b64decode", "fromhex", "unhexlify") and first is not None:
        text = folded(first, reading, depth + 1)
        try:
            if text is not None and len(text) < 200_000:
                raw = base64.b64decode(text) if "b64" in called.attr else bytes.fromhex(text)
                return raw.decode("latin-1")
        except ValueError:
            return None
    return None


_OF_TEXT = frozenset(["replace", "format", "lower", "upper", "strip", "title", "swapcase", "decode", "encode"])


def _formatted(node: ast.BinOp, reading: Reading, depth: int) -> str | None:
    """`'%s%s' % (a, b)` of strings that are known."""
    pattern = folded(node.left, reading, depth + 1)
    given = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
    values = [folded(value, reading, depth + 1) for value in given]
    if pattern is None or any(value is None for value in values) or pattern.count("%s") != len(values):
        return None
    for value in values:
        pattern = pattern.replace("%s", value or "", 1)
    return pattern[:100_000]


def _called_on_text(name: str, own: str, arguments: list[str | None]) -> str | None:
    """A method of a known string, with known strings."""
    known = [argument for argument in arguments if argument is not None]
    if len(known) != len(arguments) or len(own) > 100_000:
        return None
    match name:
        case "replace" if len(known) == 2 and known[0]:
            return own.replace(known[0], known[1])[:100_000]
        case "format":
            parts = re.split(r"\{\d?\}", own)
            return (
                "".join(p + v for p, v in zip(parts, [*known, ""], strict=False))
                if len(parts) == len(known) + 1
                else None
            )
        case "lower" | "upper" | "strip" | "title" | "swapcase" if not known:
            return str(getattr(own, name)())
        case "decode" | "encode" if known and known[0].replace("_", "").replace("-", "") == "rot13":
            return codecs.decode(own, "rot13")
    return None


def _characters(node: ast.expr) -> str | None:
    if not isinstance(node, ast.List | ast.Tuple):
        return None
    codes = [e.value for e in node.elts[:20_000] if isinstance(e, ast.Constant) and isinstance(e.value, int)]
    return "".join(chr(c) for c in codes if 0 <= c < 0x110000) if codes else None


_KEPT = re.compile(r"(?i)token|secret|passw|credential|private|access_key|api_?key")


def _environment_key(node: ast.AST, reading: Reading) -> str | None:
    """The name of the variable, for `os.environ[...]`, `os.environ.get(...)` and `os.getenv(...)`."""
    if isinstance(node, ast.Subscript) and dotted(node.value, reading) == "os.environ":
        return folded(node.slice, reading)
    if isinstance(node, ast.Call) and node.args and dotted(node.func, reading) in ("os.getenv", "os.environ.get"):
        return folded(node.args[0], reading)
    return None


def _is_computed(node: ast.AST) -> bool:
    """Bytes or text made from numbers, one by one: source that does not want to be read."""
    if not isinstance(node, ast.Call) or not node.args:
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    inner = node.args[0]
    if name in ("bytes", "bytearray", "join") and isinstance(inner, ast.GeneratorExp | ast.ListComp):
        return any(
            isinstance(part, ast.BinOp) or (isinstance(part, ast.Name) and part.id == "chr")
            for part in ast.walk(inner.elt)
        )
    return name in ("bytes", "bytearray") and isinstance(inner, ast.List) and len(inner.elts) > 3


def traits(node: ast.AST, reading: Reading) -> set[str]:
    """What an expression is made of: decoded, fetched, secret, environment, file, pieces."""
    found: set[str] = set()
    for part in ast.walk(node):
        reading.walks -= 1
        if reading.walks < 0:
            break
        if _is_computed(part):
            found.add("computed")
        if (key := _environment_key(part, reading)) and _KEPT.search(key):
            found |= {"password", "environment"}
        if isinstance(part, ast.Call):
            called = dotted(part.func, reading) or (part.func.attr if isinstance(part.func, ast.Attribute) else "")
            if _DECODES.match(called) or (
                called.endswith("join") and "chr" in {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
            ):
                found.add("decoded")
            if FETCHES.match(called):
                found.add("fetched")
            if called in ("open", "io.open") or called.endswith((".read_text", ".read_bytes", ".recv", ".read")):
                found.add("fetched" if called.endswith(".recv") else "file")
        elif isinstance(part, ast.Name):
            found |= reading.made_of.get(part.id, set())
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and SECRETS.search(part.value[:4096]):
            found.add("secret")
        elif (
            isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice) and ast.dump(part.slice) in _REVERSED
        ):
            found.add("reversed")
        if isinstance(part, ast.Attribute) and part.attr == "environ" and dotted(part, reading) == "os.environ":
            found.add("environment")
    return found
