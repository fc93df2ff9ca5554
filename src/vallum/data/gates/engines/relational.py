"""What DuckDB and Spark have in common: grouping that spills to disk by itself, so no spool is needed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vallum.data.gates.model import Alike, Expression, Operations, Orphans, Repeats, Shared
from vallum.data.table import Table

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["alike_in", "alike_sizes", "orphans_in", "repeats_in", "scalars_in", "shared_in", "without_nan"]

_COUNT = "__vallum_count"
_SIDE = "__vallum_side"


def scalars_in(frame: "nw.LazyFrame[Any]", asked: Sequence[Expression], made: Sequence["nw.Expr"]) -> Mapping[str, Any]:
    """One select. A predicate is counted by a conditional sum, since not every database adds up booleans."""
    import narwhals as nw

    named = []
    for at, (expression, value) in enumerate(zip(asked, made, strict=True)):
        counted = nw.when(value).then(nw.lit(1)).otherwise(nw.lit(0)).sum() if expression.is_predicate else value
        named.append(counted.alias(f"m{at}"))
    row = _rows(frame.select(*named))[0]
    return {e.key: value for e, value in zip(asked, row, strict=True)}


def made_by(operations: Operations, asked: Sequence[Expression]) -> list["nw.Expr"]:
    return [expression.make(operations) for expression in asked]


def repeats_in(frame: "nw.LazyFrame[Any]", asked: Repeats) -> int:
    import narwhals as nw

    frame = frame.select(*asked.columns)
    if not asked.nulls_equal:
        frame = frame.filter(~nw.any_horizontal(*(nw.col(c).is_null() for c in asked.columns), ignore_nulls=False))
    groups = frame.group_by(*asked.columns).agg(nw.len().alias(_COUNT))
    return _number(groups.select((nw.col(_COUNT) - 1).sum()))


def orphans_in(frame: "nw.LazyFrame[Any]", parent: "nw.LazyFrame[Any]", asked: Orphans) -> int:
    import narwhals as nw

    mine = frame.select(nw.col(asked.column).alias(_SIDE)).filter(~nw.col(_SIDE).is_null())
    theirs = parent.select(nw.col(asked.parent_column).alias(_SIDE)).unique()
    return _number(mine.join(theirs, on=_SIDE, how="anti").select(nw.len().alias(_COUNT)))


def shared_in(frame: "nw.LazyFrame[Any]", other: "nw.LazyFrame[Any]", table: Table, asked: Shared) -> int:
    """By grouping both together: joins drop nulls, and rows with nulls leak like others."""
    import narwhals as nw

    mine = frame.select(*asked.columns).with_columns(nw.lit(1).alias(_SIDE))
    theirs = other.select(*asked.columns).with_columns(nw.lit(0).alias(_SIDE))
    both = nw.concat([mine, theirs], how="vertical").group_by(*asked.columns)
    groups = both.agg(
        nw.col(_SIDE).sum().alias(_COUNT), nw.len().alias("__vallum_all")
    )  # fmt: skip
    leaked = groups.filter(nw.col(_COUNT) < nw.col("__vallum_all"))
    return _number(leaked.select(nw.col(_COUNT).sum()))


def alike_in(frame: "nw.LazyFrame[Any]", table: Table, asked: Alike) -> Mapping[tuple[int, int], int]:
    found = alike_sizes(without_nan(frame, table, asked), asked)
    return {(int(rows), int(values)): int(groups) for rows, values, groups in _rows(found)}


def without_nan(frame: "nw.LazyFrame[Any]", table: Table, asked: Alike) -> "nw.LazyFrame[Any]":
    """The columns that are asked about, as c0, c1, …, the sensitive one last: engines name no two alike."""
    import narwhals as nw

    named = []
    for at, name in enumerate((*asked.columns, *([asked.sensitive] if asked.sensitive else []))):
        column, value = table.column(name), nw.col(name)
        if column is not None and column.is_float:
            value = nw.when(~value.is_nan()).then(value)
        named.append(value.alias(f"c{at}"))
    return frame.select(*named)


def alike_sizes(frame: "nw.LazyFrame[Any]", asked: Alike) -> "nw.LazyFrame[Any]":
    """Rows, values and groups, of what `without_nan` made. A group's values are counted by grouping twice: databases
    leave nulls out when they count what is different."""
    import narwhals as nw

    quasi = [f"c{at}" for at in range(len(asked.columns))]
    sensitive = [f"c{len(quasi)}"] if asked.sensitive else []
    finest = frame.group_by(*quasi, *sensitive).agg(nw.len().alias(_COUNT))
    groups = finest.group_by(*quasi).agg(nw.col(_COUNT).sum().alias("__vallum_rows"), nw.len().alias("__vallum_values"))
    sizes = groups.group_by("__vallum_rows", "__vallum_values").agg(nw.len().alias(_COUNT))
    return sizes.select("__vallum_rows", "__vallum_values", _COUNT)


def _number(frame: "nw.LazyFrame[Any]") -> int:
    value = _rows(frame)[0][0]
    return 0 if value is None else int(value)


def _rows(frame: "nw.LazyFrame[Any]") -> list[tuple[Any, ...]]:
    native: Any = frame.to_native()
    if hasattr(native, "fetchall"):
        return [tuple(row) for row in native.fetchall()]
    return [tuple(row) for row in native.collect()]
