"""The control plane: everything people and programs do besides inference, as one table of routes.

The console and the command line perform these routes and nothing else, so that what is true of the table (each
declares its action and passes the gate) is true of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vallum.api.control import Call, ControlPlane, Domains, Performed, Services
from vallum.api.lookup import find_route
from vallum.api.problems import CERTIFICATE_PATH, TOKEN_PATH, Problem
from vallum.api.routing import Download, RawBody, Route, match_route

if TYPE_CHECKING:
    from vallum.api.app import ApiApp, peer_of
    from vallum.api.openapi import render_openapi
    from vallum.api.table import ROUTES

__all__ = [
    "CERTIFICATE_PATH",
    "ROUTES",
    "TOKEN_PATH",
    "ApiApp",
    "Call",
    "ControlPlane",
    "Domains",
    "Download",
    "Performed",
    "Problem",
    "RawBody",
    "Route",
    "Services",
    "find_route",
    "match_route",
    "peer_of",
    "render_openapi",
]

# What imports every resource, and with them every domain: a command that performs one route does without.
_WITH_EVERY_RESOURCE = {"ApiApp": "app", "peer_of": "app", "render_openapi": "openapi", "ROUTES": "table"}


def __getattr__(name: str) -> Any:
    """PEP 562: imported when it is asked for."""
    module = _WITH_EVERY_RESOURCE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
