"""Graphs are judged by their operators, wherever in them these are."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vallum.models.scan import Verdict, scan


def _field(number: int, content: bytes) -> bytes:
    size, encoded = len(content), b""
    while size > 127:
        encoded, size = encoded + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + encoded + bytes([size]) + content


def _node(operator: str, value: bytes = b"") -> bytes:
    attribute = _field(5, _field(1, b"value") + _field(2, _field(8, _field(8, value)))) if value else b""
    return _field(1, b"n") + _field(2, operator.encode()) + attribute


def _graph(*nodes: bytes) -> bytes:
    return b"".join(_field(1, node) for node in nodes)


def _saved(graph: bytes) -> bytes:
    return b"\x08\x01" + _field(2, _field(1, _field(4, b"serve")) + _field(2, graph))


@pytest.mark.parametrize("operator", ["ReadFile", "WriteFile", "PyFunc", "MatchingFiles", "EagerPyFunc"])
@pytest.mark.parametrize("name", ["saved_model.pb", "weights.bin"])
def test_operators_that_reach_out_are_blocked(tmp_path: Path, operator: str, name: str) -> None:
    (tmp_path / name).write_bytes(_saved(_graph(_node("Placeholder"), _node(operator))))
    assert scan(tmp_path).verdict is Verdict.BLOCK
    (tmp_path / name).write_bytes(_graph(_node("Placeholder"), _node(operator)))
    assert scan(tmp_path).verdict is Verdict.BLOCK


def test_an_operator_in_a_function(tmp_path: Path) -> None:
    function = _field(1, _field(1, _field(1, b"f")) + _field(3, _node("WriteFile")))
    (tmp_path / "saved_model.pb").write_bytes(_saved(_graph(_node("MatMul")) + _field(2, function)))
    assert scan(tmp_path).verdict is Verdict.BLOCK


def test_a_restore_from_outside(tmp_path: Path) -> None:
    (tmp_path / "g.pb").write_bytes(_graph(_node("Const", b"/etc/passwd"), _node("RestoreV2")))
    assert scan(tmp_path).verdict is Verdict.BLOCK


def test_an_operator_of_another_library(tmp_path: Path) -> None:
    (tmp_path / "g.pb").write_bytes(_graph(_node("MatMul"), _node("Acme>Own")))
    assert scan(tmp_path).verdict is Verdict.REVIEW


def test_an_ordinary_graph_passes(tmp_path: Path) -> None:
    nodes = [
        _node(name)
        for name in ("Placeholder", "VarHandleOp", "MatMul", "StatefulPartitionedCall", "SaveV2", "RestoreV2")
    ]
    (tmp_path / "saved_model.pb").write_bytes(_saved(_graph(*nodes, _node("Const", b"variables/variables"))))
    assert scan(tmp_path).findings == ()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 60))
def test_noise_never_fails(tmp_path: Path, noise: bytes, cut: int) -> None:
    (tmp_path / "noise").write_bytes(_saved(_graph(_node("MatMul")))[:cut] + noise)
    assert "scanner-error" not in {finding.technique for finding in scan(tmp_path).findings}
