"""What a pickle's strings carry: something packed, pickled or encoded, for code elsewhere to unpack and load.

Answers payloads that a scanner of opcodes takes for plain data. Random bytes and ordinary words are told apart by
their first bytes; only what then decodes to something that runs is handed on.
"""

import re
import zlib

from vallum.models.scan.languages.encoded import inspect_encoded
from vallum.models.scan.pickles.probing import probe
from vallum.models.scan.port import Blob, Scan

__all__ = ["SOURCE", "Carried"]

_MAX_LOOKS = 3_000
_MAX_INFLATED = 16 << 20
_MAX_TEXT_BYTES = 1 << 20
_NESTED = (
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x7fELF",
    b"MZ\x90\x00",
    b"\x93NUMPY",
    b"\x04\x22\x4d\x18",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
)
_STARTS_OLD = re.compile(rb"[(\]}ldp0-9\n]{0,12}[cSVNIi][^\n]{0,300}\n")
_ENCODED = re.compile(rb"\s*(?:[A-Za-z0-9+/_-]{24}|(?:\\x[0-9a-fA-F]{2}){6})")
SOURCE = re.compile(
    rb"__import__\s{0,3}\(|\bos\.(?:system|popen|exec[lv]p?e?)\s{0,3}\(|\bsubprocess\.(?:run|call|Popen|check_\w+)\s{0,3}\("
    rb"|\bpty\.spawn\("
    rb"|\beval\(compile\(|\bexec\((?:base64|zlib|marshal|compile|__import__)|\bimport (?:socket|subprocess)\b"
)


class Carried:
    """The strings of one pickle. `left` counts down the closer looks that may still be taken."""

    def __init__(self, blob: Blob, scan: Scan) -> None:
        self._blob, self._scan = blob, scan
        self.left = _MAX_LOOKS

    def look_into(self, raw: memoryview, start: int) -> None:
        head = bytes(raw[:64])
        if head.startswith(_NESTED):
            self._descend(f"bytes@{start}", raw)
        elif head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            if self._look() and ((shown := probe(raw)).complete or shown.blocks):
                self._descend(f"bytes@{start}", raw)
        elif head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
            self._inflate(raw, start)
        elif _ENCODED.match(head):
            if self._look():
                text = bytes(raw[:_MAX_TEXT_BYTES]).decode("latin-1")
                place = f"{self._blob.place}!bytes@{start}"
                inspect_encoded(text, Blob(self._blob.name, place, raw), self._scan)
        elif _STARTS_OLD.match(head) and self._look() and (shown := probe(raw)).calls and shown.blocks:
            self._descend(f"bytes@{start}", raw)

    def _look(self) -> bool:
        self.left = self.left - 1 if self._scan.may_go_on() else 0
        return self.left > 0

    def _descend(self, member: str, raw: bytes | memoryview) -> None:
        if self._look():
            self._scan.descend(self._blob, member, raw)

    def _inflate(self, packed: memoryview, start: int) -> None:
        if not self._look():
            return
        try:
            unpacked = zlib.decompressobj().decompress(packed, 1 << 12)
            if not (SOURCE.search(unpacked) or probe(unpacked).calls) or not self._scan.may_unpack(_MAX_INFLATED):
                return
            unpacked = zlib.decompressobj().decompress(packed, _MAX_INFLATED)
        except zlib.error:
            return
        self._scan.descend(self._blob, f"zlib@{start}", unpacked)
