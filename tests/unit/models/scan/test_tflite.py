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
    assert techniques(scanned(struct.pack("<L4s", 1 << 30, b"TFL3") + bytes(40)), Verdict.BLOCK) == {"malformed"}


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


def vector(values):
    return struct.pack(f"<L{len(values)}l", len(values), *values)


def table(fields, children):
    """A table of 4-byte fields behind its offsets; `children` are bytes, each behind the table, by their field."""
    count = max([*fields, *children]) + 1
    size = 4 + 2 * count + (-(4 + 2 * count)) % 4
    offsets = struct.pack("<HH", size, 4 + 4 * count) + b"".join(struct.pack("<H", 4 + 4 * n) for n in range(count))
    body, tail = struct.pack("<l", size), b""
    for number in range(count):
        at = 4 + 4 * number
        body += struct.pack("<L", 4 + 4 * count + len(tail) - at if number in children else fields.get(number, 0))
        tail += children.get(number, b"")
    return offsets.ljust(size, b"\0") + body + tail, size


def tables(*made):
    """A vector of tables: an offset each, to behind its own table of offsets."""
    at, offsets, body = 4 + 4 * len(made), b"", b""
    for number, (data, start) in enumerate(made):
        offsets += struct.pack("<L", at + len(body) + start - 4 - 4 * number)
        body += data + bytes(-len(data) % 4)
    return struct.pack("<L", len(made)) + offsets + body


def whole(shape=(2, 3), buffer=1, kind=0, operator=0, inputs=(0,), outputs=(0, -1), held=24, outside=None):
    """A model of one operator on one tensor in one buffer."""
    content = struct.pack("<L", held) + bytes(held)
    tensor = table({1: 0, 2: buffer}, {0: vector(shape)})
    node = table({0: operator}, {1: vector(inputs), 2: vector(outputs)})
    subgraph = table({}, {0: tables(tensor), 1: vector(inputs), 2: vector((0,)), 3: tables(node)})
    buffers = tables(table({0: 0}, {}), table({}, {0: content}))
    data, start = table({0: 3}, {1: tables(table({0: 0}, {})), 2: tables(subgraph), 4: buffers})
    return struct.pack("<L4s", 8 + start, b"TFL3") + data


def test_what_an_interpreter_takes_on_trust():
    assert scanned(whole()).findings == ()
    assert scanned(whole(shape=(1, 2))).findings == ()
    lies = {"shape": (2, 300), "buffer": 2, "operator": 1, "inputs": (1,), "outputs": (7,), "held": 20}
    for name, value in lies.items():
        assert techniques(scanned(whole(**{name: value})), Verdict.BLOCK) == {"size-lie"}, name
    assert techniques(scanned(whole(shape=(-7, 3))), Verdict.BLOCK) == {"size-lie"}
    assert techniques(scanned(whole()[:-12]), Verdict.BLOCK) == {"size-lie"}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_change_of_a_byte_is_a_failure(data):
    content = bytearray(whole())
    content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert "scanner-error" not in {finding.technique for finding in scanned(bytes(content)).findings}
