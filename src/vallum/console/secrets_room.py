"""Keys and secrets: what is rotated when, destroying a key, and the vault, of which no value is ever shown."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.console.forms import Form, changing
from vallum.console.visitor import Visitor
from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]

_OVERLAPS = {"0": "none", "3600": "an hour", "86400": "a day", "604800": "a week"}  # seconds


def pages(console: "ConsoleApp") -> list[Route]:
    room = _SecretsRoom(console)
    forms = {
        "": room.put,
        "/delete": room.delete,
        "/rollback": room.rollback,
        "/keysets/rotate": room.rotate,
        "/keysets/schedule": room.schedule,
        "/keysets/destroy": room.destroy,
    }
    return [
        Route("/console/secrets", console.page(room.show)),
        *(
            Route(f"/console/secrets{path}", console.page(changing(console, change, room.show)), methods=["POST"])
            for path, change in forms.items()
        ),
    ]


class _SecretsRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def put(self, request: Request, visitor: Visitor, form: Form) -> str:
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

    async def delete(self, request: Request, visitor: Visitor, form: Form) -> str:
        name = form.get("name", "")
        await self._console.perform("delete_secret", visitor, path={"name": name})
        return f"The vault forgot {name}."

    async def rollback(self, request: Request, visitor: Visitor, form: Form) -> str:
        name = form.get("name", "")
        made = await self._console.perform("rollback_secret", visitor, path={"name": name})
        return f"Version {made.version} of {name} is in use again."

    async def rotate(self, request: Request, visitor: Visitor, form: Form) -> str:
        path = _keyset(form)
        made = await self._console.perform("rotate_keyset", visitor, path=path)
        return f"{path['tenant']}/{path['purpose']} seals with version {made.version}."

    async def schedule(self, request: Request, visitor: Visitor, form: Form) -> str:
        path, days = _keyset(form), form.get("days", "").strip()
        if not (days.isdecimal() and len(days) < 6) and days:
            raise Invalid("days: a whole number, 0 for never, or nothing for what the settings say")
        body = {"every_days": int(days) if days else None}
        await self._console.perform("schedule_keyset", visitor, path=path, body=body)
        return f"The schedule of {path['tenant']}/{path['purpose']} is kept."

    async def destroy(self, request: Request, visitor: Visitor, form: Form) -> str:
        path = {**_keyset(form), "version": form.get("version", "").strip()}
        named = f"{path['tenant']}/{path['purpose']} {path['version']}"
        if form.get("confirmation", "").strip() != named:
            raise Invalid(f"nothing was destroyed: to destroy this key and all that it sealed, type {named}")
        query = {"current": form.get("current") == "on"}
        done = await self._console.perform("destroy_key", visitor, path=path, query=query)
        return f"Destroyed {named}." if done.keys else f"{named} was destroyed before."

    async def show(self, request: Request, visitor: Visitor, **values: Any) -> Response:
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
