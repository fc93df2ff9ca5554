"""A row that may be poisoned, how sure that is, and why in a sentence that quotes nothing."""

from typing import Literal

import msgspec

__all__ = ["Suspect", "SuspectKind", "merge"]

SuspectKind = Literal["label", "trigger", "near_duplicate", "source", "instruction"]


class Suspect(msgspec.Struct, frozen=True):
    """`row` counts from 0 in the data that was judged. `score` is from 0 to 1, the higher the surer."""

    row: int
    score: float
    kind: SuspectKind
    reason: str


def merge(*found: list[Suspect]) -> list[Suspect]:
    """All of them by row, the surest of a row first."""
    return sorted((suspect for each in found for suspect in each), key=lambda s: (s.row, -s.score))
