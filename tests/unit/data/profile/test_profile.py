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
from vallum.data.profile import profile_table  # noqa: E402
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
