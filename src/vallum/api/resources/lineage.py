"""Lineage across the floors: from a version of a data set, or rows in quarantine, to runs, models, releases, and where
those serve. Each floor knows its own step alone; here they are put end to end.

A model is known to come from a run by what was said of it: its source names the run, or the run was recorded as one of
the uses that name both. Nothing is guessed from times.
"""

from collections.abc import Iterable, Mapping

import msgspec

from vallum.api.assets import named
from vallum.api.control import Call, Services
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.errors import NotFound

__all__ = ["ROUTES", "LineageStep"]

_MOST_STEPS = 500
_MOST_VERSIONS = 100  # of a model, that may be of a run


class LineageStep(msgspec.Struct, frozen=True):
    """Something made, directly or not, from data. `made_from` is the step before; `runs_in` are environments."""

    kind: str
    name: str
    made_from: str
    state: str = ""
    runs_in: tuple[str, ...] = ()


def of_version(services: Services, call: Call) -> list[LineageStep]:
    name, text = call.path["name"], call.path["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound("a version is a number")
    with services.records.read() as conn:
        services.data.version(conn, name, int(text))
        uses = services.data.uses(conn, name, int(text))
    return _traced(services, [(use.kind, use.used_by, f"{name}/{text}") for use in uses])


def of_case(services: Services, call: Call) -> list[LineageStep]:
    with services.records.read() as conn:
        case = services.data.desk.case(conn, call.path["case"])
        uses = services.data.uses(conn, case.dataset)
    wanted = set(case.affected)
    starts = [(use.kind, use.used_by, f"{case.dataset}/{use.number}") for use in uses if use.used_by in wanted]
    return _traced(services, starts)


def _traced(services: Services, starts: Iterable[tuple[str, str, str]]) -> list[LineageStep]:
    """Breadth first, each thing once."""
    sources = _models_by_source(services)
    runs_in = _environments(services)
    waiting, found = list(starts), dict[tuple[str, str], LineageStep]()
    for kind, name, before in waiting:
        if (kind, name) in found or len(found) >= _MOST_STEPS:
            continue
        found[kind, name] = LineageStep(kind, name, before, _state(services, kind, name), runs_in.get(name, ()))
        waiting.extend(("model", model, name) for model in sources.get(name, ()))
        if kind == "model":
            releases = services.releases.catalogue.listed(model=name)
            waiting.extend(("release", release.id, name) for release in releases)
    return list(found.values())


def _models_by_source(services: Services) -> Mapping[str, list[str]]:
    """Model versions by what they say they come from."""
    made: dict[str, list[str]] = {}
    with services.records.read() as conn:
        for model in services.models.models(conn):
            for version in services.models.versions(conn, model.name, limit=_MOST_VERSIONS):
                if version.source:
                    made.setdefault(version.source, []).append(version.id)
    return made


def _environments(services: Services) -> Mapping[str, tuple[str, ...]]:
    """Where a release serves, by its id."""
    places: dict[str, tuple[str, ...]] = {}
    with services.records.read() as conn:
        for row in services.releases.environments.all_running(conn):
            places[row.release] = (*places.get(row.release, ()), row.environment)
    return places


def _state(services: Services, kind: str, name: str) -> str:
    """What became of it, where that is known."""
    model, _, number = name.rpartition("/")
    with services.records.read() as conn:
        try:
            if kind == "model" and model and number.isascii() and number.isdigit() and len(number) < 10:
                return str(services.models.version(conn, model, int(number)).state)
            if kind == "release":
                return str(services.releases.catalogue.release(conn, name).state)
        except NotFound:
            pass  # named by a person, and not here
    return ""


ROUTES = (
    Route(
        method="GET", path="/data-sets/{name}/versions/{number}/lineage", name="read_data_lineage",
        summary="What was made from a version, step by step: runs, models, releases, and where they serve",
        access="read", action=Action.DATA_SET_READ, asset=named("DataSetVersion", "name", "number"),
        perform=of_version, answer=list[LineageStep],
    ),
    Route(
        method="GET", path="/data-quarantine/{case}/lineage", name="read_quarantine_lineage",
        summary="What was made from rows that are held now: runs, models, releases, and where they serve",
        access="read", action=Action.DATA_SET_READ, asset=named("QuarantineCase", "case"), perform=of_case,
        answer=list[LineageStep],
    ),
)  # fmt: skip
