import bz2
import gzip
import lzma
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.compressed import CompressedInspector
from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"
_PACKERS = [gzip.compress, zlib.compress, bz2.compress, lzma.compress, lambda d: lzma.compress(d, lzma.FORMAT_ALONE)]


def scanned(data: bytes) -> Report:
    return judged(data, [CompressedInspector(), ExecutableInspector(), pickles_and_text()])


def test_a_real_array_passes():
    assert scanned((_BENIGN / "array.npy.gz").read_bytes()).findings == ()


@pytest.mark.parametrize("pack", _PACKERS)
def test_what_is_inside_is_judged(pack):
    assert scanned(pack(b"some words " * 40)).verdict == Verdict.PASS
    assert techniques(scanned(pack(b"#!/bin/sh\necho harmless\n")), Verdict.BLOCK) == {"executable"}
    assert techniques(scanned(pack(pack(b"#!/bin/sh\necho harmless\n"))), Verdict.BLOCK) == {"executable"}


@pytest.mark.parametrize("pack", _PACKERS[:4])
def test_what_is_behind_is_judged(pack):
    report = scanned(pack(b"words" * 40) + b"#!/bin/sh\n")
    assert techniques(report, Verdict.BLOCK) == {"executable"}
    assert "hidden-payload" in techniques(report, Verdict.REVIEW)
    report = scanned(pack(b"words" * 40) + pack(b"#!/bin/sh\n" * 4))
    assert techniques(report, Verdict.BLOCK) == {"executable"}


@pytest.mark.parametrize("pack", _PACKERS)
def test_a_bomb_is_refused(pack):
    assert techniques(scanned(pack(bytes(16 << 20))), Verdict.BLOCK) == {"archive-bomb"}


def test_cut_short_is_not_passed():
    assert scanned(gzip.compress(b"words" * 40)[:-6]).verdict == Verdict.REVIEW


@pytest.mark.parametrize("mark", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x00", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"])
def test_what_cannot_be_unpacked_is_said(mark):
    assert techniques(scanned(mark + bytes(50)), Verdict.REVIEW) == {"unknown-format"}


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x1f\x8b\x08\0", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x78\x9c"]))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise, mark):
    assert "scanner-error" not in techniques(scanned(mark + noise), Verdict.REVIEW)
