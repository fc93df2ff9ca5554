"""What releases need from elsewhere: registered models, what is known of them, applications, and serving processes."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from vallum.kernel.policy import AssetFacts
from vallum.kernel.values import AssetRef, Subject
from vallum.releases.manifest import ApplicationPolicy

__all__ = [
    "Applications",
    "CardScore",
    "Cards",
    "DataSets",
    "DataVersion",
    "ModelRegistry",
    "RegisteredVersion",
    "Served",
    "Serving",
]


class RegisteredVersion(Protocol):
    """One immutable version, as the registry describes it."""

    @property
    def model(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str:
        """available, quarantined or revoked."""
        ...

    @property
    def digest(self) -> str: ...
    @property
    def verdict(self) -> str:
        """pass, review or block."""
        ...

    @property
    def signer(self) -> str | None: ...
    @property
    def reviewed_by(self) -> str | None:
        """Who took a version that the scanner could not judge out of quarantine."""
        ...


class ModelRegistry(Protocol):
    def version(self, conn: Connection, model: str, number: int) -> RegisteredVersion:
        """Raises NotFound."""
        ...

    def checkout(self, model: str, number: int, folder: Path) -> object:
        """Write every verified file below a fresh folder. Raises of IntegrityError, or Conflict for a version that must
        not run, and leaves nothing behind then."""
        ...

    def verify(self, model: str, number: int) -> None:
        """Read every file and hold it against the signature; nothing is written. Raises as `checkout` does."""
        ...

    def set_alias(self, conn: Connection, model: str, alias: str, number: int) -> object: ...

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """Of a RegisteredModel: at least `classification` and `risk_class`."""
        ...


class CardScore(msgspec.Struct, frozen=True):
    """How complete a model's card is, of 100, and what its risk class demands and it does not have."""

    score: int
    missing: tuple[str, ...] = ()


class Cards(Protocol):
    def score(self, conn: Connection, model: str, number: int) -> CardScore | None:
        """None for a version without a card."""
        ...


class DataVersion(Protocol):
    """One immutable version of a governed data set, as the catalogue describes it."""

    @property
    def state(self) -> str:
        """available, failed, erased or expired."""
        ...

    @property
    def digest(self) -> str: ...
    @property
    def classification(self) -> str: ...
    @property
    def approved_by(self) -> str | None: ...


class DataSets(Protocol):
    def unapproved(self, conn: Connection, model: str, number: int) -> Sequence[str] | None:
        """The data sets that a version was trained on and that are not approved; None when that is not known."""
        ...

    def version(self, conn: Connection, dataset: str, number: int) -> DataVersion:
        """Raises NotFound."""
        ...

    def held(self, conn: Connection, release: str, datasets: Collection[str]) -> Sequence[str]:
        """The versions whose quarantine holds rows that stand in what a release retrieves from."""
        ...

    def verify(self, dataset: str, number: int) -> None:
        """Read every stored part and hold it against what was signed of the version. Raises of IntegrityError, Conflict
        for a version that nobody may read, NotFound."""
        ...

    def use(self, conn: Connection, dataset: str, number: int, release: str, by: Subject) -> None:
        """Record that a release retrieves from the version."""
        ...


class Applications(Protocol):
    def policy(self, conn: Connection, name: str) -> ApplicationPolicy | None:
        """As it is in force in this transaction; None for an application that is not declared."""
        ...

    def put(self, conn: Connection, policy: ApplicationPolicy) -> None:
        """Put a policy in force for an application that is declared. Raises Invalid when it does not fit."""
        ...


class Served(msgspec.Struct, frozen=True):
    """What one serving process says it serves, and why it has not loaded it, where it could not."""

    process: str
    environment: str
    model: str
    release: str
    digest: str
    trouble: str = ""


class Serving(Protocol):
    def loaded(self, conn: Connection, environment: str) -> Sequence[Served]: ...
