"""The advisories of PyPI in one SQLite file, made anew by each import and put in place whole.

A file that is being written has another name; what lies at the database's own name is always complete, and what reads
it meanwhile goes on reading the one it opened. Answers an update to older or far fewer advisories (a mirror that is
frozen or cut short makes weaknesses disappear), which is refused unless the caller says otherwise.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from vallum.kernel.errors import Invalid, Unavailable
from vallum.models.dependencies.advisories import Advisory, AffectedPackage, severity_of
from vallum.models.dependencies.exports import read_export
from vallum.models.dependencies.model import AdvisoriesRefused, Severity

__all__ = ["AdvisoryDatabase", "DatabaseFacts", "Known", "KnownAdvisory", "import_advisories", "open_database"]

_FORMAT = 1
_APPLICATION_ID = 0x564C4F53  # "VLOS", so that no other SQLite file is taken for one
_BATCH = 2_000
_SCHEMA = f"""
pragma application_id = {_APPLICATION_ID};
pragma user_version = {_FORMAT};
create table facts (advisories integer not null, withdrawn integer not null, packages integer not null,
  newest text not null, imported_at text not null);
create table advisories (id text primary key, aliases text not null, summary text not null) without rowid;
create table affected (package text not null, advisory text not null, what blob not null, severity blob not null);
"""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """`newest` is the latest change of any advisory; withdrawn ones are counted, and not kept."""

    advisories: int
    withdrawn: int
    packages: int
    newest: datetime
    imported_at: datetime

    @property
    def as_of(self) -> datetime:
        """How new its knowledge is. An old export imported today is old, and one from the future is of today."""
        return min(self.newest, self.imported_at)


@dataclass(frozen=True, slots=True)
class KnownAdvisory:
    """One advisory's part about one package."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    affected: AffectedPackage
    severity: Severity


class Known(Protocol):
    """What a scan needs of a database."""

    @property
    def facts(self) -> DatabaseFacts: ...

    def about(self, package: str) -> Sequence[KnownAdvisory]:
        """All that is known of a package, by its normalised name."""
        ...


class AdvisoryDatabase:
    """An opened one, for one thread. Made by `open_database`."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._connection, self._file = connection, file
        row = connection.execute("select advisories, withdrawn, packages, newest, imported_at from facts").fetchone()
        self.facts = DatabaseFacts(
            row[0], row[1], row[2], datetime.fromisoformat(row[3]), datetime.fromisoformat(row[4])
        )

    def about(self, package: str) -> Sequence[KnownAdvisory]:
        with _whole(self._file):
            rows = self._connection.execute(
                "select a.id, a.aliases, a.summary, f.what, f.severity"
                " from affected f join advisories a on a.id = f.advisory where f.package = ? order by a.id",
                (package,),
            )
            return [
                KnownAdvisory(
                    name,
                    tuple(msgspec.json.decode(aliases, type=list[str])),
                    summary,
                    msgspec.json.decode(what, type=AffectedPackage),
                    msgspec.json.decode(severity, type=Severity),
                )
                for name, aliases, summary, what, severity in rows
            ]


@contextmanager
def open_database(file: Path) -> Iterator[AdvisoryDatabase]:
    """Read only. Raises Unavailable for one that is absent, Invalid for a file that is none."""
    if not file.is_file():
        raise Unavailable(f"{file}: there is no database of advisories: vallum models dependencies import")
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        with _whole(file):
            _hold_format(file, connection)
            opened = AdvisoryDatabase(connection, file)
        yield opened


@contextmanager
def _whole(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, msgspec.DecodeError, TypeError, ValueError) as e:
        raise Invalid(f"{file} is no database of advisories that is whole: import it again") from e


def import_advisories(source: Path, file: Path, now: datetime, *, accept_older: bool = False) -> DatabaseFacts:
    """Make the database at `file` from an export, whole or not at all; about 20 000 advisories take a few seconds.

    Raises AdvisoriesRefused for an export that is none, and without `accept_older` for one that is older than what is
    there or has less than half as many advisories; Unavailable when it cannot be written.
    """
    fresh = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        facts = _write(fresh, read_export(source), now)
        if not accept_older:
            _hold_newer(file, facts)
        _settle(fresh, file)
    except sqlite3.Error as e:
        raise Unavailable(f"{file} cannot be written") from e
    except OSError as e:
        raise Unavailable(f"{file} cannot be written: {e.strerror}") from e
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return facts


def _write(file: Path, advisories: Iterable[Advisory], now: datetime) -> DatabaseFacts:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    kept = withdrawn = 0
    newest = datetime.min.replace(tzinfo=UTC)
    rows: list[tuple[str, str, str]] = []
    affected: list[tuple[str, str, bytes, bytes]] = []
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript(_SCHEMA)
        connection.execute("pragma synchronous = off")  # it counts only once it is whole, and is synced then
        connection.execute("begin")
        for advisory in advisories:
            newest = max(newest, _modified(advisory))
            if advisory.withdrawn:
                withdrawn += 1
                continue
            kept += 1
            rows.append((advisory.id, msgspec.json.encode(advisory.aliases).decode(), advisory.summary))
            affected += [
                (one.name, advisory.id, msgspec.json.encode(one), msgspec.json.encode(severity_of(advisory, one)))
                for one in advisory.affected
            ]
            if len(rows) >= _BATCH:
                _insert(connection, rows, affected)
        _insert(connection, rows, affected)
        connection.execute("create index affected_package on affected (package)")
        packages = connection.execute("select count(distinct package) from affected").fetchone()[0]
        if not packages:
            raise AdvisoriesRefused("the export holds no advisory about a package of PyPI")
        facts = DatabaseFacts(kept, withdrawn, packages, newest, now.astimezone(UTC))
        connection.execute(
            "insert into facts values (?, ?, ?, ?, ?)",
            (kept, withdrawn, packages, facts.newest.isoformat(), facts.imported_at.isoformat()),
        )
        connection.execute("commit")
    return facts


def _insert(
    connection: sqlite3.Connection, rows: list[tuple[str, str, str]], affected: list[tuple[str, str, bytes, bytes]]
) -> None:
    connection.executemany("insert into advisories values (?, ?, ?)", rows)
    connection.executemany("insert into affected values (?, ?, ?, ?)", affected)
    rows.clear()
    affected.clear()


def _modified(advisory: Advisory) -> datetime:
    try:
        found = datetime.fromisoformat(advisory.modified)
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as e:
        raise AdvisoriesRefused(f"{advisory.id} was modified at no time that can be read") from e


def _hold_newer(file: Path, facts: DatabaseFacts) -> None:
    try:
        with open_database(file) as present:
            before = present.facts
    except (Unavailable, Invalid):
        return  # nothing there, or nothing of use
    if facts.newest < before.newest:
        raise AdvisoriesRefused(
            f"the export ends at {facts.newest:%Y-%m-%d %H:%M}, before what is here ({before.newest:%Y-%m-%d %H:%M})"
        )
    if facts.advisories * 2 < before.advisories:
        raise AdvisoriesRefused(f"the export has {facts.advisories} advisories, and here are {before.advisories}")


def _settle(fresh: Path, file: Path) -> None:
    """On the disk before it has the name, and the name on the disk before anybody is told."""
    for path, flags in ((fresh, os.O_RDONLY), (file.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(path, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path is fresh:
            fresh.replace(file)


def _hold_format(file: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    if (application, version) != (_APPLICATION_ID, _FORMAT):
        raise Invalid(f"{file} is no database of advisories of this release: import it again")
