"""A table as the gates and the profile see it: named, typed, lazy, and never held in memory whole.

Readers make tables, engines run over them. Values that a text format held but that are not of their column's type
are null in the column and true in its *unparsed* companion, so that every engine judges them alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_COLUMNS", "RESERVED", "BadData", "Column", "Kind", "Table", "kind_of", "lengths_of"]

MAX_COLUMNS = 20_000  # twice what anybody was seen to have; a header of a million is an attack on whoever plans over it
RESERVED = "__vallum_"  # names of companions; a source that brings its own could say that a bad value is good


class BadData(Invalid):
    """A source that cannot be read as a table. Names file, row and column; holds no value."""

    code = "bad_data"


class Kind(StrEnum):
    """The logical types of ODCS, and one for what it has no word for."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    ARRAY = "array"
    OBJECT = "object"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind
    is_float: bool = False  # may hold NaN, which counts as missing
    is_zoned: bool = False  # a timestamp with a zone


@dataclass(frozen=True, slots=True)
class Table:
    """`frame` yields the columns in order, after them the companions of `unparsed` (column -> companion).

    `path` is a Parquet file or folder with exactly those columns where there is one: other engines read it.
    """

    name: str
    frame: "pl.LazyFrame"
    columns: tuple[Column, ...]
    unparsed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    path: Path | None = None

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)

    @classmethod
    def of(cls, frame: "pl.LazyFrame | pl.DataFrame", name: str = "table") -> "Table":
        """A table over a Polars frame. Raises BadData for one with too many, reserved or repeated columns."""
        lazy = frame.lazy()
        return cls(name, lazy, columns_of(name, lazy.collect_schema()))


def columns_of(name: str, schema: Mapping[str, Any]) -> tuple[Column, ...]:
    if not schema:
        raise BadData(f"{name}: no columns")
    if len(schema) > MAX_COLUMNS:
        raise BadData(f"{name}: {len(schema)} columns, and {MAX_COLUMNS} are the most")
    for at, column in enumerate(schema, start=1):
        if column.startswith(RESERVED):
            raise BadData(f"{name}: column {at}: names that begin with {RESERVED} are Vallum's own")
    return tuple(
        Column(column, kind_of(dtype), dtype.is_float(), getattr(dtype, "time_zone", None) is not None)
        for column, dtype in schema.items()
    )


def lengths_of(column: str) -> str:
    """The companion of a column of texts that says how long each is, where whoever reads them measured that anyway."""
    return f"{RESERVED}length_{column}"


def kind_of(dtype: Any) -> Kind:
    """The logical type of a Polars data type."""
    import polars as pl

    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Kind.STRING
    if dtype.is_integer():
        return Kind.INTEGER
    if dtype.is_numeric():
        return Kind.NUMBER
    known = {pl.Boolean: Kind.BOOLEAN, pl.Date: Kind.DATE, pl.Time: Kind.TIME, pl.Datetime: Kind.TIMESTAMP}
    nested = {pl.List: Kind.ARRAY, pl.Array: Kind.ARRAY, pl.Struct: Kind.OBJECT}
    return (known | nested).get(dtype.base_type(), Kind.OTHER)
