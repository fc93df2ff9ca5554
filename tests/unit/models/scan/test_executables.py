import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanned_files import judged

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.model import Verdict

_WINDOWS = b"MZ" + bytes(58) + struct.pack("<L", 64) + b"PE\0\0" + bytes(40)


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\x02\x01\x01" + bytes(60),
        _WINDOWS,
        struct.pack("<LLLLLLL", 0xFEEDFACF, 0x0100000C, 0, 2, 4, 100, 0),
        b"\xca\xfe\xba\xbe\0\0\0\x3d" + bytes(20),
        b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(20),
        b"\0asm\1\0\0\0" + bytes(8),
        b"dex\n035\0" + bytes(8),
        b"#!/usr/bin/env python\nprint()\n",
    ],
)
def test_programs_are_refused(data):
    (finding,) = judged(data, [ExecutableInspector()]).findings
    assert (finding.verdict, finding.technique) == (Verdict.BLOCK, "executable")


@pytest.mark.parametrize("data", [b"MZ", b"MZ" + b"\xff" * 70, b"\xca\xfe\xba\xbe\xff\xff\xff\xff", b"#! not a path"])
def test_a_short_mark_alone_is_not_enough(data):
    assert judged(data, [ExecutableInspector()]).verdict == Verdict.REVIEW


@given(st.binary(max_size=80), st.sampled_from([b"", b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xce"]))
def test_noise_is_never_a_failure(noise, mark):
    assert "scanner-error" not in {f.technique for f in judged(mark + noise, [ExecutableInspector()]).findings}
