"""The control plane: everything people and programs do besides inference, as one table of routes.

The console and the command line perform these routes and nothing else, so that what is true of the table (each
declares its action and passes the gate) is true of them.
"""

from vallum.api.app import ApiApp, peer_of
from vallum.api.control import Call, ControlPlane, Performed, Services
from vallum.api.openapi import render_openapi
from vallum.api.problems import CERTIFICATE_PATH, TOKEN_PATH, Problem
from vallum.api.routing import Download, RawBody, Route, match_route
from vallum.api.table import ROUTES

__all__ = [
    "CERTIFICATE_PATH",
    "ROUTES",
    "TOKEN_PATH",
    "ApiApp",
    "Call",
    "ControlPlane",
    "Download",
    "Performed",
    "Problem",
    "RawBody",
    "Route",
    "Services",
    "match_route",
    "peer_of",
    "render_openapi",
]
