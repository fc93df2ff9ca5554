"""The rows that failed are those that looking at each row finds."""

import pytest

pl = pytest.importorskip("polars")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vallum.data.gates.rows import bad_rows  # noqa: E402
from vallum.data.gates.rules import InRange, InSet, NotNull  # noqa: E402
from vallum.data.gates.whole import IsUnique, NoLeakage, RefersTo, RowCount  # noqa: E402
from vallum.data.table import Table  # noqa: E402

rows = st.lists(st.tuples(st.none() | st.integers(-2, 6), st.none() | st.sampled_from(["a", "b", "c"])), max_size=20)
SCHEMA = {"n": pl.Int64, "s": pl.String}


def expected(mine, others):
    found = {}
    seen = set()
    for at, (n, s) in enumerate(mine):
        bad = []
        if n is None:
            bad.append("n: NotNull")
        if n is not None and not 0 <= n <= 4:
            bad.append("n: InRange")
        if s is not None and s not in ("a", "b"):
            bad.append("s: InSet")
        if n is not None and s is not None:
            if (n, s) in seen:
                bad.append("n, s: IsUnique")
            seen.add((n, s))
        if n is not None and n not in {other for other, _ in others}:
            bad.append("n: RefersTo other")
        if (n, s) in others:
            bad.append("leakage to other")
        if bad:
            found[at] = tuple(bad)
    return found


@settings(deadline=None, max_examples=80)
@given(rows, rows)
def test_bad_rows_are_those_that_looking_at_each_finds(mine, others):
    table = Table.of(pl.DataFrame(mine, SCHEMA, orient="row"))
    other = Table.of(pl.DataFrame(others, SCHEMA, orient="row"), "other")
    checks = [
        NotNull("n"), InRange("n", minimum=0, maximum=4), InSet("s", values=("a", "b")), IsUnique(("n", "s")),
        RefersTo("n", other, "n"), NoLeakage(other, ("n", "s")), RowCount(5), NotNull("absent"),
    ]  # fmt: skip
    found = [(bad.row, bad.checks) for bad in bad_rows(table, checks)]
    assert found == sorted(found)
    assert dict(found) == expected(mine, others)
