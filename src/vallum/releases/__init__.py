"""Releases: one signed manifest of everything that runs together, and the environments that it is promoted through.

Owns manifests, evidence, promotions, deployments, trials and what watches them. Leaves models to the registry and
applications to the inventory, through ports of its own. Answers a model, a guard policy or a limit that was changed
where it runs, somebody alone who puts their own work in production, and a revoked part that comes back.
"""

from vallum.releases.deployments import ReleasedApplication
from vallum.releases.environments import EPOCH
from vallum.releases.errors import (
    ManifestRefused,
    NothingToRollBackTo,
    PromotionRefused,
    ReleaseBroken,
    ReleaseRevoked,
)
from vallum.releases.manifest import Declaration, Manifest, with_policy
from vallum.releases.model import (
    CheckResult,
    EnvironmentState,
    Evidence,
    HistoryEntry,
    Promotion,
    Release,
    Trial,
    Verification,
)
from vallum.releases.ports import CardScore, Served
from vallum.releases.promotions import Wanted
from vallum.releases.rules import DEFAULT_RULES, ReleaseRules, load_rules
from vallum.releases.service import Releases
from vallum.releases.watch import Watch

__all__ = [
    "DEFAULT_RULES",
    "EPOCH",
    "CardScore",
    "CheckResult",
    "Declaration",
    "EnvironmentState",
    "Evidence",
    "HistoryEntry",
    "Manifest",
    "ManifestRefused",
    "NothingToRollBackTo",
    "Promotion",
    "PromotionRefused",
    "Release",
    "ReleaseBroken",
    "ReleaseRevoked",
    "ReleaseRules",
    "ReleasedApplication",
    "Releases",
    "Served",
    "Trial",
    "Verification",
    "Wanted",
    "Watch",
    "load_rules",
    "with_policy",
]
