"""What taking a Parquet file in costs beside its gate alone, as JSON: CPU seconds of all threads, wall, memory.

    .venv/bin/python bench/intake.py [--mb 1000] [--file FILE] [--restricted] [--profile FILE]

The file has twelve columns of a shop's orders (numbers, dates, words, an address, a card) in row groups. `gate` reads
it where it lies and runs the contract's 25 checks, which look at nine of the columns; `intake` is everything from its
bytes to the version, in a platform that is running: received and sealed, classified, profiled, gated, looked through
for poison, minimised, sealed, report signed. Both have seen a small file before, as modules are imported once. No
column is restricted, so that the file's own column chunks are kept; with `--restricted` the card is, and is sealed
field by field. Wanted: at most 3 times the gate. Memory is the peak of the process, in MiB, the gate's first.
"""

import argparse
import cProfile
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vallum.compose import Platform, prepare
from vallum.data.contracts import parse_contract
from vallum.data.gates import checks_of, run_checks
from vallum.data.gates.engines import PolarsEngine
from vallum.data.readers import Staging, open_table
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.values import Subject, SubjectKind
from vallum.settings import load_settings

ROWS_A_PIECE = 1_000_000
CONTRACT = b"""apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
description: {purpose: forecast}
schema:
  - name: orders
    properties:
      - {name: id, logicalType: integer, required: true, unique: true}
      - {name: customer, logicalType: integer, required: true}
      - {name: email, logicalType: string, required: true, logicalTypeOptions: {minLength: 5}}
      - {name: card, logicalType: string, customProperties: [{property: joinable, value: true}]}
      - {name: country, logicalType: string, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [DE, FR, NL, GB]}}]}
      - {name: on, logicalType: date, logicalTypeOptions: {minimum: "2020-01-01"}}
      - {name: quantity, logicalType: integer, logicalTypeOptions: {minimum: 1, maximum: 100}}
      - {name: price, logicalType: number, logicalTypeOptions: {minimum: 0}}
      - {name: weight, logicalType: number}
      - {name: rating, logicalType: number}
      - {name: note, logicalType: string, logicalTypeOptions: {maxLength: 60}}
      - {name: paid, logicalType: boolean, required: true}
"""  # noqa: E501


def made(path: Path, megabytes: float) -> int:
    """A file of about that size; how many rows it has."""
    random, rows, piece = np.random.default_rng(7), 0, 0
    parts = path.parent / "parts"
    parts.mkdir()
    while sum(one.stat().st_size for one in parts.iterdir()) < megabytes * 1e6:
        n = ROWS_A_PIECE if megabytes > 50 else 100_000
        number = pl.Series("id", np.arange(rows, rows + n))
        customer = pl.Series("customer", random.integers(0, 5_000_000, n))
        frame = pl.DataFrame([number, customer]).with_columns(
            (pl.lit("c") + pl.col("customer").cast(pl.String) + "@example.org").alias("email"),
            (pl.lit("41111111") + (pl.col("customer") * 7919 % 100_000_000).cast(pl.String).str.zfill(8)).alias("card"),
            pl.Series("country", random.integers(0, 4, n)).replace_strict(
                [0, 1, 2, 3], ["DE", "FR", "NL", "GB"], return_dtype=pl.String
            ),
            (pl.lit(datetime(2020, 1, 1).date()) + pl.duration(days=pl.col("id") % 2000)).alias("on"),
            pl.Series("quantity", random.integers(1, 100, n)),
            *(pl.Series(name, random.normal(50, 9, n)).abs() for name in ("price", "weight", "rating")),
            (pl.lit("shelf ") + (pl.col("id") * 48271 % 2147483647).cast(pl.String)).alias("note"),
            pl.Series("paid", random.integers(0, 2, n).astype(bool)),
        )
        frame.write_parquet(parts / f"{piece:04}.parquet", compression="zstd", compression_level=1)
        rows, piece = rows + n, piece + 1
    pl.scan_parquet(parts).sink_parquet(path, compression="zstd", compression_level=1)
    return rows


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    return {
        "cpu_seconds": round(time.process_time() - cpu, 1), "wall_seconds": round(time.perf_counter() - wall, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "found": found,
    }  # fmt: skip


def gate(path: Path, contract: bytes) -> bool:
    agreed = parse_contract(contract)
    of = agreed.table()
    with Staging(path.parent) as staging:
        engine = PolarsEngine(staging.folder)
        table = open_table(path, staging)
        report = run_checks(table, checks_of(agreed, of, engine), engine, now=datetime.now(UTC))
    return bool(report.passed)


@contextmanager
def opened(folder: Path) -> Iterator[Platform]:
    settings = load_settings(None, {}, {"data": str(folder / "data")})
    prepare(settings)
    platform = Platform.open(settings)
    platform.writer.start()
    try:
        yield platform
    finally:
        platform.close()


def intake(path: Path, platform: Platform, contract: bytes, name: str = "orders") -> str:
    by = Subject(SubjectKind.PERSON, "per_bench", DEFAULT_TENANT, roles=frozenset({"data_steward"}), holder="hum_bench")
    data = platform.control.services.data
    with platform.records.write() as conn:
        data.create(conn, name, by)
        begun = data.intakes.begin(conn, name, path.name, contract, "", by)
    with path.open("rb") as source:
        received = data.intakes.receive(name, begun.id, by, iter(lambda: source.read(1 << 20), b""))
    with platform.records.write() as conn:
        data.intakes.keep(conn, received)
    completion = data.intakes.complete(name, begun.id, by)
    with platform.records.write() as conn:
        version = data.intakes.finish(conn, completion)
    return f"{version.state}: {version.rows} rows, {version.classification}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=float, default=1000)
    parser.add_argument("--file", type=Path, help="of those columns, instead of making one")
    parser.add_argument("--restricted", action="store_true")
    parser.add_argument("--profile", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vallum-bench-") as made_in, ExitStack() as closing:
        folder = Path(made_in)
        path = asked.file or folder / "orders.parquet"
        if asked.file is None:
            made(path, asked.mb)
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        card = b"name: card, logicalType: string, "
        contract = CONTRACT.replace(card, card + b"classification: restricted, ") if asked.restricted else CONTRACT
        platform = closing.enter_context(opened(folder))
        small = folder / "small.parquet"
        pl.scan_parquet(path).head(10_000).collect().write_parquet(small)
        gate(small, contract)
        intake(small, platform, contract, "small")
        gates = measured(lambda: gate(path, contract))
        profile = cProfile.Profile(time.process_time)
        if asked.profile:
            profile.enable()
        taken = measured(lambda: intake(path, platform, contract))
        if asked.profile:
            profile.disable()
            profile.dump_stats(asked.profile)
        found = {
            "cores": os.cpu_count(), "bytes": path.stat().st_size, "rows": rows, "gate": gates, "intake": taken,
            "times_the_gate": {
                "cpu": round(taken["cpu_seconds"] / gates["cpu_seconds"], 2),
                "wall": round(taken["wall_seconds"] / gates["wall_seconds"], 2),
            },
        }  # fmt: skip
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
