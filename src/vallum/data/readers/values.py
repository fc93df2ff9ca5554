"""Rows of Python values (JSON lines, SQL) to a staged table, with types kept strictly: "12" is no integer."""

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from vallum.data.readers.staging import PART_CELLS, Misfits, Progress, Staging, check_header, typed_texts
from vallum.data.readers.text_types import GUESSED
from vallum.data.table import MAX_COLUMNS, BadData, Kind, Table

__all__ = ["stage_values"]

_TEXTS = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIME})  # which JSON writes as strings
_OF_TYPE: dict[type, Kind] = {
    str: Kind.STRING, bool: Kind.BOOLEAN, int: Kind.INTEGER, float: Kind.NUMBER, Decimal: Kind.NUMBER,
    list: Kind.ARRAY, dict: Kind.OBJECT, dt.date: Kind.DATE, dt.datetime: Kind.TIMESTAMP, dt.time: Kind.TIME,
    bytes: Kind.OTHER,
}  # fmt: skip


def stage_values(
    name: str, rows: Iterable[Mapping[str, Any]], staging: Staging,
    types: Mapping[str, Kind] | None = None, progress: Progress | None = None, columns: Iterable[str] = (),
) -> Table:  # fmt: skip
    """A table of rows. Columns stand in the order in which rows first name them, after `columns`.

    Raises BadData for no columns at all, too many, or what `rows` raises.
    """
    stage = _Stage(name, staging.place(), types, progress, columns)
    for row in rows:
        stage.add(row)
    stage.write()
    if not stage.header:
        raise BadData(f"{name}: empty")
    check_header(name, list(stage.header))
    kinds = types if types is not None else {column: stage.guess(column) for column in stage.header}
    return typed_texts(name, stage.parts, list(stage.header), kinds, declared=types is not None, mixed=True)


class _Stage:
    def __init__(
        self, name: str, parts: Path, types: Mapping[str, Kind] | None, progress: Progress | None,
        columns: Iterable[str],
    ) -> None:  # fmt: skip
        self.name, self.parts, self.types, self._progress = name, parts, types, progress
        self.header: dict[str, int] = {}  # column -> position
        self._seen: list[set[Kind]] = []
        self._misfits: list[Misfits] = []
        self._pending: list[Mapping[str, Any]] = []
        self._rows = self._part = 0
        for column in columns:
            self._position(column)

    def add(self, row: Mapping[str, Any]) -> None:
        for column in row:
            if column not in self.header:
                self._position(column)
        self._pending.append(row)
        self._rows += 1
        if len(self._pending) * max(1, len(self.header)) >= PART_CELLS:
            self.write()

    def _position(self, column: str) -> None:
        if len(self.header) >= MAX_COLUMNS:
            raise BadData(f"{self.name}: row {self._rows + 1}: more than {MAX_COLUMNS} columns")
        self.header[column] = len(self.header)
        self._seen.append(set())
        self._misfits.append(Misfits(1))

    def write(self) -> None:
        import polars as pl

        if not self._pending:
            return
        series: list[pl.Series] = []
        for column, at in self.header.items():
            due = self.types.get(column, Kind.STRING) if self.types is not None else None
            texts, flags = self._texts(at, [row.get(column) for row in self._pending], due)
            series.append(pl.Series(str(at), texts, dtype=pl.String))
            if any(flags):
                series.append(pl.Series(f"{at}!", flags, dtype=pl.Boolean))
            if due is None:
                self._misfits[at].count(pl.DataFrame({"0": texts}, schema={"0": pl.String}))
        pl.DataFrame(series).write_parquet(self.parts / f"{self._part:08d}.parquet", compression="lz4")
        self._part += 1
        self._pending.clear()
        if self._progress is not None:
            self._progress(self._rows)

    def _texts(self, at: int, values: list[Any], due: Kind | None) -> tuple[list[str | None], list[bool]]:
        texts: list[str | None] = []
        flags: list[bool] = []
        seen = self._seen[at]
        for value in values:
            if value is None:
                texts.append(None)
                flags.append(False)
                continue
            kind = _OF_TYPE.get(type(value), Kind.OTHER)
            seen.add(kind)
            text = _text(value)
            fits = due is None or kind is due or (kind is Kind.INTEGER and due is Kind.NUMBER)
            fits = fits or (kind is Kind.STRING and due in _TEXTS)
            if not fits and due is not Kind.STRING:
                text = f"!{text}"  # no form of a value begins so: it stays unparsed
            texts.append(text)
            flags.append(not fits)
        return texts, flags

    def guess(self, column: str) -> Kind:
        at = self.header[column]
        seen = self._seen[at]
        if seen <= {Kind.INTEGER, Kind.NUMBER} and seen:
            guessed = self._misfits[at].kind(0)  # 19 digits are no integer here
            return guessed if guessed in (Kind.INTEGER, Kind.NUMBER) else Kind.STRING
        if len(seen) == 1:
            (kind,) = seen
            if kind is Kind.STRING:
                guessed = self._misfits[at].kind(0)
                return guessed if guessed in _TEXTS else Kind.STRING
            return kind if kind in (*GUESSED, Kind.ARRAY, Kind.OBJECT) else Kind.STRING
        return Kind.STRING


def _text(value: Any) -> str:
    match value:
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case dt.datetime():
            if value.tzinfo is not None:
                value = value.astimezone(dt.UTC).replace(tzinfo=None)
            return str(value.isoformat(sep=" ", timespec="microseconds"))
        case dt.date() | dt.time():
            return str(value.isoformat())
        case int() | float() | Decimal():
            return str(value)
        case bytes():
            return str(value.hex())
        case list() | dict():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)
