"""The console's rooms as an ASGI application."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import segno
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from vallum.api import ROUTES, Call, ControlPlane
from vallum.api.problems import problem_of
from vallum.api.routing import Route as ApiRoute
from vallum.console import (
    access_room,
    account_room,
    alerts_room,
    command_line_room,
    data_room,
    erasures_room,
    models_room,
    people_room,
    policy_room,
    releases_room,
    secrets_room,
)
from vallum.console.visitor import Forbidden, Visitor, check_origin, passkey_answer, read_form, visit
from vallum.kernel.errors import Invalid, NotFound, Unauthenticated, VallumError
from vallum.kernel.identity import ROLES

__all__ = ["ConsoleApp"]

_FOLDER = Path(__file__).parent
_PAGE_ENTRIES = 50
_ROOMS = (
    ("/console/traffic", "Traffic"),
    ("/console/applications", "Applications"),
    ("/console/keys", "Keys"),
    ("/console/secrets", "Secrets"),
    ("/console/data", "Data"),
    ("/console/models", "Models"),
    ("/console/releases", "Releases"),
    ("/console/environments", "Environments"),
    ("/console/alerts", "Alerts"),
    ("/console/access", "Access"),
    ("/console/people", "People"),
    ("/console/policy", "Policy"),
    ("/console/ledger", "Ledger"),
)
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # with none, browsers withhold the Origin of our own forms too
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[Request, Visitor], Awaitable[Response]]


class ConsoleApp:
    def __init__(self, control: ControlPlane, url: str) -> None:
        """`url` is what people type; its scheme says whether the session's cookie is bound to TLS."""
        self._control = control
        self._url = url
        self._routes = {route.name: route for route in ROUTES}
        self._templates = Environment(
            loader=PackageLoader("vallum.console"), autoescape=select_autoescape(), undefined=StrictUndefined
        )
        self._templates.globals["rooms"] = _ROOMS
        self._templates.globals["roles"] = ROLES
        self._templates.globals["environment"] = control.services.environment
        self._templates.globals["single_sign_on"] = control.services.identity.single_sign_on is not None
        self._sso_cookie = "__Host-vallum-sso" if url.startswith("https") else "vallum-sso"
        self._app = Starlette(routes=self._pages())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = {k: v for k, v in _HEADERS.items() if k.encode() not in given}
                if self._url.startswith("https"):
                    more["strict-transport-security"] = "max-age=31536000"
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _pages(self) -> list[Any]:
        page = self.page
        return [
            Route("/console", page(self._home)),
            Route("/console/sign-in", page(self._sign_in_form, signed_in=False)),
            Route("/console/sign-in", page(self._sign_in, signed_in=False), methods=["POST"]),
            Route("/console/sign-in/passkey", page(self._sign_in_with_passkey, signed_in=False), methods=["POST"]),
            Route("/console/passkey-challenge", page(self._challenge, signed_in=False), methods=["POST"]),
            Route("/console/sso", page(self._begin_sso, signed_in=False), methods=["POST"]),
            Route("/console/sso/callback", page(self._finish_sso, signed_in=False)),
            Route("/console/sign-out", page(self._sign_out), methods=["POST"]),
            Route("/console/enrol", page(self._enrol_form, signed_in=False)),
            Route("/console/enrol", page(self._enrol, signed_in=False), methods=["POST"]),
            Route("/console/enrol/finish", page(self._enrol_finish, signed_in=False), methods=["POST"]),
            Route("/console/traffic", page(self._traffic)),
            Route("/console/traffic/rows", page(self._rows)),
            Route("/console/entries/{id}", page(self._entry)),
            Route("/console/entries/{id}/reviews", page(self._review), methods=["POST"]),
            Route("/console/entries/{id}/proof", page(self._proof)),
            Route("/console/applications", page(self._applications)),
            Route("/console/keys", page(self._keys)),
            Route("/console/keys", page(self._issue_key), methods=["POST"]),
            Route("/console/keys/{id}/revoke", page(self._revoke_key), methods=["POST"]),
            *access_room.pages(self),
            *account_room.pages(self),
            *alerts_room.pages(self),
            *command_line_room.pages(self),
            *data_room.pages(self),
            *erasures_room.pages(self),
            *models_room.pages(self),
            *people_room.pages(self),
            *policy_room.pages(self),
            *releases_room.pages(self),
            *secrets_room.pages(self),
            Route("/console/ledger", page(self._ledger)),
            Mount("/console/static", StaticFiles(directory=_FOLDER / "static")),
        ]

    def page(self, handler: Handler, *, signed_in: bool = True) -> Callable[[Request], Awaitable[Response]]:
        """Who is there, whether the request is theirs, and what to show when it fails."""

        async def endpoint(request: Request) -> Response:
            visitor = Visitor.stranger()
            try:
                visitor = await asyncio.to_thread(visit, self._control, request, self._url)
                if signed_in and visitor.session is None:
                    return RedirectResponse("/console/sign-in", 303)
                return await handler(request, visitor)
            except Unauthenticated as e:
                if signed_in:
                    return RedirectResponse("/console/sign-in", 303)
                return self._failed(visitor, e)
            except (VallumError, Forbidden) as e:
                return self._failed(getattr(request.state, "visitor", visitor), e)

        return endpoint

    # Signing in.

    async def _home(self, request: Request, visitor: Visitor) -> Response:
        """The first room that its visitor may enter."""
        try:
            await self._entries(visitor, "")
        except VallumError:
            return RedirectResponse("/console/access", 303)
        return RedirectResponse("/console/traffic", 303)

    async def _sign_in_form(self, request: Request, visitor: Visitor) -> Response:
        return self.render("sign_in.html", visitor, name="")

    async def _sign_in(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        fields = {name: form.get(name, "") for name in ("name", "password", "code")}
        try:
            issued = await self.perform("sign_in", visitor, body=fields)
        except VallumError as e:
            return self.render("sign_in.html", visitor, status=401, name=fields["name"], notice=str(e), failed=True)
        answer = RedirectResponse("/console", 303)
        visitor.keep(answer, issued.secret)
        return answer

    async def _challenge(self, request: Request, visitor: Visitor) -> Response:
        """For the page's script; names nobody, so it tells a stranger nothing."""
        check_origin(request)
        try:
            challenge = await self.perform("begin_passkey_sign_in", visitor)
        except VallumError as e:
            problem = problem_of(e)
            return JSONResponse(msgspec.to_builtins(problem), problem.status)
        return JSONResponse(msgspec.to_builtins(challenge))

    async def _sign_in_with_passkey(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        try:
            issued = await self.perform("sign_in_with_passkey", visitor, body=passkey_answer(form))
        except VallumError as e:
            return self.render("sign_in.html", visitor, status=401, name="", notice=str(e), failed=True)
        answer = RedirectResponse("/console", 303)
        visitor.keep(answer, issued.secret)
        return answer

    async def _begin_sso(self, request: Request, visitor: Visitor) -> Response:
        await read_form(request, visitor)
        begun = await self.perform("begin_sso", visitor)
        # A page that goes on by itself: our own policy lets no form end anywhere but here, by a redirect either.
        answer = self.render("go_on.html", visitor, title="Single sign-on", url=begun.url)
        # Lax, since it comes back with a navigation from the provider's site.
        answer.set_cookie(
            self._sso_cookie, begun.kept, max_age=600, path="/", secure=visitor.secure, httponly=True, samesite="lax"
        )
        return answer

    async def _finish_sso(self, request: Request, visitor: Visitor) -> Response:
        given = request.query_params
        body = {
            "kept": request.cookies.get(self._sso_cookie, ""), "state": given.get("state", ""),
            "code": given.get("code", ""), "iss": given.get("iss"),
        }  # fmt: skip
        try:
            issued = await self.perform("sign_in_with_sso", visitor, body=body)
        except VallumError as e:
            status = problem_of(e).status
            answer = self.render("sign_in.html", visitor, status=status, name="", notice=str(e), failed=True)
        else:
            # A page of our own, not a redirect: browsers send a strict cookie with what begins here alone.
            answer = self.render("go_on.html", visitor, title="Signed in", url="/console")
            visitor.keep(answer, issued.secret)
        answer.delete_cookie(self._sso_cookie, path="/", secure=visitor.secure, httponly=True, samesite="lax")
        return answer

    async def _sign_out(self, request: Request, visitor: Visitor) -> Response:
        await read_form(request, visitor)
        await self.perform("end_session", visitor)
        answer = RedirectResponse("/console/sign-in", 303)
        visitor.forget(answer)
        return answer

    async def _enrol_form(self, request: Request, visitor: Visitor) -> Response:
        return self.render("enrol.html", visitor, enrolment=None)

    async def _enrol(self, request: Request, visitor: Visitor) -> Response:
        token = (await read_form(request, visitor)).get("token", "").strip()
        try:
            return await self._enrolment(visitor, token)
        except VallumError as e:
            return self.render("enrol.html", visitor, status=400, enrolment=None, notice=str(e), failed=True)

    async def _enrol_finish(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        fields = {name: form.get(name, "") for name in ("token", "name", "password", "code")}
        try:
            await self.perform("finish_enrolment", visitor, body=fields)
        except NotFound as e:
            return self.render("enrol.html", visitor, status=400, enrolment=None, notice=str(e), failed=True)
        except VallumError as e:
            return await self._enrolment(visitor, fields["token"], name=fields["name"], notice=str(e), failed=True)
        notice = "You are enrolled. Sign in with the next code that your authenticator shows."
        return self.render("sign_in.html", visitor, name=fields["name"], notice=notice)

    async def _enrolment(self, visitor: Visitor, token: str, **values: Any) -> Response:
        enrolment = await self.perform("read_enrolment", visitor, body={"token": token})
        status = 400 if values.get("failed") else 200
        qr = Markup(_qr(enrolment.totp_uri))  # noqa: S704  made here, of our own digits
        shown: dict[str, Any] = {"name": "", **values}
        return self.render("enrol.html", visitor, status=status, enrolment=enrolment, token=token, qr=qr, **shown)

    # Traffic and entries.

    async def _traffic(self, request: Request, visitor: Visitor) -> Response:
        before = request.query_params.get("before", "")
        page = await self._entries(visitor, before)
        return self.render("traffic.html", visitor, entries=page.entries, older=page.next, live=not before)

    async def _rows(self, request: Request, visitor: Visitor) -> Response:
        page = await self._entries(visitor, "")
        return self.render("rows.html", visitor, entries=page.entries)

    async def _entries(self, visitor: Visitor, before: str) -> Any:
        query: dict[str, Any] = {"limit": _PAGE_ENTRIES}
        if before.isdecimal() and len(before) < 19:
            query["before"] = int(before)
        return await self.perform("list_entries", visitor, query=query)

    async def _entry(self, request: Request, visitor: Visitor) -> Response:
        path = {"id": request.path_params["id"]}
        entry = await self.perform("read_entry", visitor, path=path)
        return self.render("entry.html", visitor, entry=entry, guards=_guards_of(entry))

    async def _review(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        path = {"id": request.path_params["id"]}
        body = {name: form.get(name, "") for name in ("guard", "verdict", "channel")}
        if text := form.get("text", ""):
            body["text"] = text.replace("\r\n", "\n")  # as browsers send a line's end
        try:
            done = await self.perform("review_finding", visitor, path=path, body=body)
            shown: dict[str, Any] = {"notice": f"Recorded in {done.review}: {done.guard} was {done.verdict}."}
            status = 200
        except VallumError as e:
            shown, status = {"notice": str(e), "failed": True}, problem_of(e).status
        entry = await self.perform("read_entry", visitor, path=path)
        return self.render("entry.html", visitor, status=status, entry=entry, guards=_guards_of(entry), **shown)

    async def _proof(self, request: Request, visitor: Visitor) -> Response:
        try:
            proof = await self.perform("prove_entry", visitor, path={"id": request.path_params["id"]})
        except VallumError as e:
            problem = problem_of(e)
            return JSONResponse(msgspec.to_builtins(problem), problem.status)
        return JSONResponse(msgspec.to_builtins(proof))

    async def _ledger(self, request: Request, visitor: Visitor) -> Response:
        return self.render("ledger.html", visitor, status_=await self.perform("read_ledger", visitor))

    # Applications and keys.

    async def _applications(self, request: Request, visitor: Visitor) -> Response:
        found = await self.perform("list_applications", visitor)
        return self.render("applications.html", visitor, applications=found, modes=_modes)

    async def _keys(self, request: Request, visitor: Visitor) -> Response:
        return await self._show_keys(visitor)

    async def _issue_key(self, request: Request, visitor: Visitor) -> Response:
        form = await read_form(request, visitor)
        body = {"application_id": form.get("application", ""), "label": form.get("label", "")}
        try:
            issued = await self.perform("issue_key", visitor, body=body)
        except VallumError as e:
            return await self._show_keys(visitor, status=problem_of(e).status, notice=str(e), failed=True)
        return await self._show_keys(visitor, issued=issued)

    async def _revoke_key(self, request: Request, visitor: Visitor) -> Response:
        await read_form(request, visitor)
        await self.perform("revoke_key", visitor, path={"id": request.path_params["id"]})
        return RedirectResponse("/console/keys", 303)

    async def _show_keys(self, visitor: Visitor, **values: Any) -> Response:
        keys = await self.perform("list_keys", visitor, query={})
        applications = await self.perform("list_applications", visitor)
        shown: dict[str, Any] = {"issued": None, **values}
        return self.render("keys.html", visitor, keys=keys, applications=applications, **shown)

    # What every room shares.

    async def perform(
        self, name: str, visitor: Visitor, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None
    ) -> Any:
        """One route of the API, as this visitor."""
        route = self._routes[name]
        call = Call(
            path=path or {},
            query=_converted(query, route.query, route),
            body=_converted(body, route.body, route),
            subject=visitor.subject,
            session=visitor.session,
            credential=visitor.credential,
            peer=visitor.peer,
        )
        performed = await asyncio.to_thread(self._control.perform, route, call)
        return performed.value

    async def step_up(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Visitor:
        """The visitor with a fresh second factor, if the form brought one: a code, or a passkey's answer."""
        proof = _proof_in(form)
        if proof is None:
            return visitor
        issued = await self.perform("step_up", visitor, body=proof)
        subject, session = await asyncio.to_thread(self._control.authenticate, issued.secret)
        # Kept with the request too: whatever page comes of it, an error's among them, carries the new secret.
        request.state.visitor = replace(
            visitor, subject=subject, session=session, credential=issued.secret, rotated=True
        )
        return cast(Visitor, request.state.visitor)

    def render(self, template: str, visitor: Visitor, *, status: int = 200, **values: Any) -> Response:
        shown: dict[str, Any] = {"notice": "", "failed": False, "here": visitor.path, **values}
        html = self._templates.get_template(template).render(
            session=visitor.session, csrf=lambda: Markup(visitor.csrf_field()), **shown  # noqa: S704  hex digits
        )  # fmt: skip
        answer = HTMLResponse(html, status)
        if visitor.rotated:
            visitor.keep(answer, visitor.credential)
        return answer

    def _failed(self, visitor: Visitor, error: Exception) -> Response:
        problem = problem_of(error) if isinstance(error, VallumError) else None
        status = problem.status if problem is not None else 403
        step_up = problem is not None and "step_up" in problem.obligations
        notice = str(error) + (" Prove it under your name, at the top right." if step_up else "")
        entry = problem.entry if problem is not None else None
        return self.render("failed.html", visitor, status=status, notice=notice, failed=True, entry_id=entry)


def _proof_in(form: Mapping[str, str]) -> dict[str, Any] | None:
    if code := form.get("code", "").strip():
        return {"code": code}
    if form.get("response"):
        return {"passkey": passkey_answer(form)}
    return None


def _converted(given: Any, wanted: Any, route: ApiRoute) -> Any:
    if wanted is None:
        return None
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as e:
        raise Invalid(f"{route.name}: {e}") from None


def _qr(uri: str) -> str:
    out = io.BytesIO()
    segno.make(uri, error="m").save(
        out, kind="svg", xmldecl=False, svgns=False, scale=4, border=2, light="#fff", title="TOTP"
    )
    return out.getvalue().decode()


def _guards_of(entry: Any) -> list[str]:
    """Which guards somebody may review there: those that found something first, then those that may have missed it."""
    if entry.kind != "inference":
        return []
    return list(dict.fromkeys([*(finding.guard for finding in entry.findings), "injection", "secrets", "pii"]))


def _modes(settings: Any) -> str:
    return ", ".join(f"{n} {getattr(settings, n)}" for n in ("secrets", "pii", "unicode", "size", "deny"))
