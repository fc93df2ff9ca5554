"""What an engine is. `tests/unit/data/gates/test_engines.py` is the conformance suite."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vallum.data.gates.model import Alike, Expression, Orphans, Repeats, Shared
from vallum.data.table import Table

__all__ = ["Engine", "EngineFailed"]


class EngineFailed(Exception):
    """The engine could not answer. Its words hold no value of the data."""


class Engine(Protocol):
    name: str

    def scalars(self, table: Table, asked: Sequence[Expression]) -> Mapping[str, Any]:
        """All of them by their keys, in one pass over the table. Raises EngineFailed."""
        ...

    def repeats(self, table: Table, asked: Repeats) -> int: ...

    def orphans(self, table: Table, asked: Orphans) -> int: ...

    def shared(self, table: Table, asked: Shared) -> int: ...

    def alike(self, table: Table, asked: Alike) -> Mapping[tuple[int, int], int]: ...
