"""The room of alerts: what was unusual, why, and saying what it was."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, read_form
from vallum.kernel.errors import VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]


def pages(console: "ConsoleApp") -> list[Route]:
    room, page = _AlertsRoom(console), console.page
    return [
        Route("/console/alerts", page(room.show)),
        Route("/console/alerts/{id}", page(room.decide), methods=["POST"]),
    ]


class _AlertsRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._show(visitor)

    async def decide(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        verdict, body = form.get("verdict", ""), {"note": form.get("note", "")}
        route = "acknowledge_alert"
        if verdict != "acknowledged":
            route, body = "close_alert", {**body, "verdict": verdict}
        try:
            visitor = await self._console.step_up(request, visitor, form)
            alert = await self._console.perform(route, visitor, path={"id": request.path_params["id"]}, body=body)
        except VallumError as e:
            problem, notice = problem_of(e), str(e)
            if "step_up" in problem.obligations:
                notice = "Give a code from your authenticator: saying what it was wants a fresh second factor."
            visitor = getattr(request.state, "visitor", visitor)
            return await self._show(visitor, status=problem.status, notice=notice, failed=True)
        return await self._show(visitor, notice=f"{alert.id} is {alert.verdict or alert.state}.")

    async def _show(self, visitor: Visitor, **values: Any) -> Response:
        found = await self._console.perform("list_alerts", visitor, query={})
        tally = await self._console.perform("tally_alerts", visitor)
        return self._console.render("alerts.html", visitor, alerts=found, tally=tally, **values)
