"""Native programs and libraries, byte code and shell scripts: a model has none of them.

Their marks are short, so that a tensor may start with one by chance: a mark alone is not enough where the header
that follows can be checked.
"""

import re
import struct

from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["ExecutableInspector", "is_executable", "kind_of_executable"]

_SHEBANG = re.compile(rb"#![ \t]*/[\x21-\x7e]")
_SCRIPT_NAMES = (".sh", ".bash", ".zsh", ".py", ".pl", ".rb", ".js")
_MACHO = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")


class ExecutableInspector:
    name = "executable"

    def recognises(self, blob: Blob) -> bool:
        return is_executable(blob.data)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        if blob.place.endswith(blob.name) and "!" not in blob.place and _is_plain_script(blob):
            return  # what is openly a script is judged as one; under any other name it hides
        scan.report(Verdict.BLOCK, "executable", blob.place, f"{kind_of_executable(blob.data)}: no model needs one")


def _is_plain_script(blob: Blob) -> bool:
    return bool(_SHEBANG.match(blob.head(64))) and blob.name.lower().endswith(_SCRIPT_NAMES)


def is_executable(data: memoryview) -> bool:
    return kind_of_executable(data) is not None


def kind_of_executable(data: memoryview) -> str | None:
    head = bytes(data[:64])
    if head.startswith(b"\x7fELF") and head[4:5] in b"\x01\x02" and head[5:6] in b"\x01\x02" and len(head) > 6:
        return "an ELF program or library"
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
