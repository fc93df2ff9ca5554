"""Code: Python (also when it is not named so), notebooks, and scripts of shells and other interpreters.

Code beside weights is never `pass`: harmful is `block`, the rest is `review`. Answers payloads in modelling files, in
notebooks' cells, and in what the interpreter runs by itself (`.pth`, `sitecustomize`, `setup.py`).
"""

import ast
import json
import re

from vallum.models.scan.languages.python import MAX_CHARACTERS, harms_in_python, parse_python
from vallum.models.scan.languages.shell import harm_in_commands
from vallum.models.scan.languages.text import first_line, looks_like_text, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["Notebook", "PythonSource", "Script"]

_LOOKS_LIKE_PYTHON = re.compile(
    rb"(?m)^\s*(?:import\s+\w|from\s+[\w.]+\s+import\b|def\s+\w+\(|class\s+\w+)|;\s*import\s+\w|__import__|__builtins__|\b(?:exec|eval)\s*\(|\.(?:system|popen)\s*\("
)
_DOES = (ast.Call, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
_LOOKS_HARMFUL = re.compile(
    r"(?:exec|eval|compile)\s*\(?.{0,80}(?:decode|decompress|fromhex|urlopen|requests\.get|marshal)|os\.(?:system|popen)\s*\(|subprocess\.\w+\(.{0,200}shell\s*=\s*True|dup2\(",
    re.DOTALL,
)
_RUNS_CELLS = re.compile(r"(?i)\b(?:Jupyter|IPython|notebook|kernel)\b[\w.]{0,60}\.execute\w*\s*\(")
_WRITES = re.compile(
    r"\s*%%(?:writefile|file)\s+(?:-a\s+)?[\"']?((?:~|/(?:etc|root|home|usr|var)\b|\.\./\.\./)\S{0,200}|\S{0,200}\.(?:\w*rc|\w*profile|ssh/\S{1,100}))[\"']?\s*$",
    re.MULTILINE,
)
_ASKED_SHELL = re.compile(
    r"get_ipython\(\)\s*\.\s*(?:system|getoutput|getoutputs|run_line_magic|run_cell_magic)\s*\([^\n]{0,200}?([\"']{1,3})([^\"'\n]{4,2000})\1"
)
_REACHES_OUT = re.compile(
    r"\bops\.aten\.(?:_?save\w*|_?load\w*|from_file)\b|\btorch\.(?:save|load|from_file)\b|\bPythonOp\b|\brpc\.\w+"
)
_MAKO = re.compile(rb"<%!?[ \t]*\n?\s*(?:import|from)\s+[a-z_]\w*(?!\s*=)")
_DECEIVES = re.compile("[\u202a-\u202e\u2066-\u2069]")
_PROSE = (".md", ".rst", ".json", ".jsonl", ".ipynb", ".csv", ".tsv")
_SHEBANG = re.compile(r"#!\s*\S*(?:sh|python\S*|perl|ruby|node|php|env)\b")
_SCRIPTS = (
    ".sh",
    ".bash",
    ".zsh",
    ".bat",
    ".cmd",
    ".ps1",
    ".psm1",
    ".vbs",
    ".js",
    ".mjs",
    ".ts",
    ".pl",
    ".rb",
    ".php",
    ".lua",
    ".r",
    ".jl",
    ".command",
    ".cu",
    ".c",
    ".cpp",
    ".h",
    ".go",
    ".rs",
    ".java",
    ".mk",
)
_SCRIPT_NAMES = re.compile(
    r"(?i)(?:dockerfile|makefile|jenkinsfile|vagrantfile|procfile|justfile|\.bashrc|\.profile|\.envrc|docker-compose\.ya?ml|entrypoint)(?:\.\w+)?\Z"
)
_SCRIPT_START = re.compile(
    rb"(?i)\s*(?:@echo off|#requires|param\s*\(|set -e|curl |wget |bash -|sh -|nc |powershell|rm -rf|<\?php|<script)"
)


class PythonSource:
    name = "python"

    def recognises(self, blob: Blob) -> bool:
        if not looks_like_text(blob):
            return False
        if blob.name.endswith((".py", ".pyw", ".pyi", ".pth")):
            return not blob.name.endswith(".pth") or bool(_LOOKS_LIKE_PYTHON.search(blob.head()))
        return not blob.name.lower().endswith(_PROSE) and bool(_LOOKS_LIKE_PYTHON.search(blob.head(65536)))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob) or ""
        named = blob.name.endswith((".py", ".pyw"))
        if blob.name.endswith(".pth") or blob.name in ("sitecustomize.py", "usercustomize.py"):
            scan.report(
                Verdict.BLOCK, "malicious-script", blob.place, "Python runs it at each start, without being asked"
            )
        if "/code/__torch__" in blob.place and (found := _REACHES_OUT.search(text)) is not None:
            said = f"a program in PyTorch's own language that reads, writes or calls out: `{found[0][:80]}`"
            scan.report(Verdict.BLOCK, "malicious-script", f"{blob.place}@{found.start()}", said)
        _judge_python(text, blob, blob.place, scan, named=named)


class Notebook:
    name = "notebook"

    def recognises(self, blob: Blob) -> bool:
        return first_line(blob).startswith("{") and (blob.name.endswith(".ipynb") or b'"cells"' in blob.head(65536))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        try:
            content = json.loads((text_of(blob) or "").lstrip("\ufeff"))
        except (ValueError, RecursionError):
            scan.report(Verdict.REVIEW, "malformed", blob.place, "a notebook that cannot be read")
            return
        cells = _cells(content)
        if cells is None:
            return
        scan.report(Verdict.REVIEW, "script", blob.place, "a notebook: code beside the weights")
        python, commands = [], []
        for cell in cells:
            if not isinstance(cell, dict):
                continue
            if re.search(r"(?i)<script|javascript:|onerror=", json.dumps(cell.get("outputs", ""))):
                scan.report(Verdict.REVIEW, "script", blob.place, "an output with a script in it")
            if _RUNS_CELLS.search(json.dumps(cell.get("outputs", ""))):
                text = "an output with a script in it that has code run"
                scan.report(Verdict.BLOCK, "malicious-script", blob.place, text)
            if cell.get("cell_type") == "code":
                source = _joined(cell.get("source", cell.get("input")))
                if (written := _WRITES.match(source)) is not None:
                    text = f"a cell that writes `{written[1][:120]}`, outside of its folder or where a login runs it"
                    scan.report(Verdict.BLOCK, "malicious-script", blob.place, text)
                shell, code = _split_cell(source)
                shell = "\n".join([shell, *(found[2] for found in _ASKED_SHELL.finditer(code))])
                commands.append(shell)
                python.append(code)
        if harm := harm_in_commands("\n".join(commands)):
            scan.report(Verdict.BLOCK, "malicious-script", blob.place, f"a cell that {harm}")
        for number, code in enumerate(python):
            _judge_python(code, blob, f"{blob.place}@cell {number}", scan, named=False)


class Script:
    name = "script"

    def recognises(self, blob: Blob) -> bool:
        if not looks_like_text(blob):
            return False
        return (
            bool(_SHEBANG.match(first_line(blob)))
            or blob.name.lower().endswith(_SCRIPTS)
            or bool(_SCRIPT_NAMES.match(blob.name))
            or bool(_MAKO.search(blob.head()))
            or (bool(_SCRIPT_START.match(blob.head(200))) and not blob.name.endswith(_PROSE))
        )

    def inspect(self, blob: Blob, scan: Scan) -> None:
        if _MAKO.search(blob.head()):
            text = "a template with Python in it, which runs when it is filled in"
            scan.report(Verdict.BLOCK, "malicious-script", blob.place, text)
        harm = harm_in_commands(text_of(blob) or "")
        shebang = _SHEBANG.match(first_line(blob))
        if harm is not None and not (shebang and "python" in first_line(blob)):
            scan.report(Verdict.BLOCK, "malicious-script", blob.place, f"a script that {harm}")
        else:
            scan.report(Verdict.REVIEW, "script", blob.place, "a script beside the weights")


def _cells(content: object) -> list[object] | None:
    """Of the formats up to 3, too, which have them in worksheets."""
    if not isinstance(content, dict):
        return None
    sheets = content.get("worksheets")
    found = [content, *(sheet for sheet in (sheets if isinstance(sheets, list) else []) if isinstance(sheet, dict))]
    lists = [part["cells"] for part in found if isinstance(part.get("cells"), list)]
    return [cell for cells in lists for cell in cells] if lists else None


def _joined(source: object) -> str:
    return "".join(part for part in source if isinstance(part, str)) if isinstance(source, list) else str(source or "")


def _split_cell(source: str) -> tuple[str, str]:
    """Shell lines and Python lines."""
    if re.match(r"\s*%%(?:bash|sh|script|system|cmd|!)", source):
        return source, ""
    shell, code = [], []
    for line in source.splitlines():
        if line.lstrip().startswith(("!", "%sx", "%system", "%pip", "%conda")):
            shell.append(line.lstrip().lstrip("!%"))
            code.append(line[: len(line) - len(line.lstrip())] + "pass")
        else:
            code.append("" if line.lstrip().startswith(("%", "?")) else line)
    return "\n".join(shell), "\n".join(code)


def _judge_python(text: str, blob: Blob, place: str, scan: Scan, *, named: bool) -> None:
    tree = parse_python(text.lstrip("\ufeff"))
    if tree is None:
        if (named or blob.name.endswith(".ipynb")) and _LOOKS_HARMFUL.search(text[: 256 << 10]):
            scan.report(
                Verdict.BLOCK,
                "malicious-script",
                place,
                "source that does not parse, and runs what it decodes, fetches or is given",
            )
        elif named:
            scan.report(Verdict.REVIEW, "script", place, "source that cannot be parsed")
        elif len(text) > MAX_CHARACTERS:
            scan.report(Verdict.REVIEW, "limit", place, "it looks like source, and is longer than is parsed")
        return
    if not tree.body or not (named or any(isinstance(node, _DOES) for node in ast.walk(tree))):
        return  # words or data, which are Python, too
    if named or not blob.name.endswith(".ipynb"):
        scan.report(Verdict.REVIEW, "script", place, "code beside the weights")
    if _DECEIVES.search(text):
        scan.report(
            Verdict.BLOCK, "malicious-script", place, "characters that show the source in another order than it runs"
        )
    said: set[str] = set()
    for harm in sorted(harms_in_python(tree), key=lambda harm: harm.line):
        if harm.explanation not in said and len(said) < 20:
            said.add(harm.explanation)
            scan.report(harm.verdict, harm.technique, f"{place}@line {harm.line}", harm.explanation)
