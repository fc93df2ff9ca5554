"""JSON: configurations, tokenizers, indexes, and the models of tree libraries. What names code is judged by what it names.

Depth is the parser's own bound. Duplicate keys are a finding: readers differ on which of them counts.
"""

# ruff: noqa: E501  tables of names and patterns, one a line

import json
import re
from collections.abc import Iterator

from vallum.models.scan.formats.boosting import judge_boosted
from vallum.models.scan.formats.member_names import is_outside
from vallum.models.scan.formats.settings_text import judge_settings_text
from vallum.models.scan.languages.callables import NamedCallables
from vallum.models.scan.languages.carried_values import CarriedValues
from vallum.models.scan.languages.dotted import judge_dotted, leads_to_harm
from vallum.models.scan.languages.jinja import judge_template
from vallum.models.scan.languages.keras import judge_keras_object, judge_training
from vallum.models.scan.languages.settings import judge_setting
from vallum.models.scan.languages.skops import judge_skops_node
from vallum.models.scan.languages.text import first_line, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["JsonConfig", "judge_tree"]

_WORDS = frozenset(
    ("vocab", "merges", "added_tokens", "trees", "tree_info", "nodes")
)  # data, and most of a file's size

_MAX_TEMPLATES = 20_000
_OF_SPARK = re.compile(
    r"(?:org\.apache\.spark|pyspark|com\.johnsnowlabs|com\.microsoft\.azure|ml\.dmlc|xgboost|synapse|sparknlp)\."
)
_STRIDE = 1024
_MAX_LISTED = 64  # a configuration that is a list has a few parts; a longer one is a table
_MAX_WORDS_OF_COMMAND = 32


class JsonConfig:
    name = "json"

    def recognises(self, blob: Blob) -> bool:
        return first_line(blob).startswith(("{", "[")) or (blob.name.endswith(".json") and bool(first_line(blob)))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob)
        if text is None:
            scan.report(Verdict.REVIEW, "limit", blob.place, "JSON that is too large or not text to its end")
            return
        text = text.lstrip("\ufeff")
        documents, whole = _documents(text, blob, scan)
        if not whole and blob.name.endswith((".json", ".jsonl", ".ipynb", ".webmanifest")):
            scan.report(Verdict.REVIEW, "malformed", blob.place, "it is not the JSON that it is named for")
        if not whole and not documents:
            judge_settings_text(text, blob, scan)  # comments, quotes of another kind: JSON5, or what a reader lets pass
        for document in documents:
            rows = len(documents) > 1 or (isinstance(document, list) and len(document) > _MAX_LISTED)
            judge_tree(document, blob, scan, rows=rows)
            judge_boosted(document, blob, scan)


def _documents(text: str, blob: Blob, scan: Scan) -> tuple[list[object], bool]:
    repeated: list[str] = []

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        mapping = dict(found)
        if len(mapping) != len(found) and len(repeated) < 8:
            repeated.append("")
        return mapping

    try:
        documents: list[object] = [json.loads(text, object_pairs_hook=pairs)]
        whole = True
    except RecursionError:
        scan.report(Verdict.REVIEW, "limit", blob.place, "JSON nested deeper than is looked at")
        return [], True
    except ValueError:
        documents, whole = _lines(text)
    if repeated:
        scan.report(
            Verdict.REVIEW, "malformed", blob.place, "keys that are there twice: readers differ on which counts"
        )
    return documents, whole


def _lines(text: str) -> tuple[list[object], bool]:
    documents: list[object] = []
    for line in text.splitlines():
        if line.strip():
            try:
                documents.append(json.loads(line))
            except (ValueError, RecursionError):
                return documents, False
    return documents, True


def judge_tree(document: object, blob: Blob, scan: Scan, *, rows: bool = False) -> None:
    """Every key and string of a parsed configuration, of whichever language. Linear, without recursion.

    `rows`: it is one of many alike, which are data: what they say is nobody's to run.
    """
    if isinstance(document, dict) and "cells" not in document:
        _judge_index(document, blob, scan)
    elif isinstance(document, list) and blob.name == "modules.json":
        _judge_modules(document, blob, scan)
    templates, carried, named = 0, CarriedValues(scan), NamedCallables(scan)
    for number, (path, key, value) in enumerate(_entries(document)):
        if number % _STRIDE == _STRIDE - 1 and not scan.may_go_on():
            scan.report(Verdict.REVIEW, "limit", blob.place, "more settings than there is time to look at")
            return
        place = f"{blob.place}@{path}"
        if isinstance(value, dict):
            judge_keras_object(value, place, scan)
            judge_training(value, place, scan)
            _judge_object(value, place, scan)
            if not rows:
                named.pair(value, place)
            if key == "auto_map" and value:
                scan.report(Verdict.REVIEW, "remote-code", place, "it asks that the repository's own code be run")
            elif key in ("custom_pipelines", "custom_generate") and value:
                scan.report(Verdict.REVIEW, "remote-code", place, "pipelines whose code is the repository's own")
        elif isinstance(value, str):
            if "chat_template" in path or (key == "template" and "{%" in value):
                if "{" in value:
                    scan.descend(blob, f"{key or 'template'}.jinja", value.encode("utf-8", "surrogatepass"))
            elif len(value) > 8 and ("{{" in value or "{%" in value):
                templates += 1
                if templates > _MAX_TEMPLATES:
                    scan.report(Verdict.REVIEW, "limit", place, "more templates than are looked at")
                    return
                judge_template(value, place, scan, is_template=False)
            judge_setting(key, value, place, scan)
            if not rows:
                carried.judge(key, value.strip(), place)
                named.add(path, value.strip(), place)
        elif isinstance(value, list):
            _judge_pair(key, value, place, scan)
            if not rows:
                named.parts(key, value, place)
            if not rows and 1 < len(value) <= _MAX_WORDS_OF_COMMAND and all(isinstance(part, str) for part in value):
                carried.judge(key, " ".join(map(str, value)), place)
        else:
            judge_setting(key, value, place, scan)
    named.finish()


def _entries(document: object) -> Iterator[tuple[str, str, object]]:
    waiting: list[tuple[str, str, object]] = [("", "", document)]
    while waiting:
        path, key, value = waiting.pop()
        yield path, key, value
        if key in _WORDS and isinstance(value, dict | list):
            first = next(iter(value.values() if isinstance(value, dict) else value), None)
            if isinstance(first, int | float | str) or (
                isinstance(first, list) and first and isinstance(first[0], str)
            ):
                continue  # words and their numbers
        if isinstance(value, dict):
            waiting += [(f"{path}.{k}"[-200:].lstrip("."), k, v) for k, v in value.items()]
        elif isinstance(value, list):
            waiting += [(path, key, item) for item in value if isinstance(item, dict | list | str)]


def _judge_pair(key: str, value: list[object], place: str, scan: Scan) -> None:
    """A pipeline's component (`[library, class]`), and a reduced object (`py/reduce`)."""
    if key == "py/reduce":
        scan.report(Verdict.BLOCK, "config-executes", place, "an object that is made by calling what it names")
    if len(value) == 2 and all(isinstance(part, str) and re.fullmatch(r"[\w.]{2,80}", part) for part in value):
        dotted = f"{value[0]}.{value[1]}"
        if (
            key not in _WORDS
            and leads_to_harm(dotted)
            and judge_dotted(dotted)[0] is Verdict.BLOCK
            and str(value[0]).islower()
        ):
            scan.report(Verdict.REVIEW, "config-executes", place, judge_dotted(dotted)[1])


def _judge_object(value: dict[str, object], place: str, scan: Scan) -> None:
    """`__module__` and `__class__`, as skops writes an object."""
    if "__loader__" in value or "module_path" in value:
        judge_skops_node(value, place, scan)
    called = value.get("class")
    if isinstance(called, str) and {"uid", "paramMap"} <= value.keys() and not _OF_SPARK.match(called):
        text = f"Spark makes the class `{called[:120]}` by its name"
        scan.report(Verdict.REVIEW, "config-executes", place, text)
    module, name = value.get("__module__"), value.get("__class__")
    if isinstance(module, str) and isinstance(name, str):
        verdict, why = judge_dotted(f"{module}.{name}")
        plain = ("collections", "builtins", "numpy", "scipy", "sklearn")
        if verdict is Verdict.BLOCK or (verdict is Verdict.REVIEW and module.split(".")[0] not in plain):
            scan.report(verdict, "config-executes", place, why)


def _judge_modules(document: list[object], blob: Blob, scan: Scan) -> None:
    """Parts of a sentence embedding, each in a folder of the repository."""
    for path in (part.get("path") for part in document if isinstance(part, dict)):
        if isinstance(path, str) and (is_outside(path) or "://" in path):
            text = f"a part of it is at `{path[:120]}`, outside of the repository"
            scan.report(Verdict.BLOCK, "archive-traversal", blob.place, text)
            return


def _judge_index(document: dict[str, object], blob: Blob, scan: Scan) -> None:
    shards = document.get("weight_map")
    if not isinstance(shards, dict):
        return
    for name in {shard for shard in shards.values() if isinstance(shard, str)}:
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or "://" in name or name[1:2] == ":":
            scan.report(
                Verdict.BLOCK,
                "archive-traversal",
                blob.place,
                f"its index names `{name[:120]}`, outside of the repository",
            )
        elif not name.endswith((".safetensors", ".bin", ".pt", ".pth", ".gguf", ".msgpack", ".h5")):
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"its index names `{name[:120]}`, which is no shard")
