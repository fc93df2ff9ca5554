"""The room where people ask for a role for a while, and others decide, seeing what it would add."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, read_form
from vallum.kernel.errors import VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]

_HOURS = (1, 2, 4, 8, 24)


def pages(console: "ConsoleApp") -> list[Route]:
    room = _AccessRoom(console)
    page = console.page
    return [
        Route("/console/access", page(room.show)),
        Route("/console/access", page(room.request), methods=["POST"]),
        Route("/console/access/{id}", page(room.one)),
        Route("/console/access/{id}/decision", page(room.decide), methods=["POST"]),
        Route("/console/access/{id}/end", page(room.end), methods=["POST"]),
    ]


class _AccessRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._show(visitor)

    async def request(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        hours = form.get("hours", "")
        body = {
            "role": form.get("role", ""),
            "seconds": int(hours) * 3600 if hours.isdecimal() and len(hours) < 4 else 0,
            "reason": form.get("reason", ""),
            "asset": form.get("asset", "").strip(),
            "break_glass": form.get("break_glass") == "on",
        }
        try:
            asked = await self._console.perform("request_access", visitor, body=body)
        except VallumError as e:
            return await self._show(visitor, status=problem_of(e).status, notice=str(e), failed=True, form=form)
        return await self._show(visitor, notice=f"Asked. {asked.id} waits for somebody else to decide.")

    async def one(self, request: Request, visitor: Visitor) -> Response:
        return await self._one(request, visitor)

    async def decide(self, request: Request, visitor: Visitor) -> Response:
        """With the code that came along, if one did: approving wants a fresh second factor."""
        form = await read_form(request, visitor)
        route = "approve_grant" if form.get("decision") == "approve" else "deny_grant"
        path = {"id": request.path_params["id"]}
        try:
            visitor = await self._console.step_up(request, visitor, form)
            done = await self._console.perform(route, visitor, path=path, body={"note": form.get("note", "")})
        except VallumError as e:
            problem = problem_of(e)
            notice = str(e)
            if "step_up" in problem.obligations:
                notice = "Give a code from your authenticator: approving wants a fresh second factor."
            return await self._one(request, visitor, status=problem.status, notice=notice, failed=True)
        return await self._one(request, visitor, notice=f"{done.requester}'s request is {done.state}.")

    async def end(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        path = {"id": request.path_params["id"]}
        route = "end_own_grant" if form.get("own") == "yes" else "revoke_grant"
        try:
            await self._console.perform(route, visitor, path=path)
        except VallumError as e:
            return await self._show(visitor, status=problem_of(e).status, notice=str(e), failed=True)
        return RedirectResponse("/console/access", 303)

    async def _show(self, visitor: Visitor, **values: Any) -> Response:
        own = await self._console.perform("list_own_grants", visitor)
        try:
            everybody = await self._console.perform("list_grants", visitor, query={})
        except VallumError:  # who may not see others' requests sees their own
            everybody = None
        shown: dict[str, Any] = {"form": {}, **values}
        return self._console.render(
            "access.html", visitor, own=own, everybody=everybody, hours=_HOURS, when=_when, **shown
        )

    async def _one(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        path: Mapping[str, str] = {"id": request.path_params["id"]}
        found = await self._console.perform("read_grant", visitor, path=path)
        mine = visitor.session is not None and visitor.session.person_id == found.grant.requester_id
        return self._console.render("grant.html", visitor, found=found, mine=mine, when=_when, **values)


def _when(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
