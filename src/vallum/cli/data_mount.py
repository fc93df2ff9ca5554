"""`vallum data mount`: a job with an approved version's rows in a folder that is gone when the job is; who had them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.data_sets import DataSetName, Version, app, version_path
from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_table, say
from vallum.cli.registry import command
from vallum.cli.transport import opened
from vallum.kernel.errors import Conflict, Invalid

__all__ = ["app"]

_GRACE_SECONDS = 10  # for a job that is told to end to end
_ENDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@command(
    app, "mount", performs=("read_data_version", "read_data_rows", "record_data_use"),
    example="vallum data mount orders/3 --purpose 'demand forecast' --run forecast-12 -- python train.py",
)  # fmt: skip
def mount(
    version: Version,
    job: Annotated[list[str], typer.Argument(help="The job, after --. It finds the folder in VALLUM_DATA.")],
    purpose: Annotated[str, typer.Option("--purpose", help="What for.")],
    run: Annotated[str, typer.Option("--run", help="The run's name; recorded as made from the version.")],
    columns: Annotated[list[str] | None, typer.Option("--column", help="A column; several times.")] = None,
    within: Annotated[
        Path | None, typer.Option("--in", help="Make the folder in this one; in memory, where there is such a place.")
    ] = None,
    hours: Annotated[
        float, typer.Option("--hours", min=0.001, max=8784, help="The lease: the job is ended after these.")
    ] = 24,
    unapproved: Annotated[
        bool, typer.Option("--unsafe-unapproved", help="A version that nobody vouched for, too.")
    ] = False,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run a job on an approved version's rows: Parquet files in a private, read-only folder, shredded when it ends.

    Only columns that the decision has are in clear; others come masked. The exit code is the job's;
    with --json a line after its output says so.
    """
    from vallum.client.data import RowStream
    from vallum.client.mount import mounted

    at = version_path(version)
    query = {k: v for k, v in {"purpose": purpose, "columns": ",".join(columns or ())}.items() if v}
    query |= {"run": run, "lease_seconds": str(ceil(hours * 3600))}
    with opened(data, url, config) as transport:
        found = transport.perform("read_data_version", path=at)
        if not found["approved_by"] and not unapproved:
            raise Conflict(f"{version} is approved by nobody: vallum data approve, by somebody else than took it in")
        transport.perform("record_data_use", path=at, body={"kind": "run", "used_by": run})
        frames = RowStream(iter(transport.perform("read_data_rows", path=at, query=query))).frames()
        told = {"version": version, "purpose": purpose, "run": run, "columns": columns or []}
        with _interruptible(), mounted(frames, told, within=within, seconds=hours * 3600) as folder:
            say(f"{version} lies in {folder} while the job runs")
            code = _run(job, folder, hours * 3600)
    if as_json:
        print_json({"version": version, "run": run, "exit_code": code})
    raise typer.Exit(code)


@command(app, "handouts", performs=("list_data_handouts",), example="vallum data handouts orders")
def handouts(
    name: DataSetName, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Show who was handed rows of a data set, by mount, read or export, and until when a mount lies there at most."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_data_handouts", path={"name": name})
    if as_json:
        print_json(found)
        return
    rows = [
        (h["at"][:19], h["version"], h["kind"], h["by"], h["purpose"], h["rows"], f"{h['masked']} of {h['columns']}",
         h["run"], h["until"][:19], "mounted" if h["mounted"] else "")
        for h in found
    ]  # fmt: skip
    print_table(("AT", "VERSION", "HOW", "WHO", "PURPOSE", "ROWS", "MASKED", "RUN", "UNTIL AT MOST", ""), rows)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Told to end, this ends as from an error: what lies in clear is shredded on the way out."""

    def end(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, end) for one in _ENDED}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _run(job: list[str], folder: Path, seconds: float) -> int:
    try:
        running = subprocess.Popen(  # noqa: S603  the caller's own job, with the caller's own rights
            job, env={**os.environ, "VALLUM_DATA": str(folder)}, start_new_session=True
        )
    except OSError as e:
        raise Invalid(f"{job[0]}: cannot be run: {e.strerror}") from e
    try:
        code = running.wait(seconds)
    except subprocess.TimeoutExpired:
        say("the lease is over: the job is ended")
        code = 124
    finally:
        _ended(running)  # its children, too: none may go on with files that are open
    return code if code >= 0 else 128 - code


def _ended(running: "subprocess.Popen[bytes]") -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(running.pid, how)
        except ProcessLookupError:
            return
        try:
            running.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
