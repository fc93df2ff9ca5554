"""Policies: ask a question and see what answers it; read proposals as changed decisions, and decide them."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, read_form
from vallum.kernel.actions import Action
from vallum.kernel.errors import VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]


def pages(console: "ConsoleApp") -> list[Route]:
    room, page = _PolicyRoom(console), console.page
    return [
        Route("/console/policy", page(room.show)),
        Route("/console/policy/changes/{id}", page(room.one)),
        Route("/console/policy/changes/{id}/decision", page(room.decide), methods=["POST"]),
    ]


class _PolicyRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """A question rides in the address: it changes nothing, and can be sent to a colleague."""
        perform, asked = self._console.perform, request.query_params
        shown: dict[str, Any] = {"answers": None, "explained": None}
        subject, action, asset = (asked.get(name, "").strip() for name in ("subject", "action", "asset"))
        status = 200
        try:
            if subject and action and asset:
                body = {"subject": subject, "action": action, "asset": asset}
                shown["explained"] = await perform("explain_decision", visitor, body=body)
            elif subject:
                shown["answers"] = await perform("what_can", visitor, query={"subject": subject})
            elif action and asset:
                shown["answers"] = await perform("who_can", visitor, query={"action": action, "asset": asset})
            elif action or asset:
                shown |= {"notice": "Give an action and an asset, or a subject, or all three.", "failed": True}
        except VallumError as e:
            shown |= {"notice": str(e), "failed": True}
            status = problem_of(e).status
        in_force = await perform("read_policy", visitor)
        changes = await perform("list_policy_changes", visitor)
        return self._console.render(
            "policy.html", visitor, status=status, in_force=in_force, changes=changes, actions=list(Action),
            asked={"subject": subject, "action": action, "asset": asset}, **shown,
        )  # fmt: skip

    async def one(self, request: Request, visitor: Visitor) -> Response:
        return await self._one(request, visitor)

    async def decide(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        route = "approve_policy_change" if form.get("decision") == "approve" else "deny_policy_change"
        path = {"id": request.path_params["id"]}
        try:
            visitor = await self._console.step_up(request, visitor, form)
            done = await self._console.perform(route, visitor, path=path, body={"note": form.get("note", "")})
        except VallumError as e:
            problem, notice = problem_of(e), str(e)
            if "step_up" in problem.obligations:
                notice = "Give a code from your authenticator: approving wants a fresh second factor."
            visitor = getattr(request.state, "visitor", visitor)
            return await self._one(request, visitor, status=problem.status, notice=notice, failed=True)
        return await self._one(request, visitor, notice=f"The proposal is {done.state}.")

    async def _one(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        path = {"id": request.path_params["id"]}
        found = await self._console.perform("read_policy_change", visitor, path=path)
        mine = visitor.subject is not None and visitor.subject.render() == found.change.proposed_by
        return self._console.render("policy_change.html", visitor, found=found, mine=mine, **values)
