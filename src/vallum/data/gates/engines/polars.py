"""Polars, streaming: one fused select, and spools on disk for what would else be a hash table of every row."""

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vallum.data.gates.engines.port import EngineFailed
from vallum.data.gates.engines.relational import alike_sizes, without_nan
from vallum.data.gates.model import Alike, Expression, Operations, Orphans, Repeats, Shared
from vallum.data.spool import RUN_KEYS, Spool, spread
from vallum.data.table import Kind, Table, lengths_of
from vallum.data.window import Window

if TYPE_CHECKING:
    import narwhals as nw
    import numpy as np
    import polars as pl

__all__ = ["KEYS", "PolarsEngine", "key_of", "polars_failures"]

KEYS = "__vallum_key"
_PIECE_ROWS = 65_536
_PIECE_CELLS = 16_000_000  # 1,600 rows of 10,000 columns
_GROUPED_ROWS = 4_000_000  # rows whose groups are held at once: half a gigabyte where each is a group by itself
_AT_ONCE: Any = "in-memory"  # to plan a piece for streaming takes longer than to answer
_VERIFIED = 100_000  # suspected repeats that are compared by value; more of them cannot all be collisions of 64 bits


class PolarsEngine:
    name = "polars"

    def __init__(
        self,
        folder: Path | None = None,
        run_keys: int = RUN_KEYS,
        random: Callable[[int], int] = secrets.randbits,
        grouped_rows: int = _GROUPED_ROWS,
    ) -> None:
        """`run_keys` and `grouped_rows` bound what is held in memory: keys of a run, rows that are grouped at once."""
        self._folder = folder
        self._grouped_rows = grouped_rows
        self._run_keys = run_keys
        self._seed = random(63)  # who writes the data cannot aim at collisions

    def matches(self, column: str, pattern: str) -> "nw.Expr":
        import narwhals as nw

        return nw.col(column).str.contains(pattern)

    def length(self, column: str) -> "nw.Expr":
        import narwhals as nw

        return nw.col(column).str.len_chars()

    def scalars(self, table: Table, asked: Sequence[Expression]) -> Mapping[str, Any]:
        import narwhals as nw

        with polars_failures():
            lazy = nw.from_native(table.frame).select(*_named(asked, self))
            row = lazy.collect(backend="polars", engine="streaming").row(0)
        return {e.key: value for e, value in zip(asked, row, strict=True)}

    def scalars_shown(
        self, table: Table, asked: Sequence[Expression | Repeats], show: "Callable[[pl.DataFrame], None]"
    ) -> Mapping[str, Any]:
        """As `scalars`, piece by piece, each shown whole and in order: the table is decoded once for both, and for the
        first of the repeats asked for. Of one alone, as each holds some 64 MiB; the others are for `repeats`. A piece
        comes with the `lengths_of` those texts whose lengths were asked for."""
        import narwhals as nw
        import polars as pl

        scalars = [each for each in asked if isinstance(each, Expression)]
        held, found = list[pl.DataFrame](), list[tuple[Any, ...]]()
        with polars_failures(), ExitStack() as closing:
            first = [each for each in asked if isinstance(each, Repeats)][:1]
            counting = [closing.enter_context(self._counting(table, each)) for each in first]
            # planned once, over whatever piece is held: to say it anew for each costs twice what answering does
            measured = _MeasuredOnce()
            named = _named(scalars, measured)
            schema = table.frame.collect_schema() | {lengths_of(name): pl.UInt32() for name in measured.texts}
            pieces = pl.defer(lambda: held[0], schema=schema, validate_schema=False)
            answers: Any = nw.from_native(pieces).select(*named).to_native()
            for plain in _pieces(table.frame):
                piece = plain.hstack(_lengths(plain, measured.texts))
                held[:] = [piece]
                found.append(answers.collect(engine=_AT_ONCE).row(0))
                for each in counting:
                    each.add(each.keys_in(piece))
                show(piece)
            if not found:
                return self.scalars(table, scalars)
            repeats = {each.key: counted.repeats() for each, counted in zip(first, counting, strict=True)}
        return repeats | {e.key: e.joined(of) for e, of in zip(scalars, zip(*found, strict=True), strict=True)}

    def repeats(self, table: Table, asked: Repeats) -> int:
        with polars_failures(), self._counting(table, asked) as counting:
            keys = counting.keys_of(table.frame)
            for batch in keys.collect_batches(maintain_order=False, engine="streaming"):
                counting.add(batch.to_series())
            return counting.repeats()

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
            left = _rows_of(mine, asked.columns, keys, suspects)
            right = _rows_of(theirs, asked.columns, keys, suspects).unique()
            return left.join(right, on=asked.columns, how="semi", nulls_equal=True).height

    def alike(self, table: Table, asked: Alike) -> Mapping[tuple[int, int], int]:
        """Where there are many rows, a part of the groups at a time: each may be a row by itself, and is held."""
        import narwhals as nw
        import polars as pl

        found: dict[tuple[int, int], int] = {}
        with polars_failures():
            frame: pl.LazyFrame = without_nan(nw.from_native(table.frame), table, asked).to_native()
            keys = [f"c{at}" for at in range(len(asked.columns))]
            total = table.frame.select(pl.len()).collect(engine="streaming").item()
            parts = 1 + total // self._grouped_rows
            # -0.0 is 0.0 to whoever groups, and hashed as such
            whole = [(pl.col(c) + 0.0 if dtype.is_float() else pl.col(c)) for c, dtype in _typed(frame, keys)]
            for part in range(parts):
                mine = frame if parts == 1 else frame.filter(pl.struct(whole).hash(self._seed) % parts == part)
                sizes: Any = alike_sizes(nw.from_native(mine), asked).to_native()
                for rows, values, groups in sizes.collect(engine="streaming").iter_rows():
                    found[rows, values] = found.get((rows, values), 0) + groups
        return found

    @contextmanager
    def _counting(self, table: Table, asked: Repeats) -> "Iterator[_Counting]":
        with Spool(self._folder, self._run_keys) as spool:
            yield _Counting(table, asked, self._seed, spool)

    @contextmanager
    def _spooled(self, frame: "pl.LazyFrame", keys: "pl.Expr") -> Iterator[Spool]:
        with Spool(self._folder, self._run_keys) as spool:
            for batch in frame.select(keys.alias(KEYS)).collect_batches(maintain_order=False, engine="streaming"):
                spool.add(batch.to_series().to_numpy())
            yield spool


class _MeasuredOnce(PolarsEngine):
    """Lengths are columns beside the texts: Polars would measure them for each question, or, to do it once, pay as much
    again for holding them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, None] = {}

    def length(self, column: str) -> "nw.Expr":
        import narwhals as nw

        self.texts[column] = None
        return nw.col(lengths_of(column))


def _lengths(piece: "pl.DataFrame", texts: Collection[str]) -> "list[pl.Series]":
    """Of all texts in one call."""
    import polars as pl

    if not texts:
        return []
    measured = pl.DataFrame([piece.get_column(name) for name in texts]).select(pl.all().str.len_chars())
    return [measured.get_column(name).alias(lengths_of(name)) for name in texts]


def _named(asked: Sequence[Expression], operations: Operations) -> "list[nw.Expr]":
    made = [e.make(operations).sum() if e.is_predicate else e.make(operations) for e in asked]
    return [e.alias(str(at)) for at, e in enumerate(made)]


class _Counting:
    """How many rows equal an earlier one, from their keys as they come, in any order.

    Integers that are their own keys are seen in a window while they lie close together; from there on in the spool,
    which is told each value seen once.
    """

    def __init__(self, table: Table, asked: Repeats, seed: int, spool: Spool) -> None:
        self._table, self._asked, self._spool = table, asked, spool
        self._keys, self._is_exact = key_of(table, asked.columns, seed, nulls=asked.nulls_equal)
        self._window: Window | None = Window() if self._is_exact else None
        self._before = 0

    def keys_of(self, frame: "pl.LazyFrame") -> "pl.LazyFrame":
        return self._compared(frame).select(self._keys.alias(KEYS))

    def keys_in(self, piece: "pl.DataFrame") -> "pl.Series":
        """As `keys_of`, of what is held."""
        if any(piece.get_column(name).null_count() for name in self._asked.columns):
            return self.keys_of(piece.lazy()).collect(engine=_AT_ONCE).to_series()
        return piece.select(self._keys).to_series()

    def add(self, keys: "pl.Series") -> None:
        if not self._is_exact:
            self._spool.add(keys.to_numpy())
            return
        numbers = as_integers(keys)
        if self._window is not None and not self._window.add(numbers):
            self._before = self._window.count - self._window.distinct()
            self._spool.add(spread(self._window.values()))
            self._window = None
        if self._window is None:
            self._spool.add(spread(numbers))

    def repeats(self) -> int:
        if self._window is not None:
            return self._window.count - self._window.distinct()
        repeats = self._before + self._spool.repeats()
        if self._is_exact or not repeats:
            return repeats
        suspects = self._spool.repeated_keys(_VERIFIED)
        if len(suspects) >= _VERIFIED:
            return repeats
        # equal keys are equal rows unless they collide: compare these few by value
        columns = self._asked.columns
        rows = _rows_of(self._compared(self._table.frame), columns, self._keys, suspects)
        return rows.height - rows.select(columns).n_unique()

    def _compared(self, frame: "pl.LazyFrame") -> "pl.LazyFrame":
        import polars as pl

        if self._asked.nulls_equal:
            return frame
        return frame.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in self._asked.columns))


def _rows_of(
    frame: "pl.LazyFrame", columns: Sequence[str], keys: "pl.Expr", wanted: "np.ndarray[Any, Any]"
) -> "pl.DataFrame":
    import polars as pl

    few = pl.Series(KEYS, wanted, dtype=pl.UInt64)
    picked = frame.select(*columns, keys.alias(KEYS)).filter(pl.col(KEYS).is_in(few.implode()))
    return picked.collect(engine="streaming").select(columns)


def _typed(frame: "pl.LazyFrame", columns: Sequence[str]) -> "list[tuple[str, pl.DataType]]":
    schema = frame.collect_schema()
    return [(name, schema[name]) for name in columns]


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
