"""YAML, TOML and INI: tags that make objects, keys that name code, anchors that multiply. Also MLflow's `MLmodel`.

There is no YAML parser in the standard library, and none is needed to find a tag or a key in a line: what this reader
takes for one too many is a false finding, and what a parser would run always has its tag in the text.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import configparser
import re
import tomllib
from urllib.parse import unquote

from vallum.models.scan.formats.json_config import judge_tree
from vallum.models.scan.formats.settings_text import judge_settings_text
from vallum.models.scan.languages.callables import NamedCallables, named_callable
from vallum.models.scan.languages.carried_values import CarriedValues
from vallum.models.scan.languages.jinja import judge_template
from vallum.models.scan.languages.settings import judge_setting
from vallum.models.scan.languages.text import first_line, looks_like_text, text_of
from vallum.models.scan.languages.yaml_reading import TooMany, pairs_in_yaml
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["IniConfig", "YamlConfig"]

_MAX_CHARACTERS = 8 << 20
_STRIDE = 1024
_MAX_EXPANDED = 1_000_000
_TAG = re.compile(r"(?m)(?:^|[\s\[{,:\-?])(!(?:<[^>\n]{1,300}>|[^\s,\[\]{}'\"]{0,300}))")
_HANDLE = re.compile(r"(?m)^%TAG\s+(!\w*!?)\s+(\S{1,300})")
_KEY = re.compile(
    r"(?m)(?:^|[{,])[ \t]*(?:-[ \t]+)*(?:[\"']?)([\w./-]{1,80})[\"']?[ \t]*:[ \t]+(?:![^\s]*[ \t]+)?(?:&\w+[ \t]+)?([^\n#,}\]]{1,2000})"
)
_AUTO_MAP = re.compile(r"(?m)(?:^|[{,])[ \t]*(?:-[ \t]+)*[\"']?auto_map[\"']?[ \t]*:")
_ANCHOR = re.compile(r"(?:(?<=[\s\[{,:\-])|^)([&*])([\w.-]{1,80})")
_PLAIN = frozenset("str int float bool null map seq set omap pairs binary timestamp merge value yaml".split())
_MAPPING = re.compile(r"[A-Za-z_][\w. -]{0,60}:(?:\s|\Z)")
_MAKES = re.compile(r"python/|ruby/|java|perl/|php/|clojure|dotnet|\.net")


class YamlConfig:
    name = "yaml"

    def recognises(self, blob: Blob) -> bool:
        if not looks_like_text(blob):
            return False
        line = first_line(blob)
        return (
            blob.name.lower().endswith((".yaml", ".yml")) or blob.name == "MLmodel" or line.startswith(("---", "%YAML", "%TAG", "!"))
            or bool(_MAPPING.match(line)) or (b"python/" in blob.head(65536) and b"!" in blob.head(65536))
        )  # fmt: skip

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob)
        if text is None or len(text) > _MAX_CHARACTERS:
            scan.report(Verdict.REVIEW, "limit", blob.place, "YAML that is too large or not text to its end")
            return
        if blob.name.endswith((".md", ".rst")):
            text = text.split("\n---", 1)[0] if text.startswith("---") else ""  # what stands before the prose
        named = blob.name.lower().endswith((".yaml", ".yml")) or blob.name == "MLmodel"
        _judge_tags(text, named, blob, scan)
        if named or first_line(blob).startswith(("---", "%")) or len(_KEY.findall(text)) * 3 > text.count("\n"):
            _judge_pairs(text, blob, scan)
            if _AUTO_MAP.search(text):
                scan.report(Verdict.REVIEW, "remote-code", blob.place, "it asks that the repository's own code be run")
            _judge_anchors(text, blob, scan)
            judge_template(text, blob.place, scan, is_template=False)
        if re.search(r"(?m)^\s*python_function\s*:|^\s*loader_module\s*:", text):
            _judge_mlflow(text, blob, scan)


def _plain(value: str) -> str:
    """Without the quotes that the whole of it is in."""
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _judge_pairs(text: str, blob: Blob, scan: Scan) -> None:
    carried, named = CarriedValues(scan), NamedCallables(scan)
    try:
        for number, (key, value, _) in enumerate(pairs_in_yaml(text)):
            if number % _STRIDE == _STRIDE - 1 and not scan.may_go_on():
                raise TooMany
            place = f"{blob.place}@{key[:80]}"
            judge_setting(key, value, place, scan)
            carried.judge(key.rsplit(".", 1)[-1], value, place)
            named.add(key, value, place)
        named.finish()
    except TooMany:
        scan.report(Verdict.REVIEW, "limit", blob.place, "more settings than are looked at")


def _judge_tags(text: str, named: bool, blob: Blob, scan: Scan) -> None:
    handles = dict(_HANDLE.findall(text))
    said = 0
    for found in _TAG.finditer(text):
        tag = unquote(found.group(1))
        for handle, prefix in handles.items():
            if tag.startswith(handle) and not tag.startswith("!<"):
                tag = prefix + tag[len(handle) :]
                break
        plain = tag.strip("!<>").removeprefix("tag:yaml.org,2002:")
        if _MAKES.match(plain):
            simple = re.fullmatch(
                r"python/(?:none|bool|bytes|str|unicode|int|long|float|complex|list|tuple|dict)", plain
            )
            if not simple:
                scan.report(
                    Verdict.BLOCK,
                    "config-executes",
                    f"{blob.place}@{found.start(1)}",
                    f"the tag `{plain[:80]}` makes an object by calling it",
                )
                said += 1
        elif (asked := named_callable(plain)) is not None:
            text = f"the tag `{plain[:80]}` names `{asked[:80]}`, which runs, opens, fetches or deletes"
            scan.report(Verdict.BLOCK, "config-executes", f"{blob.place}@{found.start(1)}", text)
            said += 1
        elif (
            named
            and plain
            and plain not in _PLAIN
            and (tag.startswith(("!!", "!<")) or re.fullmatch(r"![A-Za-z][\w.:/-]*", tag))
        ):
            scan.report(
                Verdict.REVIEW,
                "config-executes",
                f"{blob.place}@{found.start(1)}",
                f"the tag `{plain[:80]}` is the reader's own",
            )
            said += 1
        if said > 20:
            return


def _judge_anchors(text: str, blob: Blob, scan: Scan) -> None:
    """What the aliases would expand to: each anchor counts what stands between it and the next."""
    sizes: dict[str, int] = {}
    current, total = "", 0
    for sign, name in _ANCHOR.findall(text):
        if sign == "&":
            current, sizes[name] = name, 1
        else:
            size = sizes.get(name, 1)
            sizes[current] = min(sizes.get(current, 1) + size, _MAX_EXPANDED + 1)
            total = max(total, sizes[current])
    if total > _MAX_EXPANDED:
        scan.report(Verdict.BLOCK, "archive-bomb", blob.place, "aliases that expand a million times")


def _judge_mlflow(text: str, blob: Blob, scan: Scan) -> None:
    if re.search(
        r"(?m)^\s*(?:python_model|cloudpickle_version|code_path|model_code_path)\s*:|loader_module\s*:\s*['\"]?mlflow\.pyfunc\.(?:model|loaders)",
        text,
    ):
        scan.report(Verdict.REVIEW, "config-executes", blob.place, "a model that is pickled code of its own")
    for found in re.finditer(r"(?m)^\s*(?:code|data|model_path|python_model|path)\s*:\s*['\"]?(\S+)", text):
        if (
            found.group(1).startswith(("/", "~"))
            or ".." in found.group(1).split("/")
            or re.match(r"[a-z0-9]+://", found.group(1))
        ):
            scan.report(
                Verdict.BLOCK,
                "archive-traversal",
                blob.place,
                f"it names `{found.group(1)[:120]}`, outside of the model",
            )
    if re.search(r"(?m)^\s+code\s*:\s*(?!null|none)\S+", text):
        scan.report(Verdict.REVIEW, "config-executes", blob.place, "it brings a folder of code that is imported")


class IniConfig:
    """TOML and INI."""

    name = "toml"

    def recognises(self, blob: Blob) -> bool:
        line = first_line(blob)
        return blob.name.endswith((".toml", ".ini", ".cfg")) or bool(
            re.match(r"\[{1,2}[\w. \"'-]+\]{1,2}\s*(?:#.*)?\Z", line)
        )

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob)
        if text is None or len(text) > _MAX_CHARACTERS:
            scan.report(Verdict.REVIEW, "limit", blob.place, "a configuration that is too large or not text to its end")
            return
        try:
            judge_tree(tomllib.loads(text), blob, scan)
            return
        except (tomllib.TOMLDecodeError, RecursionError):
            pass
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        try:
            parser.read_string(text)
        except configparser.Error:
            judge_settings_text(text, blob, scan)
            if blob.name.endswith((".toml", ".ini")):
                scan.report(Verdict.REVIEW, "malformed", blob.place, "neither TOML nor INI")
            return
        carried, named = CarriedValues(scan), NamedCallables(scan)
        for section in parser.sections():
            for key, value in parser.items(section):
                judge_setting(key, value or "", f"{blob.place}@{section[:60]}.{key[:60]}", scan)
                carried.judge(key, _plain(value or ""), f"{blob.place}@{section[:60]}.{key[:60]}")
                named.add(f"{section}.{key}", value or "", f"{blob.place}@{section[:60]}.{key[:60]}")
        named.finish()
