"""An exported log: JSON lines that verify on any machine.

The first line names the format, the log's origin, its signed checkpoint and its verifier key. Every line after it
is one entry's canonical bytes, in order; their number is the checkpoint's size.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vallum.kernel.errors import IntegrityError

__all__ = ["EXPORT_FORMAT", "Export", "ExportMalformed", "read_export", "render_header"]

EXPORT_FORMAT = "vallum-ledger-export/1"
MAX_LINE_BYTES = 1 << 20  # an entry is at most 64 KiB and a note too; refuse what cannot be one


class ExportMalformed(IntegrityError):
    """The file is not an export, or is damaged before any hash is looked at."""

    code = "export_malformed"


@dataclass(frozen=True, slots=True)
class Export:
    """An export as read, nothing verified. `verifier_key` is only what the file claims."""

    origin: str
    checkpoint: bytes
    verifier_key: str
    entries: Iterator[bytes]


def render_header(origin: str, checkpoint: str, verifier_key: str) -> bytes:
    header = {"format": EXPORT_FORMAT, "origin": origin, "checkpoint": checkpoint, "verifier_key": verifier_key}
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_export(lines: Iterable[bytes]) -> Export:
    """Parse the header; entries are read as they are iterated. Raises ExportMalformed."""
    numbered = iter(lines)
    first = next(numbered, b"")
    try:
        header = json.loads(first) if len(first) <= MAX_LINE_BYTES else None
    except (ValueError, RecursionError) as e:
        raise ExportMalformed("the first line is not an export's header") from e
    if not isinstance(header, dict) or header.get("format") != EXPORT_FORMAT:
        raise ExportMalformed(f"the first line is not a {EXPORT_FORMAT} header")
    fields = [header.get(name) for name in ("origin", "checkpoint", "verifier_key")]
    if not all(isinstance(value, str) for value in fields):
        raise ExportMalformed("the header lacks its origin, checkpoint or verifier key")
    origin, checkpoint, verifier_key = (str(value) for value in fields)
    return Export(origin, checkpoint.encode(), verifier_key, _entries(numbered))


def _entries(lines: Iterator[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if not line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
            raise ExportMalformed(f"entry {number} is cut off or longer than {MAX_LINE_BYTES} bytes")
        yield line[:-1]
