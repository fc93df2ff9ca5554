"""One ASGI application: start and stop, health, metrics, and the faces by path."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from vallum.kernel.errors import VallumError
from vallum.serving.arrivals import Arrivals

__all__ = ["Faces", "VallumApp"]

_log = logging.getLogger("vallum")

_GATEWAY = ("/v1/", "/v2")
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Faces:
    """What answers below `/v1` and `/v2`, `/api` and `/console`; None where this process has no such role."""

    gateway: Any
    api: Any
    console: Any


class VallumApp:
    def __init__(self, open_platform: Callable[[], Any], role: Any, build_faces: Callable[[Any, Any], Faces]) -> None:
        self._open_platform = open_platform
        self._role = role
        self._build_faces = build_faces
        self._platform: Any = None
        self._faces = Faces(None, None, None)
        self._arrivals = Arrivals()

    def hurry(self) -> None:
        """This worker is to stop: what has not arrived by now has moments left."""
        self._arrivals.hurry()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            receive = self._arrivals.receiver(receive)
            if path.startswith(_GATEWAY) and self._faces.gateway is not None:
                await self._faces.gateway(scope, receive, send)
                return
            await self._other(path, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _other(self, path: str, scope: Any, receive: Any, send: Any) -> None:
        faces = self._faces
        if path.startswith("/api/") and faces.api is not None:
            await faces.api(scope, receive, send)
        elif (path == "/console" or path.startswith("/console/")) and faces.console is not None:
            await faces.console(scope, receive, send)
        elif path == "/healthz":
            await _text(send, 200, b"ok\n")
        elif path == "/readyz":
            ready = await asyncio.to_thread(self._is_ready)
            await _text(send, 200 if ready else 503, b"ready\n" if ready else b"not ready\n")
        elif path == "/metrics" and faces.gateway is not None and self._platform.settings.telemetry.metrics:
            await _text(send, 200, faces.gateway.telemetry.render(), b"text/plain; version=0.0.4; charset=utf-8")
        elif path == "/" and scope["method"] in ("GET", "HEAD") and faces.console is not None:
            await _redirect(send, b"/console")
        else:
            await _text(send, 404, b"not found\n")

    def _is_ready(self) -> bool:
        """Whether requests can be recorded: the database answers."""
        try:
            with self._platform.records.read() as conn:
                self._platform.ledger.size(conn)
        except VallumError:
            return False
        return True

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            self._platform = self._open_platform()
            self._platform.start()
            self._faces = self._build_faces(self._platform, self._role)
        except Exception as e:  # noqa: BLE001  the server is told that this worker cannot serve, and why
            _log.error("this worker cannot start: %s", e)
            await send({"type": "lifespan.startup.failed", "message": str(e)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._faces.gateway is not None:
            await self._faces.gateway.close()
        await asyncio.to_thread(self._platform.close)
        await send({"type": "lifespan.shutdown.complete"})


async def _text(send: Any, status: int, body: bytes, kind: bytes = b"text/plain; charset=utf-8") -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _redirect(send: Any, to: bytes) -> None:
    await send(
        {"type": "http.response.start", "status": 303, "headers": [(b"location", to), (b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})
