"""The registry: models and versions, the scanner's verdicts with places, signatures, what is attested, lineage."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vallum.console.forms import Form, changing
from vallum.console.lineage import Lineage, draw_lineage
from vallum.console.visitor import Visitor
from vallum.kernel.errors import VallumError

if TYPE_CHECKING:
    from vallum.console.app import ConsoleApp

__all__ = ["pages"]

_SHOWN_FILES = 200


def pages(console: "ConsoleApp") -> list[Route]:
    room = _ModelsRoom(console)
    version = "/console/models/{name}/{number}"
    return [
        Route("/console/models", console.page(room.models)),
        Route("/console/models/{name}", console.page(room.model)),
        Route(version, console.page(room.version)),
        Route(version + "/bom", console.page(room.bill)),
        Route(version + "/review", console.page(changing(console, room.review, room.version)), methods=["POST"]),
        Route(version + "/revocation", console.page(changing(console, room.revoke, room.version)), methods=["POST"]),
    ]


class _ModelsRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    async def models(self, request: Request, visitor: Visitor) -> Response:
        found = await self._console.perform("list_registered_models", visitor)
        newest = {model.name: await self._versions(visitor, model.name, 1) for model in found}
        return self._console.render("models.html", visitor, models=found, newest=newest)

    async def model(self, request: Request, visitor: Visitor) -> Response:
        name = request.path_params["name"]
        model = await self._console.perform("read_registered_model", visitor, path={"name": name})
        versions = await self._versions(visitor, name, 100)
        return self._console.render("model.html", visitor, model=model, versions=versions)

    async def version(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        path = _path(request)
        version = await self._console.perform("read_model_version", visitor, path=path)
        attested = await self._console.perform("list_model_attestations", visitor, path=path)
        releases = await self._releases_with(visitor, version)
        return self._console.render(
            "model_version.html", visitor, version=version, attested=attested, shown_files=_SHOWN_FILES,
            lineage=draw_lineage(releases), **await self._described(visitor, path), **values,
        )  # fmt: skip

    async def bill(self, request: Request, visitor: Visitor) -> Response:
        """The bill of materials, as a file."""
        made = await self._console.perform("read_model_bom", visitor, path=_path(request), query={})
        attached = {"content-disposition": f'attachment; filename="{made.file_name}"'}
        return Response(b"".join(made.chunks), media_type=made.media_type, headers=attached)

    async def _described(self, visitor: Visitor, path: dict[str, str]) -> dict[str, Any]:
        """Its card and what it needs, where they can be read: of a version that may be loaded."""
        try:
            card = await self._console.perform("read_model_card", visitor, path=path)
            needs = await self._console.perform("read_model_dependencies", visitor, path=path)
        except VallumError as e:
            return {"undescribed": str(e)}
        return {"card": card, "needs": needs}

    async def review(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"decision": form.get("decision", ""), "note": form.get("note", "")}
        made = await self._console.perform("review_model_version", visitor, path=_path(request), body=body)
        return f"{made.id} is {made.state}."

    async def revoke(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"reason": form.get("reason", "")}
        made = await self._console.perform("revoke_model_version", visitor, path=_path(request), body=body)
        return f"{made.id} is revoked, for good."

    async def _versions(self, visitor: Visitor, name: str, limit: int) -> Any:
        return await self._console.perform("list_model_versions", visitor, path={"name": name}, query={"limit": limit})

    async def _releases_with(self, visitor: Visitor, version: Any) -> Lineage:
        """What the version came from, and where it went: as much of it as the visitor may see."""
        try:
            environments = await self._console.perform("list_environments", visitor)
            releases = await self._console.perform("list_releases", visitor, query={"model": version.id})
        except VallumError:
            return Lineage(version.source, version.id, ())
        runs_in: dict[str, list[str]] = {}
        for environment in environments:
            for running in environment.running:
                runs_in.setdefault(running.release, []).append(environment.name)
        return Lineage(
            version.source, version.id, tuple((r.product, r.id, tuple(runs_in.get(r.id, ()))) for r in releases[:8])
        )


def _path(request: Request) -> dict[str, str]:
    return {"name": request.path_params["name"], "number": request.path_params["number"]}
