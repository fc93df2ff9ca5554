"""Every route there is."""

from collections.abc import Sequence

from vallum.api.resources import (
    alerts,
    certificates,
    configuration,
    data,
    data_handouts,
    data_statistics,
    delegations,
    erasures,
    grants,
    guards,
    holds,
    identity,
    keys,
    ledger,
    lineage,
    models,
    own,
    policy,
    policy_changes,
    policy_questions,
    releases,
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
    *holds.ROUTES,
    *guards.ROUTES,
    *alerts.ROUTES,
    *models.ROUTES,
    *data.ROUTES,
    *data_handouts.ROUTES,
    *erasures.ROUTES,
    *data_statistics.ROUTES,
    *lineage.ROUTES,
    *keys.ROUTES,
    *secrets.ROUTES,
    *policy.ROUTES,
    *policy_changes.ROUTES,
    *policy_questions.ROUTES,
    *releases.ROUTES,
)
