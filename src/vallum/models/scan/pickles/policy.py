"""What reaching one global means, by its full dotted name. Default deny.

A global is what the pickle machine would import, attribute by attribute, so the judgement is over the whole path: a
harmless package followed by `.os.system` is `os.system`. The standard library is refused unless allowed by name, since
a model needs little of it and nearly all of it can be turned to something; of other libraries a class is unknown, and a
function that a pickle calls is refused unless it is named like one that rebuilds an object.
"""

import re
import sys
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from vallum.models.scan.pickles.libraries import ALLOWED, CONDITIONAL, CURATED, IMPORTED, PATTERNS, words

__all__ = ["Judgement", "Standing", "capable_roots", "decide_global", "is_standard", "is_tool"]


class Standing(IntEnum):
    ALLOWED = 0
    CONDITIONAL = 1  # ask about its arguments
    UNKNOWN_CLASS = 2
    UNKNOWN_FUNCTION = 3  # unknown while it is only named; refused once it is called
    REFUSED = 4
    CAPABLE = 5  # refused, and could not be meant by accident: it runs, opens, imports or fetches


class Judgement(NamedTuple):
    standing: Standing
    reason: str


# Pickles of protocol 0 to 2 name modules as Python 2 did, and the loader maps them; another Python has another set of
# modules, and the pickle is for whichever loads it.
_RENAMED = {
    "__builtin__": "builtins", "copy_reg": "copyreg", "cPickle": "pickle", "exceptions": "builtins",
    "UserDict": "collections", "UserList": "collections", "UserString": "collections", "__builtins__": "builtins",
}  # fmt: skip
_STANDARD = sys.stdlib_module_names | words(
    """
    asynchat asyncore audioop cgi cgitb chunk commands compiler crypt dircache distutils dl dummy_thread
    dummy_threading fcntl formatter future_builtins grp httplib imghdr imp imputil ihooks lib2to3 macpath mailcap
    mhlib mimetools mimify msilib new nis nntplib nt ossaudiodev parser pipes popen2 posix pwd pyexpat rexec rfc822
    robotparser sets sha smtpd sndhdr spwd statvfs string strop sunau symbol sys telnetlib test test_support thread
    urllib2 urlparse user uu whichdb winreg _winreg winsound xdrlib xmlrpclib zipimport __phello__ _bootsubprocess
    _xxsubinterpreters
    """
)
# Tools whose whole purpose is to run, fetch or install something.
_TOOLS = words(
    """
    pip setuptools pkg_resources wheel IPython ipykernel jupyter pytest _pytest nose py invoke fabric paramiko sh
    plumbum pexpect ptyprocess psutil requests httpx aiohttp urllib3 cloudpickle dill execnet docker kubernetes
    boto3 botocore git ansible celery twisted tornado werkzeug flask django jinja2 mako numexpr billiard loky cffi
    pycparser Cython pyximport gevent eventlet websocket websockets zmq pywin32 win32api win32com comtypes
    smolagents langchain hydra fire click typer uvicorn gunicorn conda virtualenv tox nox playwright selenium scapy
    pwn sqlalchemy redis
    """
)
# Modules that other packages import: reached as an attribute of theirs they are what they are.
_CAPABLE = words(
    """
    os sys subprocess shutil importlib builtins __builtin__ posix nt socket ctypes runpy pty pickle cPickle marshal
    shelve webbrowser urllib posixpath ntpath commands popen2 imp pkgutil multiprocessing asyncio tempfile ftplib
    smtplib telnetlib http distutils pip cloudpickle dill
    """
)
_PART = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_CLASS = re.compile(r"_{0,2}[A-Z]\w*", re.ASCII)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_ACTS = words(
    """
    exec execute eval evaluate system popen shell spawn run runs runstring import loads load open compile cmd
    command subprocess getoutput download urlopen fetch request requests install main call invoke read write delete
    remove unlink rmtree copy move rename connect send upload unpickle deserialize interact
    """
)
_CLASS_ACTS = words(
    """
    popen shell subprocess exec eval interpreter importer downloader console unpickler command socket cdll pdb
    file gfile filesystem server session installer launcher compiler compilation filehandle downloads
    """
)
# Of a library that is known, only what can be nothing else.
_OF_METHODS = words("scipy sklearn statsmodels")  # their objects keep methods of their own classes in their state
_OF_BLAS = re.compile(r"[sdcz][A-Z]\w*", re.ASCII)  # a class for each of its kinds of numbers
_METHOD = re.compile(r"_?[A-Za-z]\w*\._[a-z]\w*", re.ASCII)
_REBUILDS_CURATED = re.compile(r"_+(?:rebuild|reconstruct|restore|unpickle|pyx_unpickle|new)(?:_\w*)?")
_REBUILDS = re.compile(
    r"_*(?:re(?:build|construct|store|create)|unpickle|_pyx_unpickle|__pyx_unpickle|from"
    r"|deserialize_?from_state|unreduce|unserialize)(?:_\w*)?|_+(?:make|create|new|build|init|construct)(?:_\w*)?|\w+_(?:from_\w+|unpickle|unpickler|ctor|reconstruct"
    r"|reconstructor|rebuild)|newObj",
)


def is_standard(module: str) -> bool:
    """Whether its first part is the standard library's, of this Python or another."""
    return _RENAMED.get(root := module.partition(".")[0], root) in _STANDARD


def capable_roots() -> frozenset[str]:
    """First parts of modules that are refused whatever is taken from them, as a pickle may write them."""
    return frozenset((*_STANDARD, *_TOOLS, *_RENAMED))


def is_tool(module: str) -> bool:
    """Whether it is a tool whose purpose is to run, fetch or install."""
    return module.partition(".")[0] in _TOOLS


@lru_cache(maxsize=4096)
def decide_global(module: str, name: str) -> Judgement:
    """`name` may be dotted. The reason is for an operator."""
    parts = [*module.split("."), *name.split(".")]
    if not all(_PART.fullmatch(part) for part in parts):
        return Judgement(Standing.REFUSED, "a name that no pickler writes")
    parts[0] = _RENAMED.get(parts[0], parts[0])
    if parts[:2] == ["numpy", "_core"]:
        parts[1] = "core"  # numpy 2 renamed it
    full = ".".join(parts)
    if full in ALLOWED:
        return Judgement(Standing.ALLOWED, "")
    if full in CONDITIONAL:
        return Judgement(Standing.CONDITIONAL, "")
    if parts[0] in _STANDARD:
        return Judgement(Standing.CAPABLE, "the standard library, and not among what a model needs of it")
    if parts[0] in _TOOLS:
        return Judgement(Standing.CAPABLE, "a tool that runs, fetches or installs")
    if any(part in _CAPABLE for part in parts[1:]):
        return Judgement(Standing.CAPABLE, "reaches through a package into a module that runs, opens or imports")
    if any(part[:2] == "__" == part[-2:] for part in parts[1:]) and parts[-1] != "__new__":
        return Judgement(Standing.CAPABLE, "a special attribute, from which everything else is reached")
    if parts[-1] in IMPORTED:
        return Judgement(Standing.REFUSED, "what a package imports to open, run or connect")
    if "." not in name and PATTERNS.fullmatch(full):
        return Judgement(Standing.ALLOWED, "")
    return _unknown(parts, name)


def _unknown(parts: list[str], name: str) -> Judgement:
    words = {word.lower() for word in _WORD.findall(parts[-1])}
    attributes = name.split(".")
    of_blas = parts[0] == "statsmodels" and _OF_BLAS.fullmatch(name)
    if of_blas or all(_CLASS.fullmatch(part) for part in attributes):
        if words & _CLASS_ACTS:
            return Judgement(Standing.REFUSED, "a class named for running commands or code")
        return Judgement(Standing.UNKNOWN_CLASS, "a class of a library that no policy covers")
    if len(attributes) == 2 and parts[0] in _OF_METHODS and _METHOD.fullmatch(name) and not words & _ACTS - {"call"}:
        return Judgement(Standing.UNKNOWN_FUNCTION, f"a method of a class of {parts[0]}")
    if len(attributes) > 1:
        return Judgement(Standing.REFUSED, "an attribute of something else, which is how a policy is walked around")
    rebuilds = _REBUILDS_CURATED if parts[0] in CURATED else _REBUILDS
    if rebuilds.fullmatch(name) and not words & {"exec", "eval", "system", "command", "file", "url", "path"}:
        return Judgement(Standing.UNKNOWN_CLASS, "a function that rebuilds objects, of a library that no policy covers")
    if words & _ACTS:
        return Judgement(Standing.REFUSED, "a function named for running, opening or fetching")
    return Judgement(Standing.UNKNOWN_FUNCTION, "a function of a library that no policy covers")
