"""CSV, by one strict parser: what it says is what every engine sees.

Lenient readers fill short rows with nulls, cut long ones, and differ on quotes, so that a file can pass a gate as one
table and be trained on as another. Here each row has as many fields as the header, quotes close, and text is UTF-8.
An empty field is null.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

from vallum.data.readers.inflate import open_bounded
from vallum.data.readers.staging import PART_CELLS, Misfits, Progress, Staging, check_header, typed_texts
from vallum.data.table import MAX_COLUMNS, BadData, Kind, Table

__all__ = ["read_csv"]

_MAX_LINE = 16 << 20
_SEPARATORS = ",;\t|"


def read_csv(
    path: Path, staging: Staging, types: Mapping[str, Kind] | None = None, progress: Progress | None = None
) -> Table:
    """The table in a CSV file (RFC 4180, a header, separated by , ; | or tab), staged as Parquet.

    `types` says what each column is due to be; without it the narrowest that fits all values. Raises BadData naming
    file, row (the header is row 0) and column.
    """
    name = path.name
    parts = staging.place()
    with open_bounded(path) as file:
        lines = _Lines(name, file)
        texts = lines.texts()
        first = next(texts, None)
        if first is None:
            raise BadData(f"{name}: empty")
        separator = max(_SEPARATORS, key=first.count) if any(s in first for s in _SEPARATORS) else ","
        rows = csv.reader(chain((first,), texts), delimiter=separator, strict=True)
        with _csv_errors(name, lines):
            header = next(rows, None)
        if header is None or not header:
            raise BadData(f"{name}: row 0: the first line names no columns")
        if len(header) > MAX_COLUMNS:
            raise BadData(f"{name}: {len(header)} columns, and {MAX_COLUMNS} are the most")
        check_header(name, header)
        lines.separator = separator
        misfits = Misfits(len(header)) if types is None else None
        _stage(name, rows, lines, len(header), parts, misfits, progress)
    kinds = types if types is not None else {c: misfits.kind(at) for at, c in enumerate(header)} if misfits else {}
    return typed_texts(name, parts, header, kinds, declared=types is not None)


def _stage(
    name: str, rows: "Iterator[list[str]]", lines: "_Lines", width: int, parts: Path,
    misfits: Misfits | None, progress: Progress | None,
) -> None:  # fmt: skip
    import polars as pl

    most = max(1, PART_CELLS // width)
    pending: list[list[str]] = []
    done = part = 0

    def write() -> None:
        nonlocal part
        columns = {
            str(at): pl.Series(list(values), dtype=pl.String) for at, values in enumerate(zip(*pending, strict=True))
        }
        frame = pl.DataFrame(columns).with_columns(pl.when(pl.all() != "").then(pl.all()))
        if misfits is not None:
            misfits.count(frame)
        frame.write_parquet(parts / f"{part:08d}.parquet", compression="lz4")
        part += 1
        pending.clear()
        if progress is not None:
            progress(done)

    with _csv_errors(name, lines):
        lines.row = 1
        for row in rows:
            if len(row) != width:
                if not row and width > 1:
                    continue  # a blank line
                row = row or [""]
                if len(row) != width:
                    cut = ": is the file cut off?" if len(row) < width else ""
                    raise BadData(f"{name}: row {done + 1}: {len(row)} fields, and the header names {width}{cut}")
            pending.append(row)
            done += 1
            lines.row = done + 1
            if len(pending) >= most:
                write()
    if pending:
        write()


@contextmanager
def _csv_errors(name: str, lines: "_Lines") -> Iterator[None]:
    try:
        yield
    except csv.Error as e:
        said = str(e)  # the module's own words, without the file's
        why = "a quote is not closed" if "unexpected end" in said else "a quote is closed before the field ends"
        if "limit" in said:
            why = f"a field is longer than {csv.field_size_limit()} characters"
        raise BadData(f"{name}: row {lines.row}: {why}") from None


class _Lines:
    """The file's lines as text. `row` is the one that is being read, for what is refused."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._name = name
        self._file = file
        self.row = 0
        self.separator = ","

    def texts(self) -> Iterator[str]:
        """A generator, and not a class with __next__: it is resumed for each line of a file of millions."""
        readline = self._file.readline
        first = readline(_MAX_LINE)
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BadData(f"{self._name}: is UTF-16: save it as UTF-8")
        raw = first.removeprefix(b"\xef\xbb\xbf")
        while raw:
            try:
                text = raw.decode()
            except UnicodeDecodeError as e:
                raise self._refused(raw, e.start, "is not UTF-8") from None
            if "\0" in text:
                raise self._refused(raw, raw.index(0), "holds a NUL: is this a text file?")
            if len(raw) == _MAX_LINE:
                raise BadData(f"{self._name}: row {self.row}: a line is longer than {_MAX_LINE} bytes")
            yield text
            raw = readline(_MAX_LINE)

    def _refused(self, raw: bytes, byte: int, why: str) -> BadData:
        column = raw.count(self.separator.encode(), 0, byte) + 1
        return BadData(f"{self._name}: row {self.row}, column {column}: {why}")
