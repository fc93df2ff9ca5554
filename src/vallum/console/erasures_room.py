"""Erasing a person: what would go, asked for by one and approved by another, and how far it is."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.console.forms import Form, changing
from vallum.console.visitor import Visitor

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]


def pages(console: "ConsoleApp") -> list[Route]:
    room = _ErasuresRoom(console)
    one = "/console/erasures/{erasure}"

    def form(path: str, change: Any, show: Any) -> Route:
        return Route(path, console.page(changing(console, change, show)), methods=["POST"])

    return [
        Route("/console/erasures", console.page(room.erasures)),
        form("/console/erasures", room.ask, room.erasures),
        Route(one, console.page(room.erasure)),
        Route(one + "/report", console.page(room.report)),
        form(one + "/approval", room.approve, room.erasure),
        form(one + "/cancellation", room.cancel, room.erasure),
    ]


class _ErasuresRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def erasures(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        found = await self._console.perform("list_erasures", visitor)
        return self._console.render("erasures.html", visitor, erasures=found, **values)

    async def ask(self, request: Request, visitor: Visitor, form: Form) -> str:
        lines = [line.strip() for line in form.get("identifiers", "").splitlines() if line.strip()]
        body = {"identifiers": lines, "reference": form.get("reference", "").strip()}
        asked = await self._console.perform("request_erasure", visitor, body=body)
        found = sum(one.count for one in asked.found)
        return f"{asked.id}: {found} found in {len(asked.found)} places. It waits for somebody else's approval."

    async def erasure(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        found = await self._console.perform("read_erasure", visitor, path=_path(request))
        return self._console.render("erasure.html", visitor, erasure=found, **values)

    async def approve(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"reason": form.get("reason", "")}
        made = await self._console.perform("approve_erasure", visitor, path=_path(request), body=body)
        return f"{made.id} is approved: it is carried out now."

    async def cancel(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"reason": form.get("reason", "")}
        made = await self._console.perform("cancel_erasure", visitor, path=_path(request), body=body)
        return f"{made.id} is cancelled."

    async def report(self, request: Request, visitor: Visitor) -> Response:
        """The report as it was signed, as a file."""
        signed = await self._console.perform("read_erasure_report", visitor, path=_path(request))
        headers = {"content-disposition": 'attachment; filename="erasure-report.json"'}
        return Response(signed.report.encode(), media_type="application/json", headers=headers)


def _path(request: Request) -> dict[str, str]:
    return {"erasure": request.path_params["erasure"]}
