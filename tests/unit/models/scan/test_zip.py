import io
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.zip_archive import ZipInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"
_TEXT = b"weights"


def scanned(data: bytes) -> Report:
    return judged(data, [ZipInspector(), ExecutableInspector(), pickles_and_text()])


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
        file.comment = comment
    return buffer.getvalue()


def blocked(data: bytes) -> set[str]:
    report = scanned(data)
    assert report.verdict == Verdict.BLOCK, report.findings
    return techniques(report, Verdict.BLOCK)


def patched(data: bytes, mark: bytes, at: int, value: bytes) -> bytes:
    """`value` written `at` bytes behind the first record with that mark."""
    start = data.index(mark) + at
    return data[:start] + value + data[start + len(value) :]


@pytest.mark.parametrize("name", ["state_dict.pt", "checkpoint.bin", "arrays.npz", "packed.npz", "pipeline.skops"])
def test_real_archives_pass(name):
    report = scanned((_BENIGN / name).read_bytes())
    assert (report.verdict, report.findings) == (Verdict.PASS, ())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_ordinary_archive_passes(method):
    assert scanned(archive({"a.txt": _TEXT * 99, "b/": b"", "b/c.txt": b""}, method)).verdict == Verdict.PASS


def test_torchscript_is_for_a_person_to_judge():
    report = scanned((_BENIGN / "scripted.torchscript").read_bytes())
    assert report.verdict == Verdict.REVIEW
    assert techniques(report, Verdict.REVIEW) == {"script"}


@pytest.mark.parametrize("payload", [b"#!/bin/sh\necho harmless\n", b"\x7fELF\x02\x01\x01" + bytes(57)])
def test_a_program_is_found_under_the_name_of_a_tensor(payload):
    data = archive({"m/data.pkl": b"\x80\x02N.", "m/data/0": payload}, zipfile.ZIP_STORED)
    assert "executable" in blocked(data)


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "C:/a", "a\\..\\b", "~/a"])
def test_a_name_that_leads_outside(name):
    assert "archive-traversal" in blocked(archive({"x" * len(name): _TEXT}).replace(b"x" * len(name), name.encode()))


def test_a_name_that_a_nul_cuts_short():
    assert "archive-traversal" in blocked(archive({"safeXpy": _TEXT}).replace(b"safeXpy", b"safe\0py"))


def test_a_link():
    entry = zipfile.ZipInfo("a")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(entry, "/etc/passwd")
    assert "archive-link" in blocked(buffer.getvalue())


def test_the_two_directories_name_it_differently():
    data = archive({"harmless": _TEXT})
    assert "archive-deceptive" in blocked(patched(data, b"PK\x03\x04", 30, b"data.pkl"))
    assert "archive-deceptive" in blocked(patched(data, b"PK\x01\x02", 46, b"data.pkl"))


@pytest.mark.parametrize("mark", [b"PK\x03\x04", b"PK\x01\x02"])
@pytest.mark.parametrize("field", ["method", "crc", "packed", "size", "encrypted"])
def test_one_directory_lies(mark, field):
    local = {"encrypted": 6, "method": 8, "crc": 14, "packed": 18, "size": 22}[field]
    at = local + (2 if mark == b"PK\x01\x02" else 0)
    assert "archive-deceptive" in blocked(patched(archive({"a": _TEXT * 9}), mark, at, b"\x01"))


def test_both_directories_lie_about_encryption_and_checksum():
    data = archive({"a": _TEXT * 9})
    marked = patched(patched(data, b"PK\x03\x04", 6, b"\x01"), b"PK\x01\x02", 8, b"\x01")
    assert "archive-deceptive" in blocked(marked)
    wrong = patched(patched(data, b"PK\x03\x04", 14, bytes(4)), b"PK\x01\x02", 16, bytes(4))
    assert "archive-deceptive" in blocked(wrong)


def test_truly_encrypted_is_for_a_person_to_judge():
    data = archive({"a": _TEXT}, zipfile.ZIP_STORED)
    data = data.replace(_TEXT, bytes(len(_TEXT)))
    marked = patched(patched(data, b"PK\x03\x04", 6, b"\x01"), b"PK\x01\x02", 8, b"\x01")
    assert techniques(scanned(marked), Verdict.REVIEW) == {"encrypted"}


def test_an_unknown_method_is_for_a_person_to_judge():
    data = archive({"a": _TEXT})
    strange = patched(patched(data, b"PK\x03\x04", 8, b"\x5d"), b"PK\x01\x02", 10, b"\x5d")
    assert techniques(scanned(strange), Verdict.REVIEW) == {"unknown-format"}


def test_one_name_twice():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a", "one")
            file.writestr("a", "two")
    assert "archive-deceptive" in blocked(buffer.getvalue())
    assert "archive-deceptive" in blocked(archive({"a": b"one", "./a": b"two"}))
    assert scanned(archive({"a": b"one", "A": b"two"})).verdict == Verdict.REVIEW


def test_a_member_that_only_its_own_header_knows():
    """The first archive's members stay in the file; the last end record knows the second's alone."""
    hidden, shown = archive({"hidden.pkl": b"#!/bin/sh\n"}), archive({"a": _TEXT})
    at = len(hidden)
    found = blocked(hidden + shown)
    assert {"archive-deceptive", "executable"} <= found
    moved = patched(patched(hidden + shown[:-22], b"PK\x05\x06", 0, b"XX"), b"XX", 0, b"PK")
    assert blocked(moved + shown[-22:])
    assert at


def test_a_member_that_only_the_central_directory_knows():
    data = archive({"a": _TEXT, "b": _TEXT})
    second = data.index(b"PK\x03\x04", 4)
    assert "archive-deceptive" in blocked(data[:second] + b"XX" + data[second + 2 :])


def test_members_that_overlap():
    data = archive({"a": _TEXT, "b": _TEXT}, zipfile.ZIP_STORED)
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    assert "archive-deceptive" in blocked(data[: second + 42] + bytes(4) + data[second + 46 :])


def test_an_end_record_that_miscounts():
    data = archive({"a": _TEXT, "b": _TEXT})
    assert "archive-deceptive" in blocked(patched(data, b"PK\x05\x06", 8, b"\x01\0\x01\0"))


def test_zip64_records_that_say_something_else():
    data = archive({"a": _TEXT})
    at = len(data) - 22
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 0, 0, 0, at)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    assert "archive-deceptive" in blocked(data[:at] + record + locator + data[at:])


def test_an_archive_behind_another_format():
    assert "archive-deceptive" in blocked(b"\x80\x02N." + archive({"a": _TEXT}))


def test_content_behind_and_between():
    data = archive({"a": _TEXT})
    report = scanned(data + b"some words more")
    assert "hidden-payload" in techniques(report, Verdict.REVIEW)
    assert "executable" in blocked(data + b"#!/bin/sh\nexit\n")


def test_a_comment_with_an_archive_in_it():
    inner = archive({"b": _TEXT})
    assert "archive-deceptive" in blocked(archive({"a": _TEXT}, comment=inner))
    assert scanned(archive({"a": _TEXT}, comment=b"made by a tool")).verdict == Verdict.PASS


def test_a_bomb_is_not_unpacked():
    assert blocked(archive({"a": bytes(10 << 20)})) == {"archive-bomb"}


def test_a_bomb_that_says_it_is_small():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(bytes(1 << 20)) + packer.flush()
    local = struct.pack("<4sHHHHHLLLHH", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(body), 10, 1, 0) + b"a"
    central = struct.pack(
        "<4sHHHHHHLLLHHHHHLL", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(body), 10, 1, 0, 0, 0, 0, 0, 0
    )
    start = len(local) + len(body)
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 1, 1, len(central) + 1, start, 0)
    assert "archive-deceptive" in blocked(local + body + central + b"a" + end)


def test_without_an_end_record_every_member_is_judged():
    data = archive({"a": b"#!/bin/sh\n"})
    assert "executable" in blocked(data[: data.index(b"PK\x01\x02")])


def test_nested_archives_are_followed():
    data = archive({"x": b"#!/bin/sh\n"})
    for level in range(3):
        data = archive({f"{level}.zip": data})
    report = scanned(data)
    assert report.findings[0].place == "model.bin!2.zip!1.zip!0.zip!x"
    for level in range(12):
        data = archive({f"{level}.zip": data})
    assert "limit" in techniques(scanned(data), Verdict.BLOCK)


@given(st.binary(max_size=300), st.sampled_from([b"PK\x03\x04", b"PK\x05\x06", b"PK\x01\x02"]))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_pass_and_never_a_failure(noise, mark):
    for data in (mark + noise, noise + mark + bytes(18), mark + noise + b"PK\x05\x06" + noise):
        report = scanned(data)
        assert "scanner-error" not in techniques(report, Verdict.REVIEW)


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_no_flip_of_what_readers_see_passes(data):
    good = archive({"a": _TEXT * 3, "b": _TEXT})
    at = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[at // 8] ^= 1 << at % 8
    report = scanned(bytes(bad))
    assert "scanner-error" not in techniques(report, Verdict.REVIEW)
    if report.verdict == Verdict.PASS:
        with zipfile.ZipFile(io.BytesIO(bad)) as read:
            assert {name: read.read(name) for name in read.namelist()} == {"a": _TEXT * 3, "b": _TEXT}
