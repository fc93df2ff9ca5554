"""One's own account: devices, passkeys, recovery codes, the password, and what one has done lately."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, passkey_answer, read_form
from vallum.kernel.errors import VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]

_ENTRIES = 20


def pages(console: "ConsoleApp") -> list[Route]:
    room = _AccountRoom(console)
    page, form = console.page, room.form
    return [
        Route("/console/account", page(room.show)),
        Route("/console/account/step-up", page(form(room.step_up)), methods=["POST"]),
        Route("/console/account/passkey-challenge", page(room.begin_passkey), methods=["POST"]),
        Route("/console/account/passkeys", page(form(room.add_passkey)), methods=["POST"]),
        Route("/console/account/passkeys/{id}/remove", page(form(room.remove_passkey)), methods=["POST"]),
        Route("/console/account/recovery-codes", page(form(room.recovery_codes)), methods=["POST"]),
        Route("/console/account/password", page(form(room.password)), methods=["POST"]),
        Route("/console/account/sessions/others/end", page(form(room.end_others)), methods=["POST"]),
        Route("/console/account/sessions/{id}/end", page(form(room.end_session)), methods=["POST"]),
    ]


Form = dict[str, str]
Done = Awaitable[dict[str, Any]]


class _AccountRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    def form(
        self, change: Callable[[Request, Visitor, Form], Done]
    ) -> Callable[[Request, Visitor], Awaitable[Response]]:
        """A form of this room: proves the second factor if it brought one, makes its change, and shows the room."""

        async def handler(request: Request, visitor: Visitor) -> Response:
            form = await read_form(request, visitor)
            try:
                visitor = await self._console.step_up(request, visitor, form)
                shown = await change(request, visitor, form)
            except VallumError as e:
                problem = problem_of(e)
                notice = str(e)
                if "step_up" in problem.obligations:
                    notice = "Prove your second factor first, below: this wants it fresh."
                return await self._show(visitor, status=problem.status, notice=notice, failed=True)
            return await self._show(visitor, **shown)

        return handler

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._show(visitor)

    async def begin_passkey(self, request: Request, visitor: Visitor) -> Response:
        """For the page's script."""
        await read_form(request, visitor)
        try:
            challenge = await self._console.perform("begin_passkey", visitor)
        except VallumError as e:
            problem = problem_of(e)
            return JSONResponse(msgspec.to_builtins(problem), problem.status)
        return JSONResponse(msgspec.to_builtins(challenge))

    async def step_up(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        return {"notice": "Your second factor is fresh for some minutes."}

    async def add_passkey(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        answer = passkey_answer({"response": form.get("created", ""), "state": form.get("created_state", "")})
        added = await self._console.perform(
            "register_passkey", visitor, body={**answer, "label": form.get("label", "")}
        )
        return {"notice": f"The passkey {added.label} is registered."}

    async def remove_passkey(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        await self._console.perform("remove_passkey", visitor, path={"id": request.path_params["id"]})
        return {"notice": "The passkey is removed."}

    async def recovery_codes(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        return {"codes": (await self._console.perform("new_recovery_codes", visitor)).codes}

    async def password(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        ended = await self._console.perform("change_password", visitor, body={"password": form.get("password", "")})
        return {
            "notice": f"Your password is changed, and {ended.sessions} sessions ended, this one too: sign in again."
        }

    async def end_others(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        ended = await self._console.perform("end_other_sessions", visitor)
        return {"notice": f"Signed out everywhere but here: {ended.sessions} sessions ended."}

    async def end_session(self, request: Request, visitor: Visitor, form: Form) -> dict[str, Any]:
        await self._console.perform("end_own_session", visitor, path={"id": request.path_params["id"]})
        return {"notice": "That device is signed out."}

    async def _show(self, visitor: Visitor, **values: Any) -> Response:
        perform = self._console.perform
        sessions, passkeys = await perform("list_own_sessions", visitor), await perform("list_passkeys", visitor)
        activity = await perform("list_own_entries", visitor, query={"limit": _ENTRIES})
        shown: dict[str, Any] = {"codes": (), **values}
        return self._console.render(
            "account.html", visitor, sessions=sessions, passkeys=passkeys, entries=activity.entries, when=_when, **shown
        )


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
