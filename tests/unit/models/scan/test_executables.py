import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanned_files import judged

from vallum.models.scan.formats.executables import ExecutableInspector, HiddenExecutableInspector
from vallum.models.scan.formats.safetensors import SafetensorsInspector
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob

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
        b"MZqFpD='\n" + bytes(60),
        b"L\0\0\0\x01\x14\x02\0" + bytes(60),
        b"\xa7\x0d\r\n" + bytes(12) + b"\xe3" + bytes(30),
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


_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHLQQQLH", 3, 62, 1, 0, 64, 0, 0, 64) + bytes(20)
_NEW = struct.pack("<HHLLLHH", 0x8664, 3, 0, 0, 0, 240, 0) + b"\x0b\2" + bytes(90)
_PE = b"MZ" + bytes(58) + struct.pack("<L", 128) + bytes(64) + b"PE\0\0" + _NEW
_APPLE = struct.pack("<LLLLLLLL", 0xFEEDFACF, 0x0100000C, 0, 2, 4, 200, 0, 0)


@pytest.mark.parametrize("program", [_ELF, _PE, _APPLE])
@pytest.mark.parametrize("at", [1, 333, (1 << 20) - 70, (1 << 20) + 5])
def test_a_program_inside_of_something_else(program, at):
    data = b"\x8f" * at + program + b"\x8f" * 100
    (finding,) = judged(data, [HiddenExecutableInspector()]).findings
    assert (finding.verdict, finding.technique) == (Verdict.BLOCK, "hidden-payload")
    assert finding.place.endswith(f"@{at}")


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\x02\x01\x01" + bytes(60),
        _ELF.replace(struct.pack("<HH", 3, 62), struct.pack("<HH", 3, 190)),  # for an accelerator
        _PE.replace(struct.pack("<L", 128), struct.pack("<L", 127)),
        b"MZ" + bytes(4) + b"PE\0\0" + _NEW,
        _APPLE[:12] + bytes(30),
    ],
)
def test_a_mark_without_a_whole_header_is_nothing_inside(data):
    findings = judged(b"\x8f" * 9 + data + b"\x8f" * 9, [HiddenExecutableInspector()]).findings
    assert {finding.technique for finding in findings} == {"unknown-format"}


@given(st.binary(max_size=200), st.sampled_from([_ELF, _PE, _APPLE]), st.integers(0, 120))
def test_cut_programs_are_never_a_failure(noise, program, size):
    findings = judged(b"\0" + noise + program[:size], [HiddenExecutableInspector()]).findings
    assert "scanner-error" not in {finding.technique for finding in findings}


def test_weights_are_not_searched_and_what_is_behind_them_is():
    header = b'{"w":{"dtype":"U8","shape":[200],"data_offsets":[0,200]}}'
    whole = struct.pack("<Q", len(header)) + header + _ELF.ljust(200, b"\0")
    assert not HiddenExecutableInspector().recognises(Blob("w", "w", memoryview(whole)))
    behind = judged(whole + b"\0" + _ELF, [SafetensorsInspector(), HiddenExecutableInspector()])
    assert behind.verdict == Verdict.BLOCK
