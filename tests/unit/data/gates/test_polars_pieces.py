"""What is measured piece by piece, while somebody looks on, is what one pass measures."""

import datetime as dt

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.data.gates.engines import EngineFailed, PolarsEngine
from vallum.data.gates.engines import polars as engine_module
from vallum.data.gates.model import Expression, Repeats, rows
from vallum.data.gates.rules import HasLength, InRange, NotNull
from vallum.data.gates.run import run_checks
from vallum.data.gates.whole import IsFresh, IsUnique, NoDuplicates
from vallum.data.profile import Profiling, profile_table
from vallum.data.table import Table, lengths_of

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
        pieces_of(patch, piece)
        found = engine.scalars_shown(of, asked, seen.append)
    whole = engine.scalars(of, asked)
    assert {key: value or 0 for key, value in found.items()} == {key: value or 0 for key, value in whole.items()}
    assert sum(part.height for part in seen) == len(values)


def pieces_of(patch, rows):
    patch.setattr(engine_module, "_pieces", lambda frame: frame.collect().iter_slices(rows))


@settings(max_examples=60)
@given(
    st.lists(st.none() | st.integers(-3, 9) | st.integers(-(2**63), 2**63 - 1), max_size=60),
    st.lists(st.none() | st.sampled_from(["", "a", "été"]), min_size=60, max_size=60),
    st.integers(1, 20), st.booleans(), st.sampled_from([("n",), ("w",), ("n", "w")]),
)  # fmt: skip
def test_repeats_are_counted_in_the_pass_as_in_one_of_their_own(numbers, words, piece, nulls, columns):
    words = words[: len(numbers)]
    of = Table.of(pl.DataFrame({"n": numbers, "w": words}, schema={"n": pl.Int64, "w": pl.String}))
    asked, engine = Repeats(columns, nulls), PolarsEngine(run_keys=8)
    whole = list(zip(*(of.frame.collect().get_column(c) for c in columns), strict=True))
    there = [row for row in whole if nulls or None not in row]
    with pytest.MonkeyPatch.context() as patch:
        pieces_of(patch, piece)
        found = engine.scalars_shown(of, [rows(), asked], lambda batch: None)
    assert found.get(asked.key, 0) == engine.repeats(of, asked) == len(there) - len(set(there))


def test_one_of_the_repeats_is_counted_in_the_pass_and_the_others_after(monkeypatch):
    """Each holds 64 MiB: a contract may ask for as many as it has columns."""
    of = Table.of(pl.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "y"], "c": [1, 1, 1]}))
    engine, later = PolarsEngine(), []
    alone = engine.repeats
    monkeypatch.setattr(engine, "repeats", lambda table, asked: later.append(asked.columns) or alone(table, asked))
    report = run_checks(
        of, [IsUnique(("a",)), IsUnique(("b",)), NoDuplicates(("a", "c"))], engine, now=NOW,
        scalars=lambda asked: engine.scalars_shown(of, asked, lambda batch: None),
    )  # fmt: skip
    assert [o.bad_rows for o in report.outcomes] == [1, 1, 1]
    assert later == [("b",), ("a", "c")]


def test_texts_are_measured_once_for_a_check_and_the_profile():
    words = ["ash", None, "", "été", "x" * 40] * 3 + [f"w{at}" for at in range(3000)]
    of, seen = Table.of(pl.DataFrame({"w": words, "v": words})), []
    engine = PolarsEngine()
    with Profiling(of, exact=False) as profiling:

        def look(piece):
            seen.append(piece.columns)
            profiling.look(piece)

        report = run_checks(
            of, [HasLength("w", minimum=2, maximum=39)], engine, now=NOW,
            scalars=lambda asked: engine.scalars_shown(of, asked, look),
        )  # fmt: skip
        assert report.outcomes[0].bad_rows == 6
        assert seen == [["w", "v", lengths_of("w")]]
        assert profiling.profile().columns == profile_table(of).columns
        assert profiling.sample(5).columns == ["w", "v"]
        assert profiling.mean_chars("w") == profiling.mean_chars("v")


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


def test_looking_on_beside_the_reader_sees_all_of_it():
    frame = pl.DataFrame({"n": range(3000), "w": [f"w{at % 1700}" for at in range(3000)]})
    of = Table.of(frame)
    with Profiling(of, exact=False) as profiling:
        with profiling.looking_beside() as look:
            for part in frame.iter_slices(7):
                look(part)
        assert profiling.rows == 3000
        assert profiling.profile().columns == profile_table(of).columns


def test_what_nobody_expected_of_a_look_is_raised_to_the_reader(monkeypatch):
    of = table([1, 2])
    with Profiling(of) as profiling:
        monkeypatch.setattr(profiling._growing, "add", lambda batch: {}["no such"])
        with pytest.raises(KeyError), profiling.looking_beside() as look:
            look(of.frame.collect())


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
