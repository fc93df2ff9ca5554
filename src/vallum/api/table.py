"""Every route there is."""

from collections.abc import Sequence

from vallum.api.resources import (
    alerts,
    certificates,
    configuration,
    delegations,
    grants,
    guards,
    identity,
    keys,
    ledger,
    own,
    policy,
    policy_changes,
    policy_questions,
    secrets,
    status,
    tokens,
)
from vallum.api.routing import Route

__all__ = ["ROUTES"]

ROUTES: Sequence[Route] = (
    *status.ROUTES,
    *identity.ROUTES,
    *tokens.ROUTES,
    *certificates.ROUTES,
    *own.ROUTES,
    *delegations.ROUTES,
    *grants.ROUTES,
    *configuration.ROUTES,
    *ledger.ROUTES,
    *guards.ROUTES,
    *alerts.ROUTES,
    *keys.ROUTES,
    *secrets.ROUTES,
    *policy.ROUTES,
    *policy_changes.ROUTES,
    *policy_questions.ROUTES,
)
