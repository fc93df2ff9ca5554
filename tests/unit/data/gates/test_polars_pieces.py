"""What is measured piece by piece, while somebody looks on, is what one pass measures."""

import datetime as dt

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.data.gates.engines import EngineFailed, PolarsEngine
from vallum.data.gates.engines import polars as engine_module
from vallum.data.gates.model import Expression, rows
from vallum.data.gates.rules import InRange, NotNull
from vallum.data.gates.run import run_checks
from vallum.data.gates.whole import IsFresh
from vallum.data.profile import Profiling, profile_table
from vallum.data.table import Table

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
CHECKS = (NotNull("x"), InRange("x", minimum=0, maximum=5), IsFresh("on", dt.timedelta(days=9)))


def table(values):
    days = [None if value is None else dt.date(2026, 1, 1 + value % 3) for value in values]
    return Table.of(pl.DataFrame({"x": values, "on": days}, schema={"x": pl.Int64, "on": pl.Date}))


@settings(max_examples=40)
@given(st.lists(st.none() | st.integers(-3, 9), max_size=60), st.integers(1, 20))
def test_pieces_come_to_what_the_whole_comes_to(values, piece):
    of, engine, seen = table(values), PolarsEngine(), []
    asked = list({m.key: m for check in CHECKS for m in check.plan(of)}.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "_pieces", lambda frame: frame.collect().iter_slices(piece))
        found = engine.scalars_shown(of, asked, seen.append)
    whole = engine.scalars(of, asked)
    assert {key: value or 0 for key, value in found.items()} == {key: value or 0 for key, value in whole.items()}
    assert sum(part.height for part in seen) == len(values)


def test_small_batches_are_joined_in_their_order():
    frame = pl.concat([pl.LazyFrame({"x": range(at, at + 7)}) for at in range(0, 700, 7)])
    pieces = list(engine_module._pieces(frame))
    assert len(pieces) < 5
    assert pl.concat(pieces).get_column("x").to_list() == list(range(700))


def test_a_measure_that_fails_takes_neither_the_others_nor_the_profile_with_it():
    class Odd(NotNull):
        def plan(self, of):
            return rows(), Expression("odd", lambda _: nw.col("x").str.len_chars() > 3)

    of = table(list(range(9)))
    engine = PolarsEngine()
    with Profiling(of) as profiling:
        report = run_checks(
            of, [Odd("x"), InRange("x", maximum=3)], engine, now=NOW,
            scalars=lambda asked: engine.scalars_shown(of, asked, profiling.look),
        )  # fmt: skip
        assert [(o.ran, o.bad_rows) for o in report.outcomes] == [(False, None), (True, 5)]
        assert profiling.rows != report.rows, "and is then read by itself"
        profiling.read()
        assert profiling.profile().columns == profile_table(of).columns


def test_a_profile_that_fails_takes_no_verdict_with_it(monkeypatch):
    of, engine = table(list(range(9))), PolarsEngine()
    with Profiling(of) as profiling:
        monkeypatch.setattr(profiling._growing, "add", lambda batch: 1 / 0 if batch is None else int("x"))
        report = run_checks(
            of, [InRange("x", maximum=3)], engine, now=NOW,
            scalars=lambda asked: engine.scalars_shown(of, asked, profiling.look),
        )  # fmt: skip
        assert report.outcomes[0].bad_rows == 5
        assert profiling.rows == -1
        profiling.read()
        assert profiling.rows == 9


def test_a_table_that_breaks_off_is_an_engine_that_failed(tmp_path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"x": range(5000)}).write_parquet(path, compression="uncompressed")
    raw = bytearray(path.read_bytes())
    raw[4:40] = bytes(36)
    path.write_bytes(raw)
    with pytest.raises(EngineFailed):
        PolarsEngine().scalars_shown(Table.of(pl.scan_parquet(path)), [rows()], lambda batch: None)


@settings(max_examples=25)
@given(st.lists(st.none() | st.sampled_from(["ash", "elm", "été", ""]), max_size=80), st.integers(1, 30))
def test_looking_on_in_pieces_sees_what_one_pass_sees(words, piece):
    numbers = [len(word or "") * 1000 for word in words]
    frame = pl.DataFrame({"w": words, "n": numbers}, schema={"w": pl.String, "n": pl.Int64})
    of = Table.of(frame)
    with Profiling(of, exact=False) as profiling:
        for part in frame.iter_slices(piece):
            profiling.look(part)
        assert profiling.profile().columns == profile_table(of).columns
        there = [word for word in words if word is not None]
        assert profiling.mean_chars("w") == pytest.approx(sum(map(len, there)) / max(1, len(there)))
