"""The conformance suite of engines: each gives the same numbers, and so the same verdicts, on any table."""

import datetime as dt
from contextlib import contextmanager

import pytest

pl = pytest.importorskip("polars")
pytest.importorskip("narwhals")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vallum.data.anonymise import assess  # noqa: E402
from vallum.data.gates.anonymity import Anonymity  # noqa: E402
from vallum.data.gates.drift import FeatureDrift, GroupRates, LabelDrift, NullSpike  # noqa: E402
from vallum.data.gates.engines import DuckDBEngine, PolarsEngine, SparkEngine  # noqa: E402
from vallum.data.gates.learned import History  # noqa: E402
from vallum.data.gates.rules import HasLength, InRange, InSet, Matches, NoFormulas, NotNull, ParsesAs  # noqa: E402
from vallum.data.gates.run import run_checks  # noqa: E402
from vallum.data.gates.whole import (  # noqa: E402
    HasColumns,
    IsFresh,
    IsUnique,
    NoDuplicates,
    NoLeakage,
    RefersTo,
    RowCount,
)
from vallum.data.readers import Staging  # noqa: E402
from vallum.data.table import Column, Kind, Table  # noqa: E402

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
SCHEMA = {
    "id": pl.Int64, "amount": pl.Float64, "text": pl.String, "flag": pl.Boolean, "day": pl.Date,
    "at": pl.Datetime("us"),
}  # fmt: skip


@contextmanager
def duckdb_engine(_):
    pytest.importorskip("duckdb")
    with Staging() as staging:
        engine = DuckDBEngine(staging)
        yield engine
        engine.close()


@contextmanager
def polars_engine(_):
    yield PolarsEngine(run_keys=8, grouped_rows=4)  # so small that spools merge many runs, and groups come in parts


@contextmanager
def spark_engine(request):
    with Staging() as staging:
        yield SparkEngine(request.getfixturevalue("spark"), staging)


ENGINES = {"polars": polars_engine, "duckdb": duckdb_engine, "spark": spark_engine}


SLOW = [pytest.mark.long, pytest.mark.timeout(600)]  # a local Spark plans each query for a second


@pytest.fixture(params=["polars", "duckdb", pytest.param("spark", marks=SLOW)])
def engine(request):
    with ENGINES[request.param](request) as made:
        yield made


def table(rows, name="table"):
    return Table.of(pl.DataFrame(rows, schema=SCHEMA, orient="row"), name)


def checks(parent, other):
    columns = tuple(Column(name, kind) for name, kind in (
        ("id", Kind.INTEGER), ("amount", Kind.NUMBER), ("text", Kind.STRING), ("flag", Kind.BOOLEAN),
        ("day", Kind.DATE), ("at", Kind.TIMESTAMP)))  # fmt: skip
    labels = History(("a", "b", "other"), ((50, 40, 10), (48, 41, 11)))
    return [
        HasColumns(columns), RowCount(2, 30), NotNull("amount", 0.2), NotNull("text"),
        ParsesAs("id", kind=Kind.INTEGER),
        InRange("id", minimum=0, below=50), InRange("amount", minimum=-1.5, maximum=100.0),
        InRange("day", minimum=dt.date(2026, 1, 1)), InRange("at", maximum=dt.datetime(2026, 2, 28, 12)),
        InSet("text", values=("a", "b", "é")), InSet("flag", values=(True,)), InSet("amount", values=(1, 2.5)),
        Matches("text", pattern=r"\A[a-z]{1,3}\z"), HasLength("text", minimum=1, maximum=2), NoFormulas("text"),
        IsUnique(("id",)), IsUnique(("id", "text"), 0.1), IsUnique(("amount",)), IsUnique(("at",)), IsUnique(("text",)),
        NoDuplicates(tuple(SCHEMA)), NoLeakage(other, ("id", "amount", "text")), RefersTo("text", parent, "text"),
        IsFresh("at", dt.timedelta(days=2)), NullSpike("flag", History(("null", "value"), ((1, 9), (2, 8), (1, 10)))),
        LabelDrift("text", ("a", "b"), labels), LabelDrift("text", ("a", "b"), labels, "psi"),
        LabelDrift("text", ("a", "b"), labels, "chi_square", 0.01),
        FeatureDrift("amount", (0.0, 2.5, 50.0), History(("0", "1", "2", "3"), ((5, 5, 5, 5),))),
        GroupRates("flag", True, "text", ("a", "b")), Anonymity(("text", "flag"), 2), Anonymity(("amount",), 3),
        Anonymity(("day", "flag"), 2, "text", 2), Anonymity(("flag",), 2, "amount", 3), Anonymity(("at", "id"), 5),
    ]  # fmt: skip


texts = st.sampled_from(["a", "b", "é", "=1+1", "+49 170", "+cmd|x", "", "abcd", "a\n", "ab", "A", "🤦🏼‍♂️"])
row = st.tuples(
    st.none() | st.integers(-3, 60) | st.sampled_from([2**62, -(2**62)]),
    st.none() | st.sampled_from([0.0, -0.0, 1.0, 2.5, -7.25, 99.5, float("nan"), float("inf"), float("-inf")]),
    st.none() | texts,
    st.none() | st.booleans(),
    st.none() | st.dates(dt.date(2025, 12, 25), dt.date(2026, 3, 5)),
    st.none() | st.datetimes(dt.datetime(2026, 2, 27), dt.datetime(2026, 3, 1, 1)),
)
several = st.lists(row, max_size=25)


def outcome(report):
    return [(o.check, o.ran, o.passed, o.bad_rows, o.reason, o.figures) for o in report.outcomes]


def judged(rows, others, engine):
    return outcome(
        run_checks(table(rows), checks(table(others, "parent"), table(others, "evaluation")), engine, now=NOW)
    )


def test_polars_and_duckdb_agree_on_any_table():
    with duckdb_engine(None) as duck, polars_engine(None) as fast:

        @settings(max_examples=25, deadline=None)
        @given(rows=several, others=several)
        def agree(rows, others):
            assert judged(rows, others, duck) == judged(rows, others, fast)

        agree()


ROWS = [
    (1, 1.0, "a", True, dt.date(2026, 1, 1), dt.datetime(2026, 2, 28)),
    (1, float("nan"), "b", None, None, None),
    (2, -0.0, "=1", False, dt.date(2025, 12, 30), dt.datetime(2026, 2, 28, 13)),
    (2, 0.0, "a\n", False, dt.date(2026, 1, 2), None),
    (None, None, None, None, None, None),
    (None, None, None, None, None, None),
    (55, float("inf"), "🤦🏼‍♂️", True, dt.date(2026, 3, 1), dt.datetime(2026, 2, 28, 13)),
]


def test_every_engine_says_what_counting_by_hand_says(engine):
    found = {o[0]: (o[1], o[3]) for o in judged(ROWS, ROWS[1:3], engine)}
    assert {name: bad for name, (_, bad) in found.items() if bad is not None} == {
        "amount: NotNull": 3, "text: NotNull": 2, "id: ParsesAs": 0, "id: InRange": 1, "amount: InRange": 2,
        "day: InRange": 1, "at: InRange": 2, "text: InSet": 3, "flag: InSet": 2, "amount: InSet": 4,
        "text: Matches": 3, "text: HasLength": 1, "text: NoFormulas": 1, "id: IsUnique": 2, "id, text: IsUnique": 0,
        "amount: IsUnique": 1, "at: IsUnique": 1, "text: IsUnique": 0, "duplicate rows": 1,
        "leakage to evaluation": 2, "text: RefersTo parent": 3, "flag by text: GroupRates": 6,
        "text, flag: Anonymity": 5, "amount: Anonymity": 4, "day, flag: Anonymity of text": 4,
        "flag: Anonymity of amount": 7, "at, id: Anonymity": 7,
    }  # fmt: skip
    assert all(ran for ran, _ in found.values())


def test_a_check_that_cannot_run_fails_and_takes_no_other_with_it(engine):
    asked = [InRange("text", minimum=1), NotNull("absent"), NotNull("text"), InRange("id", minimum=dt.date(2026, 1, 1))]
    report = run_checks(table(ROWS), asked, engine, now=NOW)
    assert [(o.ran, o.passed) for o in report.outcomes] == [
        (False, False),
        (False, False),
        (True, False),
        (False, False),
    ]
    assert not report.passed


def test_no_checks_let_nothing_through(engine):
    assert not run_checks(table(ROWS), [], engine, now=NOW).passed


def test_statistics_of_a_file_are_not_believed(engine, tmp_path):
    """Polars leaves NaN out of a Parquet's minimum and maximum; DuckDB concluded from them that there was none."""
    from vallum.data.readers import read_parquet

    pl.DataFrame({"x": [1.0, float("nan"), 2.0]}).write_parquet(tmp_path / "x.parquet", statistics=True)
    report = run_checks(read_parquet(tmp_path / "x.parquet"), [NotNull("x"), InRange("x", maximum=5)], engine, now=NOW)
    assert [o.bad_rows for o in report.outcomes] == [1, 1]


@pytest.mark.parametrize("type_", [pl.Int64, pl.UInt64, pl.Int8, pl.Date, pl.Datetime("us")])
def test_repeats_that_leave_a_window_are_counted_once(type_, monkeypatch):
    """Numbers close together, then far apart, then the first again: in the window, past it, and in both."""
    from vallum.data.gates.engines import polars as engines
    from vallum.data.window import Window

    monkeypatch.setattr(engines, "Window", lambda: Window(8))
    for close, far in (([1, 2, 2, 3], []), ([1, 2, 2, 3], [90, 2, 1, 90, 90, 7]), ([90, 1], [90, 1, 1])):
        values = pl.Series("id", close * 30 + far, dtype=pl.Int32).cast(type_)
        pieces = pl.concat([pl.DataFrame({"id": values[:3]}), pl.DataFrame({"id": values[3:]})], rechunk=False)
        report = run_checks(Table.of(pieces, "t"), [IsUnique(("id",))], PolarsEngine(run_keys=8), now=NOW)
        assert report.outcomes[0].bad_rows == len(values) - len(set(close + far))


def test_a_set_of_few_texts_and_one_of_many_say_the_same(engine):
    few, many = ("a", "b", "é"), ("a", "b", "é", *(f"none {number}" for number in range(40)))
    bad = [
        run_checks(table(ROWS), [InSet("text", values=values)], engine, now=NOW).outcomes[0].bad_rows
        for values in (few, many)
    ]
    assert bad == [3, 3]


def risk_by_hand(rows, columns, sensitive):
    """As `vallum data risk` tells it. NaN is null here, and no value of its own."""
    names = list(SCHEMA)
    cells = {n: [None if r[names.index(n)] != r[names.index(n)] else r[names.index(n)] for r in rows] for n in names}
    return assess(cells, columns, sensitive=sensitive)


@pytest.mark.parametrize(
    ("columns", "sensitive"), [(("flag", "amount"), "text"), (("text",), "amount"), (("day",), None)]
)
def test_a_contract_and_the_risk_report_tell_the_same(columns, sensitive, engine):
    for rows in (ROWS, ROWS * 3, [ROWS[0]] * 4, []):
        report = risk_by_hand(rows, columns, sensitive)
        check = Anonymity(columns, 3, sensitive or "", 2 if sensitive else 0)
        (found,) = run_checks(table(rows), [check], engine, now=NOW).outcomes
        said = dict(found.figures)
        assert (said["k"], said["groups"], said["unique_rows"]) == (report.k, report.groups, report.unique_rows)
        assert said["highest_risk"] == report.prosecutor_highest
        assert said.get("l") == report.distinct_l
        due = not rows or (report.k >= 3 and (sensitive is None or report.distinct_l >= 2))
        assert (found.ran, found.passed) == (True, due)


def test_columns_of_one_name_in_capitals_and_odd_names_are_told_apart(engine):
    """Databases compare names without capitals, and a name may say anything."""
    frame = pl.DataFrame({"a b": [1, 1, 2, 2], '"; DROP': ["x", "x", "y", "y"], "c": [1.5, 2.5, 1.5, 1.5]})
    check = Anonymity(("a b", '"; DROP'), 2, "c", 2)
    (found,) = run_checks(Table.of(frame), [check], engine, now=NOW).outcomes
    assert (found.passed, found.bad_rows, dict(found.figures)["l"]) == (False, 2, 1)
    assert "1.5" not in found.reason


def test_what_cannot_be_grouped_by_fails(engine):
    frame = pl.DataFrame({"a": [1, 1], "tags": [[1], [2]]})
    asked = [Anonymity(("a", "tags"), 2), Anonymity(("absent",), 2), Anonymity(("a",), 2)]
    report = run_checks(Table.of(frame), asked, engine, now=NOW)
    assert [(o.ran, o.passed) for o in report.outcomes] == [(False, False), (False, False), (True, True)]
