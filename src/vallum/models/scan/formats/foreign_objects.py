"""Objects that other languages serialise: reading them makes whatever they name, as with a pickle (CWE-502).

Java's are refused: its streams name the classes whose code runs while they are read. Source: Java Object Serialization
Specification, 6.4.
"""

from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["ForeignObjects"]

_JAVA = b"\xac\xed\0\x05"
_CONTENTS = frozenset(range(0x70, 0x7F))  # a stream goes on with an object, a string, an array or a block of data


class ForeignObjects:
    name = "java-objects"

    def recognises(self, blob: Blob) -> bool:
        head = blob.head(5)
        return head[:4] == _JAVA and head[4:5] != b"" and head[4] in _CONTENTS

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = "Java's serialised objects: whoever reads them runs code of the classes that they name"
        scan.report(Verdict.BLOCK, "serialised-objects", blob.place, text)
