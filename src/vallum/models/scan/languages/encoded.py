"""Content that a text carries encoded: base64, hexadecimal and escapes, when it decodes to something that runs.

Only what shows a mark is decoded whole; random data that happens to look like base64 is left alone.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator

from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["inspect_encoded", "marked"]

_MAX_BLOBS = 200
_MAX_ENCODED_CHARACTERS = 16 << 20
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}(?:\\?\r?\\?n?[ \t]*[A-Za-z0-9+/_-]{24,})*={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){20,}")
_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2}){12,}")
_LETTERS = bytes(97 if (chr(c).isalnum() and c < 128) or c in b"+/_-" else 32 for c in range(256))
_RUN = b"a" * 24
_LONGEST_RUN = 32 << 20
_COMPRESSED = (
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x04\x22\x4d\x18",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
)
_HEADS = (
    b"\x80",
    b"PK",
    b"\x7fELF",
    b"MZ",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7z",
    b"\x78",
    b"\x04\x22\x4d\x18",
    b"\x28\xb5\x2f",
    b"7z\xbc",
)
_NOISE = re.compile(r"\\n|\\r|\s|\\")
_CODE = re.compile(
    rb"(?m)(^|;|\s)(import|from)\s+\w|\b(exec|eval|__import__|system|popen|subprocess)\s*[(.]|^#!|\b(curl|wget)\s|powershell|/dev/tcp/"
)
_PICKLE_0 = re.compile(
    rb"\A[(\]}l]*(?:c|(?:S'[^'\n]{0,300}'\n|V[^\n]{0,300}\n|I\d+\n|N|p\d+\n)*i)[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n"
)


def inspect_encoded(text: str, blob: Blob, scan: Scan) -> None:
    """Hands what is found to the scan, as members of `blob`. Linear in the text."""
    for place, data in _decoded(text):
        kind = marked(data)
        if kind is None:
            continue
        if not scan.may_unpack(len(data)):
            return
        member = f"encoded@{place}{'.py' if kind == 'source text' else ''}"
        scan.report(Verdict.REVIEW, "hidden-payload", f"{blob.place}@{place}", f"encoded text that decodes to {kind}")
        scan.descend(blob, member, data)


def marked(data: bytes) -> str | None:
    """What the decoded bytes are, when they are of a kind that runs or unpacks."""
    head = data[:64]
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data.rstrip(b"\n")[-1:] == b".":
        return "a pickle"
    if _PICKLE_0.match(data[:1024]):
        return "a pickle"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive"
    if head.startswith(b"\x7fELF") or (head.startswith(b"MZ") and len(data) > 64):
        return "a program"
    if head.startswith((b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xcf")):
        return "a program"
    if head.startswith(_COMPRESSED):
        return "a compressed stream"
    if head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda") and _inflates(data):
        return "a compressed stream"
    if not data[:4096].translate(None, bytes(range(9, 14)) + bytes(range(32, 127))) and _CODE.search(data[:65536]):
        return "source text"
    return None


def _decoded(text: str) -> Iterator[tuple[int, bytes]]:
    left = _MAX_BLOBS
    escapes = _ESCAPES.finditer(text) if "\\x" in text else ()  # the plain search costs a hundredth
    for decode, matches in (
        (_from_base64, _runs(_BASE64, text)), (_from_hex, _runs(_HEX, text)), (_from_escapes, escapes),
    ):  # fmt: skip
        for found in matches:
            encoded = found.group()
            if len(encoded) > _MAX_ENCODED_CHARACTERS:
                encoded = encoded[:_MAX_ENCODED_CHARACTERS]
            probe = decode(encoded[:512])
            if marked_head(probe):
                left -= 1
                if left < 0:
                    return
                yield found.start(), decode(encoded)


def _runs(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches of a pattern that begins with a run of letters and digits, found by a plain search: ten times faster."""
    mask = text.encode("ascii", "replace").translate(_LETTERS)
    at = mask.find(_RUN)
    while at >= 0:
        found = pattern.search(text, at, at + _LONGEST_RUN) if pattern is _HEX else pattern.match(text, at)
        stop = mask.find(b" ", at)
        if found:
            yield found
            stop = max(stop, found.end()) if stop >= 0 else found.end()
        at = mask.find(_RUN, stop) if stop >= 0 else -1


def marked_head(head: bytes) -> bool:
    """Cheap, before the whole is decoded."""
    return (
        head.startswith(_HEADS)
        or head[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xcf")
        or bool(_PICKLE_0.match(head))
        or (len(head) > 12 and not head[:-3].translate(None, bytes(range(9, 14)) + bytes(range(32, 127))))
    )


def _inflates(data: bytes) -> bool:
    try:
        return bool(zlib.decompressobj().decompress(data[:65536], 1024))
    except zlib.error:
        return False


def _from_base64(text: str) -> bytes:
    plain = _NOISE.sub("", text).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4] + _tail(plain))
    except (binascii.Error, ValueError):
        return b""


def _tail(plain: str) -> str:
    rest = plain[len(plain) // 4 * 4 :]
    return rest + "=" * (4 - len(rest)) if len(rest) > 1 else ""


def _from_hex(text: str) -> bytes:
    return bytes.fromhex(text[: len(text) // 2 * 2])


def _from_escapes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")[: len(text) // 4 * 2])
