"""The words of the catalogue: data sets, their immutable versions, intakes under way, quarantine cases; the rules."""

import re
from typing import Any, Literal

import msgspec

from vallum.inventory.model import CLASSIFICATIONS, Classification
from vallum.kernel.errors import Conflict, IntegrityError, Invalid

__all__ = [
    "MAX_CONTRACT_BYTES",
    "RETENTION_DAYS",
    "Against",
    "CaseRow",
    "DataHeld",
    "DataIntake",
    "DataSet",
    "DataSetDamaged",
    "DataSetVersion",
    "DataUnavailable",
    "DataUse",
    "Erasure",
    "ExportCount",
    "IntakeBusy",
    "IntakeTooLarge",
    "Purpose",
    "QuarantineCase",
    "VersionColumn",
    "check_data_name",
    "check_purpose",
    "check_reason",
    "check_words",
    "highest_class",
]

MAX_CONTRACT_BYTES = 1 << 20
_MAX_WORD_CHARS = 1000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)

# How long a version is kept where its contract names no retention; the strictest class of its columns decides.
RETENTION_DAYS: dict[str, int] = {"public": 3650, "internal": 1825, "confidential": 730, "restricted": 365}

Purpose = str
State = Literal["available", "failed", "erased", "expired"]


class DataUnavailable(Conflict):
    """The version failed its gates, or its rows were erased or have expired: nobody reads it."""

    code = "data_unavailable"


class DataHeld(Conflict):
    """The data set is under legal hold: nothing of it is erased, destroyed or let expire."""

    code = "data_held"


class DataSetDamaged(IntegrityError):
    """A stored part is gone, altered, cut, or stands in another's place."""

    code = "data_set_damaged"


class IntakeBusy(Conflict):
    """The intake is being judged, or is over: it takes nothing more."""

    code = "intake_busy"


class IntakeTooLarge(Invalid):
    """More bytes than one source may have."""

    code = "intake_too_large"


class DataSet(msgspec.Struct, frozen=True):
    """A name that versions are taken in under. `classification` is the strictest of any version so far; `hold` says
    why nothing may be erased, empty where something may."""

    name: str
    owner: str
    classification: Classification
    description: str
    purpose: str
    licence: str
    created_at: str
    created_by: str
    hold: str = ""
    held_by: str | None = None


class VersionColumn(msgspec.Struct, frozen=True):
    """`kinds` are what it was found to hold; `field` is how it lies: plain in the sealed part, sealed by itself
    (AES-GCM), or joinable (AES-SIV). `treatment` is what was done to it before it was kept, empty for nothing."""

    name: str
    type: str
    classification: Classification
    kinds: tuple[str, ...] = ()
    field: Literal["plain", "sealed", "joinable"] = "plain"
    missed_at_most: float = 0.0
    treatment: str = ""


class DataSetVersion(msgspec.Struct, frozen=True):
    """One immutable version. `digest` is over what was asked (source, contract, purpose) and what came of it; only
    `state` and the approval ever change. `report` is what was found, without any value of a column that is masked."""

    dataset: str
    number: int
    state: State
    digest: str
    rows: int
    size: int
    classification: Classification
    columns: tuple[VersionColumn, ...]
    dropped: tuple[str, ...]
    purpose: str
    source: str
    source_sha256: str
    contract_sha256: str
    report_sha256: str
    quarantined: int
    derived_from: int | None
    created_at: str
    created_by: str
    expires_at: str
    approved_by: str | None = None
    approved_at: str | None = None
    approval_note: str = ""

    @property
    def id(self) -> str:
        return f"{self.dataset}/{self.number}"


class DataIntake(msgspec.Struct, frozen=True):
    """A source on its way in: not visible to anybody but whoever brings it, and gone when left for a day."""

    id: str
    dataset: str
    state: Literal["open", "judging", "done"]
    file_name: str
    purpose: str
    sha256: str
    size: int
    step: str
    created_at: str
    expires_at: str


class Against(msgspec.Struct, frozen=True):
    """Governed versions (NAME/NUMBER) that a source is held against: `parents` are the tables that its contract refers
    to, by their name there; `evaluation` is the set of which no row may stand in it."""

    parents: dict[str, str] = {}
    evaluation: str = ""

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.parents.values(), *([self.evaluation] if self.evaluation else ()))))


class CaseRow(msgspec.Struct, frozen=True):
    """Why one row is held: `row` counts from 0 in the source. Holds no value."""

    row: int
    kind: str
    score: float
    reason: str


class QuarantineCase(msgspec.Struct, frozen=True):
    """Rows that a gate failed or that may be poisoned. `affected` are models that were trained on rows like them."""

    id: str
    dataset: str
    number: int
    state: Literal["open", "released", "destroyed"]
    rows: int
    reasons: tuple[CaseRow, ...]
    affected: tuple[str, ...]
    created_at: str
    created_by: str
    decided_by: str | None = None
    decided_at: str | None = None
    note: str = ""
    released_as: int | None = None


class DataUse(msgspec.Struct, frozen=True):
    """That something was made from a version: `kind` says what, `used_by` names it."""

    dataset: str
    number: int
    kind: Literal["run", "model", "release", "index"]
    used_by: str
    at: str
    by: str


class Erasure(msgspec.Struct, frozen=True):
    """What an erasure did. `erased` are versions whose keys were destroyed, `made` those that took their place,
    `tokens` how many open nothing any more; `not_searched` columns that lie so that nobody is found in them."""

    id: str
    dataset: str
    reference: str
    column: str
    rows: int
    erased: tuple[int, ...]
    made: tuple[int, ...]
    cases: tuple[str, ...]
    digest: str
    at: str
    by: str
    tokens: int = 0
    not_searched: tuple[str, ...] = ()


class ExportCount(msgspec.Struct, frozen=True):
    """What `subject` was sent of a data set on one day (UTC). `hours` has a bit for each hour, from the lowest."""

    subject: str
    day: str
    dataset: str
    rows: int
    size: int
    exports: int
    hours: int


def check_data_name(name: str) -> str:
    """Raises Invalid."""
    if not _NAME.fullmatch(name):
        raise Invalid("a data set's name is up to 128 lower-case letters, digits, '.', '_' and '-', no sign first")
    return name


def check_purpose(purpose: str) -> Purpose:
    """Raises Invalid."""
    if len(purpose) > 200 or not purpose.isprintable():
        raise Invalid("a purpose is up to 200 printable characters")
    return purpose.strip()


def check_words(text: str, what: str) -> str:
    """Somebody's own words, kept and shown to others. Raises Invalid."""
    if len(text) > _MAX_WORD_CHARS or (text and not text.isprintable()):
        raise Invalid(f"{what}: up to {_MAX_WORD_CHARS} printable characters")
    return text.strip()


def check_reason(text: str) -> str:
    """Raises Invalid for one that says nothing."""
    if len(text.strip()) < 10:
        raise Invalid("reason: at least 10 characters say why")
    return check_words(text, "reason")


def highest_class(columns: "tuple[VersionColumn, ...] | list[VersionColumn]") -> Any:
    return max((c.classification for c in columns), key=CLASSIFICATIONS.index, default="internal")
