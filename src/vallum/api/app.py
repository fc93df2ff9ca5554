"""The control plane over HTTP: decoding, the route, and the answer; nothing that decides anything."""

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from ssl import PEM_cert_to_DER_cert
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from vallum.api.control import Call, ControlPlane
from vallum.api.incoming import ClientGone, IncomingBody
from vallum.api.openapi import render_openapi
from vallum.api.problems import MEDIA_TYPE, TOKEN_PATH, Problem, oauth_problem, problem_of
from vallum.api.routing import PREFIX, Download, MethodNotAllowed, RawBody, Route, match_route
from vallum.api.table import ROUTES
from vallum.kernel.errors import Invalid, LimitExceeded
from vallum.kernel.identity import Peer, network_of

__all__ = ["ApiApp", "peer_of"]

_log = logging.getLogger("vallum.api")

Network = IPv4Network | IPv6Network
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_READ_TIMEOUT_SECONDS = 30
_MAX_DISCARDED_BYTES = 16 << 20
_MAX_DEVICE_CHARS = 200
_MAX_TRANSFERS = 16  # files on their way in and models being scanned, in one process
_FORM = "application/x-www-form-urlencoded"


class _BadRequest(Exception):
    def __init__(self, problem: Problem, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers


class ApiApp:
    """Answers every path below `/api`. Work happens in threads, since records and policies block."""

    def __init__(self, control: ControlPlane, urls: Sequence[str] = ()) -> None:
        """`urls` are what clients may have put before `/api`; by default the public URL."""
        self._control = control
        self._urls = tuple(urls) or (control.services.public_url,)
        self._transfers = ThreadPoolExecutor(_MAX_TRANSFERS, "transfer")
        self._transferring = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == PREFIX + "/openapi.json" and scope["method"] in ("GET", "HEAD"):
            await _send(send, 200, "application/json", await asyncio.to_thread(_description), [])
            return
        first: bytes | None = None
        try:
            route, path = _find(scope)
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            if route.takes_long:
                status, kind, body, extra = await self._transfer(route, path, scope, headers, receive)
            else:
                raw = await _read_body(receive, headers, route.max_body_bytes)
                status, kind, body, extra = await asyncio.to_thread(self._answer, route, path, scope, headers, raw)
            if isinstance(body, Download):  # a failure here is an error yet, and not half a file
                first = await asyncio.to_thread(_next, body.chunks)
        except ClientGone:
            return
        except _BadRequest as e:
            status, kind, body, extra = e.problem.status, MEDIA_TYPE, msgspec.json.encode(e.problem), [*e.headers]
        except Exception as e:  # noqa: BLE001  an outermost request loop: the caller gets a problem, never a trace
            status, kind, body, extra = _problem(e, scope["path"])
        if isinstance(body, Download):
            await _send_download(send, body, first, extra)
        else:
            await _send(send, status, kind, body, extra)

    async def _transfer(
        self, route: Route, path: dict[str, str], scope: Any, headers: Mapping[str, str], receive: Receive
    ) -> tuple[int, str, Any, list[tuple[bytes, bytes]]]:
        """In threads of its own: whoever sends slowly must not keep those that everything else needs."""
        if self._transferring >= _MAX_TRANSFERS:
            raise LimitExceeded("too many models are being sent or scanned: try again in a while", 10)
        self._transferring += 1
        body = None
        try:
            if route.body is RawBody:
                body = IncomingBody(receive, route.max_body_bytes)
                raw: bytes | IncomingBody = body
            else:
                raw = await _read_body(receive, headers, route.max_body_bytes)
            answer = partial(self._answer, route, path, scope, headers, raw)
            return await asyncio.get_running_loop().run_in_executor(self._transfers, answer)
        finally:
            self._transferring -= 1
            if body is not None:
                await body.drain(_MAX_DISCARDED_BYTES)

    def _answer(
        self, route: Route, path: dict[str, str], scope: Any, headers: Mapping[str, str], raw: bytes | IncomingBody
    ) -> tuple[int, str, Any, list[tuple[bytes, bytes]]]:
        subject = session = None
        credential, dpop = "", headers.get("dpop", "")
        # The public name alone: with the Host header, proofs made for somebody else's server would do here.
        urls = tuple(url + scope["path"] for url in self._urls)
        peer = peer_of(scope, self._control.services.trusted_proxies)
        if route.access != "open":
            scheme, _, token = headers.get("authorization", "").partition(" ")
            credential = token.strip() if scheme.lower() in ("bearer", "dpop") else ""
            subject, session = self._control.authenticate(
                credential, scheme=scheme.lower(), dpop=dpop, method=scope["method"], urls=urls, peer=peer
            )
        call = Call(
            path=path,
            query=_query(route, scope["query_string"]),
            body=_body(route, headers, raw),
            subject=subject,
            session=session,
            credential=credential,
            peer=peer,
            dpop=dpop,
            urls=urls,
            certificate=_certificate_of(scope),
        )
        performed = self._control.perform(route, call)
        extra = [(b"x-vallum-entry", performed.entry_id.encode())] if performed.entry_id else []
        if isinstance(performed.value, Download):
            return 200, performed.value.media_type, performed.value, extra
        body = b"" if route.status == 204 else msgspec.json.encode(performed.value)
        return route.status, "application/json", body, extra


@cache
def _description() -> bytes:
    """Of every route, when somebody first asks for it: it takes longer than all else that starting an `ApiApp` does."""
    return msgspec.json.encode(render_openapi(ROUTES))


def _certificate_of(scope: Any) -> bytes:
    """What the handshake verified, by ASGI's TLS extension; the server says so, and no header can."""
    chain = (scope.get("extensions") or {}).get("tls", {}).get("client_cert_chain") or ()
    return PEM_cert_to_DER_cert(chain[0]) if chain else b""


def peer_of(scope: Any, trusted: Sequence[Network] = ()) -> Peer:
    """The connection's own address; behind a proxy that is `trusted`, the last one before it in X-Forwarded-For.

    Headers that a client may write are believed of nobody else. Several lines of one header are one list (RFC 9110).
    """
    lines: dict[bytes, list[str]] = {b"x-forwarded-for": [], b"user-agent": []}
    for name, value in scope["headers"]:
        if name.lower() in lines:
            lines[name.lower()].append(value.decode("latin-1"))
    client = scope.get("client")
    address = str(client[0]) if client else ""
    for before in reversed(",".join(lines[b"x-forwarded-for"]).split(",")):
        if not _is_in(address, trusted):
            break
        address = _without_port(before.strip()) or address
    said = " ".join(lines[b"user-agent"])[:_MAX_DEVICE_CHARS]
    device = "".join(char for char in said if char.isascii() and char.isprintable())
    return Peer(network_of(address), device)


def _without_port(address: str) -> str:
    """As some proxies write it: 203.0.113.9:4711, [2001:db8::1]:80."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped  # of a listener that takes both
    return any(parsed in network for network in networks)


def _find(scope: Any) -> tuple[Route, dict[str, str]]:
    try:
        raw = scope.get("raw_path") or scope["path"].encode()
        found = match_route(ROUTES, scope["method"], raw.split(b"?")[0].decode("ascii"))
    except MethodNotAllowed as e:
        allow = [(b"allow", ", ".join(e.allowed).encode())]
        raise _BadRequest(Problem(405, "Method not allowed", "method_not_allowed", str(e)), allow) from None
    except UnicodeDecodeError:
        raise _BadRequest(Problem(400, "Invalid request", "invalid", "the path is not valid UTF-8")) from None
    if found is not None and any(_CONTROL.search(value) for value in found[1].values()):
        raise Invalid("the path holds control characters")
    if found is None:
        raise _BadRequest(Problem(404, "Not found", "unknown_route", f"see {PREFIX}/openapi.json for what there is"))
    return found


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUL = re.compile(rb"\x00|(?<!\\)(?:\\\\)*\\u0000")  # which no database keeps in a text


def _query(route: Route, raw: bytes) -> Any:
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except (ValueError, UnicodeDecodeError):
        raise Invalid("the query string cannot be read") from None
    given = dict(pairs)
    if any(_CONTROL.search(value) for value in given.values()):
        raise Invalid("the query holds control characters")
    if len(given) != len(pairs):
        raise Invalid("a query parameter was given twice")
    if route.query is None:
        if given:
            raise Invalid(f"this route takes no query parameters, but got {', '.join(sorted(given))[:200]}")
        return None
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as e:
        raise Invalid(f"query: {e}") from None


def _body(route: Route, headers: Mapping[str, str], raw: bytes | IncomingBody) -> Any:
    if isinstance(raw, IncomingBody):
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/octet-stream":
            raise _BadRequest(
                Problem(415, "Unsupported media type", "unsupported_media_type", "send it as application/octet-stream")
            )
        return RawBody(iter(raw))
    if route.body is None:
        if raw.strip() not in (b"", b"{}"):
            raise Invalid("this route takes no body")
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _NUL.search(raw):
        raise Invalid("body: U+0000 is no character of a text here")
    try:
        if kind == _FORM and route.name == "grant_token":
            return msgspec.convert(_form(raw, headers), route.body)
        if kind != "application/json":
            raise _BadRequest(
                Problem(415, "Unsupported media type", "unsupported_media_type", "send the body as application/json")
            )
        return msgspec.json.decode(raw, type=route.body)
    except RecursionError:
        raise Invalid("the body nests too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise Invalid(f"body: {str(e)[:300]}") from None


def _form(raw: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """RFC 6749: a form, the client's credentials in it or as HTTP Basic."""
    try:
        form = dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20))
    except (ValueError, UnicodeDecodeError):
        raise Invalid("the form cannot be read") from None
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Invalid("Authorization: Basic cannot be read") from None
        form |= {"client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}
    if any(_CONTROL.search(value) for value in form.values()):
        raise Invalid("the form holds control characters")
    return form


async def _read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """What is too large is read on and thrown away for a while, so that its sender hears why it was refused."""
    pieces, size = bytearray(), 0
    try:
        async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                size += len(piece)
                if size <= limit:
                    pieces += piece
                if not message.get("more_body", False) or size > _MAX_DISCARDED_BYTES:
                    break
    except TimeoutError:
        raise _BadRequest(Problem(408, "Timeout", "body_timeout", "the body did not arrive in time")) from None
    if size > limit:
        raise _BadRequest(Problem(413, "Too large", "body_too_large", f"the body is larger than {limit} bytes"))
    return bytes(pieces)


def _problem(error: Exception, path: str) -> tuple[int, str, bytes, list[tuple[bytes, bytes]]]:
    problem, kind = problem_of(error), MEDIA_TYPE
    if path == TOKEN_PATH:  # OAuth's clients read its own members (RFC 6749, section 5.2)
        problem, kind = oauth_problem(problem), "application/json"
    if problem.status >= 500:
        _log.error("%s: %s", problem.code, type(error).__name__, exc_info=error)
    extra: list[tuple[bytes, bytes]] = []
    if problem.retry_after_seconds is not None:
        extra.append((b"retry-after", b"%d" % problem.retry_after_seconds))
    if problem.status == 401:
        extra += [(b"www-authenticate", b"Bearer"), (b"www-authenticate", b"DPoP")]
    if problem.entry is not None:
        extra.append((b"x-vallum-entry", problem.entry.encode()))
    return problem.status, kind, msgspec.json.encode(problem), extra


async def _send(send: Send, status: int, kind: str, body: bytes, extra: Sequence[tuple[bytes, bytes]]) -> None:
    headers = [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *extra,
    ]
    if status != 204:
        headers += [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


async def _send_download(
    send: Send, download: Download, first: bytes | None, extra: Sequence[tuple[bytes, bytes]]
) -> None:
    """What fails after the first piece cuts the connection: where the size is known, whoever reads knows."""
    chunks = download.chunks
    disposition = f'attachment; filename="{download.file_name}"'.encode()
    length = [] if download.size is None else [(b"content-length", b"%d" % download.size)]
    headers = [
        (b"content-type", download.media_type.encode()),
        *length,
        (b"content-disposition", disposition),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *extra,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    piece = first
    while piece is not None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        piece = await asyncio.to_thread(_next, chunks)
    await send({"type": "http.response.body", "body": b""})


def _next(chunks: Iterator[bytes]) -> bytes | None:
    return next(chunks, None)
