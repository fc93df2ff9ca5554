"""The words every floor shares: who asks, to do what, on which asset, and what the gate answered."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NewType

__all__ = ["AssetRef", "Decision", "GrantedRole", "Obligation", "Subject", "SubjectKind", "TenantId"]

TenantId = NewType("TenantId", str)


class SubjectKind(StrEnum):
    """What kind of thing acts; each is an entity type of the policy schema, capitalised."""

    PERSON = "person"
    SERVICE = "service"
    APPLICATION = "application"
    SYSTEM = "system"  # Vallum itself: schedules, playbooks, local administration


@dataclass(frozen=True, slots=True)
class GrantedRole:
    """A role somebody holds for the moment. `asset` is `Kind:id`, `Kind:*`, or empty for whatever the role covers."""

    id: str
    role: str
    asset: str

    def covers(self, asset: "AssetRef", application: object = None) -> bool:
        """`application` is the one that the asset belongs to, as a key does: who holds that, holds its keys."""
        return self.asset in ("", asset.render(), f"{asset.kind}:*", f"Application:{application}")


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody or something proven to be asking. Only `identity` makes one.

    `version` changes whenever roles or state change, so that decisions cached for the older one are not used.
    `credential` names the key, session or token that proved the subject; it is an id, never a secret.
    """

    kind: SubjectKind
    id: str
    tenant: TenantId
    roles: frozenset[str] = frozenset()
    version: int = 0
    credential: str | None = None
    mfa_at_seconds: int | None = None  # Unix time of the last proven second factor
    holder: str = ""  # the human being behind a person: the same in every account of theirs
    inviter: str = ""  # the human being who let that person in
    grants: tuple[GrantedRole, ...] = ()  # in force when the subject was proven
    on_behalf_of: "Subject | None" = None  # the person an application acts for, who let it
    models: frozenset[str] | None = None  # those that an application's key is for; None: all that the application has

    def render(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class AssetRef:
    """One governed thing: `kind` is an entity type of the policy schema (`Application`, `Model`, …)."""

    kind: str
    id: str
    version: int = 0

    def render(self) -> str:
        return f"{self.kind}:{self.id}"


class Obligation(StrEnum):
    """What the caller must do before it may act on an allow."""

    STEP_UP = "step_up"
    APPROVAL = "approval"
    MASK = "mask"


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. `policies` are the ids that determined it; empty on a default deny."""

    effect: Literal["allow", "deny"]
    policies: tuple[str, ...]
    reason: str  # shown to an operator; holds no secret and no prompt text
    policy_set: str  # digest of the policy set that answered
    obligations: frozenset[Obligation] = field(default=frozenset())
    grants: tuple[str, ...] = ()  # ids of the grants without which it would be a deny
    basis: str = ""  # what the policies were told, as JSON: with the entry, enough to decide again

    def __bool__(self) -> bool:
        raise TypeError("a Decision is not a flag: compare .effect")
