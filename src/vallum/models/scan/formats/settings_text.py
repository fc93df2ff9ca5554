"""Settings in languages that have no reader here: properties, JSON5, Hjson, HOCON, gin, EDN, jsonnet, text protobufs.

They have in common that a key, a sign and a value stand side by side, and that is all that is read of them: enough to
find a value that names something to call. Prose is left alone; it quotes what it likes.
"""

import re

from vallum.models.scan.languages.callables import NamedCallables
from vallum.models.scan.languages.text import looks_like_text, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["SettingsText", "judge_settings_text"]

_SETTINGS = (
    ".properties", ".json5", ".jsonc", ".hjson", ".conf", ".hocon", ".gin", ".edn", ".jsonnet", ".libsonnet", ".env",
    ".config", ".prototxt", ".pbtxt", ".textproto", ".xml", ".kdl", ".ron", ".nix", ".cue", ".dhall", ".cfg", ".opts",
    ".args", ".plist", ".fdl", ".ucl", ".hcl", ".tf", ".sexp", ".desktop", ".service", ".rc", ".settings", ".reg",
)  # fmt: skip
_OTHERS = (
    ".py", ".md", ".rst", ".ipynb", ".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".jinja", ".jinja2", ".j2",
    ".c", ".h", ".cpp", ".cc", ".js", ".ts", ".sh", ".bash", ".bat", ".ps1", ".html", ".htm", ".java", ".rs", ".go",
    ".tex", ".vocab", ".bpe", ".merges", ".log", ".toml", ".ini", ".svg", ".rb", ".pl", ".lua", ".r", ".m",
    ".diff", ".patch",
)  # fmt: skip
_LINE = re.compile(r"\s*(?:[\"']?[\w.$@/-]+[\"']?\s*(?::=|=>|[:=])|[{}\[\]()<#;]|//).*|.*[{(\[,;]\s*")
_MOST_LINES = 0.8
_MAX_PAIRS = 200_000
_STRIDE = 1024
_PAIR = re.compile(
    r"(?<![\w.$@/-])(?P<key>[\w.$@/-]{1,80})[\"']?\s*(?::=|=>|[:=])\s*"
    r"(?P<value>(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}')(?!\s*[+~\"'$])"
    r"|(?:\$\{[^{}\n]{0,100}\}|[^\n,;}\]{\[#<>]){1,300})"
    r"|:(?P<name>[\w-]{1,80})\s+(?P<text>\"[^\"\n]{0,300}\")"
    r"|<(?P<tag>[\w.:-]{1,80})(?![\w.:-])[^<>\n]{0,300}>\s*(?P<inner>[^<>\s]{1,300})\s*</"
)


class SettingsText:
    name = "settings"

    def recognises(self, blob: Blob) -> bool:
        if not looks_like_text(blob):
            return False
        name = blob.name.lower()
        if name.endswith(_SETTINGS) or name.startswith(".env"):
            return True
        if name.endswith(_OTHERS):
            return False
        lines = [line for line in blob.head(16384).decode("utf-8", "replace").splitlines() if line.strip()]
        return len(lines) > 1 and sum(bool(_LINE.fullmatch(line)) for line in lines) >= _MOST_LINES * len(lines)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob)
        if text is None:
            scan.report(Verdict.REVIEW, "limit", blob.place, "settings that are too large or not text to their end")
            return
        judge_settings_text(text, blob, scan)


def judge_settings_text(text: str, blob: Blob, scan: Scan) -> None:
    """Each key and value, as far as they stand on one line."""
    named = NamedCallables(scan)
    for number, found in enumerate(_PAIR.finditer(text)):
        if number > _MAX_PAIRS or (number % _STRIDE == _STRIDE - 1 and not scan.may_go_on()):
            scan.report(Verdict.REVIEW, "limit", blob.place, "more settings than are looked at")
            break
        key = found["key"] or found["name"] or found["tag"]
        value = found["value"] or found["text"] or found["inner"]
        named.add(key, value.strip(), f"{blob.place}@{found.start()}")
    named.finish()
