"""Boosted trees of XGBoost and LightGBM: children, features and counts, which their readers take on trust.

Answers a node that is its own child or lies outside of its tree, and counts of what is not there (CWE-125, CWE-787,
CWE-835). Sources: XGBoost's JSON schema; LightGBM, src/io/tree.cpp and gbdt_model_text.cpp.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vallum.models.scan.languages.text import first_line, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["LightgbmInspector", "judge_boosted"]

_NODES = ("left_children", "right_children", "split_indices", "split_conditions", "parents")
_BLOCK = re.compile(r"^Tree=\d+\n(.*?)(?=^Tree=|^end of trees|\Z)", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"^([a-z_]+)=([^\n]*)$", re.MULTILINE)


class _Lie(Exception):
    pass


def judge_boosted(document: object, blob: Blob, scan: Scan) -> None:
    """For what XGBoost saves as JSON or binary JSON; of other documents it says nothing."""
    learner = _inner(document, "learner")
    booster = _inner(learner, "gradient_booster")
    model = _inner(booster, "model") or _inner(_inner(booster, "gbtree"), "model")
    trees = model.get("trees")
    if not isinstance(trees, list):
        return
    try:
        if _number(_inner(model, "gbtree_model_param").get("num_trees", len(trees))) != len(trees):
            raise _Lie("a number of trees that are not there")
        features = _number(_inner(learner, "learner_model_param").get("num_feature", 0))
        for tree in trees:
            if not scan.may_go_on():
                scan.report(Verdict.REVIEW, "limit", blob.place, "more trees than there is time to look at")
                return
            _judge_tree(tree if isinstance(tree, dict) else {}, features)
    except _Lie as e:
        scan.report(Verdict.BLOCK, "size-lie", blob.place, str(e))
    except (TypeError, ValueError, OverflowError):
        scan.report(Verdict.REVIEW, "malformed", blob.place, "trees that are not written as XGBoost writes them")


class LightgbmInspector:
    """The text that LightGBM saves."""

    name = "lightgbm"

    def recognises(self, blob: Blob) -> bool:
        return first_line(blob) == "tree" and blob.head(64).lstrip().startswith(
            (b"tree\nversion=", b"tree\r\nversion=")
        )

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = (text_of(blob) or "").replace("\r\n", "\n")
        header = dict(_SETTING.findall(text[: max(0, text.find("\nTree="))]))
        try:
            sizes = _integers(header.get("tree_sizes", ""))
            blocks = _BLOCK.findall(text)
            if sizes and (len(sizes) != len(blocks) or min(sizes) <= 0 or sum(sizes) > len(text.encode())):
                raise _Lie("sizes of trees that are not there")
            features = int(header.get("max_feature_idx", 0)) + 1
            for block in blocks:
                if not scan.may_go_on():
                    scan.report(Verdict.REVIEW, "limit", blob.place, "more trees than there is time to look at")
                    return
                _judge_leaves(dict(_SETTING.findall(block)), features)
        except _Lie as e:
            scan.report(Verdict.BLOCK, "size-lie", blob.place, str(e))
        except ValueError:
            scan.report(Verdict.BLOCK, "malformed", blob.place, "trees that are not written as LightGBM writes them")


def _judge_tree(tree: Mapping[str, Any], features: int) -> None:
    arrays = [tree[name] for name in _NODES if name in tree]
    count = _number(_inner(tree, "tree_param").get("num_nodes", len(arrays[0]) if arrays else 0))
    if len(arrays) < 3 or any(len(array) != count for array in arrays):
        raise _Lie("a tree with more nodes, or less, than it says")
    left, right, split = arrays[:3]
    seen, waiting = bytearray(count), [0] if count else []
    while waiting:
        node = waiting.pop()
        if not 0 <= node < count or seen[node]:
            raise _Lie("a node that is outside of its tree, or has itself below it")
        seen[node] = 1
        if left[node] == -1 and right[node] == -1:
            continue
        if features and not 0 <= split[node] < features:
            raise _Lie("a split by a feature that the model does not have")
        waiting += (left[node], right[node])


def _judge_leaves(tree: Mapping[str, str], features: int) -> None:
    leaves, categories = int(tree.get("num_leaves", 1)), int(tree.get("num_cat", 0))
    splits = max(0, leaves - 1)
    left, right = _integers(tree.get("left_child", "")), _integers(tree.get("right_child", ""))
    feature = _integers(tree.get("split_feature", ""))
    lengths = [(left, splits), (right, splits), (feature, splits), (tree.get("threshold", "").split(), splits)]
    lengths.append((tree.get("leaf_value", "").split(), leaves))
    if leaves < 1 or any(len(values) != length for values, length in lengths):
        raise _Lie("a tree with more leaves, or less, than it says")
    if any(not 0 <= number < features for number in feature):
        raise _Lie("a split by a feature that the model does not have")
    if categories:
        bounds = _integers(tree.get("cat_boundaries", ""))
        held = len(tree.get("cat_threshold", "").split())
        if len(bounds) != categories + 1 or sorted(bounds) != bounds or bounds[0] != 0 or bounds[-1] != held:
            raise _Lie("categories that are not there")
    seen, waiting = bytearray(splits), [0] if splits else []
    while waiting:
        node = waiting.pop()
        if seen[node]:
            raise _Lie("a node that has itself below it")
        seen[node] = 1
        for child in (left[node], right[node]):
            if not -leaves <= child < splits:
                raise _Lie("a node that is outside of its tree")
            if child >= 0:
                waiting.append(child)


def _inner(document: object, key: str) -> Mapping[str, Any]:
    found = document.get(key) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int:
    if isinstance(value, int | str):
        return int(value)
    raise TypeError("no number")


def _integers(text: str) -> Sequence[int]:
    return [int(part) for part in text.split()]
