"""LZ4 frames are followed inside; what lies about a length or a distance ends there."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.compressed import CompressedInspector
from vallum.models.scan.formats.decompression import ENDS_EARLY, TOO_LONG
from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.lz4 import unpack_lz4
from vallum.models.scan.model import Report, Verdict

_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"


def frame(*blocks: bytes, stored: bool = False) -> bytes:
    sizes = [len(block) | (1 << 31 if stored else 0) for block in blocks]
    return _HEADER + b"".join(struct.pack("<I", s) + b for s, b in zip(sizes, blocks, strict=True)) + bytes(4)


def literals(content: bytes) -> bytes:
    rest = len(content) - 15
    return (
        bytes([len(content) << 4]) if rest < 0 else b"\xf0" + b"\xff" * (rest // 255) + bytes([rest % 255])
    ) + content


def scanned(data: bytes) -> Report:
    return judged(data, [CompressedInspector(), ExecutableInspector(), pickles_and_text()])


@given(st.binary(max_size=2000))
@settings(max_examples=60, deadline=None)
def test_literals_and_stored_blocks_come_back(content: bytes) -> None:
    for packed in (
        frame(literals(content)),
        frame(content, stored=True),
        frame(literals(content[:9]), literals(content[9:])),
    ):
        unpacked = unpack_lz4(memoryview(packed + b"behind"), 0, 1 << 20)
        assert (bytes(unpacked.data), unpacked.used, unpacked.error) == (content, len(packed), "")


def test_copies_overlap_and_reach_into_the_block_before() -> None:
    again = b"\x5f" + b"abcde" + struct.pack("<H", 5) + bytes([20]) + b"\x50" + b"fghij"
    assert bytes(unpack_lz4(memoryview(frame(again)), 0, 1 << 20).data) == (b"abcde" * 9)[:44] + b"fghij"
    linked = (
        b"\x04\x22\x4d\x18\x40\x40\xc0" + frame(literals(b"abcdefgh"), b"\x00" + struct.pack("<H", 8) + b"\x10!")[7:]
    )
    assert bytes(unpack_lz4(memoryview(linked), 0, 1 << 20).data) == b"abcdefghabcd!"


def test_the_real_library_is_read() -> None:
    lz4 = pytest.importorskip("lz4.frame")
    for content in (b"", b"abc", b"words and words " * 5000, bytes(range(256)) * 300):
        for options in ({}, {"block_linked": False}, {"content_checksum": True, "block_checksum": True}):
            packed = lz4.compress(content, **options)
            unpacked = unpack_lz4(memoryview(packed), 0, 1 << 20)
            assert (bytes(unpacked.data), unpacked.used, unpacked.error) == (content, len(packed), "")


def test_what_is_inside_and_behind_is_judged() -> None:
    assert scanned(frame(literals(b"some words " * 40))).verdict is Verdict.PASS
    for packed in (frame(literals(b"#!/bin/sh\ntrue\n")), frame(b"#!/bin/sh\ntrue\n", stored=True)):
        assert techniques(scanned(packed), Verdict.BLOCK) == {"executable"}
    assert techniques(scanned(frame(literals(b"words")) + b"#!/bin/sh\n"), Verdict.BLOCK) == {"executable"}
    legacy = b"\x02\x21\x4c\x18" + frame(literals(b"#!/bin/sh\n"))[7:-4]
    assert techniques(scanned(legacy), Verdict.BLOCK) == {"executable"}


@pytest.mark.parametrize(
    ("packed", "error"),
    [
        (frame(literals(b"words"))[:-3], ENDS_EARLY),
        (frame(literals(b"words") * 2)[:-12], ENDS_EARLY),
        (frame(b"\x10a" + struct.pack("<H", 9)), "a distance that leads before the start"),
        (frame(b"\x10a" + struct.pack("<H", 0)), "a distance that leads before the start"),
        (frame(b"\x1fa" + struct.pack("<H", 1) + b"\xff" * 9000 + b"\0"), TOO_LONG),
        (b"\x04\x22\x4d\x18\x00\x00\x00" + bytes(9), "a version of the format that is not known"),
    ],
)
def test_lies_end_it(packed: bytes, error: str) -> None:
    unpacked = unpack_lz4(memoryview(packed), 0, 1 << 20)
    assert unpacked.error == error
    assert len(unpacked.data) <= (1 << 20) + 1
    assert error == TOO_LONG or scanned(packed).verdict is not Verdict.PASS


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_is_never_a_failure(noise: bytes) -> None:
    for data in (_HEADER + noise, b"\x02\x21\x4c\x18" + noise, frame(noise)):
        assert "scanner-error" not in techniques(scanned(data), Verdict.REVIEW)
