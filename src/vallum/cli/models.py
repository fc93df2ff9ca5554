"""`vallum models`: scanning what somebody downloaded or trained, before anything loads it. Needs no server."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vallum.cli.options import AsJson
from vallum.cli.output import print_json, print_table, say
from vallum.cli.registry import command, group

__all__ = ["app"]

app = group("Models: what is scanned before anything loads it.")

_CLEAN, _FOUND, _FAILED = 0, 1, 2


@command(
    app, "scan", local="reads files of this machine, and asks no server",
    example="vallum models scan downloads/some-model",
)  # fmt: skip
def scan(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders; a folder is judged as one repository.")],
    as_json: AsJson = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="SARIF 2.1.0, for code review tools.")] = False,
) -> None:
    """Scan models without running anything of them: block, review or pass, and why.

    Exit 0: all pass. 1: something to block or review. 2: a path that cannot be read. With --json, one line each path.
    """
    from vallum import __version__
    from vallum.models.scan import Verdict
    from vallum.models.scan.child import scan_isolated
    from vallum.models.scan.sarif import render_sarif

    reports, code = [], _CLEAN
    for path in paths:
        try:
            report = scan_isolated(path)
        except OSError as e:
            say(f"vallum: {path}: {e.strerror}")
            code = _FAILED
            continue
        reports.append(report)
        code = max(code, _CLEAN if report.verdict is Verdict.PASS else _FOUND)
        if as_json:
            print(json.dumps(report.as_json()))
        elif not sarif:
            say(f"{path}: {report.verdict} ({len(report.files)} files)")
            if report.findings:
                rows = [(str(f.verdict), f.technique, f.place, f.explanation) for f in report.findings]
                print_table(("VERDICT", "TECHNIQUE", "PLACE", "WHY"), rows)
    if sarif:
        print_json(render_sarif(reports, __version__))
    raise typer.Exit(code)
