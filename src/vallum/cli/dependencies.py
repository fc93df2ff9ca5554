"""`vallum models dependencies`: what models need, against an offline database of advisories. Needs no server."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson
from vallum.cli.output import print_json, print_table, report, say
from vallum.cli.registry import command, group
from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["app"]

app = group("Dependencies: what a model and its training code need, held against known weaknesses.")

_LOCAL = "reads files of this machine, and asks no server"
_CLEAR, _VULNERABLE, _CANNOT_TELL = 0, 1, 2
Database = Annotated[
    Path | None,
    typer.Option(
        "--database", envvar="VALLUM_ADVISORIES",
        help="The database's file; ~/.local/share/vallum/advisories.sqlite without.",
    ),
]  # fmt: skip
Folder = Annotated[Path | None, typer.Option("--data", help="The data folder that the database lies in.")]
Older = Annotated[
    bool, typer.Option("--unsafe-accept-older", help="Also when it is older, or far less, than what is here.")
]


@command(
    app, "import", local=_LOCAL, example="vallum models dependencies import all.zip",
)  # fmt: skip
def import_(
    source: Annotated[Path, typer.Argument(help="An OSV export: PyPI's all.zip, or a folder of its documents.")],
    database: Database = None, data: Folder = None, older: Older = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make the database from an export of OSV, whole or not at all."""
    _import(source, _file(database, data), older, as_json)


@command(
    app, "update", local="fetches advisories from where they are published, and asks no server of ours",
    example="vallum models dependencies update",
)  # fmt: skip
def update(
    source: Annotated[str | None, typer.Argument(help="An https URL or a file; OSV's export of PyPI without.")] = None,
    database: Database = None, data: Folder = None, older: Older = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fetch an export of OSV and replace the database by it. What is there stays when anything fails."""
    from vallum.models.dependencies.download import PYPI_EXPORT, fetch_export

    wanted, file = source if source is not None else PYPI_EXPORT, _file(database, data)
    if "://" not in wanted:
        _import(Path(wanted), file, older, as_json)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="vallum-advisories-", dir=file.parent) as folder:
            fetched = Path(folder) / "export.zip"
            fetch_export(wanted, fetched)
            _import(fetched, file, older, as_json)
    except OSError as e:
        raise Unavailable(f"{file.parent} cannot be written: {e.strerror}") from e


@command(
    app, "scan", local=_LOCAL, example="vallum models dependencies scan my-model",
)  # fmt: skip
def scan(
    path: Annotated[Path, typer.Argument(help="A model's folder, or a file of requirements.")],
    database: Database = None, data: Folder = None,
    max_age: Annotated[str, typer.Option("--max-age", help="How old the advisories may be, as in 7d.")] = "7d",
    pip_audit: Annotated[
        bool, typer.Option("--pip-audit", help="Ask pip-audit's service, too: it is sent names and versions.")
    ] = False,
    osv_url: Annotated[str, typer.Option("--osv-url", help="With --pip-audit: an OSV service to ask.")] = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find known weaknesses in what is needed: vulnerable, cannot-tell or clear.

    Exit 0: clear. 1: vulnerable. 2: it cannot be told (not pinned, another source, no database or an old one).
    """
    from vallum.cli.options import parse_duration
    from vallum.models.dependencies import DependencyVerdict, declared_at, open_database, scan_dependencies
    from vallum.models.dependencies.pip_audit import with_pip_audit

    age = timedelta(seconds=parse_duration(max_age))
    try:
        declared = declared_at(path)
    except OSError as e:
        raise Invalid(f"{path} cannot be read: {e.strerror}") from e
    now, file = datetime.now(UTC), _file(database, data)
    if file.is_file():
        with open_database(file) as known:
            found = scan_dependencies(declared, known, now, max_age=age)
    else:
        found = scan_dependencies(declared, None, now)
    if pip_audit:
        found = with_pip_audit(found, declared, now, osv_url=osv_url)
    if as_json:
        print_json(_as_json(path, found))
    else:
        say(f"{path}: {found.verdict} ({found.checked} packages)")
        if found.findings:
            rows = [
                (_severity(one.severity), f"{one.package} {one.version}", " ".join((one.id, *one.aliases)),
                 " ".join(one.fixed_in), one.summary)
                for one in found.findings
            ]  # fmt: skip
            print_table(("SEVERITY", "PACKAGE", "WEAKNESS", "FIXED IN", "WHAT"), rows)
        if found.cannot_tell:
            unknown = [(one.about, one.reason, one.declared_in) for one in found.cannot_tell]
            print_table(("CANNOT TELL", "WHY", "IN"), unknown)
    exits = {DependencyVerdict.CLEAR: _CLEAR, DependencyVerdict.VULNERABLE: _VULNERABLE}
    raise typer.Exit(exits.get(found.verdict, _CANNOT_TELL))


def _import(source: Path, file: Path, older: bool, as_json: bool) -> None:
    from vallum.models.dependencies import import_advisories

    facts = import_advisories(source, file, datetime.now(UTC), accept_older=older)
    said = {
        "database": str(file),
        "advisories": facts.advisories,
        "withdrawn": facts.withdrawn,
        "packages": facts.packages,
        "newest": facts.newest.isoformat(),
    }
    text = f"{file}: {facts.advisories} advisories about {facts.packages} packages, until {facts.newest:%Y-%m-%d}"
    report(as_json, said, text)


def _file(database: Path | None, data: Path | None) -> Path:
    if database is not None:
        return database
    if data is not None:
        return data / "advisories.sqlite"
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "vallum" / "advisories.sqlite"


def _severity(severity: Any) -> str:
    return f"{severity.level}" + (f" {severity.score}" if severity.score is not None else "")


def _as_json(path: Path, found: Any) -> dict[str, Any]:
    import msgspec

    return {
        "path": str(path),
        "verdict": str(found.verdict),
        "checked": found.checked,
        "database_at": found.database_at.isoformat() if found.database_at is not None else None,
        "findings": msgspec.to_builtins(found.findings),
        "cannot_tell": msgspec.to_builtins(found.cannot_tell),
    }
