import io
import struct
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.tflite import TfliteInspector
from vallum.models.scan.formats.zip_archive import ZipInspector
from vallum.models.scan.model import Report, Verdict


def scanned(data: bytes) -> Report:
    return judged(data, [TfliteInspector(), ZipInspector(), ExecutableInspector(), pickles_and_text()])


def model(custom: bytes = b"") -> bytes:
    """A model of one operator code: offsets at 8 and 24, the model's table at 16, the operator's at 40."""
    head = struct.pack("<L4s", 16, b"TFL3") + struct.pack("<HHHH", 8, 8, 0, 4)
    table = struct.pack("<lL", 8, 4) + struct.pack("<LL", 1, 12) + struct.pack("<HHHH", 8, 8, 0, 4 if custom else 0)
    return head + table + struct.pack("<lL", 8, 4) + struct.pack("<L", len(custom)) + custom + bytes(8)


def test_a_correct_file_passes():
    assert scanned(model()).findings == ()


def test_custom_operators_are_refused_and_usual_ones_for_a_person_to_judge():
    report = scanned(model(b"Evil"))
    assert techniques(report, Verdict.BLOCK) == {"tensorflow-operator"}
    assert "'Evil'" in report.findings[0].explanation
    for name in (b"TFLite_Detection_PostProcess", b"FlexErf"):
        assert scanned(model(name)).verdict is Verdict.REVIEW
    assert scanned(model(b"FlexReadFile")).verdict is Verdict.BLOCK


def test_offsets_that_lead_outside():
    assert techniques(scanned(struct.pack("<L4s", 1 << 30, b"TFL3") + bytes(40)), Verdict.REVIEW) == {"malformed"}


def test_appended_metadata_is_read_and_no_deception():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("labels.txt", "cat")
    assert scanned(model() + buffer.getvalue()).verdict == Verdict.PASS
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr("run", "#!/bin/sh\n")
    assert "executable" in techniques(scanned(model() + buffer.getvalue()), Verdict.BLOCK)


@given(st.binary(max_size=80))
@settings(max_examples=40, deadline=None)
def test_noise_is_never_a_failure(noise):
    for data in (struct.pack("<L4s", 16, b"TFL3") + noise, model()[:20] + noise):
        assert "scanner-error" not in techniques(scanned(data), Verdict.REVIEW)
