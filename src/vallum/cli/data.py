"""`vallum data`: profiles, contracts and gates of tables, on this machine. Needs no server."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson
from vallum.cli.output import print_json, print_record, print_table, say
from vallum.cli.registry import command, group
from vallum.kernel.errors import Invalid

__all__ = ["app", "contract_app"]

app = group("Data: what a table is like, what it is due to be, and whether it is.")
contract_app = group("Data contracts (ODCS 3.1).")
app.add_typer(contract_app, name="contract")

_LOCAL = "reads files of this machine, and asks no server"
_PASSED, _FAILED = 0, 1
_SHOWN_ROWS = 20
_Source = Annotated[
    str,
    typer.Argument(
        help="A .csv, .tsv, .jsonl, .ndjson (each also .gz) or .parquet, a folder of Parquet, or sql:TABLE."
    ),
]
_Database = Annotated[
    Path | None, typer.Option("--database", help="For sql:TABLE, a file that holds the database's URL.")
]
_Masked = Annotated[
    list[str] | None, typer.Option("--mask", help="A column whose values are not shown; several times.")
]
_Workspace = Annotated[
    Path | None, typer.Option("--workspace", help="Where working files go, in clear; the system's folder without.")
]


@command(
    app, "check", local=_LOCAL, example="vallum data check orders.parquet --contract orders.odcs.yaml",
)  # fmt: skip
def check(
    source: _Source,
    contract: Annotated[Path, typer.Option("--contract", help="The contract (ODCS 3.1).")],
    references: Annotated[
        list[str] | None, typer.Option("--reference", help="An earlier version, oldest first; several times.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", help="The evaluation set, which is to share no row.")
    ] = None,
    parents: Annotated[
        list[str] | None, typer.Option("--parent", help="A table that is referred to: NAME=SOURCE; several times.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="The contract's table, where it has several.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="polars, duckdb or spark (local).")] = "polars",
    rows: Annotated[
        Path | None, typer.Option("--rows", help="Write the bad rows' numbers here, as JSON lines.")
    ] = None,
    database: _Database = None,
    workspace: _Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Judge a table by its contract. A check that did not run is a failed one. No value of the table is shown.

    Exit 0: every check passed. 1: at least one failed or did not run. 2: the source or the contract cannot be read.
    """
    from datetime import UTC, datetime

    from vallum.data.contracts import parse_contract
    from vallum.data.gates import checks_of, run_checks
    from vallum.data.gates.contracted import types_of
    from vallum.data.readers import Staging

    agreed = parse_contract(_read(contract))
    wanted = agreed.table(table)
    if wanted is None:
        raise Invalid(f"--table: one of {', '.join(t.name for t in agreed.tables)} is due")
    with Staging(workspace) as staging, _telling() as tell:
        types = types_of(wanted)

        def opened(place: str, kinds: Any = types) -> Any:
            return _table(place, staging, kinds, database, tell)

        subject = opened(source)
        earlier = [opened(place) for place in references or ()]
        judged_against = opened(evaluation) if evaluation is not None else None
        related = {}
        for given in parents or ():
            name, equals, place = given.partition("=")
            other = agreed.table(name)
            if not equals:
                raise typer.BadParameter("--parent: write NAME=SOURCE")
            related[name] = opened(place, types_of(other) if other is not None else None)
        with _engine(engine, staging) as runs:
            checks = checks_of(
                agreed, wanted, runs, references=earlier, evaluation=judged_against, parents=related,
                text_source=_is_text(source),
            )  # fmt: skip
            report = run_checks(subject, checks, runs, now=datetime.now(UTC), step=tell.say)
        written = _write_rows(rows, subject, checks) if rows is not None and not report.passed else None
    if as_json:
        print_json(report.as_json())
    else:
        outcomes = [("pass" if o.passed else "FAIL", o.check, o.reason) for o in report.outcomes]
        print_table(("", "CHECK", "FOUND"), outcomes)
        failed = sum(not o.passed for o in report.outcomes)
        say(f"{source}: {len(outcomes) - failed} of {len(outcomes)} checks passed, {report.rows} rows")
    if written is not None:
        say(f"{rows}: {written} bad rows")
    raise typer.Exit(_PASSED if report.passed else _FAILED)


@command(app, "profile", local=_LOCAL, example="vallum data profile orders.parquet --mask email")
def profile(
    source: _Source, masked: _Masked = None, database: _Database = None, workspace: _Workspace = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what a table is like: types, nulls, exact distinct counts, quantiles, frequent values.

    Values are shown: name the sensitive columns with --mask.
    """
    found = _profile(source, masked, database, workspace)
    if as_json:
        print_json(found.as_json())
        return
    print_record({"table": found.table, "rows": found.rows})
    shown = []
    for c in found.columns:
        middle = c.quantiles[3] if c.quantiles else ""
        top = ", ".join(f"{value} ({rows})" for value, rows in c.top[:3])
        spread = "masked" if c.masked else "" if c.minimum is None else f"{c.minimum} … {middle} … {c.maximum}"
        shown.append((c.name, c.kind, c.nulls, c.distinct, spread, top))
    print_table(("COLUMN", "TYPE", "NULLS", "DISTINCT", "MINIMUM … MEDIAN … MAXIMUM", "MOST FREQUENT"), shown)


@command(
    contract_app, "propose", local=_LOCAL,
    example="vallum data contract propose orders.parquet --mask email > orders.odcs.yaml",
)  # fmt: skip
def propose(
    source: _Source,
    masked: _Masked = None,
    label: Annotated[str | None, typer.Option("--label", help="The column that models learn to predict.")] = None,
    database: _Database = None,
    workspace: _Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Write a draft of a contract, from what the table is like now: a person says the owner, purpose and licence."""
    from uuid import uuid4

    from vallum.data.contracts import contract_as_json, propose_contract, render_contract

    found = _profile(source, masked, database, workspace)
    if label is not None and found.column(label) is None:
        raise Invalid(f"--label: there is no column {label}")
    draft = propose_contract(found, id=str(uuid4()), label=label)
    if as_json:
        print_json(contract_as_json(draft))
    else:
        print(render_contract(draft).decode(), end="")
    say("a draft: say owner (team), purpose and licence, and look at every bound")


def _profile(source: str, masked: list[str] | None, database: Path | None, workspace: Path | None) -> Any:
    from vallum.data.profile import profile_table
    from vallum.data.readers import Staging

    with Staging(workspace) as staging, _telling() as tell:
        table = _table(source, staging, None, database, tell)
        unknown = [name for name in masked or () if table.column(name) is None]
        if unknown:
            raise Invalid(f"--mask: there is no column {unknown[0]}")
        return profile_table(table, masked or (), folder=staging.folder, progress=tell.rows)


def _table(source: str, staging: Any, types: Any, database: Path | None, tell: "_Telling") -> Any:
    from vallum.data.readers import open_table, read_sql

    name = source.removeprefix("sql:")
    if name == source:
        return open_table(Path(source), staging, types, tell.rows)
    if database is None:
        raise Invalid("--database: name a file that holds the database's URL")
    return read_sql(_read(database).decode(errors="replace").strip(), name, staging, types, tell.rows)


def _is_text(source: str) -> bool:
    return source.lower().removesuffix(".gz").endswith((".csv", ".tsv"))


def _write_rows(file: Path, subject: Any, checks: Any) -> int:
    import json

    from vallum.data.gates.rows import bad_rows

    written = 0
    try:
        with file.open("w") as out:
            for bad in bad_rows(subject, checks):
                out.write(json.dumps({"row": bad.row, "checks": bad.checks}) + "\n")
                written += 1
    except OSError as e:
        raise Invalid(f"{file} cannot be written: {e.strerror}") from e
    return written


@contextmanager
def _engine(name: str, staging: Any) -> Iterator[Any]:
    from vallum.data.gates.engines import DuckDBEngine, PolarsEngine, SparkEngine

    match name:
        case "polars":
            yield PolarsEngine(staging.folder)
        case "duckdb":
            engine = DuckDBEngine(staging)
            try:
                yield engine
            finally:
                engine.close()
        case "spark":
            import os

            from pyspark.sql import SparkSession

            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers need google-re2, as this has

            session = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
            try:
                yield SparkEngine(session, staging)
            finally:
                session.stop()
        case _:
            raise Invalid(f"--engine: polars, duckdb or spark is due, not {name}")


class _Telling:
    """Says on standard error what takes long, at most once a second, and nothing of what is quick."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = self._started = now()

    def rows(self, number: int) -> None:
        self._tell(f"{number} rows read")

    def say(self, what: str) -> None:
        self._tell(what)

    def _tell(self, what: str) -> None:
        if self._now() - self._last >= 1:
            self._last = self._now()
            print(f"{self._last - self._started:6.1f} s  {what}", file=sys.stderr, flush=True)


@contextmanager
def _telling() -> Iterator[_Telling]:
    try:
        yield _Telling(time.monotonic)
    except ImportError as e:
        raise Invalid(f"{e.name} is not installed: pip install 'vallum[data]'") from e


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
