"""Data sets: the catalogue with classes and owners, a version's profile, gates and lineage, the quarantine desk."""

import json
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.console.forms import Form, changing
from vallum.console.visitor import Visitor
from vallum.kernel.errors import Denied, VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["draw_histogram", "gate_states", "pages"]

_SHOWN_COLUMNS = 200
_SHOWN_REASONS = 200
_SHOWN_HISTORY = 10
_SHOWN_CHECKS = 60
_WIDTH, _HEIGHT = 120, 28


def pages(console: "ConsoleApp") -> list[Route]:
    room = _DataRoom(console)
    version, case = "/console/data/{name}/{number}", "/console/quarantine/{case}"

    def form(path: str, change: Any, show: Any) -> Route:
        return Route(path, console.page(changing(console, change, show)), methods=["POST"])

    return [
        Route("/console/data", console.page(room.data_sets)),
        Route("/console/data/{name}", console.page(room.data_set)),
        Route(version, console.page(room.version)),
        form(version + "/approval", room.approve, room.version),
        Route(case, console.page(room.case)),
        form(case + "/rows", room.show_rows, room.case),
        form(case + "/release", room.release, room.case),
        form(case + "/destruction", room.destroy, room.case),
    ]


class _DataRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def data_sets(self, request: Request, visitor: Visitor) -> Response:
        found = await self._console.perform("list_data_sets", visitor)
        newest = {one.name: await self._versions(visitor, one.name, 1) for one in found}
        cases = await self._console.perform("list_quarantine", visitor, query={"state": "open"})
        due = await self._console.perform("list_data_retention", visitor, query={})
        return self._console.render("data.html", visitor, data_sets=found, newest=newest, cases=cases, due=due)

    async def data_set(self, request: Request, visitor: Visitor) -> Response:
        name = request.path_params["name"]
        found = await self._console.perform("read_data_set", visitor, path={"name": name})
        versions = await self._versions(visitor, name, 100)
        uses = await self._console.perform("list_data_uses", visitor, path={"name": name})
        cases = await self._console.perform("list_quarantine", visitor, query={"dataset": name})
        erasures = await self._console.perform("list_data_erasures", visitor, path={"name": name})
        return self._console.render(
            "data_set.html", visitor, data_set=found, versions=versions, uses=uses, cases=cases, erasures=erasures,
            exports=await self._exports(visitor, name), handouts=await self._handouts(visitor, name),
            history=await self._gate_history(visitor, versions),
        )  # fmt: skip

    async def version(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        path = _path(request)
        version = await self._console.perform("read_data_version", visitor, path=path)
        report: dict[str, Any] = {}
        if version.state in ("available", "failed"):
            signed = await self._console.perform("read_data_report", visitor, path=path)
            report = json.loads(signed.report)
        uses = await self._console.perform("list_data_uses", visitor, path={"name": version.dataset})
        lineage = await self._console.perform("read_data_lineage", visitor, path=path)
        profiles = {c["name"]: c for c in report.get("profile", {}).get("columns", ())}
        plots = {name: draw_histogram(found.get("histogram") or ()) for name, found in profiles.items()}
        return self._console.render(
            "data_version.html", visitor, version=version, report=report, profiles=profiles, plots=plots,
            uses=[one for one in uses if one.number == version.number], shown_columns=_SHOWN_COLUMNS,
            lineage=lineage, **values,
        )  # fmt: skip

    async def approve(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"reason": form.get("reason", "")}
        made = await self._console.perform("approve_data_version", visitor, path=_path(request), body=body)
        return f"{made.id} is approved."

    async def case(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        path = {"case": request.path_params["case"]}
        case = await self._console.perform("read_quarantine_case", visitor, path=path)
        lineage = await self._console.perform("read_quarantine_lineage", visitor, path=path)
        rows = None
        if case.state == "open" and request.method == "POST" and not values.get("failed"):
            try:
                rows = await self._console.perform("read_quarantined_rows", visitor, path=path)
            except Denied:
                values = {
                    "status": 403,
                    "notice": "Held rows are for a steward, with a fresh factor.",
                    "failed": True,
                }
        return self._console.render(
            "quarantine_case.html", visitor, case=case, rows=rows, shown_reasons=_SHOWN_REASONS, lineage=lineage,
            **values,
        )  # fmt: skip

    async def show_rows(self, request: Request, visitor: Visitor, form: Form) -> str:
        """The form proves the second factor; the page that follows then has the rows."""
        return "Each look at held rows is recorded."

    async def release(self, request: Request, visitor: Visitor, form: Form) -> str:
        body, path = {"reason": form.get("reason", "")}, {"case": request.path_params["case"]}
        made = await self._console.perform("release_quarantine", visitor, path=path, body=body)
        return f"The rows are in {made.id}."

    async def destroy(self, request: Request, visitor: Visitor, form: Form) -> str:
        body, path = {"reason": form.get("reason", "")}, {"case": request.path_params["case"]}
        made = await self._console.perform("destroy_quarantine", visitor, path=path, body=body)
        return f"{made.id} is destroyed."

    async def _versions(self, visitor: Visitor, name: str, limit: int) -> Any:
        return await self._console.perform("list_data_versions", visitor, path={"name": name}, query={"limit": limit})

    async def _gate_history(self, visitor: Visitor, versions: Any) -> dict[str, Any]:
        """What each check said of the newest versions; those that failed somewhere first."""
        told: dict[int, dict[str, str]] = {}
        for version in versions:
            if len(told) < _SHOWN_HISTORY and version.state in ("available", "failed") and not version.derived_from:
                path = {"name": version.dataset, "number": str(version.number)}
                try:
                    signed = await self._console.perform("read_data_report", visitor, path=path)
                except VallumError:
                    continue  # erased meanwhile, or altered: its own page says so
                told[version.number] = gate_states(json.loads(signed.report))
        checks = dict.fromkeys(check for states in told.values() for check in states)
        passed = {check: all(states.get(check, "pass") == "pass" for states in told.values()) for check in checks}
        rows = sorted(checks, key=lambda check: passed[check])[:_SHOWN_CHECKS]
        return {"versions": list(told), "rows": [(check, [told[n].get(check, "") for n in told]) for check in rows]}

    async def _exports(self, visitor: Visitor, name: str) -> Any:
        """Who was sent how much of it; None for a visitor who may not know."""
        try:
            found = await self._console.perform("list_data_egress", visitor)
        except VallumError:
            return None
        return [one for one in found if one.dataset == name]

    async def _handouts(self, visitor: Visitor, name: str) -> Any:
        """Who was handed rows, by mount, read or export; None for a visitor who may not know."""
        try:
            return await self._console.perform("list_data_handouts", visitor, path={"name": name})
        except VallumError:
            return None


def gate_states(report: dict[str, Any]) -> dict[str, str]:
    """By check: pass, FAIL, or held where it passed once some rows were taken out."""
    found = {one["check"]: "pass" if one["passed"] else "FAIL" for one in report.get("gates", {}).get("checks", ())}
    for one in report.get("failed_at_first", ()):
        if found.get(one["check"]) != "FAIL":
            found[one["check"]] = "held"
    return found


def draw_histogram(counts: Any) -> Markup:
    """Bars of a column's histogram, the tallest as high as the picture."""
    if not counts or not max(counts):
        return Markup("")
    width = _WIDTH / len(counts)
    heights = [_HEIGHT * count / max(counts) for count in counts]
    bars = "".join(
        f'<rect x="{at * width:.1f}" y="{_HEIGHT - high:.1f}" width="{max(1.0, width - 1):.1f}" height="{high:.1f}"/>'
        for at, high in enumerate(heights)
    )
    return Markup(  # noqa: S704  numbers alone
        f'<svg class="histogram" role="img" aria-label="Histogram" width="{_WIDTH}" height="{_HEIGHT}">{bars}</svg>'
    )


def _path(request: Request) -> dict[str, str]:
    return {"name": request.path_params["name"], "number": request.path_params["number"]}
