import bz2
import gzip
import lzma
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import Accepts, judged, pickles_and_text, techniques

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


@pytest.mark.parametrize("mark", [b"Rar!\x1a\x07\x00", b"MSCF\0\0\0\0", b"\x22\xb5\x2f\xfd", b"LZIP\1"])
def test_what_cannot_be_unpacked_is_said(mark):
    assert techniques(scanned(mark + bytes(50)), Verdict.REVIEW) == {"unknown-format"}


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x1f\x8b\x08\0", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x78\x9c"]))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise, mark):
    assert "scanner-error" not in techniques(scanned(mark + noise), Verdict.REVIEW)


@pytest.mark.parametrize("pack", _PACKERS[:4])
@pytest.mark.parametrize("parts", [2, 3, 40])
def test_what_is_cut_over_several_streams_is_judged_whole(pack, parts):
    payload = b"#!/bin/sh\necho harmless " + b"x" * 40
    size = len(payload) // parts
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    report = scanned(b"".join(map(pack, pieces)))
    assert any(f.technique == "executable" and f.place.endswith("!joined") for f in report.findings)


@pytest.mark.parametrize("size", [30, 4_000, 70_000])
@pytest.mark.parametrize(("pack", "trailer"), [*zip(_PACKERS[:4], (8, 4, 10, 20), strict=True)])
def test_what_comes_before_a_wrong_checksum_is_judged_to_its_last_byte(pack, trailer, size):
    """A reader has handed it on, and a loader has run it, by the time that either sees the checksum."""
    stub = Accepts("stub", lambda head: head.startswith(b"#"))
    content = b"#" + random.Random(size).randbytes(size) + b"end"
    packed = bytearray(pack(content))
    packed[-trailer] ^= 0xFF
    report = judged(bytes(packed), [CompressedInspector(), stub])
    assert "malformed" in techniques(report, Verdict.REVIEW)
    kept = next(iter(stub.seen.values()), b"")
    assert content.startswith(kept)
    if pack in _PACKERS[:2]:
        assert kept == content


def test_every_field_of_a_header_is_passed_over_to_the_content():
    content = b"#!/bin/sh\necho harmless\n"
    body = gzip.compress(content)[10:]
    for flags, fields in ((4, b"\x03\0abc"), (8, b"name\0"), (16, b"note\0"), (2, b"\0\0"), (30, b"\x01\0xn\0c\0\0\0")):
        packed = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + fields + body[:-8] + bytes(8)
        assert techniques(scanned(packed), Verdict.BLOCK) == {"executable"}, flags


@pytest.mark.parametrize("wide", [19, 20])
def test_joblibs_old_wrapping(wide):
    packed = zlib.compress(b"#!/bin/sh\necho harmless\n")
    wrapped = b"ZF" + hex(len(packed)).encode().ljust(wide) + packed
    assert techniques(scanned(wrapped), Verdict.BLOCK) == {"executable"}
    assert techniques(scanned(b"ZF" + hex(5).encode().ljust(wide) + b"\0" * 20), Verdict.REVIEW) == {"unknown-format"}
