"""The rows that failed, by number, for quarantine: read again only when a check failed, batch by batch.

Row numbers are the source's: from 0, in its order, without the header. Polars reads them whatever engine judged, for
engines that spread their work know no order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vallum.data.gates.engines.polars import PolarsEngine
from vallum.data.gates.model import Check, Expression, NotRunnable, Orphans, Repeats, Shared
from vallum.data.gates.rules import RowRule
from vallum.data.readers.parquet import refusing_broken
from vallum.data.table import Table

__all__ = ["BadRow", "bad_rows"]

_ROW = "__vallum_row"
_TIMES = "__vallum_times"


@dataclass(frozen=True, slots=True)
class BadRow:
    row: int
    checks: tuple[str, ...]


def bad_rows(table: Table, checks: Sequence[Check], engine: PolarsEngine | None = None) -> Iterator[BadRow]:
    """Each bad row once, ascending, with the checks that it fails. Checks that judge no single rows (drift, counts,
    freshness) name none. Of equal rows the first is good.

    Repeats, references and leakage need the keys of the bad rows in memory, not the table. Raises BadData.
    """
    import narwhals as nw
    import polars as pl

    engine = engine or PolarsEngine()
    frame = table.frame.with_row_index(_ROW)
    flags: list[str] = []
    named: list[str] = []
    with refusing_broken(table.name):
        for check in checks:
            made = _predicate(check, table)
            if made is None:
                continue
            flag = f"__vallum_bad_{len(flags)}"
            if isinstance(made, Expression):
                lazy = nw.from_native(frame).with_columns(made.make(engine).fill_null(False).alias(flag))
                frame = lazy.to_native()
            else:
                frame = frame.with_columns(pl.col(_ROW).is_in(made.implode()).alias(flag))
            flags.append(flag)
            named.append(check.name)
        if not flags:
            return
        wanted = frame.select(_ROW, *flags).filter(pl.any_horizontal(flags))
        for batch in wanted.collect_batches(maintain_order=True, engine="streaming"):
            for row, *hits in batch.iter_rows():
                yield BadRow(int(row), tuple(name for name, hit in zip(named, hits, strict=True) if hit))


def _predicate(check: Any, table: Table) -> Any:
    """The expression that is true of bad rows, or their numbers; None for a check of no single rows."""
    try:
        if isinstance(check, RowRule):
            expressions = [m for m in check.plan(table) if isinstance(m, Expression) and m.is_predicate]
            return expressions[0] if expressions else None
        if not hasattr(check, "measure"):
            return None
        measure = check.measure(table)
    except NotRunnable:
        return None
    match measure:
        case Repeats():
            return _repeated(table, measure)
        case Orphans():
            return _unmatched(table, measure)
        case Shared():
            return _shared(table, measure)
        case _:
            return None


def _repeated(table: Table, asked: Repeats) -> Any:
    import polars as pl

    columns = list(asked.columns)
    frame = table.frame.select(columns).with_row_index(_ROW)
    if not asked.nulls_equal:
        frame = frame.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in columns))
    groups = frame.group_by(columns).agg(pl.col(_ROW), pl.len().alias(_TIMES)).filter(pl.col(_TIMES) > 1)
    later = groups.select(pl.col(_ROW).list.sort().list.slice(1)).explode(_ROW)
    return later.collect(engine="streaming").get_column(_ROW)


def _unmatched(table: Table, asked: Orphans) -> Any:
    import polars as pl

    parent = asked.parent.frame.select(pl.col(asked.parent_column).alias("v")).drop_nulls().unique()
    mine = table.frame.select(pl.col(asked.column).alias("v")).with_row_index(_ROW).drop_nulls("v")
    return mine.join(parent, on="v", how="anti").select(_ROW).collect(engine="streaming").get_column(_ROW)


def _shared(table: Table, asked: Shared) -> Any:
    from vallum.data.gates.engines.polars import comparable

    columns = list(asked.columns)
    mine, theirs = comparable(table, asked.other, columns)
    joined = mine.with_row_index(_ROW).join(theirs.unique(), on=columns, how="semi", nulls_equal=True)
    return joined.select(_ROW).collect(engine="streaming").get_column(_ROW)
