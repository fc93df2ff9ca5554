from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.ubjson import UbjsonInspector
from vallum.models.scan.model import Report, Verdict

_TREES = (Path(__file__).parent / "benign" / "trees.ubj").read_bytes()


def scanned(data: bytes) -> Report:
    return judged(data, [UbjsonInspector(), ExecutableInspector()])


def test_a_real_model_passes():
    assert scanned(_TREES).findings == ()


def test_what_is_behind_is_judged_and_what_is_cut_is_not_passed():
    assert techniques(scanned(_TREES + b"#!/bin/sh\n"), Verdict.BLOCK) == {"executable"}
    assert scanned(_TREES[:-4]).verdict == Verdict.REVIEW


@given(st.binary(max_size=80), st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise, keep):
    report = scanned(_TREES[:keep] + noise + _TREES[keep:])
    assert "scanner-error" not in techniques(report, Verdict.REVIEW)
