from datetime import UTC, datetime, timedelta

import pytest

from vallum.kernel.policy import AssetFacts, PolicyEngine, PolicySet, shipped_policies, shipped_schema
from vallum.kernel.policy import records as tables  # noqa: F401  its tables are made below
from vallum.kernel.values import AssetRef


class SetClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    @property
    def seconds(self) -> int:
        return int(self.at.timestamp())


class Assets:
    """A directory that a test fills and changes."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], AssetFacts] = {}

    def add(self, kind: str, name: str, /, **attributes) -> AssetRef:
        before = self.known.get((kind, name), AssetFacts())
        self.known[kind, name] = AssetFacts({"tenant": "default"} | attributes, before.version + 1)
        return AssetRef(kind, name)

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        return self.known.get((ref.kind, ref.id))


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def assets():
    return Assets()


@pytest.fixture(scope="session")
def shipped():
    return PolicySet.parse(shipped_policies(), shipped_schema())


@pytest.fixture
def engine(shipped, assets, clock):
    return PolicyEngine(shipped, assets, clock)
