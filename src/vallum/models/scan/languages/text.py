"""Text from bytes: UTF-8, or UTF-16 with its mark, without control characters. Reads a large file in pieces."""

import codecs
import re
from functools import lru_cache

from vallum.models.scan.port import Blob

__all__ = ["MAX_TEXT_BYTES", "first_line", "is_text", "looks_like_text", "text_of"]

MAX_TEXT_BYTES = 32 << 20  # a parsed configuration takes up to ten times its size in memory
_PIECE_BYTES = 1 << 20
_CONTROL = bytes(set(range(32)) - {9, 10, 12, 13})
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTROL_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")


def looks_like_text(blob: Blob) -> bool:
    """By its first bytes; a character that they cut in two is no reason against it."""
    return _head(blob) is not None


def first_line(blob: Blob) -> str:
    """The first that is not blank, at most 1,000 characters; empty for what is not text."""
    head = _head(blob) or ""
    return head.lstrip("\ufeff \t\r\n\f")[:1000].split("\n", 1)[0].strip()


def is_text(blob: Blob) -> bool:
    """To the last byte."""
    encoding = _encoding(blob.head(3))
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(blob), _PIECE_BYTES):
            piece = bytes(blob.data[start : start + _PIECE_BYTES])
            if encoding != "utf-16" and len(piece.translate(None, _CONTROL)) != len(piece):
                return False
            text = decoder.decode(piece, start + _PIECE_BYTES >= len(blob))
            if encoding == "utf-16" and _CONTROL_TEXT.search(text):
                return False
    except UnicodeDecodeError:
        return False
    return True


def text_of(blob: Blob) -> str | None:
    """None for what is not text, or is more than is read at once."""
    if len(blob) > MAX_TEXT_BYTES or not looks_like_text(blob):
        return None
    try:
        return bytes(blob.data).decode(_encoding(blob.head(3)))
    except UnicodeDecodeError:
        return None


def _head(blob: Blob) -> str | None:
    return _decoded_head(blob.head(4096), len(blob) <= 4096)


@lru_cache(maxsize=8)  # every inspector of a text asks for the same one
def _decoded_head(head: bytes, whole: bool) -> str | None:
    encoding = _encoding(head[:3])
    if not head or (encoding != "utf-16" and len(head.translate(None, _CONTROL)) != len(head)):
        return None
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, whole)
    except UnicodeDecodeError:
        return None
    return None if encoding == "utf-16" and _CONTROL_TEXT.search(text) else text


def _encoding(head: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")
