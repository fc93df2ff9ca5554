"""Profiles say what counting by hand says, and nothing of masked columns; what they propose, their table passes."""

import datetime as dt
import json

import pytest

pl = pytest.importorskip("polars")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vallum.data.contracts import parse_contract, propose_contract, render_contract  # noqa: E402
from vallum.data.gates import checks_of, run_checks  # noqa: E402
from vallum.data.gates.engines import PolarsEngine  # noqa: E402
from vallum.data.profile import Profiling, profile_table  # noqa: E402
from vallum.data.profile import build as build_module  # noqa: E402
from vallum.data.readers import read_parquet  # noqa: E402
from vallum.data.table import Table  # noqa: E402

column = {
    "n": st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=40),
    "x": st.lists(st.none() | st.floats(), max_size=40),
    "s": st.lists(st.none() | st.text(max_size=3), max_size=40),
}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_profile_says_what_counting_by_hand_says(data):
    for name, values in column.items():
        drawn = data.draw(values)
        dtype = {"n": pl.Int64, "x": pl.Float64, "s": pl.String}[name]
        (found,) = profile_table(Table.of(pl.DataFrame({name: pl.Series(drawn, dtype=dtype)}))).columns
        there = [v for v in drawn if v is not None and v == v]
        assert found.nulls == len(drawn) - len(there)
        assert found.distinct == len(set(there))
        if there and name == "n":
            assert (found.minimum, found.maximum) == (min(there), max(there))
            assert sum(found.histogram) in (0, len(there))
        if there and name == "s":
            assert (found.shortest, found.longest) == (min(map(len, there)), max(map(len, there)))
        assert sum(rows for _, rows in found.top) <= len(there)
        json.dumps(found.as_json(), allow_nan=False) if name != "x" else json.dumps(found.as_json())


def test_many_distinct_values_are_counted_exactly_and_quantiles_are_near(tmp_path):
    frame = pl.DataFrame({"id": range(300_000), "s": [f"v{i % 250_000}" for i in range(300_000)]})
    profile = profile_table(Table.of(frame), folder=tmp_path, random=lambda bits: 7)
    number, text = profile.columns
    assert (number.distinct, text.distinct) == (300_000, 250_000)
    for rank, value in zip((0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), number.quantiles, strict=True):
        assert abs(value - rank * 299_999) < 0.005 * 300_000
    assert list(tmp_path.iterdir()) == []


def test_what_is_hashed_for_many_columns_at_once_is_counted_as_by_itself(monkeypatch):
    """Past a thousand different values, with nulls, with no number, in both signs of zero, close together, as text."""
    rows = 9000
    frame = pl.DataFrame({
        "whole": [f"v{i % 4001}" for i in range(rows)],
        "gaps": [None if i % 3 else f"v{i % 4001}" for i in range(rows)],
        "zeros": [(0.0, -0.0)[i % 2] if i % 5 == 0 else float(i % 3001) + 0.5 for i in range(rows)],
        "none": [float("nan") if i % 7 == 0 else float(i % 2999) for i in range(rows)],
        "close": [i % 2003 for i in range(rows)],
        "moving": [dt.date(2020, 1, 1) + dt.timedelta(i % 2003 + 40 * (i // 3000)) for i in range(rows)],
        "holes": [2 * (i % 1031) + (i == 8000) for i in range(rows)],
        "kind": pl.Series([f"k{i % 1501}" for i in range(rows)], dtype=pl.Categorical),
        "few": [None if i % 11 == 0 else "abc"[i % 3] for i in range(rows)],
    })  # fmt: skip
    monkeypatch.setattr(build_module, "_MAX_SPAN", 2100)
    monkeypatch.setattr(build_module, "_HASHED_CELLS", 3 * 3000)
    for exact in (True, False):
        with Profiling(Table.of(frame), exact=exact) as profiling:
            for part in frame.iter_slices(3000):
                profiling.look(part)
            found = {each.name: each for each in profiling.profile().columns}
        for name, values in frame.to_dict(as_series=False).items():
            there = [v for v in values if v is not None and v == v]
            assert (found[name].distinct, found[name].nulls) == (len(set(there)), rows - len(there)), name
        assert dict(found["few"].top) == {word: frame.get_column("few").to_list().count(word) for word in "abc"}


def test_a_file_that_says_its_rows_is_sampled_for_as_many_and_one_that_says_more_is_read_again(tmp_path):
    path, drawn, rows = tmp_path / "x.parquet", [], 300_000
    frame = pl.DataFrame({"n": range(rows), "w": [f"w{at}" for at in range(rows)]})
    frame.write_parquet(path, row_group_size=20_000)
    table = read_parquet(path)
    with Profiling(table, exact=False, random=lambda bits: 7) as profiling:
        for part in frame.iter_slices(20_000):
            taken = profiling._growing.sample._rows
            profiling.look(part)
            drawn.append(profiling._growing.sample._rows - taken)
        sample = profiling.sample()
        assert profiling.rows == rows
    assert drawn[0] < 0.4 * 20_000, "and not all of them, to be left out later"
    assert sample.height == build_module.SAMPLE
    assert sample.get_column("w").to_list() == [f"w{at}" for at in sample.get_column("n")]
    shares = (sample.get_column("n") // 20_000).value_counts().get_column("count")
    assert shares.min() > 0.9 * build_module.SAMPLE / 15
    with Profiling(table, exact=False) as profiling:
        for part in frame.head(100_000).iter_slices(20_000):
            profiling.look(part)
        assert profiling.rows == -1, "a hundred thousand rows: too few of them were drawn"
        profiling.read()
        assert (profiling.rows, profiling.sample().height) == (rows, build_module.SAMPLE)


def test_masked_columns_show_no_value():
    frame = pl.DataFrame({"email": ["jo@example.com"] * 60 + ["al@example.com"] * 40, "salary": [91_234] * 100})
    profile = profile_table(Table.of(frame), ["email", "salary"])
    said = json.dumps(profile.as_json()) + render_contract(propose_contract(profile, id="x")).decode()
    assert profile.columns[0].distinct == 2
    assert "example.com" not in said
    assert "91234" not in said


def test_a_table_passes_what_was_proposed_of_it_and_another_does_not():
    rows = 400
    frame = pl.DataFrame({
        "id": range(rows), "label": ["yes", "no", "no", "no"] * 100, "x": [float(i % 7) for i in range(rows)],
        "maybe": [None if i % 9 == 0 else i for i in range(rows)],
        "day": [dt.date(2026, 1, 1 + i % 28) for i in range(rows)],
    })  # fmt: skip
    table = Table.of(frame)
    contract = parse_contract(render_contract(propose_contract(profile_table(table), id="x", label="label")))
    engine = PolarsEngine()

    def judged(other):
        checks = checks_of(contract, contract.tables[0], engine, references=[table])
        report = run_checks(Table.of(other), checks, engine, now=dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
        return {o.check for o in report.outcomes if not o.passed}

    assert judged(frame) == set()
    worse = frame.with_columns(
        id=pl.lit(1), label=pl.lit("yes"), x=-pl.col("x"), maybe=pl.lit(None, pl.Int64), day=pl.lit(None, pl.Date)
    )
    found = judged(worse)
    assert {"id: IsUnique", "label: LabelDrift", "x: InRange", "maybe: NullSpike", "day: NotNull"} <= found
    without = checks_of(contract, contract.tables[0], engine)
    report = run_checks(table, without, engine, now=dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
    assert [o.ran for o in report.outcomes if "spike" in o.check.lower() or "drift" in o.check.lower()] == [
        False,
        False,
    ]
    assert not report.passed
