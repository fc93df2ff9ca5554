"""Native programs and libraries, byte code and shell scripts: a model has none of them.

Their marks are short, so that a tensor may start with one by chance: a mark alone is not enough where the header
that follows can be checked.
"""

import re
import struct
from collections.abc import Callable

from vallum.models.scan.languages.text import looks_like_text
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["ExecutableInspector", "HiddenExecutableInspector", "is_executable", "kind_of_executable"]

_SHEBANG = re.compile(rb"#![ \t]*/[\x21-\x7e]")
_SCRIPT_NAMES = (".sh", ".bash", ".zsh", ".py", ".pl", ".rb", ".js")
_PIECE_BYTES = 1 << 20
_BYTE_CODE = re.compile(rb".[\x0c-\x0e]\r\n[\0-\x03]\0\0\0.{8}[\xe3\x63]", re.DOTALL)  # from 3.7 on
_OVERLAP_BYTES = 1 << 12  # more than stands before the header of a Windows program
_APE = re.compile(rb"(?:MZqFpD|jartsr)='")
_FOR_DEVICES = frozenset((190, 224))  # CUDA's and AMD's: compiled for the accelerator, and kept with an engine
_WINDOWS_MACHINES = frozenset((0x14C, 0x1C0, 0x1C4, 0x8664, 0xAA64))
_MACHO_PROCESSORS = frozenset((7, 12, 0x01000007, 0x0100000C))
_MACHO = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")


class ExecutableInspector:
    name = "executable"

    def recognises(self, blob: Blob) -> bool:
        return is_executable(blob.data)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        if _BYTE_CODE.match(blob.head(17)) and "__pycache__/" in blob.place:
            text = "compiled Python, which is used where it fits the source beside it"
            scan.report(Verdict.REVIEW, "executable", blob.place, text)
            return
        if blob.place.endswith(blob.name) and "!" not in blob.place and _is_plain_script(blob):
            return  # what is openly a script is judged as one; under any other name it hides
        scan.report(Verdict.BLOCK, "executable", blob.place, f"{kind_of_executable(blob.data)}: no model needs one")


class HiddenExecutableInspector:
    """Any other format: a program behind or between what the format has. Only one whose whole header fits."""

    name = "executable-inside"

    def recognises(self, blob: Blob) -> bool:
        if is_executable(blob.data) or looks_like_text(blob) or _is_accounted_for(blob.head(16)):
            return False
        return _hidden(blob.data) is not None

    def inspect(self, blob: Blob, scan: Scan) -> None:
        if (found := _hidden(blob.data)) is not None:
            at, kind = found
            scan.report(Verdict.BLOCK, "hidden-payload", f"{blob.place}@{at}", f"{kind} inside of something else")


def _is_accounted_for(head: bytes) -> bool:
    """Formats in which every byte is a tensor's or is judged by itself: their weights are not searched once more."""
    return head.startswith((b"GGUF", b"\x93NUMPY")) or (head[8:9] == b"{" and head[5:8] == b"\0\0\0")


def _hidden(data: memoryview) -> tuple[int, str] | None:
    for start in range(0, len(data), _PIECE_BYTES):
        before = max(0, start - _OVERLAP_BYTES)
        piece = bytes(data[before : start + _PIECE_BYTES + _OVERLAP_BYTES])
        for mark, fits, kind in _WHOLE_HEADERS:
            at = piece.find(mark)
            while at >= 0:
                if (first := fits(piece, at)) is not None:
                    return before + first, kind
                at = piece.find(mark, at + 1)
    return None


def _elf_at(piece: bytes, at: int) -> int | None:
    head = piece[at : at + 64]
    if len(head) < 64 or head[4] not in (1, 2) or head[5] not in (1, 2) or head[6] != 1:
        return None
    order = "<" if head[5] == 1 else ">"
    kind, machine, version = struct.unpack_from(f"{order}HHL", head, 16)
    size = struct.unpack_from(f"{order}H", head, 40 if head[4] == 1 else 52)[0]
    whole = 1 <= kind <= 4 and 0 < machine < 512 and version == 1 and size == (52 if head[4] == 1 else 64)
    return at if whole and machine not in _FOR_DEVICES else None


def _windows_at(piece: bytes, at: int) -> int | None:
    """`at` is its new header's; the old one stands before it and says how far."""
    if len(piece) < at + 26:
        return None
    machine, sections = struct.unpack_from("<HH", piece, at + 4)
    if (
        machine not in _WINDOWS_MACHINES
        or not 0 < sections <= 96
        or piece[at + 24 : at + 26] not in (b"\x0b\1", b"\x0b\2")
    ):
        return None
    first = piece.rfind(b"MZ", max(0, at - _OVERLAP_BYTES), max(0, at - 62))
    while first >= 0 and struct.unpack_from("<L", piece, first + 60)[0] != at - first:
        first = piece.rfind(b"MZ", max(0, at - _OVERLAP_BYTES), first + 1)
    return first if first >= 0 else None


def _macho_at(piece: bytes, at: int) -> int | None:
    if len(piece) < at + 32:
        return None
    processor, _, kind, commands, size = struct.unpack_from("<LLLLL", piece, at + 4)
    whole = 1 <= kind <= 12 and 0 < commands < 10_000 and commands * 8 <= size < 1 << 24
    return at if processor in _MACHO_PROCESSORS and whole else None


_WHOLE_HEADERS: tuple[tuple[bytes, Callable[[bytes, int], int | None], str], ...] = (
    (b"\x7fELF", _elf_at, "an ELF program or library"),
    (b"PE\0\0", _windows_at, "a Windows program or library"),
    (b"\xcf\xfa\xed\xfe", _macho_at, "a Mach-O program or library"),
)


def _is_plain_script(blob: Blob) -> bool:
    return bool(_SHEBANG.match(blob.head(64))) and blob.name.lower().endswith(_SCRIPT_NAMES)


def is_executable(data: memoryview) -> bool:
    return kind_of_executable(data) is not None


def kind_of_executable(data: memoryview) -> str | None:
    head = bytes(data[:64])
    if head.startswith(b"\x7fELF") and head[4:5] in b"\x01\x02" and head[5:6] in b"\x01\x02" and len(head) > 6:
        return "an ELF program or library"
    if head.startswith(b"L\0\0\0\x01\x14\x02\0"):
        return "a shortcut to a program"
    if _BYTE_CODE.match(head):
        return "compiled Python, whose source is not seen"
    if _APE.match(head):
        return "a program for several systems"
    if head.startswith(b"MZ") and _is_windows(data, head):
        return "a Windows program or library"
    if head.startswith(_MACHO) or (head.startswith(b"\xca\xfe\xba\xbe") and len(head) >= 8):
        return _apple_or_java(head)
    if head.startswith(b"\0asm") and head[4:8] in (b"\1\0\0\0", b"\x0d\0\1\0"):
        return "a WebAssembly module"
    if head.startswith(b"dex\n03"):
        return "an Android program"
    if _SHEBANG.match(head):
        return "a script that starts an interpreter"
    return None


def _is_windows(data: memoryview, head: bytes) -> bool:
    """The old header names where the new one is; a program for DOS alone has plausible page counts."""
    if len(head) < 64:
        return len(head) >= 28
    new = struct.unpack_from("<L", head, 60)[0]
    if bytes(data[new : new + 2]) in (b"PE", b"NE", b"LE", b"LX"):
        return True
    last, pages, _, header = struct.unpack_from("<HHHH", head, 2)
    return bool(last < 512 and pages > 0 and 2 <= header <= pages * 32 and pages * 512 <= len(data) + 512)


def _apple_or_java(head: bytes) -> str | None:
    """A fat Mach-O counts its architectures where a class file has its version."""
    if head.startswith(_MACHO):
        order = ">" if head[0] == 0xFE else "<"
        if len(head) < 28:
            return None
        kind, commands = struct.unpack_from(f"{order}12xLL", head)
        return "a Mach-O program or library" if 1 <= kind <= 16 and commands < 10_000 else None
    number = struct.unpack_from(">L", head, 4)[0]
    if 45 <= number & 0xFFFF < 100:
        return "a Java class"
    return "a Mach-O program or library" if 0 < number < 20 else None
