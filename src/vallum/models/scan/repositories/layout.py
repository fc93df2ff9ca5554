"""What only a folder's files together show: code that a configuration names, indexes and their shards, deceptive names."""

# ruff: noqa: E501  tables of names and patterns, one a line

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from posixpath import basename, dirname, join, normpath

from vallum.models.scan.languages.python import harms_in_python, parse_python
from vallum.models.scan.languages.text import text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["Indexes", "Names", "RemoteCode"]

_MAX_CONFIG_BYTES = 4 << 20
_CONFIGS = re.compile(r"(?:.*config|model_index)\.json\Z")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e007f]|[\x00-\x1f\x7f]"
)
_PROGRAMS = re.compile(
    r"(?i)\.(?:exe|dll|scr|com|msi|bat|cmd|lnk|vbs|hta|jar|apk|dmg|pkg|deb|rpm|appimage|pif|cpl|wsf|desktop)\Z"
)
_DOUBLED = re.compile(
    r"(?i)\.(?:safetensors|bin|json|txt|md|onnx|gguf|h5)\s*\.(?:exe|scr|py|sh|js|bat|cmd|pkl|pickle|lnk|com)\Z"
)
_HIDDEN = frozenset((".git", ".svn", ".hg", ".ssh", ".aws"))
_CONFUSABLE = str.maketrans("аеорсухіјѕԁһӏο", "aeopcyxijsdhlo")


class RemoteCode:
    """`auto_map` and what else a configuration loads from beside itself: it is there, and what it does."""

    name = "remote-code"

    def inspect_repository(self, files: Mapping[str, Blob], scan: Scan) -> None:
        if len(files) < 2:
            return  # a file alone says nothing of what is beside it
        for path, blob in files.items():
            if _CONFIGS.match(basename(path)):
                for reference in _references(_parsed(blob)):
                    self._judge(reference, path, files, scan)
            elif basename(path) in ("handler.py", "pipeline.py") or "custom_generate/" in path:
                scan.report(Verdict.REVIEW, "remote-code", path, "code that a server of the repository runs by itself")

    def _judge(self, reference: str, config: str, files: Mapping[str, Blob], scan: Scan) -> None:
        if "--" in reference:
            scan.report(Verdict.REVIEW, "remote-code", config, f"its code is another repository's: `{reference[:120]}`")
            return
        module = reference.rpartition(".")[0] or reference
        source = files.get(normpath(join(dirname(config), module.replace(".", "/") + ".py")))
        if source is None:
            scan.report(Verdict.BLOCK, "remote-code", config, f"it names code that is not there: `{reference[:120]}`")
            return
        tree = parse_python(text_of(source) or "")
        if tree is not None and any(harm.verdict is Verdict.BLOCK for harm in harms_in_python(tree)):
            scan.report(Verdict.BLOCK, "remote-code", config, f"the code that it names does harm: `{reference[:120]}`")


def _parsed(blob: Blob) -> object:
    if len(blob) > _MAX_CONFIG_BYTES:
        return None
    try:
        return json.loads(text_of(blob) or "null")
    except (ValueError, RecursionError):
        return None


def _references(document: object) -> Iterator[str]:
    """`module.Class` of `auto_map`, in a configuration and in those inside it."""
    waiting, left = [document], 10_000
    while waiting and left:
        left -= 1
        value = waiting.pop()
        if not isinstance(value, dict):
            continue
        mapped = value.get("auto_map")
        for reference in mapped.values() if isinstance(mapped, dict) else ():
            yield from (
                part for part in (reference if isinstance(reference, list) else [reference]) if isinstance(part, str)
            )
        waiting += [inner for inner in value.values() if isinstance(inner, dict)]


class Indexes:
    """An index of shards says which files hold a model; a reader loads those, whatever else lies there."""

    name = "indexes"

    def inspect_repository(self, files: Mapping[str, Blob], scan: Scan) -> None:
        if len(files) < 2:
            return
        for path, blob in files.items():
            if not path.endswith(".index.json"):
                continue
            document = _parsed(blob)
            shards = document.get("weight_map") if isinstance(document, dict) else None
            if not isinstance(shards, dict):
                continue
            named = {normpath(join(dirname(path), name)) for name in shards.values() if isinstance(name, str)}
            missing = sorted(name for name in named if name not in files)
            if missing:
                scan.report(
                    Verdict.REVIEW,
                    "malformed",
                    path,
                    f"it names {len(missing)} files that are not there: `{missing[0][:120]}`",
                )
            stem = re.compile(re.escape(basename(path).split(".")[0]) + r"-\d{5}-of-\d{5}\.")
            extra = sorted(
                f
                for f in files
                if dirname(f) == dirname(path)
                and stem.match(basename(f))
                and f not in named
                and f.rsplit(".", 1)[-1] in path
            )
            if extra:
                scan.report(Verdict.REVIEW, "hidden-payload", path, f"shards that it does not name: `{extra[0][:120]}`")


class Names:
    """Names that a person or another file system reads as another's."""

    name = "names"

    def inspect_repository(self, files: Mapping[str, Blob], scan: Scan) -> None:
        seen: dict[str, str] = {}
        for path in files:
            if _INVISIBLE.search(path):
                scan.report(Verdict.REVIEW, "archive-deceptive", path, "a name with invisible characters")
            if _DOUBLED.search(path):
                scan.report(Verdict.REVIEW, "archive-deceptive", path, "a program under the name of something else")
            elif _PROGRAMS.search(path):
                scan.report(Verdict.REVIEW, "executable", path, "a program's name beside the weights")
            if _HIDDEN & set(path.split("/")):
                scan.report(Verdict.REVIEW, "hidden-payload", path, "a folder of another tool in the repository")
            same = _INVISIBLE.sub("", unicodedata.normalize("NFKC", path)).casefold().translate(_CONFUSABLE)
            if same in seen:
                scan.report(Verdict.REVIEW, "archive-deceptive", path, f"a name that reads like `{seen[same][:120]}`")
            seen.setdefault(same, path)
