"""What gates cost: twenty checks over Parquet files, beside one hand-written Polars pass, pandera and Great
Expectations, as JSON.

    .venv/bin/python bench/data_gates.py [--rows 10000000] [--more 100000000] [--pandera VENV] [--gx VENV]

Each contestant runs in a process of its own, over the same files, with the same twenty questions, and says its CPU
(all threads) and its peak of memory above an interpreter that has imported it. Figures are the best of `--rounds`. All
must give the same answers where they ask the same. `--more` measures how memory grows with the rows.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MAKE = """
import sys
import numpy as np, polars as pl
from pathlib import Path
path, rows = Path(sys.argv[1]), int(sys.argv[2])
path.mkdir()
rng = np.random.default_rng(7)
countries = np.array(["de", "fr", "it", "es", "pl", "nl", "be", "at"])
step = 1_000_000
order = rng.permutation(rows // step) if rows >= step else [0]
for number, block in enumerate(order):
    n = min(step, rows)
    frame = pl.DataFrame({
        "id": rng.permutation(n) + int(block) * step,
        "amount": rng.gamma(2, 50, n), "age": rng.integers(18, 95, n), "score": rng.normal(0, 1, n),
        "country": countries[rng.integers(0, 8, n)],
        "code": np.char.add("C", rng.integers(10000, 99999, n).astype(str)),
        "day": (np.datetime64("2025-01-01") + rng.integers(0, 365, n)).astype("datetime64[D]"),
        "label": rng.choice(np.array(["no", "yes"]), n, p=[0.8, 0.2]), "active": rng.integers(0, 2, n) == 1,
    }).with_columns(pl.when(pl.int_range(pl.len()) % 50 != 0).then(pl.col("score")).alias("score"))
    frame.write_parquet(path / f"{number:04}.parquet", row_group_size=250_000)
"""

MEASURED = """
import json, resource, sys, time
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
base = peak()
started = time.process_time()
answers = run(sys.argv[1])
print(json.dumps({"cpu_s": time.process_time() - started, "peak_mb": peak(), "above_import_mb": peak() - base,
                  "answers": answers}))
"""

# The questions: eight of nulls, four ranges, two sets, a pattern, uniqueness, drift of a label and of a feature, age,
# rows.
HAND = """
import polars as pl
EDGES = [-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28]
def run(path):
    c = pl.col
    nan = lambda n: (c(n).is_null() | c(n).is_nan()).sum()
    found = pl.scan_parquet(path).select(
        rows=pl.len(), n_id=c("id").null_count(), n_amount=nan("amount"), n_age=c("age").null_count(),
        n_score=nan("score"), n_country=c("country").null_count(), n_code=c("code").null_count(),
        n_day=c("day").null_count(), n_label=c("label").null_count(),
        r_id=(c("id") < 0).sum(), r_amount=((c("amount") < 0) | (c("amount") > 500) | c("amount").is_nan()).sum(),
        r_age=((c("age") < 18) | (c("age") > 90)).sum(),
        r_score=((c("score") < -5) | (c("score") > 5) | c("score").is_nan()).sum(),
        s_country=(~c("country").is_in(["de", "fr", "it", "es", "pl", "nl", "be"])).sum(),
        s_label=(~c("label").is_in(["yes", "no"])).sum(),
        p_code=(~c("code").str.contains("^C[0-9]{5}$")).sum(), unique=c("id").n_unique(),
        yes=(c("label") == "yes").sum(), no=(c("label") == "no").sum(), newest=c("day").max(),
        **{f"e{i}": (c("score") < e).sum() for i, e in enumerate(EDGES)},
    ).collect(engine="streaming").row(0, named=True)
    return {"r_amount": found["r_amount"], "r_age": found["r_age"], "s_country": found["s_country"],
            "p_code": found["p_code"], "repeats": found["rows"] - found["unique"]}
"""

OURS = """
import datetime as dt
from pathlib import Path
import polars, narwhals, numpy
from vallum.data.gates.drift import FeatureDrift, LabelDrift
from vallum.data.gates.engines import PolarsEngine
from vallum.data.gates.learned import History
from vallum.data.gates.rules import InRange, InSet, Matches, NotNull
from vallum.data.gates.run import run_checks
from vallum.data.gates.whole import IsFresh, IsUnique, RowCount
from vallum.data.readers import read_parquet
EDGES = (-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28)
def run(path):
    names = ("id", "amount", "age", "score", "country", "code", "day", "label")
    checks = [
        *(NotNull(n) for n in names), InRange("id", minimum=0), InRange("amount", minimum=0, maximum=500),
        InRange("age", minimum=18, maximum=90), InRange("score", minimum=-5, maximum=5),
        InSet("country", values=("de", "fr", "it", "es", "pl", "nl", "be")), InSet("label", values=("yes", "no")),
        Matches("code", pattern=r"\\AC[0-9]{5}\\z"), IsUnique(("id",)),
        LabelDrift("label", ("yes", "no"), History(("yes", "no", "other"), ((20, 80, 0), (21, 79, 0)))),
        FeatureDrift("score", EDGES, History(tuple("0123456789"), ((10,) * 10,))),
        IsFresh("day", dt.timedelta(days=4000)), RowCount(1),
    ]
    assert len(checks) == 20
    report = run_checks(read_parquet(Path(path)), checks, PolarsEngine(), now=dt.datetime.now(dt.UTC))
    assert all(o.ran for o in report.outcomes), report
    bad = {o.check: o.bad_rows for o in report.outcomes}
    return {"r_amount": bad["amount: InRange"], "r_age": bad["age: InRange"], "s_country": bad["country: InSet"],
            "p_code": bad["code: Matches"], "repeats": bad["id: IsUnique"]}
"""

PANDERA = """
import polars as pl, pandera.polars as pa
EDGES = [-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28]
def share(name, low, high, value):
    return pa.Check(lambda d: d.lazyframe.select((pl.col(name) == value).mean().is_between(low, high)))
def drift(d):
    counts = d.lazyframe.select([(pl.col("score") < e).mean().alias(str(i)) for i, e in enumerate(EDGES)])
    return counts.select(pl.all_horizontal([(pl.col(str(i)) - (i + 1) / 10).abs() < 0.1 for i in range(9)]))
def run(path):
    schema = pa.DataFrameSchema({
        "id": pa.Column(pl.Int64, pa.Check.ge(0), unique=True),
        "amount": pa.Column(pl.Float64, pa.Check.in_range(0, 500)),
        "age": pa.Column(pl.Int64, pa.Check.in_range(18, 90)),
        "score": pa.Column(pl.Float64, [pa.Check.in_range(-5, 5), pa.Check(drift)]),
        "country": pa.Column(pl.String, pa.Check.isin(["de", "fr", "it", "es", "pl", "nl", "be"])),
        "code": pa.Column(pl.String, pa.Check.str_matches("^C[0-9]{5}$")),
        "day": pa.Column(pl.Date, pa.Check(lambda d: d.lazyframe.select(pl.col("day").max() > pl.date(2020, 1, 1)))),
        "label": pa.Column(pl.String, [pa.Check.isin(["yes", "no"]), share("label", 0.1, 0.3, "yes")]),
        "active": pa.Column(pl.Boolean),
    })
    try:
        schema.validate(pl.read_parquet(path), lazy=True)  # a frame: on a lazy one it checks the schema alone
    except pa.errors.SchemaErrors as e:
        return {"failures": len(e.schema_errors)}
    return {"failures": 0}
"""

GX = """
import os
os.environ["GX_ANALYTICS_ENABLED"] = "false"
import great_expectations as gx, pandas as pd
import great_expectations.expectations as gxe
def run(path):
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    suite = context.suites.add(gx.ExpectationSuite(name="s"))
    for name in ("id", "amount", "age", "score", "country", "code", "day", "label"):
        suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=name))
    for name, low, high in (("id", 0, None), ("amount", 0, 500), ("age", 18, 90), ("score", -5, 5)):
        suite.add_expectation(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
    most = ["de", "fr", "it", "es", "pl", "nl", "be"]
    suite.add_expectation(gxe.ExpectColumnValuesToBeInSet(column="country", value_set=most))
    suite.add_expectation(gxe.ExpectColumnValuesToBeInSet(column="label", value_set=["yes", "no"]))
    suite.add_expectation(gxe.ExpectColumnValuesToMatchRegex(column="code", regex="^C[0-9]{5}$"))
    suite.add_expectation(gxe.ExpectColumnValuesToBeUnique(column="id"))
    suite.add_expectation(gxe.ExpectColumnDistinctValuesToBeInSet(column="label", value_set=["yes", "no"]))
    suite.add_expectation(gxe.ExpectColumnMeanToBeBetween(column="score", min_value=-0.1, max_value=0.1))
    suite.add_expectation(gxe.ExpectColumnMaxToBeBetween(column="age", min_value=0, max_value=200))
    suite.add_expectation(gxe.ExpectTableRowCountToBeBetween(min_value=1))
    whole = asset.add_batch_definition_whole_dataframe("b")
    batch = whole.get_batch(batch_parameters={"dataframe": pd.read_parquet(path)})
    result = batch.validate(suite)
    return {"failures": sum(not r.success for r in result.results), "checks": len(result.results)}
"""


def measured(python: str, program: str, path: Path, rounds: int) -> dict[str, object]:
    runs = []
    for _ in range(rounds):
        done = subprocess.run(
            [python, "-W", "ignore", "-c", program + MEASURED, str(path)], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:]) if python == sys.executable else ""},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return min(runs, key=lambda run: run["cpu_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--more", type=int, help="measure memory at so many rows too")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pandera", type=Path, help="a virtual environment with pandera[polars]")
    parser.add_argument("--gx", type=Path, help="a virtual environment with great-expectations and pyarrow")
    parser.add_argument("--folder", type=Path, help="where the files go")
    asked = parser.parse_args()
    said: dict[str, object] = {"machine": platform.processor() or platform.machine(), "rows": asked.rows}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder) / "rows"
        subprocess.run([sys.executable, "-c", MAKE, str(path), str(asked.rows)], check=True)
        hand = measured(sys.executable, HAND, path, asked.rounds)
        ours = measured(sys.executable, OURS, path, asked.rounds)
        if hand["answers"] != ours["answers"]:
            raise SystemExit(f"the answers differ: {hand['answers']} and {ours['answers']}")
        said |= {"hand": hand, "vallum": ours, "cpu_of_hand": ours["cpu_s"] / hand["cpu_s"]}
        for name, venv, program in (("pandera", asked.pandera, PANDERA), ("gx", asked.gx, GX)):
            if venv is not None:
                other = measured(str(venv / "bin" / "python"), program, path, 1)
                said |= {
                    name: other, f"cpu_of_{name}": ours["cpu_s"] / other["cpu_s"],
                    f"memory_of_{name}": ours["peak_mb"] / other["peak_mb"],
                }  # fmt: skip
        if asked.more:
            shutil.rmtree(path)
            subprocess.run([sys.executable, "-c", MAKE, str(path), str(asked.more)], check=True)
            larger = measured(sys.executable, OURS, path, 1)
            said |= {"vallum_more": larger, "memory_growth": larger["peak_mb"] / ours["peak_mb"]}
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
