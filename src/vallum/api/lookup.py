"""Finding one route by its name, without importing what every other route works with."""

from collections.abc import Sequence
from importlib import import_module

from vallum.api.routing import Route

__all__ = ["find_route"]

# Quick ones first: what needs the kernel alone, and then what imports a domain. A test compares them with the table.
_RESOURCES = (
    "status", "policy", "policy_changes", "policy_questions", "keys", "secrets", "ledger", "holds", "identity", "own",
    "certificates", "tokens", "delegations", "grants", "alerts", "lineage", "configuration",
    "models", "data", "data_handouts", "data_statistics", "erasures", "releases", "guards",
)  # fmt: skip


def find_route(name: str) -> Route:
    """Raises KeyError for a name that no route has."""
    for resource in _RESOURCES:
        routes: Sequence[Route] = import_module(f"vallum.api.resources.{resource}").ROUTES
        for route in routes:
            if route.name == name:
                return route
    raise KeyError(name)
