"""Text formats become typed Parquet in a private folder first: one parser decides what a file says, for every engine.

Parts of bounded size are written while reading, so memory does not grow with the file. The folder holds the data in
clear: it is private to this user (0700) and goes with `close`. Intake seals what it keeps; this is only the way there.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from vallum.data.readers.text_types import FORMS, GUESSED, converted
from vallum.data.table import RESERVED, BadData, Kind, Table, columns_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PART_CELLS", "Misfits", "Progress", "Staging", "check_header", "typed_texts"]

PART_CELLS = 2_000_000  # cells a part: a 10 000-column file gets parts of 200 rows, not of gigabytes
Progress = Callable[[int], None]  # called with the rows read so far


class Staging:
    """A private folder of Parquet parts. A context: the folder is gone afterwards, and the tables in it with it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vallum-staging-", dir=folder))
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self) -> Path:
        """A fresh folder inside."""
        self._made += 1
        path = self.folder / str(self._made)
        path.mkdir(mode=0o700)
        return path

    def materialise(self, table: Table) -> Path:
        """The table's typed columns and companions as Parquet, for an engine that reads files."""
        if table.path is not None:
            return table.path
        path = self.place() / "typed.parquet"
        table.frame.sink_parquet(path)
        return path


def typed_texts(
    name: str, parts: Path, header: Sequence[str], types: Mapping[str, Kind], *, declared: bool, mixed: bool = False
) -> Table:
    """A table over staged parts whose columns are text named 0, 1, 2 …

    A text that is none of its column's type is null and marked unparsed. With `mixed`, parts may hold flags named
    0!, 1! … for values that were no text at all where text, a list or an object is due. Types that were not
    `declared` but found to fit need no marks.
    """
    import polars as pl

    shape: dict[str, Any] = {str(at): pl.String() for at in range(len(header))}
    shape |= {f"{at}!": pl.Boolean() for at in range(len(header))} if mixed else {}
    frame = pl.LazyFrame(schema=shape)
    if any(parts.iterdir()):
        frame = pl.scan_parquet(parts / "*.parquet", schema=shape, missing_columns="insert")
    wanted, companions, unparsed = [], [], {}
    for at, column in enumerate(header):
        kind = types.get(column, Kind.STRING)
        text = pl.col(str(at))
        wanted.append(converted(text, kind).alias(column))
        if not declared:
            continue
        wrong = [pl.col(f"{at}!").fill_null(False)] if mixed and kind not in FORMS else []
        if kind in FORMS:
            wrong.append(text.is_not_null() & converted(text, kind).is_null())
        if wrong:
            companions.append(pl.any_horizontal(wrong).alias(f"{RESERVED}unparsed_{at}"))
            unparsed[column] = f"{RESERVED}unparsed_{at}"
    lazy = frame.select(*wanted, *companions)
    schema = {c: t for c, t in lazy.collect_schema().items() if not c.startswith(RESERVED)}
    columns = columns_of(name, schema)
    if mixed:  # arrays and objects are their JSON, and known to be what they are
        nested = {c: kind for c, kind in types.items() if kind in (Kind.ARRAY, Kind.OBJECT)}
        columns = tuple(replace(c, kind=nested.get(c.name, c.kind)) for c in columns)
    return Table(name, lazy, columns, MappingProxyType(unparsed))


@cache
def _forms() -> dict[Kind, Callable[[str], Any]]:
    """Compiled once: looking a pattern up for each of 10 000 columns takes longer than matching."""
    import re2

    return {kind: re2.compile(form).search for kind, form in FORMS.items()}


class Misfits:
    """Which kinds each column's texts can still be. A column tries its narrowest kind alone: forms exclude each other,
    but that every integer is a number, so what fits one kind rules out all others (with 10 000 columns, trying all of
    them is what takes the time).
    """

    def __init__(self, columns: int) -> None:
        self._possible: list[list[Kind]] = [list(GUESSED) for _ in range(columns)]
        self._values = [0] * columns

    def count(self, part: "pl.DataFrame") -> None:
        import polars as pl

        there = [part.height - nulls for nulls in part.null_count().row(0)]
        forms = _forms()
        for at, value in enumerate(part.row(0)):
            self._values[at] += there[at]
            if value is not None:
                self._possible[at] = [k for k in self._possible[at] if forms[k](value) is not None]
        asked = [at for at, possible in enumerate(self._possible) if possible and there[at]]
        while asked:
            wrong = part.select(
                (pl.col(str(at)).is_not_null() & converted(pl.col(str(at)), self._possible[at][0]).is_null())
                .any().alias(str(at))
                for at in asked
            ).row(0)  # fmt: skip
            again = []
            for at, is_wrong in zip(asked, wrong, strict=True):
                first, *others = self._possible[at]
                if not is_wrong:
                    wider = [Kind.NUMBER] if first is Kind.INTEGER and Kind.NUMBER in others else []
                    self._possible[at] = [first, *wider]
                else:
                    self._possible[at] = others
                    again += [at] if others else []
            asked = again

    def kind(self, at: int) -> Kind:
        return self._possible[at][0] if self._values[at] and self._possible[at] else Kind.STRING


def check_header(name: str, header: Sequence[str]) -> None:
    """Raises BadData for a header that names a column twice, by nothing, or by a name that is reserved."""
    seen: set[str] = set()
    for at, column in enumerate(header, start=1):
        if column.startswith(RESERVED):
            raise BadData(f"{name}: column {at}: names that begin with {RESERVED} are Vallum's own")
        if not column.strip():
            raise BadData(f"{name}: column {at} has no name in the header")
        if column in seen:
            raise BadData(f"{name}: column {at} has the name of an earlier one")
        seen.add(column)
