import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques
from seven_zip_files import CODERS, number, seven_zip

from vallum.models.scan.catalogue import inspectors
from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.seven_zip import SevenZipInspector
from vallum.models.scan.formats.seven_zip_records import Malformed, read_members
from vallum.models.scan.model import Report, Verdict

_TEXT = b"some words of a card\n" * 40
_PROGRAM = b"#!/bin/sh\necho harmless\n"


def scanned(data: bytes) -> Report:
    return judged(data, [SevenZipInspector(), ExecutableInspector(), pickles_and_text()])


def blocked(data: bytes) -> set[str]:
    report = scanned(data)
    assert report.verdict == Verdict.BLOCK, report.findings
    return techniques(report, Verdict.BLOCK)


@pytest.mark.parametrize("packed_header", [False, True])
@pytest.mark.parametrize("method", CODERS)
def test_what_is_inside_is_judged(method, packed_header):
    honest = [("a/card.txt", _TEXT), ("a", b""), ("a/notes.txt", b"more")]
    assert scanned(seven_zip(honest, method, packed_header=packed_header)).findings == ()
    harmful = seven_zip([*honest, ("weights.bin", _PROGRAM)], method, packed_header=packed_header)
    assert blocked(harmful) == {"executable"}


def test_a_payload_is_found_through_every_filter_to_its_last_byte():
    """A branch filter holds back some bytes at the end: a pickle without them would be a broken one."""

    class Runs:
        def __reduce__(self):
            return eval, ("1",)

    for method in CODERS:
        report = judged(seven_zip([("m.pkl", pickle.dumps(Runs()))], method), inspectors())
        assert techniques(report, Verdict.BLOCK) >= {"pickle-dangerous-global"}, method
        assert "pickle-malformed" not in techniques(report, Verdict.REVIEW), method


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "C:/a", "a\\..\\b", "~/a"])
def test_a_name_that_leads_outside(name):
    assert "archive-traversal" in blocked(seven_zip([(name, _TEXT)]))


@pytest.mark.parametrize("mode", [0o120777, 0o020644, 0o010644, 0o140644])
def test_a_link_or_device(mode):
    assert "archive-link" in blocked(seven_zip([("a", b"/etc/passwd")], modes={"a": mode}))


def test_two_members_of_one_name():
    assert "archive-deceptive" in blocked(seven_zip([("a", _TEXT), ("./a", b"other")]))


@pytest.mark.parametrize("members", [[("a", _TEXT)], [("a", _TEXT), ("b", _TEXT)]])
def test_content_that_has_another_checksum_and_is_looked_at_all_the_same(members):
    assert blocked(seven_zip(members, crc=1)) == {"archive-deceptive"}
    assert blocked(seven_zip([*members, ("c", _PROGRAM)], crc=1)) == {"archive-deceptive", "executable"}


@pytest.mark.parametrize("size", [1, 10**4])
def test_content_of_another_length(size):
    assert scanned(seven_zip([("a", _TEXT)], size=size)).verdict in (Verdict.BLOCK, Verdict.REVIEW)


def test_a_bomb():
    assert blocked(seven_zip([("a", bytes(16 << 20))])) == {"archive-bomb"}


def test_content_that_no_member_has():
    for place in ("between", "behind"):
        report = scanned(seven_zip([("a", _TEXT)], **{place: _PROGRAM}))
        assert techniques(report, Verdict.BLOCK) == {"executable"}
        assert techniques(report, Verdict.REVIEW) == {"hidden-payload"}


@pytest.mark.parametrize("method", [b"\x03\x04\x01", b"\x03\x03\x01\x1b", b"\x04\xf7\x11\x02", b"\x7f\x7f"])
def test_a_coder_that_is_not_here_is_for_a_person_to_judge(method):
    report = scanned(seven_zip([("a", _TEXT)], coders=[(method, b"")]))
    assert (report.verdict, techniques(report, Verdict.REVIEW)) == (Verdict.REVIEW, {"unknown-format"})


def test_a_password_is_for_a_person_to_judge():
    report = scanned(seven_zip([("a", _TEXT)], coders=[(b"\x21", b"\x08"), (b"\x06\xf1\x07\x01", b"\x13\0")]))
    assert (report.verdict, techniques(report, Verdict.REVIEW)) == (Verdict.REVIEW, {"encrypted"})


def test_another_checksum_of_the_header_hides_nothing():
    data = seven_zip([("a", _PROGRAM)])
    for at in (8, 28):
        lying = data[:at] + bytes(4) + data[at + 4 :]
        assert "executable" in blocked(lying)


@pytest.mark.parametrize("count", [1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_count_is_held_against_what_is_there(count):
    for header in (
        b"\x01\x05" + number(count),
        b"\x01\x04\x07\x0b" + number(count) + b"\0",
        b"\x01\x04\x06\0" + number(count),
    ):
        with pytest.raises(Malformed):
            read_members(header + bytes(20))


def test_no_single_change_of_a_byte_passes_unless_nothing_follows_from_it():
    """All but the minor version is under a checksum."""
    data = seven_zip([("a.txt", _TEXT), ("b.txt", b"other words")], packed_header=True)
    chance = random.Random(7)
    for at in chance.sample([at for at in range(len(data)) if at != 7], 60):
        changed = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        assert scanned(changed).verdict != Verdict.PASS, at


@given(st.binary(max_size=120), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure_and_never_passes(noise, kind):
    data = seven_zip([("a", _TEXT)])
    tried = (data[:6] + noise, data[:32] + noise, data[:-20] + noise, data[:12] + noise + data[12:])[kind]
    report = scanned(tried)
    assert "scanner-error" not in techniques(report, Verdict.REVIEW)
    assert report.verdict != Verdict.PASS or tried == data
