"""Who is looking at the console: the session in the cookie, and whether a form is really theirs."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from vallum.api import ControlPlane, peer_of
from vallum.kernel.errors import Invalid, Unauthenticated
from vallum.kernel.identity import Peer, Session
from vallum.kernel.values import Subject

__all__ = ["Forbidden", "Visitor", "check_origin", "passkey_answer", "read_form", "visit"]

_MAX_FORM_BYTES = 65_536
_CSRF_FIELD = "csrf"


class Forbidden(Exception):
    """A form that did not come from this console's own pages."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """`session` is None for a stranger, who may only sign in or enrol."""

    subject: Subject | None
    session: Session | None
    credential: str = field(repr=False)
    path: str
    secure: bool
    peer: Peer = field(default=Peer())
    rotated: bool = False  # whether the session's secret is new since the request

    @classmethod
    def stranger(cls, path: str = "", *, secure: bool = True, peer: Peer | None = None) -> "Visitor":
        return cls(None, None, "", path, secure, peer or Peer())

    def csrf_field(self) -> str:
        return f'<input type="hidden" name="{_CSRF_FIELD}" value="{self._csrf()}">'

    def proves(self, form: Mapping[str, str]) -> bool:
        return hmac.compare_digest(form.get(_CSRF_FIELD, "").encode(), self._csrf().encode())

    def keep(self, answer: Response, secret: str) -> None:
        answer.set_cookie(
            _cookie_name(self.secure), secret, path="/", secure=self.secure, httponly=True, samesite="strict"
        )

    def forget(self, answer: Response) -> None:
        answer.delete_cookie(_cookie_name(self.secure), path="/", secure=self.secure, httponly=True, samesite="strict")

    def _csrf(self) -> str:
        """Bound to the session's secret, which no other site can read and which ends with the session."""
        return hmac.new(self.credential.encode(), b"vallum/console-csrf", sha256).hexdigest()


def visit(control: ControlPlane, request: Request, url: str) -> Visitor:
    """Reads the database. A session that ended makes a stranger."""
    secure = url.startswith("https")
    path, peer = request.url.path, peer_of(request.scope, control.services.trusted_proxies)
    secret = request.cookies.get(_cookie_name(secure), "")
    if not secret:
        return Visitor.stranger(path, secure=secure, peer=peer)
    try:
        subject, session = control.authenticate(secret, peer=peer)
    except Unauthenticated:
        return Visitor.stranger(path, secure=secure, peer=peer)
    return Visitor(subject, session, secret, path, secure, peer)


async def read_form(request: Request, visitor: Visitor) -> dict[str, str]:
    """Raises Forbidden for a form from elsewhere, Invalid for one that cannot be read."""
    check_origin(request)
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_FORM_BYTES:
            raise Invalid(f"the form is larger than {_MAX_FORM_BYTES} bytes; the command line takes more")
    try:
        pairs: Any = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except (ValueError, UnicodeDecodeError):
        raise Invalid("the form cannot be read") from None
    form = dict(pairs)
    if any("\0" in value for value in form.values()):
        raise Invalid("the form holds U+0000, which is no character of a text here")
    if visitor.session is not None and not visitor.proves(form):
        raise Forbidden("This form is not of your session any more: go back, reload the page and try again.")
    return form


def passkey_answer(form: Mapping[str, str]) -> dict[str, Any]:
    """What the page's script put into the form. Raises Invalid."""
    try:
        response = json.loads(form.get("response", ""))
    except (ValueError, RecursionError):
        raise Invalid("the passkey's answer cannot be read: try again") from None
    return {"state": form.get("state", ""), "response": response}


def check_origin(request: Request) -> None:
    """The browser says where a form was sent from; a stranger's forms (signing in) rest on this alone.

    Raises Forbidden.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise Forbidden("This form was sent from another site.")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise Forbidden("This form was sent from another site.")
    if site is None and origin is None:
        raise Forbidden("The browser did not say where this form was sent from.")


def _cookie_name(secure: bool) -> str:
    """`__Host-` makes the browser refuse a cookie that another host or a plain connection set."""
    return "__Host-vallum" if secure else "vallum"
