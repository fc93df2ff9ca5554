from datetime import UTC, datetime

import pytest

from vallum.kernel.keys import FileRoot


class SetClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def root(tmp_path):
    return FileRoot.create(tmp_path / "root.key", None)
