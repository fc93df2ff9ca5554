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
    (tmp_path / "g.pb").write_bytes(_graph(_node("MatMul"), _node("Addons>Own")))
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


@pytest.mark.parametrize(
    ("operator", "verdict"),
    [
        ("EvilOp", Verdict.BLOCK), ("ExecuteShell", Verdict.BLOCK), ("NumpyFunction", Verdict.BLOCK),
        ("ExperimentalMatchingFilesDataset", Verdict.BLOCK), ("IO>FileRead", Verdict.BLOCK),
        ("Addons>ImageProjectiveTransformV2", Verdict.REVIEW), ("StatefulPartitionedCall", Verdict.PASS),
        ("_FusedConv2D", Verdict.PASS), ("MapDataset", Verdict.PASS),
    ],
)  # fmt: skip
def test_what_is_not_tensorflows_own_does_not_pass(tmp_path: Path, operator: str, verdict: Verdict) -> None:
    (tmp_path / "saved_model.pb").write_bytes(_saved(_graph(_node("MatMul"), _node(operator))))
    assert scan(tmp_path).verdict is verdict


def _meta(graph: bytes) -> bytes:
    return _field(1, _field(4, b"serve")) + _field(2, graph) + _field(5, _field(1, b"s"))


def _turned(*fields: bytes) -> bytes:
    return b"".join(reversed(fields))


@pytest.mark.parametrize("name", ["model.ckpt.meta", "weights.bin"])
def test_every_message_with_a_graph_in_every_order(tmp_path: Path, name: str) -> None:
    node = _turned(_field(1, b"n"), _field(2, b"PyFunc"), _field(4, b"/device:CPU:0"))
    graph = _turned(_field(1, node), _field(4, b"\x08\x01"))
    function = _field(2, _field(1, _field(1, _field(1, b"f")) + _field(3, node)))
    for inner in (graph, function, _turned(_graph(_node("MatMul")), function)):
        orders = {
            "graph": inner,
            "meta graph": _meta(inner),
            "meta graph, turned": _turned(_field(1, _field(4, b"serve")), _field(2, inner)),
            "saved": _saved(inner),
            "saved, turned": _turned(b"\x08\x01", _field(2, _turned(_field(1, _field(4, b"x")), _field(2, inner)))),
            "saved, second": b"\x08\x01" + _field(2, _meta(_graph(_node("MatMul")))[:]) + _field(2, _meta(inner)),
        }
        for way, content in orders.items():
            (tmp_path / name).write_bytes(content)
            assert scan(tmp_path).verdict is Verdict.BLOCK, way


@pytest.mark.parametrize(
    "place", [b"file:///root/.bashrc", b"https://example.org/x", b"/etc/cron.d/x", b"../../x", b"~/.ssh/x"]
)
@pytest.mark.parametrize("operator", ["PrintV2", "InitializeTableFromTextFileV2", "Identity"])
def test_an_attribute_that_names_a_place(tmp_path: Path, operator: str, place: bytes) -> None:
    attribute = _field(5, _field(1, b"output_stream") + _field(2, _field(2, place)))
    (tmp_path / "g.pb").write_bytes(_graph(_node("MatMul"), _node(operator) + attribute))
    assert scan(tmp_path).verdict is Verdict.BLOCK


def test_attributes_of_ordinary_graphs_name_nodes_and_devices(tmp_path: Path) -> None:
    values = (
        b"loc:@dense/kernel",
        b"stderr",
        b"/job:localhost/replica:0/task:0/device:CPU:0",
        b"^s3://.*",
        b"NHWC",
        b"dense/kernel",
    )
    nodes = [_node("MatMul") + _field(5, _field(1, b"x") + _field(2, _field(2, value))) for value in values]
    (tmp_path / "g.pb").write_bytes(_graph(*nodes))
    assert scan(tmp_path).findings == ()


@pytest.mark.parametrize(
    "text",
    [
        'node {{ name: "a" {} }}', "node<\n {} >", "meta_graphs {{ graph_def {{ node {{ {} }} }} }}",
        "library {{ function {{ node_def: {{ {} }} }} }}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "inner",
    [
        'op: "PyFunc"',
        "op: 'PyFunc'",
        'op : "\\x50yFunc"',
        'op: "Py" "Func"',
        'op: "PrintV2" attr { key: "output_stream" value { s: "file:///x" } }',
    ],
)
def test_the_text_format(tmp_path: Path, text: str, inner: str) -> None:
    (tmp_path / "graph.txt").write_text(text.format(inner) + "\n")
    assert scan(tmp_path).verdict is Verdict.BLOCK


def test_a_graph_in_text_behind_a_long_heading(tmp_path: Path) -> None:
    heading = "meta_info_def {\n" + "".join(f'  tags: "t{n}"\n' for n in range(9_000)) + "}\n"
    (tmp_path / "saved_model.txt").write_text(f'meta_graphs {{ {heading} graph_def {{ node {{ op: "ReadFile" }} }} }}')
    assert scan(tmp_path).verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    ("place", "verdict"),
    [
        (b"/etc/passwd", Verdict.BLOCK), (b"/root/.bashrc", Verdict.BLOCK), (b"../../secret", Verdict.BLOCK),
        (b"/home/a/.ssh/id_rsa", Verdict.BLOCK), (b"https://example.org/x", Verdict.BLOCK),
        (b"/tmp/tmpa1b2/assets/vocab.txt", Verdict.REVIEW), (b"vocab.txt", Verdict.REVIEW),
    ],
)  # fmt: skip
def test_a_table_from_a_file(tmp_path: Path, place: bytes, verdict: Verdict) -> None:
    (tmp_path / "g.pb").write_bytes(_graph(_node("Const", place), _node("InitializeTableFromTextFileV2")))
    assert scan(tmp_path).verdict is verdict


@pytest.mark.parametrize("operator", ["HashTableV2", "MutableHashTableV2", "AnonymousHashTable"])
def test_a_table_shared_under_the_name_of_its_file(tmp_path: Path, operator: str) -> None:
    shared = _field(1, b"shared_name") + _field(2, _field(2, b"hash_table_/tmp/build/vocab.txt_-2_-1"))
    for name, verdict in ((operator, Verdict.PASS), ("VarHandleOp", Verdict.BLOCK)):
        (tmp_path / "saved_model.pb").write_bytes(_saved(_graph(_node(name) + _field(5, shared))))
        assert scan(tmp_path).verdict is verdict
