"""What releases need from elsewhere: registered models, what is known of them, applications, and serving processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from vallum.kernel.policy import AssetFacts
from vallum.kernel.values import AssetRef
from vallum.releases.manifest import ApplicationPolicy

__all__ = ["Applications", "CardScore", "Cards", "DataSets", "ModelRegistry", "RegisteredVersion", "Served", "Serving"]


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


class DataSets(Protocol):
    def unapproved(self, conn: Connection, model: str, number: int) -> Sequence[str] | None:
        """The data sets that a version was trained on and that are not approved; None when that is not known."""
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
