"""Signing in through the browser: single sign-on and passkeys, for a command line that has neither (RFC 8252).

Listens on the loopback interface for one answer, whose state and code are this attempt's own. Answers a page elsewhere
that sends somebody to this port (the state), and whoever reads the code on its way (the verifier never leaves here).
"""

import hmac
import secrets
import webbrowser
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from urllib.parse import parse_qs, urlencode, urlsplit

from vallum.kernel.errors import Unauthenticated

__all__ = ["code_from_browser"]

_WAIT_SECONDS = 300
_DONE = b"<!doctype html><title>Vallum</title><p>The command line is signed in. You may close this page."
_WRONG = b"<!doctype html><title>Vallum</title><p>This is not the answer that the command line waits for."


def code_from_browser(url: str, say: Callable[[str], None]) -> tuple[str, str]:
    """A code and its verifier. Raises Unauthenticated when nobody agrees within five minutes."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    found: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            given = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            right = hmac.compare_digest(given.get("state", "").encode(), state.encode()) and "code" in given
            if right:
                found.append(given["code"])
            self.send_response(200 if right else 400)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("cache-control", "no-store")
            self.send_header("referrer-policy", "no-referrer")
            self.end_headers()
            self.wfile.write(_DONE if right else _WRONG)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the request line holds the code."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        query = urlencode({"port": server.server_port, "challenge": challenge, "state": state})
        page = f"{url.rstrip('/')}/console/command-line?{query}"
        say(f"agree in the browser; if none opens, open this on this machine:\n{page}")
        webbrowser.open(page)
        until = monotonic() + _WAIT_SECONDS
        while not found and (left := until - monotonic()) > 0:
            server.timeout = left
            server.handle_request()
    if not found:
        raise Unauthenticated("nobody agreed in the browser within five minutes: begin again")
    return found[0], verifier
