import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.tar_archive import TarInspector
from vallum.models.scan.formats.zip_archive import ZipInspector
from vallum.models.scan.model import Report, Verdict

_BENIGN = Path(__file__).parent / "benign"


def scanned(data: bytes) -> Report:
    return judged(data, [TarInspector(), ZipInspector(), ExecutableInspector(), pickles_and_text()])


def archive(*members: tuple[str, bytes], kind: bytes = b"0", form: int = tarfile.PAX_FORMAT, **more) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data), kind
            for key, value in more.items():
                setattr(entry, key, value)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def blocked(data: bytes) -> set[str]:
    return techniques(scanned(data), Verdict.BLOCK)


@pytest.mark.parametrize("name", ["arrays.ustar.tar", "arrays.pax.tar", "arrays.gnu.tar"])
def test_real_archives_pass(name):
    assert scanned((_BENIGN / name).read_bytes()).findings == ()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "../" + "long/" * 15 + "a/" * 20 + "b"])
def test_names_that_lead_outside(form, name):
    assert "archive-traversal" in blocked(archive((name, b"x"), form=form))


def test_a_pax_header_that_replaces_the_name():
    data = archive(("harmless", b"x"), pax_headers={"path": "../outside"})
    assert "archive-traversal" in blocked(data)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(kind):
    assert "archive-link" in blocked(archive(("a", b""), kind=kind, linkname="/etc/passwd"))


def test_members_are_judged():
    assert "executable" in blocked(archive(("weights.npy", b"#!/bin/sh\n")))


def test_one_name_twice():
    assert "archive-deceptive" in blocked(archive(("a", b"one"), ("./a", b"two")))


def test_a_checksum_that_is_wrong_hides_nothing():
    data = bytearray(archive(("a", b"one"), ("b", b"#!/bin/sh\n")))
    data[1024] ^= 1
    assert "archive-deceptive" in blocked(bytes(data))


def test_content_behind_the_end_and_between():
    data = archive(("a", b"one"))
    assert "executable" in blocked(data + b"#!/bin/sh\n".ljust(512, b"\n"))
    padded = data[:515] + b"hidden" + data[521:]
    assert "hidden-payload" in techniques(scanned(padded), Verdict.REVIEW)


def test_a_size_that_lies():
    entry = tarfile.TarInfo("a")
    entry.size = 1 << 40
    assert "size-lie" in blocked(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_no_flip_in_a_header_passes():
    good = archive(("a", b"one"), form=tarfile.USTAR_FORMAT)
    for at in range(512 * 8):
        bad = bytearray(good)
        bad[at // 8] ^= 1 << at % 8
        report = scanned(bytes(bad))
        assert report.verdict != Verdict.PASS, f"bit {at % 8} of byte {at // 8}"
        assert "scanner-error" not in techniques(report, Verdict.REVIEW)


@pytest.mark.parametrize("form", ["%06o\0 ", "%06o \0", "%6o\0 ", "%07o\0", "%07o "])
def test_a_checksum_as_any_known_program_writes_it(form):
    data = bytearray(archive(("a", b"one"), form=tarfile.USTAR_FORMAT))
    data[148:156] = (form % int(data[148:154], 8)).encode()
    assert scanned(bytes(data)).findings == ()


@pytest.mark.parametrize("form", ["%06o\0\0", "%06o  ", " %05o\0 ", "%6o  ", "%o\0    "])
def test_a_checksum_in_another_form(form):
    data = bytearray(archive(("a", b"one"), form=tarfile.USTAR_FORMAT))
    data[148:156] = (form % int(data[148:154], 8)).encode().ljust(8, b"\0")[:8]
    assert "archive-deceptive" in techniques(scanned(bytes(data)), Verdict.REVIEW)


@given(st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_noise_is_never_a_failure(noise):
    good = archive(("a", b"one"), form=tarfile.USTAR_FORMAT)
    for data in (noise + good, good[:512] + noise, good[:257] + noise + good[262:]):
        assert "scanner-error" not in techniques(scanned(data), Verdict.REVIEW)
