from datetime import UTC, datetime, timedelta

import pytest

from vallum.kernel.keys import FileRoot, Keyring, Vault


class SetClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def root(tmp_path):
    return FileRoot.create(tmp_path / "root.key", None)


@pytest.fixture
def keyring(records, root, clock):
    return Keyring(records, root, clock)


@pytest.fixture
def other_process(records, root, clock):
    """A second keyring on the same tables: memory of its own, as another replica has."""
    return Keyring(records, root, clock)


@pytest.fixture
def vault(records, keyring, clock):
    return Vault(records, keyring, clock)
