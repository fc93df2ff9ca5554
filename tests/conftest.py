"""The databases every store test runs against: SQLite in a fresh folder, PostgreSQL in a fresh database."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text

from vallum.kernel.store.records import Records
from vallum.kernel.store.schema import migrate

# A loaded machine is slow, which says nothing about the code; what takes too long meets the test's own time limit.
settings.register_profile("vallum", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("vallum")

POSTGRES = os.environ.get("VALLUM_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request, tmp_path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    with _database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request, tmp_path, migrated_file, migrated_database) -> Iterator[str]:
    """A database with the present schema and nothing in it: a copy, twenty times faster than migrating."""
    if request.param == "sqlite":
        shutil.copy(migrated_file(), tmp_path / "records.db")
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    with _database(migrated_database()) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory) -> Callable[[], Path]:
    @cache
    def made() -> Path:
        file = tmp_path_factory.mktemp("migrated") / "records.db"
        _migrate(f"sqlite:///{file}")
        return file

    return made


@pytest.fixture(scope="session")
def migrated_database() -> Iterator[Callable[[], str]]:
    with ExitStack() as stack:

        @cache
        def made() -> str:
            url = stack.enter_context(_database())
            _migrate(url)
            return url.rpartition("/")[2]

        yield made


def _migrate(url: str) -> None:
    records = Records(url, pool_size=1)
    try:
        migrate(records)
    finally:
        records.close()


@contextmanager
def _database(template: str = "template1") -> Iterator[str]:
    name = f"vallum_test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(POSTGRES.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as conn:
            conn.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        yield POSTGRES.rsplit("/", 1)[0] + f"/{name}"
        with admin.connect() as conn:
            conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        admin.dispose()


@pytest.fixture
def records(records_url) -> Iterator[Records]:
    opened = Records(records_url)
    yield opened
    opened.close()
