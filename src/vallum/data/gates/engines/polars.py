"""Polars, streaming: one fused select, and spools on disk for what would else be a hash table of every row."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vallum.data.gates.engines.port import EngineFailed
from vallum.data.gates.model import Expression, Orphans, Repeats, Shared
from vallum.data.spool import RUN_KEYS, Spool, spread
from vallum.data.table import Kind, Table
from vallum.data.window import Window

if TYPE_CHECKING:
    import narwhals as nw
    import numpy as np
    import polars as pl

__all__ = ["KEYS", "PolarsEngine", "key_of", "polars_failures"]

KEYS = "__vallum_key"
_PIECE_ROWS = 65_536
_PIECE_CELLS = 16_000_000  # 1,600 rows of 10,000 columns
_VERIFIED = 100_000  # suspected repeats that are compared by value; more of them cannot all be collisions of 64 bits


class PolarsEngine:
    name = "polars"

    def __init__(
        self, folder: Path | None = None, run_keys: int = RUN_KEYS, random: Callable[[int], int] = secrets.randbits
    ) -> None:
        self._folder = folder
        self._run_keys = run_keys
        self._seed = random(63)  # who writes the data cannot aim at collisions

    def matches(self, column: str, pattern: str) -> "nw.Expr":
        import narwhals as nw

        return nw.col(column).str.contains(pattern)

    def scalars(self, table: Table, asked: Sequence[Expression]) -> Mapping[str, Any]:
        import narwhals as nw

        with polars_failures():
            lazy = nw.from_native(table.frame).select(*self._named(asked))
            row = lazy.collect(backend="polars", engine="streaming").row(0)
        return {e.key: value for e, value in zip(asked, row, strict=True)}

    def scalars_shown(
        self, table: Table, asked: Sequence[Expression], show: "Callable[[pl.DataFrame], None]"
    ) -> Mapping[str, Any]:
        """As `scalars`, piece by piece, each shown whole and in order: the table is decoded once for both."""
        import narwhals as nw
        import polars as pl

        held, found = list[pl.DataFrame](), list[tuple[Any, ...]]()
        with polars_failures():
            # planned once, over whatever piece is held: to say it anew for each costs twice what answering does
            pieces = pl.defer(lambda: held[0], schema=table.frame.collect_schema(), validate_schema=False)
            answers: Any = nw.from_native(pieces).select(*self._named(asked)).to_native()
            for piece in _pieces(table.frame):
                held[:] = [piece]
                found.append(answers.collect().row(0))
                show(piece)
            if not found:
                return self.scalars(table, asked)
        return {e.key: e.joined(scalars) for e, scalars in zip(asked, zip(*found, strict=True), strict=True)}

    def _named(self, asked: Sequence[Expression]) -> "list[nw.Expr]":
        made = [e.make(self).sum() if e.is_predicate else e.make(self) for e in asked]
        return [e.alias(str(at)) for at, e in enumerate(made)]

    def repeats(self, table: Table, asked: Repeats) -> int:
        import polars as pl

        frame = table.frame
        if not asked.nulls_equal:
            frame = frame.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in asked.columns))
        keys, exact = key_of(table, asked.columns, self._seed, nulls=asked.nulls_equal)
        if exact:
            with polars_failures():
                return self._repeated_integers(frame, keys)
        with polars_failures(), self._spooled(frame, keys) as spool:
            repeats = spool.repeats()
            if not repeats:
                return repeats
            suspects = spool.repeated_keys(_VERIFIED)
            if len(suspects) >= _VERIFIED:
                return repeats
            # equal keys are equal rows unless they collide: compare these few by value
            rows = self._rows_of(frame, asked.columns, keys, suspects)
            true = rows.height - rows.select(asked.columns).n_unique()
            return true

    def orphans(self, table: Table, asked: Orphans) -> int:
        import polars as pl

        with polars_failures():
            parent = asked.parent.frame.select(pl.col(asked.parent_column).alias(KEYS)).drop_nulls().unique()
            mine = table.frame.select(pl.col(asked.column).alias(KEYS)).drop_nulls()
            found = mine.join(parent, on=KEYS, how="anti").select(pl.len()).collect(engine="streaming")
        return int(found.item())

    def shared(self, table: Table, asked: Shared) -> int:
        with polars_failures():
            mine, theirs = comparable(table, asked.other, asked.columns)
            keys, _ = key_of(table, asked.columns, self._seed, nulls=True)
            with self._spooled(mine, keys) as here, self._spooled(theirs, keys) as there:
                count, suspects = here.shared(there, _VERIFIED)
            if not count or len(suspects) >= _VERIFIED:
                return count
            left = self._rows_of(mine, asked.columns, keys, suspects)
            right = self._rows_of(theirs, asked.columns, keys, suspects).unique()
            return left.join(right, on=asked.columns, how="semi", nulls_equal=True).height

    def _repeated_integers(self, frame: "pl.LazyFrame", values: "pl.Expr") -> int:
        """In a window while they lie close together; from there on in a spool, which is told each value seen once."""
        window, before = Window(), 0
        with Spool(self._folder, self._run_keys) as spool:
            close = True
            for batch in frame.select(values.alias(KEYS)).collect_batches(maintain_order=False, engine="streaming"):
                numbers = as_integers(batch.to_series())
                if close and not window.add(numbers):
                    close, before = False, window.count - window.distinct()
                    spool.add(spread(window.values()))
                    window = Window()
                if not close:
                    spool.add(spread(numbers))
            return window.count - window.distinct() if close else before + spool.repeats()

    @contextmanager
    def _spooled(self, frame: "pl.LazyFrame", keys: "pl.Expr") -> Iterator[Spool]:
        with Spool(self._folder, self._run_keys) as spool:
            for batch in frame.select(keys.alias(KEYS)).collect_batches(maintain_order=False, engine="streaming"):
                spool.add(batch.to_series().to_numpy())
            yield spool

    def _rows_of(
        self, frame: "pl.LazyFrame", columns: Sequence[str], keys: "pl.Expr", wanted: "np.ndarray[Any, Any]"
    ) -> "pl.DataFrame":
        import polars as pl

        few = pl.Series(KEYS, wanted, dtype=pl.UInt64)
        picked = frame.select(*columns, keys.alias(KEYS)).filter(pl.col(KEYS).is_in(few.implode()))
        return picked.collect(engine="streaming").select(columns)


def _pieces(frame: "pl.LazyFrame") -> "Iterator[pl.DataFrame]":
    """Batches, small ones joined: what is asked of a piece costs a little for each question, however few its rows."""
    import polars as pl

    waiting, cells = list[pl.DataFrame](), 0
    for batch in frame.collect_batches(maintain_order=True, engine="streaming"):
        waiting.append(batch)
        cells += batch.height * batch.width
        if sum(each.height for each in waiting) >= _PIECE_ROWS or cells >= _PIECE_CELLS:
            yield waiting[0] if len(waiting) == 1 else pl.concat(waiting)
            waiting, cells = [], 0
    if waiting:
        yield pl.concat(waiting)


def key_of(table: Table, columns: Sequence[str], seed: int, *, nulls: bool) -> "tuple[pl.Expr, bool]":
    """A 64-bit key of a row's values in the columns, and whether equal keys always mean equal values.

    One integer column without nulls is its own key; anything else is hashed. -0.0 is 0.0, and NaN equals NaN.
    """
    import polars as pl

    if len(columns) == 1 and not nulls:
        column = table.column(columns[0])
        if column is not None and column.kind in (Kind.INTEGER, Kind.DATE, Kind.TIMESTAMP):
            return pl.col(columns[0]).to_physical(), True
    cleaned = []
    for name in columns:
        column = table.column(name)
        is_float = column is not None and column.is_float
        value = pl.col(name)
        cleaned.append(pl.when(value == 0).then(pl.lit(0.0, pl.Float64)).otherwise(value) if is_float else value)
    whole = cleaned[0] if len(cleaned) == 1 else pl.struct(cleaned)
    return whole.hash(seed), False


def as_integers(series: "pl.Series") -> "np.ndarray[Any, Any]":
    """As int64; what is past its end wraps, so that different values stay different."""
    import numpy as np
    import polars as pl

    whole = series if series.dtype == pl.UInt64 else series.cast(pl.Int64)
    return whole.to_numpy().view(np.int64)


def comparable(table: Table, other: Table, columns: Sequence[str]) -> "tuple[pl.LazyFrame, pl.LazyFrame]":
    """Both tables' columns with one type each, so that equal values hash alike (a day's file may be Int32)."""
    import polars as pl

    wide: dict[Kind, Any] = {
        Kind.INTEGER: pl.Int64, Kind.NUMBER: pl.Float64, Kind.TIMESTAMP: pl.Datetime("us"), Kind.STRING: pl.String,
    }  # fmt: skip

    def normal(of: Table) -> "pl.LazyFrame":
        exprs = []
        for name in columns:
            column = of.column(name)
            kind = column.kind if column is not None else Kind.OTHER
            expr = pl.col(name)
            if column is not None and column.is_zoned:
                expr = expr.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            exprs.append(expr.cast(wide[kind]) if kind in wide else expr)
        return of.frame.select(exprs)

    return normal(table), normal(other)


@contextmanager
def polars_failures() -> Iterator[None]:
    """Polars' errors, and its panics, which derive from BaseException, as EngineFailed, without their words."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, TypeError, ValueError) as e:
        raise EngineFailed(f"Polars failed ({type(e).__name__})") from e
