"""Importing the scanner is cheap: counted by what it loads, because a clock on a busy machine says nothing."""

import json
import subprocess
import sys

_LISTS = """
import json, sys
before = set(sys.modules)
import vallum.models.scan
first = set(sys.modules) - before
import vallum.models.scan.catalogue
second = set(sys.modules) - before
print(json.dumps([sorted(first), sorted(second)]))
"""
# Of the standard library: what takes long to load, and a scanner of bytes has no use for.
_HEAVY = {
    "asyncio", "concurrent", "ctypes", "email", "http", "logging", "multiprocessing", "pickle", "pydoc", "socket",
    "sqlite3", "ssl", "unittest", "xml",
}  # fmt: skip


def _loaded() -> tuple[set[str], set[str]]:
    path = json.dumps([entry for entry in sys.path if entry])
    program = f"import sys; sys.path[:0] = {path}\n{_LISTS}"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    first, second = json.loads(run.stdout)
    return set(first), set(second)


def test_the_scanner_needs_the_standard_library_alone_and_little_of_it():
    words, everything = _loaded()
    tops = {name.partition(".")[0] for name in everything}
    assert tops - sys.stdlib_module_names == {"vallum"}
    assert not everything & _HEAVY
    assert len(words) < 60, "the words of the scanner load its formats"
    assert len(everything) < 200
    assert not {name for name in everything if name.startswith("vallum.") and not name.startswith("vallum.models")}
