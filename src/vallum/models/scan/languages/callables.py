"""Values of a configuration that name what runs, opens, fetches or deletes, under whichever key, in any language.

Every framework has a key of its own for what it imports and calls (`class`, `type`, `@factory`, `$type`, `__fn__`), so
the value decides. A table of callables, and not the judgement of dotted names in `dotted`: no setting that is data
looks like one of these, while `os.path.sep` or `logging.StreamHandler` are ordinary. Names in pieces
(`${module}.${name}`, a module beside a name, defaults of variables, strings that are added) are put together first.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import re
import unicodedata
from collections import deque

from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Scan

__all__ = ["NamedCallables", "named_callable"]

_OF_OS = (
    r"system|popen\d?|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|startfile|fork|forkpty|kill|killpg|remove|unlink|rmdir"
    r"|removedirs|renames?|replace|chmod|chown|symlink|link|truncate|putenv|open|fdopen"
)
_LOADS = r"loads?|Unpickler|_loads?"
_FETCHES = r"get|post|put|patch|delete|head|request|Session|Client|AsyncClient|stream"
_RUNS = r"run|runctx|runcall|runeval|set_trace|main|Timer|timeit|repeat"
_BY_MODULE = {
    "os": _OF_OS, "posix": _OF_OS, "nt": _OF_OS,
    "subprocess": r"run|call|check_call|check_output|Popen|getoutput|getstatusoutput",
    "builtins": r"eval|exec|compile|__import__|execfile|open|breakpoint|getattr|setattr|delattr",
    "importlib": r"import_module|__import__|reload|util\.\w+|machinery\.\w+|_bootstrap(?:\.\w+)+",
    "runpy": r"run_path|run_module|_run_\w+", "pty": r"spawn|fork", "imp": r"load_\w+|reload",
    "shutil": r"rmtree|move|copy\w*|unpack_archive|make_archive|chown",
    "ctypes": r"CDLL|PyDLL|WinDLL|OleDLL|cdll(?:\.\w+)*|windll(?:\.\w+)*|LibraryLoader|pydll(?:\.\w+)*",
    "pickle": _LOADS, "_pickle": _LOADS, "cPickle": _LOADS, "cloudpickle": _LOADS, "dill": _LOADS, "joblib": "load",
    "marshal": _LOADS, "jsonpickle": r"decode|unpickler\.\w+", "shelve": r"open|Shelf|DbfilenameShelf",
    "code": r"interact|InteractiveConsole|InteractiveInterpreter|compile_command", "codeop": r"\w+",
    "pdb": _RUNS, "bdb": _RUNS, "cProfile": _RUNS, "profile": _RUNS, "timeit": _RUNS, "trace": r"Trace(?:\.\w+)*",
    "webbrowser": r"open\w*|get", "socket": r"socket|create_connection|create_server",
    "urllib": r"(?:request\.)?(?:urlopen|urlretrieve|Request|build_opener)", "urllib2": r"urlopen", "urllib3": r"PoolManager",
    "requests": _FETCHES, "httpx": _FETCHES, "ftplib": r"FTP\w*", "smtplib": r"SMTP\w*", "telnetlib": r"Telnet",
    "multiprocessing": r"Process|process\.\w+", "_posixsubprocess": r"\w+", "platform": r"popen", "commands": r"get\w+",
    "asyncio": r"create_subprocess_\w+|subprocess\.\w+", "distutils": r"spawn\.\w+", "pkgutil": r"resolve_name",
    "zipimport": r"zipimporter", "pydoc": r"locate|pipepager|tempfilepager|render_doc", "site": r"addsitedir|addpackage",
    "doctest": r"debug\w*|run\w*|testsource|testfile", "pip": r"main|_internal(?:\.\w+)+", "setuptools": r"sandbox\.\w+",
    "yaml": r"load|load_all|unsafe_load|unsafe_load_all|full_load", "pandas": r"read_pickle|eval",
    "torch": r"load|hub\.\w+|utils\.cpp_extension\.\w+|utils\.model_zoo\.\w+|package(?:\.\w+)+|serialization\.load",
    "numpy": r"f2py(?:\.\w+)+|testing(?:\.\w+)*\.(?:runstring|rundocs|measure|run_threaded)",
    "keras": r"utils\.get_file|src\.utils\.file_utils\.get_file", "psutil": r"Popen", "pexpect": r"run\w*|spawn\w*",
    "invoke": r"run|Context(?:\.\w+)*", "paramiko": r"SSHClient", "fabric": r"Connection|run|local", "plumbum": r"cmd(?:\.\w+)*|local",
    "IPython": r"embed|start_ipython|get_ipython|utils\.process\.\w+", "win32api": r"ShellExecute|WinExec",
    "test": r"support\.script_helper\.\w+",
}  # fmt: skip
_BY_MODULE |= dict.fromkeys(("__builtin__", "__builtins__"), _BY_MODULE["builtins"])
_NAMES = {module: re.compile(rf"(?:{names})(?:\.__\w+__)?") for module, names in _BY_MODULE.items()}
# What other packages import, and have as an attribute of theirs.
_WITHIN = frozenset(
    (
        "os",
        "posix",
        "subprocess",
        "builtins",
        "__builtins__",
        "runpy",
        "importlib",
        "pty",
        "ctypes",
        "shutil",
        "marshal",
    )
)
_ROOTS = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(_NAMES))})(?!\w)")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)
_SIGILS = re.compile(
    r"[\s@!&%*=\"'`<\[(]+|(?:new|name|apply|call|obj|object|import|module|class|cls|type|func|function|py|python|ref|get)(?::|\s+)(?://)?"
)
_AFTER = re.compile(r"[\s\"'`>\])]*(?:\(.{0,200}\)?)?\s*\Z", re.DOTALL)
_SEPARATORS = re.compile(r"::|->|[:/!#\\]")
_QUOTED = re.compile(r"[\"'\s+~]+")
_REFERENCE = re.compile(r"\$\{([^${}]{1,300})\}|%\(([\w.-]{1,100})\)s|\$\$?([A-Za-z_]\w{0,60})(?=\W|\Z)")
_MODULES = frozenset("module modulename package pkg library lib namespace importpath modulepath import from".split())
_ATTRIBUTES = frozenset(
    """name attr attribute class classname cls function functionname func fn method methodname qualname callable object
    objectname symbol target entry type factory handler member layer""".split()
)
# Written for people, or a table's: names of functions there are nobody's to call.
_QUOTES = frozenset(
    """text content prompt description summary question answer instruction instructions response completion example examples
    note notes title caption message messages readme comment comments doc docs documentation help query chosen rejected
    license citation template chat_template tokens merges vocab label labels word words sentence sentences context passage
    snippet solution canonical_solution stop stop_words deny denylist blocklist forbidden""".split()
)
_MAX_CHARACTERS = 300
_MAX_KEPT = 20_000
_ROUNDS = 4
_NEAR = 3  # settings between a module and its name


def named_callable(value: str) -> str | None:
    """The dangerous callable that a value is the name of, in one of the ways that loaders write names. None: no name."""
    if len(value) > _MAX_CHARACTERS or not _ROOTS.search(value := _plain(value)):
        return None
    while found := _SIGILS.match(value):
        value = value[found.end() :]
    path = _SEPARATORS.sub(".", _AFTER.sub("", value))
    if not _PATH.fullmatch(path):
        return None
    parts = path.split(".")
    for number, part in enumerate(parts[:-1]):
        names = _NAMES.get(part) if number == 0 or part in _WITHIN else None
        if names is not None and names.fullmatch(".".join(parts[number + 1 :])):
            return path
    return None


def _plain(value: str) -> str:
    """Without characters that are not seen, and those that stand for letters as letters."""
    if value.isascii():
        return value
    return "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")


class NamedCallables:
    """Of one document: `add` each setting, then `finish`. One finding for each name."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._table: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []  # places and values with references
        self._said: set[str] = set()
        self._last: deque[tuple[str, str, str]] = deque(maxlen=_NEAR)

    def add(self, path: str, value: str, place: str) -> None:
        """`path` is dotted; its last part is the key."""
        key = path.rsplit(".", 1)[-1].strip("@$_\"' ").lower()
        if len(value) > _MAX_CHARACTERS or key in _QUOTES:
            return
        if len(self._table) < _MAX_KEPT:
            self._table.setdefault(path, value)
            self._table.setdefault(path.rsplit(".", 1)[-1], value)
        if any(sign in value for sign in ("$", "%(", '"', "'")) and len(self._open) < _MAX_KEPT:
            self._open.append((place, value))
        self._judge(value, place)
        parent = path.rpartition(".")[0]
        for before, other, text in self._last:
            if before == parent:
                self.pair({other: text, key: value}, place)
        self._last.append((parent, key, value))

    def pair(self, mapping: dict[str, object], place: str) -> None:
        """A module and a name of it, side by side."""
        texts = [
            (re.sub(r"[^a-z]", "", key.lower()), value.strip().strip("\"'"))
            for key, value in mapping.items()
            if isinstance(key, str) and isinstance(value, str) and len(value) < _MAX_CHARACTERS
        ]
        for key, module in texts:
            if key in _MODULES and _ROOTS.search(module):
                for other, name in texts:
                    if other in _ATTRIBUTES:
                        self._judge(f"{module}.{name}", place)

    def parts(self, key: str, value: list[object], place: str) -> None:
        """A name as the list of its parts."""
        if key not in _QUOTES and 2 <= len(value) <= 6 and all(isinstance(part, str) for part in value):
            self._judge(".".join(map(str, value)), place)

    def finish(self) -> None:
        for place, value in self._open:
            for _ in range(_ROUNDS):
                resolved = _REFERENCE.sub(self._resolve, value)
                if resolved == value or len(resolved) > _MAX_CHARACTERS * 4:
                    break
                value = resolved
            self._judge(_QUOTED.sub("", value), place)
        self._open.clear()

    def _resolve(self, found: re.Match[str]) -> str:
        """A value that is referred to, or the default of a variable, which is what counts where it is not set."""
        body = (found[1] or found[2] or found[3]).strip()
        name, colon, rest = body.partition(":")
        if not colon:
            return self._table.get(body, self._table.get(body.lstrip(".?").rsplit(".", 1)[-1], ""))
        _, comma, default = rest.partition(",")
        rest = default if comma else rest.lstrip("-=?")
        rest = rest.strip().strip("\"'")
        return self._table.get(rest, rest) if name.startswith("oc.") or not comma else rest

    def _judge(self, value: str, place: str) -> None:
        name = named_callable(value)
        if name is not None and name not in self._said and len(self._said) < _MAX_KEPT:
            self._said.add(name)
            text = f"it names `{name[:120]}`, which runs, opens, fetches or deletes"
            self._scan.report(Verdict.BLOCK, "config-executes", place, text)
