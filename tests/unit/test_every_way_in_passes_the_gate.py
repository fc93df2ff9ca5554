"""Every route and every command declares what it asks of the gate, and there is no other way in."""

import ast
import inspect

import pytest

from vallum.api import ROUTES
from vallum.api.control import ControlPlane
from vallum.cli.registry import COMMANDS
from vallum.cli.tree import whole_tree
from vallum.gateway import app as gateway
from vallum.kernel.actions import Action
from vallum.kernel.policy import shipped_schema

whole_tree()  # registers every command

OPEN = {
    "read_enrolment", "finish_enrolment", "sign_in", "grant_token", "begin_passkey_sign_in", "sign_in_with_passkey",
    "begin_sso", "sign_in_with_sso", "renew_certificate", "sign_in_handed_over",
}  # fmt: skip


def test_every_route_declares_an_action_that_the_policy_schema_knows():
    for route in ROUTES:
        if route.name in OPEN:
            continue
        assert route.access in ("read", "change"), route.name
        assert isinstance(route.action, Action), route.name
        assert f'"{route.action}"' in shipped_schema()


def test_only_what_carries_its_own_proof_is_open():
    assert {route.name for route in ROUTES if route.access == "open"} == OPEN


def test_only_challenges_leave_no_entry():
    unrecorded = {route.name for route in ROUTES if not route.recorded}
    assert unrecorded == {"begin_passkey_sign_in", "begin_sso"}
    assert unrecorded <= OPEN


def test_every_route_names_an_asset_of_the_schema():
    for route in ROUTES:
        path = {part.strip("{.}"): "x" for part in route.path.split("/") if part.startswith("{")}
        assert f"entity {route.asset(path, None).kind}" in shipped_schema() or route.asset(path, None).kind in (
            "Provider", "ApiKey", "Session", "PolicySet", "Ledger", "Entry", "Keyset", "Secret", "Guard",
            "Person", "Service",
        )  # fmt: skip


def test_names_and_paths_are_unique():
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_a_change_never_uses_get():
    assert not [route.name for route in ROUTES if route.access == "change" and route.method == "GET"]


def test_every_action_but_the_gateways_and_the_schedules_has_a_route():
    routed = {route.action for route in ROUTES}
    unrouted = {Action.MODEL_INVOKE, Action.MODEL_LIST, Action.CONTENT_EXPIRE, Action.INCIDENT_OPEN, Action.ALERT_RAISE}
    unrouted |= {Action.ENVIRONMENT_DRIFT, Action.ENVIRONMENT_HEAL, Action.CANARY_FAIL}
    unrouted |= {Action.UPLOAD_EXPIRE, Action.DEPENDENCY_ALERT, Action.VERSION_DAMAGED}
    unrouted |= {Action.DATA_OVERDUE, Action.ERASURE_FINISH, Action.CONTENT_ERASE}  # the platform's own work
    unrouted |= {Action.DATA_EXPIRE, Action.COLUMN_READ}  # the last is asked of each column, within a read
    assert set(Action) - routed == unrouted | {Action.ROTATION_OVERDUE, Action.SECRET_EXPIRE}


def test_every_command_performs_routes_or_says_why_it_needs_none():
    names = {route.name for route in ROUTES}
    assert len(COMMANDS) > 25
    for command in COMMANDS:
        assert bool(command.performs) != bool(command.local), command.name
        assert set(command.performs) <= names, command.name


def test_local_commands_are_these():
    local = {command.name.split(" ", 1)[1] for command in COMMANDS if command.local}
    assert local == {
        "up",
        "serve",
        "migrate",
        "move-root",
        "rotate-root",
        "verify",
        "test",
        "scan",
        "sign",
        "card",
        "bom",
        "import",
        "update",
        "eval",
        "digest",
        "check",
        "profile",
        "propose",
        "classify",
        "minimise",
        "convert",
        "risk",
        "suspects",
    }


def test_every_route_is_somebodys_command():
    performed = {name for command in COMMANDS for name in command.performs}
    by_browser_only = {"read_enrolment", "finish_enrolment", "begin_passkey_sign_in", "sign_in_with_passkey",
                       "begin_passkey", "register_passkey", "begin_sso", "sign_in_with_sso", "hand_over"}  # fmt: skip
    through_the_client = {"grant_token", "read_session", "read_application", "list_models", "list_providers",
                          "read_ledger", "read_content"}  # fmt: skip
    assert {route.name for route in ROUTES} - performed == by_browser_only | through_the_client


def test_the_control_plane_has_one_door():
    """Only `perform` calls what routes do."""
    tree = ast.parse(inspect.getsource(ControlPlane).strip())
    callers = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "route.perform"
    }
    assert callers == {"perform", "_perform_open"}


@pytest.mark.parametrize("path", sorted(gateway.ENDPOINTS))
def test_every_inference_endpoint_goes_through_the_one_pipeline(path):
    source = inspect.getsource(gateway.GatewayApp.__call__)
    assert "self._pipeline.handle(protocol" in source
    assert path.startswith("/v1/")
