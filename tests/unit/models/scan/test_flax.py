import os
import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext
from scanned_files import judged, techniques

from vallum.models.scan import scan
from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.flax import FlaxInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"
_STATE = (_BENIGN / "flax_state.msgpack").read_bytes()  # by flax 0.12, as a training's state
_CHUNKED = (_BENIGN / "chunked.msgpack").read_bytes()
pack = msgspec.msgpack.encode


def scanned(data: bytes) -> Report:
    return judged(data, [FlaxInspector(), ExecutableInspector()])


def array(content: bytes, shape=None, kind="float32", code=1):
    return Ext(code, pack([shape or [len(content) // 4], kind, content]))


@pytest.mark.parametrize("data", [_STATE, _CHUNKED, pack({"w": array(bytes(40_000)), "step": 7, "name": "x" * 300})])
def test_real_parameters_pass(tmp_path, data):
    (tmp_path / "flax_model.msgpack").write_bytes(data)
    report = scan(tmp_path)
    assert (report.verdict, report.findings) == (Verdict.PASS, ())
    assert report.files[0].formats == ("flax",)


@pytest.mark.parametrize(
    "lying",
    [
        array(bytes(16), [5]),
        array(bytes(16), [2**40, 2**40]),
        array(bytes(16), [0]),
        array(bytes(16), kind="float64"),
        array(bytes(16), code=3, shape=[3]),
    ],
)
def test_an_array_whose_bytes_do_not_fit_its_shape_is_blocked(lying):
    assert techniques(scanned(pack({"params": {"w": lying}})), Verdict.BLOCK) == {"size-lie"}


@pytest.mark.parametrize(
    "odd",
    [
        array(bytes(16), kind="object"),
        array(bytes(16), ["4"]),
        Ext(1, pack([[4], "float32"])),
        Ext(1, pack([[4], "float32", bytes(16)]) + b"more"),
        Ext(1, b""),
        Ext(7, bytes(16)),
        Ext(2, bytes(40)),
        b"some bytes that nobody explains",
        {b"key": 1},
    ],
)
def test_what_flax_does_not_write_does_not_pass(odd):
    assert scanned(pack({"params": {"w": odd}})).verdict == Verdict.REVIEW


def test_a_key_twice_does_not_pass():
    one = pack("w") + pack(array(bytes(4)))
    assert scanned(b"\x82" + one + one).verdict == Verdict.REVIEW


def test_nesting_ends_at_a_bound():
    data = b"\x81\xa1w" * 5000 + b"\xc0"
    assert techniques(scanned(data), Verdict.REVIEW) == {"malformed"}


class Harm:
    def __reduce__(self):
        return os.system, ("true",)


def test_what_is_inside_and_behind_is_judged(tmp_path):
    payload = pickle.dumps(Harm(), 2)
    payload += bytes(-len(payload) % 4)
    for data in (pack({"w": array(payload)}), pack({"w": payload}), _STATE + payload):
        (tmp_path / "flax_model.msgpack").write_bytes(data)
        assert scan(tmp_path).verdict == Verdict.BLOCK
    program = b"\x7fELF\x02\x01\x01" + bytes(57)
    assert techniques(scanned(pack({"w": array(program)})), Verdict.BLOCK) == {"executable"}
    assert techniques(scanned(_STATE + b"#!/bin/sh\n"), Verdict.BLOCK) == {"executable"}
    assert scanned(_STATE[:-4]).verdict == Verdict.REVIEW


@given(st.binary(max_size=80), st.integers(0, 460))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise, keep):
    report = scanned(_STATE[:keep] + noise + _STATE[keep:])
    assert "scanner-error" not in techniques(report, Verdict.REVIEW)
