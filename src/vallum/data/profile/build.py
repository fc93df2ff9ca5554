"""Profiling, batch by batch: memory stays at a batch, a sample and the columns' buffers, whatever the table's size.

A profile may take a pass of its own (`profile_table`), or look on while a gate takes its own (`Profiling.look`):
decoding a file is most of either's work, and is then done once.

Distinct values are counted exactly: a column of few values by the values, one of many by hashes on disk (Polars'
approximate count was 11 % off). A collision of two hashes of 64 bits would make the count one too small: in a hundred
million values, with a chance of 0.0003.
"""

import io
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vallum.data.profile.model import ColumnProfile, Scalar, TableProfile
from vallum.data.profile.sketch import DistinctSketch
from vallum.data.readers.parquet import refusing_broken, rows_told
from vallum.data.spool import Spool
from vallum.data.table import Column, Kind, Table, lengths_of

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FEW", "SAMPLE", "Profiling", "profile_table"]

FEW = 1000  # distinct values up to which each is counted
_TOP = 20
_BINS = 20
SAMPLE = 100_000
_AMPLE = 1.03  # times as many are drawn where the rows are told: nine standard deviations more than are kept
_DRAWN = "__vallum_drawn"
_PICKED = 4  # batches whose texts are held for the few rows drawn of them: a copy's cost is of the copy, not of rows
_TRIED = 4  # times FEW: rows of a batch that tell a column of many values
_MAX_SPAN = 1 << 14  # from the least to the greatest integer of a batch, to count them in an array
_HANDFUL = 16
_HASHED_CELLS = 1 << 20  # 8 MiB of hashes at once
_RANKS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_ORDERED = (Kind.INTEGER, Kind.NUMBER, Kind.DATE, Kind.TIMESTAMP, Kind.TIME)
_WHOLE = (Kind.INTEGER, Kind.DATE)
_COMPARED = (*_ORDERED, Kind.STRING, Kind.BOOLEAN)
_SPOOL_KEYS = 1 << 18  # 2 MiB a column and run: many columns have theirs at once


def profile_table(
    table: Table,
    masked: Collection[str] = (),
    *,
    folder: Path | None = None,
    exact: bool = True,
    progress: Callable[[int], None] | None = None,
    random: Callable[[int], int] = secrets.randbits,
) -> TableProfile:
    """One pass over the table. `masked` columns show counts and lengths, and no values. Spools go below `folder`.

    Without `exact`, more than 65,536 distinct values are counted to 0.4 %, for a tenth of the work.

    Raises BadData for a source that turns out broken.
    """
    with Profiling(table, folder=folder, exact=exact, random=random) as profiling:
        profiling.read(progress)
        return profiling.profile(masked)


class Profiling:
    """A table's profile as it grows. For one thread at a time. Close it."""

    def __init__(
        self,
        table: Table,
        *,
        folder: Path | None = None,
        exact: bool = True,
        random: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._table = table
        self._folder, self._exact, self._random = folder, exact, random
        self._told_rows = rows_told(table)
        self._growing = self._new(self._told_rows)
        self._failed = False

    def _new(self, told_rows: int) -> "_Growing":
        return _Growing(self._table, self._folder, self._exact, self._random, told_rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._growing.close()

    def read(self, progress: Callable[[int], None] | None = None) -> None:
        """All of it, in a pass of its own; whatever was seen before is forgotten. Raises BadData."""
        import polars as pl

        self._growing.close()
        self._told_rows = 0
        self._growing, self._failed = self._new(0), False
        names = [c.name for c in self._table.columns]
        with refusing_broken(self._table.name):
            for batch in self._table.frame.select(pl.col(names)).collect_batches(
                maintain_order=True, engine="streaming"
            ):
                self._growing.add(batch)
                if progress is not None:
                    progress(self.rows)

    def look(self, batch: "pl.DataFrame") -> None:
        """Rows that somebody else reads, with all columns, and such `lengths_of` texts as he measured. Raises nothing:
        what fails here is not the reader's. `rows` is then not what was read, and `read` says why."""
        import polars as pl

        if self._failed:
            return
        try:
            self._growing.add(batch)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, TypeError, ValueError):
            self._failed = True

    @contextmanager
    def looking_beside(self) -> "Iterator[Callable[[pl.DataFrame], None]]":
        """`look` in a second thread, one batch behind whoever reads, so that both have work. All batches were looked at
        when the context ends."""
        behind: Future[None] | None = None
        with ThreadPoolExecutor(1, "vallum-profile") as thread:

            def look(batch: "pl.DataFrame") -> None:
                nonlocal behind
                if behind is not None:
                    behind.result()
                behind = thread.submit(self.look, batch)

            yield look
            if behind is not None:
                behind.result()

    @property
    def rows(self) -> int:
        """How many were seen; -1 when a look failed, or when there were fewer than the file says: too few of them were
        drawn for the sample then."""
        return -1 if self._failed or self._growing.rows < self._told_rows else self._growing.rows

    def sample(self, rows: int = SAMPLE) -> "pl.DataFrame":
        """So many rows drawn evenly from all that was seen, at most 100,000; all of them where there are no more."""
        return self._growing.sample.frame(self._table, rows)

    def mean_chars(self, column: str) -> float:
        """Of a column of texts, over those that are there; 0 without."""
        found = next(each for each in self._growing.columns if each.of.name == column)
        return found.chars / found.values if found.values else 0.0

    def profile(self, masked: Collection[str] = ()) -> TableProfile:
        kept = self.sample()
        made = tuple(column.done(kept, column.of.name in masked) for column in self._growing.columns)
        return TableProfile(self._table.name, self.rows, kept.height, made)


class _Growing:
    def __init__(
        self, table: Table, folder: Path | None, exact: bool, random: Callable[[int], int], told_rows: int
    ) -> None:
        self._seed = random(63)
        self._stack = ExitStack()
        self.rows = 0
        self.sample = _Sample(random(63), told_rows)
        self.columns = [_Column(c, self._seed, self._stack, folder, exact) for c in table.columns]

    def close(self) -> None:
        self._stack.close()

    def add(self, batch: "pl.DataFrame") -> None:
        there = frozenset(batch.columns)
        most = max(1, _HASHED_CELLS // max(1, batch.height))
        for at in range(0, len(self.columns), most):
            columns = self.columns[at : at + most]
            hashes = _hashes([batch.get_column(c.of.name) for c in columns if c.wants_hashes], self._seed)
            for column in columns:
                name, chars = column.of.name, lengths_of(column.of.name)
                lengths = batch.get_column(chars) if chars in there else None
                column.add(batch.get_column(name), lengths, hashes.get(name))
        self.sample.add(batch.select(column.of.name for column in self.columns))
        self.rows += batch.height


class _Sample:
    """Rows drawn evenly from all: each has a random number, and those with the smallest are kept.

    Once the bar is known, how many of a batch lie below it, which, and at what number, is drawn for those alone: as
    evenly as a number for each row, at a fraction of the work. Who is told how many rows will come starts with a bar
    that leaves a few more than are kept: most that are taken are else taken for nothing.
    """

    def __init__(self, seed: int, told_rows: int) -> None:
        import numpy as np

        self._random = np.random.default_rng(seed)
        self._kept: pl.DataFrame | None = None
        self._waiting: list[pl.DataFrame] = []
        self._picked: list[pl.DataFrame] = []  # which still hold on to their batches
        self._rows = 0  # of both
        self._bar = min(1.0, _AMPLE * SAMPLE / max(1, told_rows))

    def add(self, batch: "pl.DataFrame") -> None:
        import numpy as np
        import polars as pl

        taken = batch
        if self._bar < 1:
            many = int(self._random.binomial(batch.height, self._bar))
            if not many:
                return
            taken = batch[np.sort(self._random.choice(batch.height, many, replace=False))]
        drawn = pl.Series(_DRAWN, self._random.random(taken.height) * self._bar)
        self._picked.append(taken.with_columns(drawn))
        self._rows += taken.height
        if self._rows > SAMPLE:
            self._settle()
        elif len(self._picked) == _PICKED:
            self._let_go()

    def _let_go(self) -> None:
        import polars as pl

        if self._picked:
            self._waiting.append(_copied(pl.concat(self._picked, rechunk=False)))
            self._picked = []

    def _settle(self) -> None:
        import polars as pl

        self._let_go()
        joined = pl.concat([*([self._kept] if self._kept is not None else []), *self._waiting], rechunk=False)
        self._waiting, self._rows = [], 0
        self._kept = _smallest(joined, SAMPLE)
        if self._kept.height == SAMPLE:
            self._bar = float(self._kept.get_column(_DRAWN).max())  # type: ignore[arg-type]  # of numbers

    def frame(self, table: Table, rows: int) -> "pl.DataFrame":
        import polars as pl

        if self._rows:
            self._settle()
        if self._kept is None:
            return pl.DataFrame(schema=table.frame.collect_schema())
        return _smallest(self._kept, rows).drop(_DRAWN)


def _copied(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Texts by themselves: rows that are picked out of a batch hold on to all of its texts, and so, batch by batch, to
    all of the table's."""
    import polars as pl

    texts = frame.select(pl.col(pl.String, pl.Binary))
    if not texts.width:
        return frame
    out = io.BytesIO()
    texts.write_ipc_stream(out, compat_level=pl.CompatLevel.oldest())  # as one run of bytes, and no views
    out.seek(0)
    return frame.with_columns(pl.read_ipc_stream(out))


def _smallest(frame: "pl.DataFrame", rows: int) -> "pl.DataFrame":
    """In their order; numbers drawn as doubles are equal never enough to matter."""
    import polars as pl

    if frame.height <= rows:
        return frame
    bar = frame.get_column(_DRAWN).bottom_k(rows).max()
    return frame.filter(pl.col(_DRAWN) <= bar).head(rows)


class _Column:
    def __init__(self, of: Column, seed: int, stack: ExitStack, folder: Path | None, exact: bool) -> None:
        self.of = of
        self._seed, self._stack, self._folder, self._exact = seed, stack, folder, exact
        self._nulls = self.values = 0
        self.chars = 0.0
        self._counts: dict[Any, int] | None = {} if of.kind in _COMPARED else None
        self._spool: Spool | DistinctSketch | None = None
        self._low: Any = None
        self._high: Any = None
        self._sum = 0.0
        self._shortest: int | None = None
        self._longest: int | None = None
        self._was_dense = False
        self._run: tuple[Any, Any] | None = None  # of integers or dates, all of which were counted
        self._handful: dict[str, int] = {}  # texts and their hashes

    @property
    def wants_hashes(self) -> bool:
        """Whether `add` will most likely need those of all values."""
        return not self._was_dense if self._spool is not None else self._is_handful

    @property
    def _is_handful(self) -> bool:
        return self.of.kind is Kind.STRING and 0 < len(self._counts or ()) <= _HANDFUL

    def add(self, series: "pl.Series", chars: "pl.Series | None" = None, hashes: "pl.Series | None" = None) -> None:
        """`chars` is how long each text is, and `hashes` what `_hashes` has of it, if that is known."""
        import polars as pl

        total: Any = series.sum() if self.of.kind in (Kind.INTEGER, Kind.NUMBER) else None
        if self.of.is_float and total != total and series.is_nan().any():  # one that is none makes the sum none
            series = series.fill_nan(None)
            total = series.sum()
        nulls = series.null_count()
        self._nulls += nulls
        if nulls:
            hashes = None if hashes is None else hashes.filter(series.is_not_null())
            series = series.drop_nulls()
        self.values += len(series)
        if not len(series):
            return
        if self.of.kind is Kind.STRING and series.dtype != pl.String:
            series, hashes = series.cast(pl.String), None
        if self.of.kind in _ORDERED:
            low, high = series.min(), series.max()
            self._low = low if self._low is None else min(self._low, low)
            self._high = high if self._high is None else max(self._high, high)
        if total is not None:
            self._sum += float(total)
        if self.of.kind in _COMPARED and not (self._run and self._run[0] <= low and high <= self._run[1]):
            self._distinguish(series, chars, hashes)

    def _distinguish(self, series: "pl.Series", chars: "pl.Series | None", hashes: "pl.Series | None") -> None:
        import polars as pl

        if self._counts is not None:
            counted = self._known(series, hashes) or _counted(series)
            # the exact union is small enough to build
            if counted is not None and len(self._counts) + len(counted) <= 2 * FEW:
                for value, number in counted:
                    key = value + 0.0 if isinstance(value, float) else value
                    self._counts[key] = self._counts.get(key, 0) + number
                if self.of.kind is Kind.STRING:
                    lengths = [len(value) for value, _ in counted]
                    total = sum(len(value) * number for value, number in counted)
                    self._measure(min(lengths), max(lengths), total)
                if len(self._counts) <= FEW:
                    return
                series = pl.Series([], dtype=series.dtype)
            opened = Spool(self._folder, _SPOOL_KEYS) if self._exact else None
            self._spool = self._stack.enter_context(opened) if opened is not None else DistinctSketch()
            known = pl.Series(list(self._counts), dtype=series.dtype)
            self._counts = None
            self._spool.add(self._hashed(known))
        if self._spool is not None and len(series):
            if self.of.kind is Kind.STRING:
                found: Any = series.str.len_chars() if chars is None else chars
                self._measure(found.min(), found.max(), found.mean() * len(series))  # a sum might not fit its 32 bits
            self._spool.add(self._hashed(series, hashes))

    def _measure(self, shortest: int, longest: int, chars: float) -> None:
        self._shortest = shortest if self._shortest is None else min(self._shortest, shortest)
        self._longest = longest if self._longest is None else max(self._longest, longest)
        self.chars += chars

    def _known(self, series: "pl.Series", hashes: "pl.Series | None") -> "list[tuple[Any, int]] | None":
        """How often each text of a handful is there, by their hashes: a quarter of the cost of grouping. None where
        there are others too. One that takes another's hash is as rare as in counting distinct values."""
        import numpy as np
        import polars as pl

        if self._counts is None or not self._is_handful:
            return None
        if len(self._handful) != len(self._counts):
            texts = list(self._counts)
            self._handful = dict(zip(texts, pl.Series(texts).hash(self._seed).to_list(), strict=True))
        found = (series.hash(self._seed) if hashes is None else hashes).to_numpy()
        counted = [(text, int(np.count_nonzero(found == own))) for text, own in self._handful.items()]
        return counted if sum(rows for _, rows in counted) == len(series) else None

    def _hashed(self, series: "pl.Series", hashes: "pl.Series | None" = None) -> Any:
        dense = _dense(series) if self.of.kind in _WHOLE else None
        self._was_dense = dense is not None
        if dense is not None:
            series, hashes = dense[0], None
            ends = series.to_physical()
            if int(ends[-1]) - int(ends[0]) + 1 == len(series):
                self._run = series[0], series[-1]
        if hashes is None:
            hashes = series.hash(self._seed)
        return (hashes.unique() if self._exact else hashes).to_numpy()

    def done(self, sample: "pl.DataFrame", masked: bool) -> ColumnProfile:
        distinct: int | None = None
        if self._counts is not None:
            distinct = len(self._counts)
        elif self._spool is not None:
            distinct = self._spool.distinct()
        error = round(self._spool.error, 4) if isinstance(self._spool, DistinctSketch) else 0.0
        plain = ColumnProfile(
            self.of.name, self.of.kind, self._nulls, distinct, shortest=self._shortest, longest=self._longest,
            masked=masked, distinct_error=error,
        )  # fmt: skip
        if masked or not self.values:
            return plain
        top = sorted((self._counts or {}).items(), key=lambda item: (-item[1], str(item[0])))[:_TOP]
        edges, histogram = self._histogram(sample)
        is_number = self.of.kind in (Kind.INTEGER, Kind.NUMBER)
        return ColumnProfile(
            self.of.name, self.of.kind, self._nulls, distinct, _shown(self._low), _shown(self._high),
            self._sum / self.values if is_number else None, self._quantiles(sample), edges, histogram,
            tuple((_must(value), rows) for value, rows in top), self._shortest, self._longest, distinct_error=error,
        )  # fmt: skip

    def _quantiles(self, sample: "pl.DataFrame") -> tuple[Scalar, ...]:
        if self.of.kind not in _ORDERED:
            return ()
        values = self._sampled(sample).sort()
        if not len(values):
            return (_must(self._low), *(_must(self._low) for _ in _RANKS[1:-1]), _must(self._high))
        inner = [values[min(len(values) - 1, int(rank * len(values)))] for rank in _RANKS[1:-1]]
        return (_must(self._low), *map(_must, inner), _must(self._high))

    def _histogram(self, sample: "pl.DataFrame") -> tuple[tuple[float, ...], tuple[int, ...]]:
        import numpy as np

        if self.of.kind not in (Kind.INTEGER, Kind.NUMBER):
            return (), ()
        values = self._sampled(sample).cast(float)
        finite = values.filter(values.is_finite()).to_numpy()
        low, high = float(self._low), float(self._high)
        if not len(finite) or not np.isfinite([low, high, high - low]).all() or low == high:
            return (), ()
        counts, edges = np.histogram(finite, bins=_BINS, range=(low, high))
        return tuple(map(float, edges)), tuple(map(int, counts))

    def _sampled(self, sample: "pl.DataFrame") -> "pl.Series":
        series = sample.get_column(self.of.name)
        return (series.fill_nan(None) if self.of.is_float else series).drop_nulls()


def _hashes(columns: "Sequence[pl.Series]", seed: int) -> "dict[str, pl.Series]":
    """By their names: asked for in one call, as a call costs as much as some ten thousand hashes."""
    import polars as pl

    if not columns:
        return {}
    return {made.name: made for made in pl.DataFrame(columns).select_seq(pl.all().hash(seed)).iter_columns()}


def _counted(series: "pl.Series") -> "list[tuple[Any, int]] | None":
    """Each value and how often it is there; None for more than two thousand different ones. Integers that lie close
    together are counted in an array, at a quarter of the cost of hashing them."""
    import polars as pl

    if series.dtype == pl.Boolean:
        true = int(series.sum())
        return [(value, rows) for value, rows in ((True, true), (False, len(series) - true)) if rows]
    if len(series) > _TRIED * FEW and series.head(_TRIED * FEW).n_unique() > 2 * FEW:
        return None
    dense = _dense(series)
    if dense is not None:
        values, rows = dense
        return list(zip(values.to_list(), rows, strict=True)) if len(values) <= 2 * FEW else None
    counted = series.value_counts(name="__vallum_rows")
    return list(counted.iter_rows()) if counted.height <= 2 * FEW else None


def _dense(series: "pl.Series") -> "tuple[pl.Series, list[int]] | None":
    """Different values and their rows, of integers and dates that lie close together."""
    import numpy as np
    import polars as pl

    if len(series) <= _MAX_SPAN or not (series.dtype.is_signed_integer() or series.dtype == pl.Date):
        return None
    physical = series.to_physical() if series.dtype == pl.Date else series
    if abs(int(physical[0]) - int(physical[-1])) > _MAX_SPAN:  # mostly as telling as looking at all of them
        return None
    low, high = int(physical.min() or 0), int(physical.max() or 0)  # type: ignore[arg-type]  # integers
    if series.dtype == pl.Int128 or high - low > _MAX_SPAN:
        return None
    rows = np.bincount(physical.to_numpy() - low)
    there = np.flatnonzero(rows)
    return pl.Series(there + low, dtype=physical.dtype).cast(series.dtype), rows[there].tolist()


def _shown(value: Any) -> Scalar | None:
    return None if value is None else _must(value)


def _must(value: Any) -> Scalar:
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)  # JSON has no infinities
    if isinstance(value, int | float | str | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
