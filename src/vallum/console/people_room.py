"""Who there is: people and services, inviting them, and ending their access."""

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

# What each form does: the route, and the words that say it was done.
_ON_ONE = {
    "people/disable": ("disable_person", "Their access is ended, here and everywhere."),
    "people/unlock": ("unlock_person", "Their codes are judged again."),
    "services/disable": ("disable_service", "The service's access is ended; its tokens end with it."),
}


def pages(console: "ConsoleApp") -> list[Route]:
    room, page = _PeopleRoom(console), console.page
    return [
        Route("/console/people", page(room.show)),
        Route("/console/people/invitations", page(room.invite), methods=["POST"]),
        Route("/console/people/services", page(room.create_service), methods=["POST"]),
        Route("/console/people/{id}/{verb:str}", page(room.change), methods=["POST"]),
    ]


class _PeopleRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._show(visitor)

    async def invite(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        body: dict[str, Any] = {"roles": [form.get("role", "")]}
        if same_as := form.get("same_as", ""):
            body["same_as"] = same_as
        try:
            visitor = await self._console.step_up(request, visitor, form)
            made = await self._console.perform("invite", visitor, body=body)
        except VallumError as e:
            return await self._refused(request, visitor, e)
        return await self._show(visitor, link=made.url)

    async def create_service(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        body = {"name": form.get("name", ""), "roles": [form.get("role", "")]}
        try:
            visitor = await self._console.step_up(request, visitor, form)
            made = await self._console.perform("create_service", visitor, body=body)
        except VallumError as e:
            return await self._refused(request, visitor, e)
        return await self._show(visitor, made=made)

    async def change(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        named = "services" if request.path_params["id"].startswith("svc_") else "people"
        route, said = _ON_ONE.get(f"{named}/{request.path_params['verb']}", ("", ""))
        if not route:
            return await self._show(visitor, status=404, notice="There is nothing of that kind to do.", failed=True)
        try:
            visitor = await self._console.step_up(request, visitor, form)
            await self._console.perform(route, visitor, path={"id": request.path_params["id"]})
        except VallumError as e:
            return await self._refused(request, visitor, e)
        return await self._show(visitor, notice=said)

    async def _refused(self, request: Request, visitor: Visitor, error: VallumError) -> Response:
        problem, notice = problem_of(error), str(error)
        if "step_up" in problem.obligations:
            notice = "This wants a fresh second factor: prove it under your name, at the top right, and try again."
        visitor = getattr(request.state, "visitor", visitor)
        return await self._show(visitor, status=problem.status, notice=notice, failed=True)

    async def _show(self, visitor: Visitor, **values: Any) -> Response:
        people = await self._console.perform("list_persons", visitor)
        services = await self._console.perform("list_services", visitor)
        shown: dict[str, Any] = {"link": "", "made": None, **values}
        return self._console.render("people.html", visitor, people=people, services=services, **shown)
