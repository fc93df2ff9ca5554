"""Releases and environments: what runs where, verified when, approved by whom; promoting, approving, going back."""

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


def pages(console: "ConsoleApp") -> list[Route]:
    room = _ReleasesRoom(console)
    on_release = {"promotion": room.promote, "evidence": room.attest, "revocation": room.revoke}
    on_environment = {"rollback": room.roll_back, "verification": room.verify, "canary": room.canary}
    return [
        Route("/console/releases", console.page(room.releases)),
        Route(
            "/console/promotions/{id}", console.page(changing(console, room.decide, room.releases)), methods=["POST"]
        ),
        Route("/console/releases/{id}", console.page(room.release)),
        *(
            Route(f"/console/releases/{{id}}/{name}", console.page(changing(console, change, room.release)),
                  methods=["POST"])
            for name, change in on_release.items()
        ),
        Route("/console/environments", console.page(room.environments)),
        *(
            Route(f"/console/environments/{{environment}}/{name}",
                  console.page(changing(console, change, room.environments)), methods=["POST"])
            for name, change in on_environment.items()
        ),
    ]  # fmt: skip


class _ReleasesRoom:
    def __init__(self, console: "ConsoleApp") -> None:
        self._console = console

    # Releases and promotions.

    async def releases(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        found = await self._console.perform("list_releases", visitor, query={})
        promotions = await self._console.perform("list_promotions", visitor, query={})
        return self._console.render("releases.html", visitor, releases=found, promotions=promotions, **values)

    async def release(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        path = {"id": request.path_params["id"]}
        detail = await self._console.perform("read_release", visitor, path=path)
        environments = await self._console.perform("list_environments", visitor)
        checks = {
            one.name: await self._console.perform(
                "check_release", visitor, path=path, query={"environment": one.name}
            )
            for one in environments
        }  # fmt: skip
        return self._console.render(
            "release.html", visitor, release=detail.release, manifest=detail.manifest, evidence=detail.evidence,
            checks=checks, **values,
        )  # fmt: skip

    async def promote(self, request: Request, visitor: Visitor, form: Form) -> str:
        mode = form.get("mode", "whole")
        body = {
            "release": request.path_params["id"],
            "reason": form.get("reason", ""),
            "mode": mode,
            "percent": 100 if mode == "whole" else _whole_number(form, "percent"),
        }
        path = {"environment": form.get("environment", "")}
        made = await self._console.perform("request_promotion", visitor, path=path, body=body)
        if made.state == "approved":
            return f"{made.id}: it runs in {made.environment}."
        return f"{made.id} waits for {made.approvals_needed - len(made.approvals)} approvals of others."

    async def attest(self, request: Request, visitor: Visitor, form: Form) -> str:
        kind = form.get("kind", "")
        if kind not in ("data", "tests", "threats"):
            raise Invalid("kind: data, tests or threats")
        body = {
            "passed": form.get("passed") == "yes",
            "report": form.get("report", "").strip(),
            "note": form.get("note", ""),
        }
        path = {"id": request.path_params["id"]}
        await self._console.perform(f"attest_{kind}", visitor, path=path, body=body)
        return f"What you say of the {kind} is kept with the release."

    async def revoke(self, request: Request, visitor: Visitor, form: Form) -> str:
        path, body = {"id": request.path_params["id"]}, {"reason": form.get("reason", "")}
        done = await self._console.perform("revoke_release", visitor, path=path, body=body)
        where = ", ".join(done.environments)
        return f"{done.release.id} is revoked, for good." + (f" It is taken out of {where}." if where else "")

    async def decide(self, request: Request, visitor: Visitor, form: Form) -> str:
        path, note = {"id": request.path_params["id"]}, {"note": form.get("note", "")}
        match form.get("verdict", ""):
            case "approve":
                made = await self._console.perform("approve_promotion", visitor, path=path, body=note)
            case "deny":
                made = await self._console.perform("deny_promotion", visitor, path=path, body=note)
            case "cancel":
                made = await self._console.perform("cancel_promotion", visitor, path=path)
            case _:
                raise Invalid("verdict: approve, deny or cancel")
        return f"{made.id} is {made.state}."

    # Environments.

    async def environments(self, request: Request, visitor: Visitor, **values: Any) -> Response:
        found = await self._console.perform("list_environments", visitor)
        history = {
            (environment.name, running.product): await self._console.perform(
                "list_deployments", visitor, path={"environment": environment.name}, query={"product": running.product}
            )
            for environment in found
            for running in environment.running
        }
        return self._console.render("environments.html", visitor, environments=found, history=history, **values)

    async def roll_back(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"product": form.get("product", ""), "release": form.get("release", "") or None}
        made = await self._console.perform("roll_back", visitor, path=_environment(request), body=body)
        return f"{made.product} runs {made.release} in {request.path_params['environment']} again."

    async def verify(self, request: Request, visitor: Visitor, form: Form) -> str:
        body = {"product": form.get("product", "")}
        found = await self._console.perform("verify_environment", visitor, path=_environment(request), body=body)
        if not found.problems:
            return f"{body['product']} is as its manifest says."
        return f"{body['product']} is not as its manifest says: " + "; ".join(one.what for one in found.problems)

    async def canary(self, request: Request, visitor: Visitor, form: Form) -> str:
        path = {**_environment(request), "product": form.get("product", "")}
        if form.get("verdict") == "adopt":
            made = await self._console.perform("adopt_canary", visitor, path=path)
            return f"{made.release} runs for every request."
        ended = await self._console.perform("stop_canary", visitor, path=path)
        return f"The trial of {ended.release} is over: every request meets the stable release."


def _environment(request: Request) -> dict[str, str]:
    return {"environment": request.path_params["environment"]}


def _whole_number(form: Form, name: str) -> int:
    text = form.get(name, "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise Invalid(f"{name}: a whole number, 1 to 100")
    return int(text)
