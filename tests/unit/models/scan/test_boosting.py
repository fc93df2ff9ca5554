"""Trees as XGBoost and LightGBM write them pass; those that lead a reader outside, or never to a leaf, do not."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vallum.models.scan import Verdict, scan

_HERE = Path(__file__).parent
_JSON = json.loads((_HERE / "trained" / "xgboost.json").read_text())
_UBJ = (_HERE / "benign" / "trees.ubj").read_bytes()
_TEXTS = [_HERE / "trained" / "lightgbm.txt", _HERE / "benign" / "trees.lgb.txt"]


def _model(document: Any) -> Any:
    return document["learner"]["gradient_booster"]["model"]


def _scan(folder: Path, name: str, content: str | bytes) -> Any:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return scan(folder / name)


@pytest.mark.parametrize("name", ["left_children", "right_children", "split_indices"])
@pytest.mark.parametrize("value", [99_999, -7, 0, 1 << 40])
def test_a_node_that_leads_outside_or_to_itself(tmp_path: Path, name: str, value: int) -> None:
    changed = copy.deepcopy(_JSON)
    if (name, value) == ("split_indices", 0):
        value = -1
    _model(changed)["trees"][-1][name][0] = value
    report = _scan(tmp_path, "model.json", json.dumps(changed))
    assert {finding.technique for finding in report.findings if finding.verdict is Verdict.BLOCK} == {"size-lie"}


@pytest.mark.parametrize("number", ["999999999", "0", "-1"])
def test_counts_of_what_is_not_there(tmp_path: Path, number: str) -> None:
    for place in ("trees", "nodes"):
        changed = copy.deepcopy(_JSON)
        model = _model(changed)
        if place == "trees":
            model["gbtree_model_param"]["num_trees"] = number
        else:
            model["trees"][0]["tree_param"]["num_nodes"] = number
        assert _scan(tmp_path, "model.json", json.dumps(changed)).verdict is Verdict.BLOCK


def test_binary_json_is_read_the_same(tmp_path: Path) -> None:
    assert scan(_HERE / "benign" / "trees.ubj").findings == ()
    at = _UBJ.index(b"left_children")
    found = re.compile(rb"\[\$l#(?:i.|L.{8}|l.{4}|U.)", re.DOTALL).search(_UBJ, at)
    assert found is not None
    for child in (0, 1 << 20):
        lying = _UBJ[: found.end()] + child.to_bytes(4, "big") + _UBJ[found.end() + 4 :]
        assert _scan(tmp_path, "model.ubj", lying).verdict is Verdict.BLOCK


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(_UBJ) - 1), st.integers(0, 255))
def test_no_change_of_a_byte_is_a_failure(tmp_path: Path, at: int, byte: int) -> None:
    changed = _UBJ[:at] + bytes([byte]) + _UBJ[at + 1 :]
    assert "scanner-error" not in {finding.technique for finding in _scan(tmp_path, "model.ubj", changed).findings}


@pytest.mark.parametrize("file", _TEXTS)
def test_lightgbms_text(tmp_path: Path, file: Path) -> None:
    assert scan(file).findings == ()
    assert _scan(tmp_path, "crlf.txt", file.read_text().replace("\n", "\r\n")).verdict is Verdict.PASS


@pytest.mark.parametrize("file", _TEXTS)
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("left_child", "99999 {}"),
        ("left_child", "{} 1"),
        ("right_child", "-99999{}"),
        ("split_feature", "99999{}"),
        ("num_leaves", "2147483647"),
        ("num_leaves", "0"),
        ("num_cat", "999999999"),
        ("leaf_value", "0.5"),
        ("left_child", "x"),
        ("num_leaves", ""),
    ],
)
def test_trees_of_lightgbm_that_lie(tmp_path: Path, file: Path, setting: str, value: str) -> None:
    text = file.read_text()
    old = re.search(rf"(?m)^{setting}=(.*)$", text)
    assert old is not None
    rest = old[1].partition(" ")[2] if "99999" in value else old[1]
    lying = (
        text[: old.start(1)] + value.format(rest and f" {rest}" if "99999{}" in value else rest) + text[old.end(1) :]
    )
    assert _scan(tmp_path, "model.txt", lying).verdict is Verdict.BLOCK


def test_sizes_of_trees_that_are_not_there(tmp_path: Path) -> None:
    text = _TEXTS[0].read_text()
    for sizes in ("1 2", "99999999 1 1 1 1", "0 1 1 1 1", "-5 1 1 1 1"):
        lying = re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", text)
        assert _scan(tmp_path, "model.txt", lying).verdict is Verdict.BLOCK
