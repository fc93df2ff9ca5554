"""Scan bytes with some inspectors, and stand-ins for those that belong to other formats."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from vallum.models.scan.engine import scan_path
from vallum.models.scan.model import Report, Verdict
from vallum.models.scan.port import Blob, Inspector, Scan

__all__ = ["Accepts", "judged", "pickles_and_text", "techniques"]


class Accepts:
    """Takes what `matches` for harmless, and keeps it."""

    def __init__(self, name: str, matches: Callable[[bytes], bool]) -> None:
        self.name = name
        self._matches = matches
        self.seen: dict[str, bytes] = {}

    def recognises(self, blob: Blob) -> bool:
        return self._matches(blob.head(64))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        self.seen[blob.place] = bytes(blob.data)


def _is_text(head: bytes) -> bool:
    try:
        return head.decode("utf-8", "strict").replace("\n", "").replace("\t", "").isprintable()
    except UnicodeDecodeError:
        return False


def pickles_and_text() -> Accepts:
    return Accepts("stub", lambda head: head.startswith((b"\x80", b"\x93NUMPY")) or _is_text(head))


def judged(data: bytes, inspectors: Sequence[Inspector], name: str = "model.bin") -> Report:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(data)
        return scan_path(file, inspectors)


def techniques(report: Report, verdict: Verdict) -> set[str]:
    return {finding.technique for finding in report.findings if finding.verdict == verdict}
