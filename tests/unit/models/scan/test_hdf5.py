import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.hdf5 import Hdf5Inspector
from vallum.models.scan.formats.zip_archive import ZipInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"
_KERAS = (_BENIGN / "keras.h5").read_bytes()


def scanned(data: bytes) -> Report:
    return judged(data, [Hdf5Inspector(), ZipInspector(), ExecutableInspector(), pickles_and_text()])


@pytest.mark.parametrize("name", ["keras.h5", "weights.h5", "model.keras"])
def test_real_files_pass(name):
    assert scanned((_BENIGN / name).read_bytes()).findings == ()


def test_the_configuration_is_handed_on():
    stub = pickles_and_text()
    judged(_KERAS, [Hdf5Inspector(), stub])
    assert stub.seen["model.bin!model_config.json"].startswith(b'{"class_name": "Sequential"')


def test_what_is_before_and_behind_is_judged():
    for data in (b"#!/bin/sh\n".ljust(512, b"\n") + _KERAS, _KERAS + b"#!/bin/sh\n"):
        report = scanned(data)
        assert "executable" in techniques(report, Verdict.BLOCK)


def test_a_link_to_another_file_is_for_a_person_to_judge():
    at = len(_KERAS) // 2
    name = b"\0/etc/other.h5\0/x\0"
    assert "archive-link" in techniques(scanned(_KERAS[:at] + name + _KERAS[at + len(name) :]), Verdict.REVIEW)


def _as_written(kind: str, target: bytes) -> bytes:
    """As HDF5 1.14 writes each of them, in place of something in a real file's middle."""
    if kind == "link":
        value = b"\0" + target + b"\0/x\0"
        return b"\x01\x08@\x01a" + struct.pack("<H", len(value)) + value
    if kind == "virtual":
        return b"\0" + struct.pack("<Q", 1) + target + b"\0x\0\x03\0\0\0\x01\0\0\0"
    heap = b"HEAP\0\0\0\0" + struct.pack("<QQQ", 24, 1, len(_KERAS) // 2 + 80) + b"\0" * 8 + target + b"\0"
    message = b"\x07\0(\0\x01\0\0\0\x01\0\0\0\x01\0\x01\0"
    return (message + struct.pack("<QQQQ", len(_KERAS) // 2 + 48, 8, 0, 10)).ljust(48, b"\0") + heap


@pytest.mark.parametrize("kind", ["link", "virtual", "external"])
@pytest.mark.parametrize(("target", "verdict"), [
    (b"/etc/passwd", "block"), (b"../../secret.h5", "block"), (b"/data/other.h5", "block"), (b"notes.txt", "block"),
    (b"part-2.h5", "review"),
])  # fmt: skip
def test_content_that_is_read_from_another_file(kind, target, verdict):
    at = len(_KERAS) // 2
    written = _as_written(kind, target)
    report = scanned(_KERAS[:at] + written + _KERAS[at + len(written) :])
    assert "archive-link" in techniques(report, Verdict(verdict))


def test_cut_short_is_not_passed():
    assert scanned(_KERAS[:600]).verdict == Verdict.REVIEW


@given(st.binary(max_size=120))
@settings(max_examples=40, deadline=None)
def test_noise_is_never_a_failure(noise):
    for data in (b"\x89HDF\r\n\x1a\n" + noise, _KERAS[:20] + noise + _KERAS[20 + len(noise) :]):
        assert "scanner-error" not in techniques(scanned(data), Verdict.REVIEW)


def space(*dimensions: int) -> bytes:
    """The message of a dataset's shape, of version 1."""
    body = struct.pack("<BBBxxxxx", 1, len(dimensions), 0) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
    return struct.pack("<HHBxxx", 1, len(body), 0) + body


@pytest.mark.parametrize("dimensions", [(1 << 40,), (1 << 20, 1 << 20), (3, 1 << 63, 2)])
def test_a_dataset_that_no_file_of_that_size_holds(dimensions):
    assert "archive-bomb" in techniques(scanned(_KERAS + space(*dimensions)), Verdict.BLOCK)


@pytest.mark.parametrize("dimensions", [(1000, 1000), (1 << 30,), (0,)])
def test_a_large_dataset_is_none(dimensions):
    assert "archive-bomb" not in techniques(scanned(_KERAS + space(*dimensions)), Verdict.BLOCK)
