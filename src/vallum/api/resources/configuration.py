"""Providers, models and applications: read one by one, planned and applied as files."""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.inventory import Application, Configuration, ConfigurationRefused, Model, Plan, Provider, parse_files
from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound
from vallum.kernel.gate import Change

__all__ = ["ROUTES"]

_MAX_FILE_CHARS = 1_048_576


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TOML texts by file name. `prune` removes what they do not name; `digest` is the plan that was seen."""

    files: dict[Annotated[str, Meta(max_length=512)], Annotated[str, Meta(max_length=_MAX_FILE_CHARS)]]
    prune: bool = False
    digest: Annotated[str, Meta(max_length=64)] | None = None


class ApplicationRecord(msgspec.Struct, frozen=True):
    name: str
    application: Application


class ModelRecord(msgspec.Struct, frozen=True):
    name: str
    model: Model


class ProviderRecord(msgspec.Struct, frozen=True):
    name: str
    provider: Provider


def list_applications(services: Services, call: Call) -> list[ApplicationRecord]:
    return [ApplicationRecord(n, a) for n, a in sorted(services.inventory.configuration.applications.items())]


def read_application(services: Services, call: Call) -> ApplicationRecord:
    name = call.path["name"]
    application = services.inventory.application(name)
    if application is None:
        raise NotFound("there is no application of that name")
    return ApplicationRecord(name, application)


def list_models(services: Services, call: Call) -> list[ModelRecord]:
    return [ModelRecord(n, m) for n, m in sorted(services.inventory.configuration.models.items())]


def list_providers(services: Services, call: Call) -> list[ProviderRecord]:
    return [ProviderRecord(n, p) for n, p in sorted(services.inventory.configuration.providers.items())]


def plan(services: Services, call: Call) -> Plan:
    desired = _parsed(call.body)
    with services.records.read() as conn:
        return _warned(services, conn, desired, services.inventory.plan(conn, desired, prune=call.body.prune))


def apply(services: Services, call: Call, change: Change) -> Plan:
    wanted, desired = call.body, _parsed(call.body)
    done = services.inventory.apply(change.conn, desired, wanted.digest, prune=wanted.prune)
    return _warned(services, change.conn, desired, done)


def _warned(services: Services, conn: Connection, desired: Configuration, plan: Plan) -> Plan:
    """With a word on each application that a release holds otherwise: gateways go by the release, and the inventory is
    put back. Releases are opened only where an application changes."""
    changed = [one for one in plan.changes if one.kind == "applications" and one.action != "add"]
    if not changed:
        return plan
    from vallum.releases.manifest import application_policy, differing_fields  # only when one changes

    warnings = []
    for one in changed:
        held = services.releases.environments.governing(conn, one.name)
        if held is None:
            continue
        environment, release, policy = held
        here = f"applications.{one.name}: release {release} runs in {environment}"
        wanted = desired.applications.get(one.name)
        if wanted is None:
            warnings.append(f"{here}, and goes on: vallum release revoke takes it out")
            continue
        if differing := differing_fields(application_policy(one.name, wanted), policy):
            fields = ", ".join(differing)
            warnings.append(
                f"{here} and holds its {fields}: requests meet those of the release, and within minutes its watch puts "
                f"them back here. To change them, build a release while they stand here (vallum release build takes "
                "what is in force), and promote that"
            )
    return msgspec.structs.replace(plan, warnings=tuple(warnings))


def _parsed(wanted: Files) -> Configuration:
    """Raises ConfigurationRefused: for what is no configuration, or has guards look for what there is not."""
    from vallum.gateway.guarding import problems as guard_problems  # with every guard, which only plans ask

    desired = parse_files(wanted.files)
    found = [f"applications.{n}.{p}" for n, a in desired.applications.items() for p in guard_problems(a)]
    if found:
        raise ConfigurationRefused(found)
    return desired


ROUTES = (
    Route(
        method="GET", path="/applications", name="list_applications", summary="Applications and what they may do",
        access="read", action=Action.APPLICATION_READ, asset=system, perform=list_applications,
        answer=list[ApplicationRecord],
    ),
    Route(
        method="GET", path="/applications/{name}", name="read_application", summary="One application",
        access="read", action=Action.APPLICATION_READ, asset=system, perform=read_application,
        answer=ApplicationRecord,
    ),
    Route(
        method="GET", path="/models", name="list_models", summary="Models and where they lead",
        access="read", action=Action.PROVIDER_READ, asset=system, perform=list_models, answer=list[ModelRecord],
    ),
    Route(
        method="GET", path="/providers", name="list_providers", summary="Providers, without their secrets",
        access="read", action=Action.PROVIDER_READ, asset=system, perform=list_providers,
        answer=list[ProviderRecord],
    ),
    Route(
        method="POST", path="/configuration/plans", name="plan", summary="What applying these files would change",
        access="read", action=Action.CONFIGURATION_PLAN, asset=system, perform=plan,
        body=Files, max_body_bytes=8 << 20, answer=Plan,
    ),
    Route(
        method="POST", path="/configuration", name="apply", summary="Make what these files declare so",
        access="change", action=Action.CONFIGURATION_APPLY, asset=system, perform=apply,
        body=Files, max_body_bytes=8 << 20, answer=Plan,
        context=lambda path, body: {"files": len(body.files), "prune": int(body.prune)},
    ),
)  # fmt: skip
