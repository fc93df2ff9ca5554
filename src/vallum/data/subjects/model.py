"""The words of erasing a person everywhere."""

from typing import Any, Literal

import msgspec

from vallum.kernel.errors import Conflict

__all__ = ["ERASURE_REPORT", "ErasureDecided", "ErasureState", "ErasureStep", "FoundAt", "SubjectErasure"]

ERASURE_REPORT = "urn:vallum:subject-erasure:1"
"""The predicate type of a report's envelope (in-toto)."""

ErasureState = Literal["requested", "approved", "held", "done", "cancelled"]


class ErasureDecided(Conflict):
    """Somebody has approved or cancelled it already."""

    code = "erasure_decided"


class FoundAt(msgspec.Struct, frozen=True):
    """Where something of the person lies. `columns` say what it was found by (with how often), `held` why it may not
    go, `made_from_it` what was trained or built on it and keeps what it learnt. Of kind `unsearchable`: the columns
    in `treated` leave nothing to find anybody by, so that rows of theirs may stay unless another column tells."""

    place: str
    kind: str
    count: int
    columns: dict[str, int] = {}
    held: str = ""
    made_from_it: tuple[str, ...] = ()
    treated: dict[str, str] = {}


class ErasureStep(msgspec.Struct, frozen=True):
    """What one transaction made go, with the entry that it is in. `told` are ids, numbers and digests; no value."""

    place: str
    kind: str
    count: int
    entry_id: str
    at: str
    told: dict[str, Any] = {}


class SubjectErasure(msgspec.Struct, frozen=True):
    """One person's erasure. `fingerprints` tell whether the same was asked before, and nothing without the root key;
    the identifiers themselves are destroyed when it is done. `before` are earlier erasures of the same identifiers;
    `kept_out` says that intake knows them by their marks."""

    id: str
    reference: str
    state: ErasureState
    fingerprints: tuple[str, ...]
    found: tuple[FoundAt, ...]
    before: tuple[str, ...]
    requested_by: str
    requested_at: str
    steps: tuple[ErasureStep, ...] = ()
    decided_by: str | None = None
    decided_at: str | None = None
    note: str = ""
    held: tuple[FoundAt, ...] = ()
    problem: str = ""
    finished_at: str | None = None
    report_sha256: str = ""
    kept_out: bool = False
