"""Releases, promotions and environments as values: what the service returns, the API sends and the client reads."""

from typing import Literal

import msgspec

__all__ = [
    "CheckResult",
    "EnvironmentState",
    "Evidence",
    "EvidenceKind",
    "HistoryEntry",
    "Problem",
    "Promotion",
    "Release",
    "Running",
    "ServingTrouble",
    "Trial",
    "TrialSignal",
    "Verification",
]

EvidenceKind = Literal["data", "tests", "threats"]


class Release(msgspec.Struct, frozen=True):
    """One signed manifest. `digest` is the manifest's."""

    id: str
    tenant: str
    product: str
    digest: str
    classification: str
    risk_class: str
    models: tuple[str, ...]  # the versions in it, NAME/NUMBER
    state: Literal["built", "revoked"]
    built_by: str
    built_at: str
    revoked_by: str | None
    revoked_at: str | None
    reason: str  # of the revocation


class Evidence(msgspec.Struct, frozen=True):
    """What somebody says, signed, about a release. `report` is the SHA-256 of the document that it stands on."""

    id: str
    release: str
    kind: EvidenceKind
    passed: bool
    report: str
    note: str
    by: str
    at: str


class CheckResult(msgspec.Struct, frozen=True):
    """`passed` is False also for a check that could not run. `remedy` is what to do about it, as a command."""

    check: str
    passed: bool
    found: str
    remedy: str = ""


class Promotion(msgspec.Struct, frozen=True):
    """A request to run a release in an environment. `approvals` are those given, of `approvals_needed`."""

    id: str
    tenant: str
    release: str
    product: str
    environment: str
    mode: Literal["whole", "canary", "shadow"]
    percent: int  # of requests, for a canary or a shadow
    slow_milliseconds: int  # from when on an answer counts as slow; 0 leaves that signal out
    state: Literal["waiting", "approved", "denied", "cancelled"]
    reason: str
    requested_by: str
    requested_at: str
    approvals: tuple[str, ...]
    approvals_needed: int
    checks: tuple[CheckResult, ...]
    decided_by: str | None
    decided_at: str | None
    note: str


class Problem(msgspec.Struct, frozen=True):
    """One thing that is not as the running release's manifest says. `heals` says whether a deployment puts it right."""

    kind: Literal["signature", "model", "revoked", "index", "application", "policy", "serving", "deployment"]
    what: str
    heals: bool


class Verification(msgspec.Struct, frozen=True):
    at: str
    problems: tuple[Problem, ...]


class TrialSignal(msgspec.Struct, frozen=True):
    """How strongly outcomes speak against a canary: 1 is not at all; at `limit` it is stopped."""

    signal: Literal["failures", "slow", "findings"]
    evidence: float
    limit: float
    canary: tuple[int, int]  # of how many requests, how many
    stable: tuple[int, int]


class Trial(msgspec.Struct, frozen=True):
    """Another release beside the one that runs: a canary answers its share, a shadow only hears it."""

    environment: str
    product: str
    kind: Literal["canary", "shadow"]
    release: str
    percent: int
    slow_milliseconds: int
    started_by: str
    started_at: str
    signals: tuple[TrialSignal, ...] = ()


class ServingTrouble(msgspec.Struct, frozen=True):
    """Why a serving process could not load a model: its process's end and last words, with nothing of any request."""

    process: str
    release: str
    model: str
    why: str


class Running(msgspec.Struct, frozen=True):
    """What runs of one product: since when, by whom, as which step of the environment's history."""

    product: str
    release: str
    sequence: int
    kind: Literal["promotion", "rollback", "revocation", "healing"]
    by: str
    since: str
    approved_by: tuple[str, ...]
    trial: Trial | None
    verified: Verification | None
    troubles: tuple[ServingTrouble, ...] = ()


class EnvironmentState(msgspec.Struct, frozen=True):
    name: str
    approvals_needed: int
    running: tuple[Running, ...]


class HistoryEntry(msgspec.Struct, frozen=True):
    """`ended` is None while it runs; `replaced` by a promotion is the only good end."""

    product: str
    sequence: int
    release: str
    kind: Literal["promotion", "rollback", "revocation", "healing"]
    by: str
    at: str
    ended: Literal["replaced", "rolled_back", "revoked"] | None
