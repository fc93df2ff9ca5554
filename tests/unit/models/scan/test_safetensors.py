import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.safetensors import SafetensorsInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"


def scanned(data: bytes) -> Report:
    return judged(data, [SafetensorsInspector(), ExecutableInspector()], "model.safetensors")


def tensors(header: Any, body: bytes = bytes(16)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def tensor(begin: int = 0, end: int = 16, shape: Any = (4,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("name", ["net.safetensors", "kinds.safetensors", "arrays.safetensors"])
def test_real_files_pass(name):
    report = scanned((_BENIGN / name).read_bytes())
    assert (report.verdict, report.findings) == (Verdict.PASS, ())


@pytest.mark.parametrize(
    "data",
    [
        tensors({"a": tensor(shape=[5])}),
        tensors({"a": tensor(0, 64, [16])}),
        tensors({"a": tensor(), "b": tensor(8, 16, [2])}),
        tensors({"a": tensor(0, 8, [2])}),
        tensors({"a": tensor(8, 16, [2])}),
        tensors({"a": tensor()}) + b"x",
        (1 << 40).to_bytes(8, "little") + b"{}",
        tensors(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{}}'),
    ],
)
def test_lies_are_refused(data):
    assert scanned(data).verdict == Verdict.BLOCK


@pytest.mark.parametrize(
    "header",
    [b"[" * 100_000, b"{}x", b"[]", {"a": 1}, {"a": tensor(shape=[-4])}, {"a": tensor(shape=[True])},
     {"a": tensor(dtype="X")}, {"a": tensor(shape=[1 << 62, 1 << 62])}, {"__metadata__": {"a": 1}, "a": tensor()}],
)  # fmt: skip
def test_what_is_no_header_is_not_passed(header):
    assert scanned(tensors(header)).verdict != Verdict.PASS


def test_a_program_behind_the_tensors_is_found():
    report = scanned(tensors({"a": tensor()}) + b"#!/bin/sh\n")
    assert techniques(report, Verdict.BLOCK) == {"hidden-payload", "executable"}


def test_metadata_that_looks_like_code_is_handed_on():
    stub = pickles_and_text()
    data = tensors({"__metadata__": {"format": "pt", "x": "__import__('os')"}, "a": tensor()})
    judged(data, [SafetensorsInspector(), stub])
    assert b"__import__('os')" in stub.seen.values()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_flip_in_the_header_is_a_failure(data):
    bad = bytearray((_BENIGN / "net.safetensors").read_bytes())
    at = data.draw(st.integers(0, len(bad) * 8 - 1))
    bad[at // 8] ^= 1 << at % 8
    report = scanned(bytes(bad))
    assert "scanner-error" not in techniques(report, Verdict.REVIEW)
    if at < 64:
        assert report.verdict != Verdict.PASS
