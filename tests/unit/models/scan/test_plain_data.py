import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.plain_data import PlainDataInspector
from vallum.models.scan.model import Report, Verdict


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


_FILES = [
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">LLBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IEND", b""),
    b"RIFF" + struct.pack("<L", 12) + b"WEBPVP8 " + bytes(4),
    b"\xff\xd8\xff\xe0\0\x04ab\xff\xda\0\x02scan\xff\0more\xff\xd9",
    b"GIF89a\1\0\1\0\0\0\0\x2c\0\0\0\0\1\0\1\0\0\x02\x02D\x01\0\x3b",
]


def scanned(data: bytes) -> Report:
    return judged(data, [PlainDataInspector(), ExecutableInspector()])


@pytest.mark.parametrize("data", [*_FILES, b"PAR1" + bytes(20) + struct.pack("<L", 8) + b"PAR1"])
def test_what_is_whole_passes(data):
    assert scanned(data).findings == ()


@pytest.mark.parametrize("data", _FILES)
def test_what_is_behind_is_judged(data):
    assert techniques(scanned(data + b"#!/bin/sh\n"), Verdict.BLOCK) == {"executable"}
    assert scanned(data[:-3]).verdict == Verdict.REVIEW


@given(st.binary(max_size=80), st.sampled_from(_FILES), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise, data, keep):
    assert "scanner-error" not in techniques(scanned(data[:keep] + noise), Verdict.REVIEW)
