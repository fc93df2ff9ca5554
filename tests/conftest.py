"""The databases every store test runs against: SQLite in a fresh folder, and PostgreSQL."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from databases import MigratedDatabases, fresh_database, migrate_url
from hypothesis import HealthCheck, settings

from vallum.kernel.store.records import Records

# Every core has a test to run: libraries' own threads would spin for cores that others have, at twice the CPU.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

# A loaded machine is slow, which says nothing about the code; what takes too long meets the test's own time limit.
settings.register_profile("vallum", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("vallum")


def pytest_collection_finish() -> None:
    """Seven thousand tests and their libraries are there to the end: no later collection need walk them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request, tmp_path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    with fresh_database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request, tmp_path, migrated_file, migrated_databases) -> Iterator[str]:
    """A database with the present schema and nothing in it, twenty times faster than migrating."""
    if request.param == "sqlite":
        shutil.copy(migrated_file(), tmp_path / "records.db")
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    with migrated_databases.lend() as url:
        yield url


@pytest.fixture
def records(migrated_url) -> Iterator[Records]:
    opened = Records(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def empty_records(records_url) -> Iterator[Records]:
    """What migrations begin with."""
    opened = Records(records_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory) -> Callable[[], Path]:
    @cache
    def made() -> Path:
        file = tmp_path_factory.mktemp("migrated") / "records.db"
        migrate_url(f"sqlite:///{file}")
        return file

    return made


@pytest.fixture(scope="session")
def migrated_databases() -> Iterator[MigratedDatabases]:
    made = MigratedDatabases()
    yield made
    made.close()
