"""SentencePiece: a tokenizer's pieces with their scores, and tables that normalise text; nothing that runs.

Every field is held to the message it stands in, since what a reader skips could be anything. Long texts are judged as
files of their own. Source: google/sentencepiece, src/sentencepiece_model.proto and src/normalizer.cc (the table of
characters: the size of a trie of 32-bit units, the trie, then texts that each end with NUL).
"""

import re

from vallum.models.scan.formats.executables import is_executable
from vallum.models.scan.formats.onnx import MalformedModel, message_fields
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["SentencepieceInspector"]

_PIECES, _TRAINER, _NORMALIZER, _TESTS, _DENORMALIZER = 1, 2, 3, 4, 5
_TRAINER_FIELDS = frozenset((*range(1, 55),))
_NORMALIZER_FIELDS = frozenset(range(1, 7))
_CHARACTERS = 2  # of a normalizer: the table
_MAX_KINDS = 6  # normal, unknown, control, user defined, unused, byte
_MAX_PIECES = 4_000_000
_BEHIND_ITS_TEXT = re.compile(rb"\x15.{4}(?:\x18[\x01-\x06])?", re.DOTALL)  # its score and kind
_LONG_BYTES = 512  # for a piece or a setting: it is looked at by itself


class SentencepieceInspector:
    name = "sentencepiece"

    def recognises(self, blob: Blob) -> bool:
        """Its first piece: a text of some letters, and a score."""
        head = blob.head(272)
        if len(head) < 9 or head[0] != 0x0A or head[1] > 0x7F or head[2] != 0x0A:
            return False
        size = head[3]
        return 0 < size <= head[1] - 7 and head[4 + size : 5 + size] == b"\x15"

    def inspect(self, blob: Blob, scan: Scan) -> None:
        seen: set[int] = set()
        try:
            for count, field in enumerate(message_fields(blob.data)):
                if (count % 4096 == 0 and not scan.may_go_on()) or count > _MAX_PIECES:
                    scan.report(Verdict.REVIEW, "limit", blob.place, "more pieces than there is time to look at")
                    return
                value = field.value
                if isinstance(value, int):
                    raise MalformedModel(f"a number as field {field.number}")
                if field.number == _PIECES:
                    _judge_piece(value, blob, scan)
                    continue
                if field.number in seen:
                    raise MalformedModel(f"field {field.number} twice: readers differ in what they make of that")
                seen.add(field.number)
                if field.number == _TRAINER:
                    _judge_settings(value, _TRAINER_FIELDS, "trainer_spec", blob, scan)
                elif field.number in (_NORMALIZER, _DENORMALIZER):
                    _judge_settings(value, _NORMALIZER_FIELDS, "normalizer_spec", blob, scan)
                elif field.number == _TESTS:
                    _judge_tests(value, blob, scan)
                else:
                    raise MalformedModel(f"field {field.number}, which SentencePiece does not have")
        except MalformedModel as e:
            scan.report(Verdict.REVIEW, "malformed", blob.place, f"not a whole SentencePiece model: {e}")


def _judge_piece(piece: memoryview, blob: Blob, scan: Scan) -> None:
    if 7 < len(piece) < 128 and piece[0] == 0x0A:  # nearly all: a tokenizer has a hundred thousand
        stop = 2 + piece[1]
        if _BEHIND_ITS_TEXT.fullmatch(piece[stop:]):
            _text(piece[2:stop])
            return
    for field in message_fields(piece):
        match field.number, field.value:
            case 1, memoryview() as text:
                _long_text(text, "piece", blob, scan)
            case 2, memoryview() as score if len(score) == 4:
                pass
            case 3, int(kind) if 1 <= kind <= _MAX_KINDS:
                pass
            case _:
                raise MalformedModel(f"a piece with a field {field.number} that pieces do not have")


def _judge_settings(message: memoryview, known: frozenset[int], name: str, blob: Blob, scan: Scan) -> None:
    for field in message_fields(message):
        if field.number not in known:
            raise MalformedModel(f"{name} with a field {field.number} that it does not have")
        if isinstance(field.value, int):
            continue
        if name == "normalizer_spec" and field.number == _CHARACTERS:
            _judge_characters(field.value, blob, scan)
        elif len(field.value) > 8:  # shorter may be a fraction
            _long_text(field.value, f"{name}.{field.number}", blob, scan)


def _judge_characters(table: memoryview, blob: Blob, scan: Scan) -> None:
    size = int.from_bytes(table[:4], "little")
    if is_executable(table[4:]):
        scan.report(Verdict.BLOCK, "executable", blob.place, "a table of characters whose bytes are a program")
    texts = table[4 + size :]
    if size % 4 or 4 + size > len(table) or (len(texts) and texts[-1] != 0):
        raise MalformedModel("a table of characters that is none")
    _text(texts)


def _judge_tests(message: memoryview, blob: Blob, scan: Scan) -> None:
    for sample in message_fields(message):
        if sample.number != 1 or isinstance(sample.value, int):
            raise MalformedModel("tests that are none")
        for field in message_fields(sample.value):
            if field.number not in (1, 2) or isinstance(field.value, int):
                raise MalformedModel("a test that is none")
            _long_text(field.value, "self_test_data", blob, scan)


def _long_text(text: memoryview, member: str, blob: Blob, scan: Scan) -> None:
    _text(text)
    if len(text) > _LONG_BYTES:
        scan.descend(blob, member, text)


def _text(text: memoryview) -> None:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        raise MalformedModel("a text that is not UTF-8") from None
