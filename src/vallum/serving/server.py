"""The process tree: a supervisor that owns the socket, and Granian workers that each build the application.

Workers are spawned, never forked: a fork would copy the threads' locks of whatever the supervisor had used. The
supervisor learns that everything answers by asking `/readyz` over the real socket, and only then says so.
"""

import ctypes
import multiprocessing
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Thread, Timer
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from vallum.serving.arrivals import tell_of_stop
from vallum.serving.local_ca import ServerCertificate
from vallum.settings import ServerSettings

__all__ = ["end_within", "serve"]

_READY_WITHIN_SECONDS = 60
_PROBE_EVERY_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1  # prctl(2)
_UNSUPERVISED_SECONDS = 5  # after which a worker ends by itself that its supervisor would have killed
_HEADER_READ_TIMEOUT_MS = 10_000  # a client that dribbles its headers gives the connection back
_MAX_HEADER_BUFFER_BYTES = 65_536


def serve(
    settings: ServerSettings,
    certificate: ServerCertificate | None,
    load_app: Callable[[], Any],
    on_ready: Callable[[], None],
    log_level: str,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `load_app` is picklable and runs in each worker; an application with
    a method `hurry` is told by it that the drain begins.

    Calls `on_ready` once, from a thread, when `/readyz` first answers 200. Raises SystemExit when a worker
    cannot start, with the worker's reason on standard error.
    """
    multiprocessing.set_start_method("spawn", force=True)
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # a worker's threads would each keep freed memory of their own
    server = Granian(
        "vallum",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        websockets=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADER_READ_TIMEOUT_MS, max_buffer_size=_MAX_HEADER_BUFFER_BYTES
        ),
        ssl_cert=certificate.certificate_file if certificate else None,
        ssl_key=certificate.key_file if certificate else None,
        workers_kill_timeout=settings.drain_seconds,
        respawn_failed_workers=True,
        log_level=LogLevels(log_level),
        log_dictconfig=_LOG_AS_CONFIGURED,
    )
    scheme = "https" if certificate else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{scheme}://{'127.0.0.1' if host == '0.0.0.0' else host}:{settings.port}/readyz"  # noqa: S104
    ca_file = certificate.ca_file if certificate else None
    probe = Thread(target=_announce, args=(url, ca_file, on_ready), name="ready-probe", daemon=True)
    server.on_startup(probe.start)
    server.serve(target_loader=_Loader(load_app, settings.drain_seconds), wrap_loader=False)


class _Loader:
    """Picklable, unlike a closure, so that a spawned worker can receive it."""

    def __init__(self, load_app: Callable[[], Any], drain_seconds: int) -> None:
        self._load_app = load_app
        self._drain_seconds = drain_seconds

    def __call__(self) -> Any:
        _end_with_supervisor()
        app = self._load_app()

        def stopping() -> None:
            end_within(self._drain_seconds + _UNSUPERVISED_SECONDS)
            if hasattr(app, "hurry"):
                app.hurry()

        tell_of_stop(stopping)
        return app


def end_within(seconds: float) -> None:
    """End this process then, whatever it is still doing. A supervisor does so to its workers; one that was killed
    does not, and whoever keeps a worker's connection busy would keep the worker.
    """
    last = Timer(seconds, os._exit, args=(1,))
    last.daemon = True  # who is done before is not held
    last.start()


def _end_with_supervisor() -> None:
    """Have the kernel send this worker SIGTERM when its supervisor dies, however it dies (Linux only).

    Without it, a killed supervisor would leave workers that serve on, under nobody's control.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _announce(url: str, ca_file: Path | None, on_ready: Callable[[], None]) -> None:
    """Readiness asked over the real socket, the way a load balancer asks."""
    context = _probe_context(ca_file) if url.startswith("https") else None
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310  our own URL
                if answer.status == 200:
                    on_ready()
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(_PROBE_EVERY_SECONDS)


def _probe_context(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is not None:
        return ssl.create_default_context(cafile=str(ca_file))
    # The operator's own certificate names the public host, not this loopback address; the probe sends no secret.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# Through the process's own handlers, whose format the operator chose; never to standard output, which is data.
_LOG_AS_CONFIGURED = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}
