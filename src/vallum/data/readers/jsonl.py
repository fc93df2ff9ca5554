"""JSON lines: one object a line, UTF-8."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from vallum.data.readers.inflate import open_bounded
from vallum.data.readers.staging import Progress, Staging
from vallum.data.readers.values import stage_values
from vallum.data.table import BadData, Kind, Table

__all__ = ["read_jsonl"]

_MAX_LINE = 64 << 20


def read_jsonl(
    path: Path, staging: Staging, types: Mapping[str, Kind] | None = None, progress: Progress | None = None
) -> Table:
    """The table in a file of JSON lines. Arrays and objects inside a row are text. Raises BadData naming the row."""
    return stage_values(path.name, _rows(path), staging, types, progress)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    decode = msgspec.json.Decoder().decode
    number = 0
    with open_bounded(path) as file:
        while raw := file.readline(_MAX_LINE):
            number += 1
            if len(raw) == _MAX_LINE:
                raise BadData(f"{path.name}: row {number}: longer than {_MAX_LINE} bytes")
            if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise BadData(f"{path.name}: is UTF-16: save it as UTF-8")
            if raw.isspace():
                number -= 1
                continue
            try:
                row = decode(raw)
            except UnicodeDecodeError as e:
                raise BadData(f"{path.name}: row {number}, byte {e.start + 1}: is not UTF-8") from None
            except (msgspec.DecodeError, RecursionError, ValueError):
                cut = ": is the file cut off?" if not file.read(1) else ""  # it is the last line
                raise BadData(f"{path.name}: row {number}: is no JSON{cut}") from None
            if not isinstance(row, dict):
                raise BadData(f"{path.name}: row {number}: is no JSON object")
            yield row
