import base64
import hashlib
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.catalogue import inspectors
from vallum.models.scan.formats import zstandard
from vallum.models.scan.formats.compressed import CompressedInspector
from vallum.models.scan.formats.decompression import TOO_LONG
from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.zstandard import NO_TIME, frame_end, unpack_zstandard
from vallum.models.scan.model import Report, Verdict

_ROWS = (Path(__file__).parent / "benign" / "rows.pkl.zst").read_bytes()  # by zstd 1.5.7 at level 19
# By zstd 1.5.7: a Huffman table of weights and four streams; a pickle that runs `true`; sequences.
_LETTERS = base64.b64decode(
    "KLUv/WAsAK0EAKbQHgrQ54Sk0AIwCG0BHAAcABkA9AZ0lJK4hwYSeUqheOaKcGoEyiJ15CLY9B8BBmWEFAx1OE2YULzQMx4LgJrNDGYNNQAZ"
    "Z2ID3FoiDJbzsaUYf61UQybPp22xsCkstfsZcgQIqyN5pZEdKIEUVVy08RzT8sClwNhk1ppeDAgATAgjNc6BCZZUwqwqwFE3g13H+zqf"
)
_PICKLE = base64.b64decode("KLUv/SAqUQEAgASVHwAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu")
_TEXT = base64.b64decode("KLUv/WBIAuUAAKhzb21lIHdvcmRzIG9mIGEgY2FyZAoBAGFiNZk=")
_SHA256 = {
    _ROWS: "f24e87369967c8b7f2c03f7858953cd4f2938fd1706ef130e7b5b8b7a1e8f44f",
    _LETTERS: "b447326ec6a7d64856e1f33dba0f1ecc788f8dbf64378813766bc395b9c3fc64",
    _PICKLE: "f9c0fe31866e9a30863b5ce8627c7bb3e3d36ea99c7979ded378eeefbdae6a1b",
    _TEXT: "bf1555bf728f7a920dfbbc71da933a9e3c4749e29a9d06039d4f743c82546069",
}


def frame(*blocks: bytes) -> bytes:
    return b"\x28\xb5\x2f\xfd\0\x58" + b"".join(blocks)


def block(content: bytes, *, last: bool = True, kind: int = 0, size: int | None = None) -> bytes:
    head = (len(content) if size is None else size) << 3 | kind << 1 | last
    return struct.pack("<L", head)[:3] + content


def scanned(data: bytes) -> Report:
    return judged(data, [CompressedInspector(), ExecutableInspector(), pickles_and_text()])


@pytest.mark.parametrize("packed", _SHA256)
def test_frames_of_the_reference_implementation(packed, monkeypatch):
    monkeypatch.setattr(zstandard, "_by_library", lambda *_: pytest.fail("small frames need no library"))
    unpacked = unpack_zstandard(memoryview(packed + b"behind"), 0, 1 << 20)
    assert (unpacked.error, unpacked.used) == ("", len(packed))
    assert hashlib.sha256(unpacked.data).hexdigest() == _SHA256[packed]
    assert frame_end(memoryview(b"before" + packed), 6) == 6 + len(packed)


def test_what_is_inside_is_judged():
    assert judged(_ROWS, inspectors()).verdict == Verdict.PASS
    assert techniques(judged(_PICKLE, inspectors()), Verdict.BLOCK) >= {"pickle-dangerous-global"}
    assert techniques(scanned(frame(block(b"#!/bin/sh\necho"))), Verdict.BLOCK) == {"executable"}


def test_what_is_behind_and_between_is_judged():
    good = frame(block(b"words"))
    note = b"\x50\x2a\x4d\x18" + struct.pack("<L", 4) + b"\0\0\0\0"
    assert scanned(note + good).verdict == Verdict.PASS
    for hidden in (
        good + _PICKLE,
        good + b"#!/bin/sh\n",
        b"\x5f\x2a\x4d\x18" + struct.pack("<L", 42) + b"#!/bin/sh\n".ljust(42) + good,
    ):
        report = judged(hidden, inspectors())
        assert report.verdict == Verdict.BLOCK, hidden
        assert "hidden-payload" in techniques(report, Verdict.REVIEW)
    assert scanned(note[:-1]).verdict == Verdict.REVIEW


def test_a_bomb():
    runs = [block(b"\0", last=False, kind=1, size=128 << 10)] * 100
    assert techniques(scanned(frame(*runs, block(b"x"))), Verdict.BLOCK) == {"archive-bomb"}


def test_a_bound_on_what_is_unpacked():
    runs = [block(b"\0", last=False, kind=1, size=128 << 10)] * 100
    unpacked = unpack_zstandard(memoryview(frame(*runs)), 0, 1 << 20)
    assert unpacked.error == TOO_LONG
    assert len(unpacked.data) <= (1 << 20) + (128 << 10)


@pytest.mark.parametrize("library", [None, "zstandard", "pyzstd"])
def test_more_than_is_read_without_a_library_is_said(library, monkeypatch):
    if library:
        pytest.importorskip(library)
    else:
        monkeypatch.setattr(zstandard, "find_spec", lambda _: None)
    monkeypatch.setattr(zstandard, "_MAX_STEPS", 100)
    unpacked = unpack_zstandard(memoryview(_ROWS), 0, 1 << 20)
    assert (unpacked.error, unpacked.used) == ("" if library else NO_TIME, len(_ROWS))
    if not library:
        assert techniques(scanned(_ROWS), Verdict.REVIEW) >= {"limit"}


@pytest.mark.parametrize("mark", [b"\x22\xb5\x2f\xfd", b"\x27\xb5\x2f\xfd", b"\x1e\xb5\x2f\xfd"])
def test_formats_of_before_the_first_release_are_said(mark):
    assert techniques(scanned(mark + bytes(50)), Verdict.REVIEW) == {"unknown-format"}


@pytest.mark.parametrize(
    "broken",
    [
        frame(), frame(block(b"", kind=3)), frame(block(b"words", size=900)), frame(block(b"words", last=False)),
        frame(block(b"x", kind=1, size=1 << 20)), b"\x28\xb5\x2f\xfd\x03\x58\1\0\0\0" + block(b"words"),
        frame(block(b"\x03\0\0\x10\0", kind=2)), frame(block(b"\x00\x01\xc0", kind=2)),
        frame(block(b"\xfe\xff\xff\xff\xff", kind=2)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_for_a_person_to_judge(broken):
    assert "malformed" in techniques(scanned(broken), Verdict.REVIEW)


def test_no_cut_is_taken_for_a_whole_frame():
    for size in random.Random(1).sample(range(7, len(_ROWS) - 4), 40):
        assert unpack_zstandard(memoryview(_ROWS[:size]), 0, 1 << 20).error, size


@given(
    st.lists(st.tuples(st.integers(6, 400), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from([_ROWS, _LETTERS, _TEXT]),
)
@settings(max_examples=80, deadline=None)
def test_noise_is_never_a_failure(changes, packed):
    noisy = bytearray(packed)
    for at, value in changes:
        noisy[at % len(noisy)] = value
    assert "scanner-error" not in techniques(scanned(bytes(noisy)), Verdict.REVIEW)
