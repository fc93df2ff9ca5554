"""The databases every store test runs against: SQLite in a fresh folder, PostgreSQL in a fresh database."""

import os
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text

from vallum.kernel.store.records import Records

# A loaded machine is slow, which says nothing about the code; what takes too long meets the test's own time limit.
settings.register_profile("vallum", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("vallum")

POSTGRES = os.environ.get("VALLUM_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")


@pytest.fixture(params=["sqlite", "postgresql"])
def records_url(request, tmp_path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'records.db'}"
        return
    name = f"vallum_test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(POSTGRES.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    yield POSTGRES.rsplit("/", 1)[0] + f"/{name}"
    with admin.connect() as conn:
        conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def records(records_url) -> Iterator[Records]:
    opened = Records(records_url)
    yield opened
    opened.close()
