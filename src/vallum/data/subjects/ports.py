"""What erasing needs of whoever keeps data: to say what is there, and to make it go, one transaction at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from sqlalchemy import Connection

from vallum.data.subjects.identifiers import Identifiers
from vallum.data.subjects.model import ErasureStep, FoundAt

__all__ = ["Eraser", "ErasingStep"]

ErasingStep = Callable[[Connection, ErasureStep], None]
"""Keeps a step beside the change that it tells of: called in that change's transaction."""


class Eraser(Protocol):
    """One kind of place. Safe to share between threads."""

    name: str

    def find(self, whom: Identifiers) -> list[FoundAt]:
        """Everything of theirs that is kept here, what is under legal hold included. Changes nothing."""
        ...

    def unsearchable(self, whom: Identifiers) -> list[FoundAt]:
        """Where something of theirs may lie that nothing can find: what `find` would say nothing of."""
        ...

    def under_way(self, before: str) -> list[str]:
        """What was begun by then (RFC 3339) and may still bring something of theirs in."""
        ...

    def is_held(self, found: Sequence[FoundAt]) -> bool:
        """Whether all that was found in places of this kind is still under legal hold, as it is where nothing was.
        Quick: reads no data."""
        ...

    def erase(self, whom: Identifiers, erasure: str, reference: str, keep: ErasingStep) -> Iterator[ErasureStep]:
        """Make go what `find` finds and nobody holds; each step is committed when it is yielded, with its entry.

        Done again after a crash, it goes on with what is left. Raises Conflict for what changed meanwhile: try again.
        """
        ...
