"""Keys and secrets: what is rotated when, destroying a key, and the vault, of which no value is ever shown."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.api.problems import problem_of
from vallum.console.visitor import Visitor, read_form
from vallum.kernel.errors import Invalid, VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]

_OVERLAPS = {"0": "none", "3600": "an hour", "86400": "a day", "604800": "a week"}  # seconds

Form = dict[str, str]


def pages(console: "ConsoleApp") -> list[Route]:
    room = _SecretsRoom(console)
    page, form = console.page, room.form
    return [
        Route("/console/secrets", page(room.show)),
        Route("/console/secrets", page(form(room.put)), methods=["POST"]),
        Route("/console/secrets/delete", page(form(room.delete)), methods=["POST"]),
        Route("/console/secrets/rollback", page(form(room.rollback)), methods=["POST"]),
        Route("/console/secrets/keysets/rotate", page(form(room.rotate)), methods=["POST"]),
        Route("/console/secrets/keysets/schedule", page(form(room.schedule)), methods=["POST"]),
        Route("/console/secrets/keysets/destroy", page(form(room.destroy)), methods=["POST"]),
    ]


class _SecretsRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def show(self, request: Request, visitor: Visitor) -> Response:
        return await self._show(visitor)

    def form(
        self, change: Callable[[Visitor, Form], Awaitable[str]]
    ) -> Callable[[Request, Visitor], Awaitable[Response]]:
        """A form of this room: proves the second factor if it brought one, makes its change, and says what was done."""

        async def handler(request: Request, visitor: Visitor) -> Response:
            given = await read_form(request, visitor)
            try:
                visitor = await self._console.step_up(request, visitor, given)
                said = await change(visitor, given)
            except VallumError as e:
                visitor = getattr(request.state, "visitor", visitor)
                problem, notice = problem_of(e), str(e)
                if "step_up" in problem.obligations:
                    notice = "This wants a fresh second factor: give the code your authenticator shows with the form."
                return await self._show(visitor, status=problem.status, notice=notice, failed=True)
            return await self._show(visitor, notice=said)

        return handler

    async def put(self, visitor: Visitor, form: Form) -> str:
        overlap = form.get("overlap", "")
        consumers = form.get("consumers", "").split()
        body = {
            "value": form.get("value", ""),
            "consumers": consumers or None,
            "overlap_seconds": int(overlap) if overlap in _OVERLAPS else -1,
        }
        name = form.get("name", "").strip()
        made = await self._console.perform("put_secret", visitor, path={"name": name}, body=body)
        return f"The vault holds {name}, version {made.version}, for {', '.join(made.consumers) or 'nobody'}."

    async def delete(self, visitor: Visitor, form: Form) -> str:
        name = form.get("name", "")
        await self._console.perform("delete_secret", visitor, path={"name": name})
        return f"The vault forgot {name}."

    async def rollback(self, visitor: Visitor, form: Form) -> str:
        name = form.get("name", "")
        made = await self._console.perform("rollback_secret", visitor, path={"name": name})
        return f"Version {made.version} of {name} is in use again."

    async def rotate(self, visitor: Visitor, form: Form) -> str:
        path = _keyset(form)
        made = await self._console.perform("rotate_keyset", visitor, path=path)
        return f"{path['tenant']}/{path['purpose']} seals with version {made.version}."

    async def schedule(self, visitor: Visitor, form: Form) -> str:
        path, days = _keyset(form), form.get("days", "").strip()
        if not (days.isdecimal() and len(days) < 6) and days:
            raise Invalid("days: a whole number, 0 for never, or nothing for what the settings say")
        body = {"every_days": int(days) if days else None}
        await self._console.perform("schedule_keyset", visitor, path=path, body=body)
        return f"The schedule of {path['tenant']}/{path['purpose']} is kept."

    async def destroy(self, visitor: Visitor, form: Form) -> str:
        path = {**_keyset(form), "version": form.get("version", "").strip()}
        named = f"{path['tenant']}/{path['purpose']} {path['version']}"
        if form.get("confirmation", "").strip() != named:
            raise Invalid(f"nothing was destroyed: to destroy this key and all that it sealed, type {named}")
        query = {"current": form.get("current") == "on"}
        done = await self._console.perform("destroy_key", visitor, path=path, query=query)
        return f"Destroyed {named}." if done.keys else f"{named} was destroyed before."

    async def _show(self, visitor: Visitor, **values: Any) -> Response:
        status = await self._console.perform("read_key_status", visitor)
        keysets = await self._console.perform("list_keysets", visitor)
        secrets = await self._console.perform("list_secrets", visitor)
        versions = {
            secret.name: await self._console.perform("list_secret_versions", visitor, path={"name": secret.name})
            for secret in secrets
        }
        return self._console.render(
            "secrets.html", visitor, key_status=status, keysets=keysets, secrets=secrets, versions=versions,
            rotations={one.name: one for one in status.rotations if one.kind == "keyset"},
            others=[one for one in status.rotations if one.kind != "keyset"],
            overlaps=_OVERLAPS, **values,
        )  # fmt: skip


def _keyset(form: Form) -> dict[str, str]:
    tenant, _, purpose = form.get("keyset", "").rpartition("/")
    return {"tenant": tenant, "purpose": purpose}
