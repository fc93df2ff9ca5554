from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from vallum.kernel.keys import FileRoot
from vallum.kernel.store.records import Records, metadata


class SetClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def root(tmp_path):
    return FileRoot.create(tmp_path / "root.key", None)


@pytest.fixture
def records(records) -> Iterator[Records]:
    with records.write() as conn:
        metadata.create_all(conn)
    return records
