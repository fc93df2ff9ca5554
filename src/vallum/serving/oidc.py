"""The single sign-on provider over HTTPS: its discovery document, its keys, and the token endpoint."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from threading import BoundedSemaphore
from time import monotonic
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.identity.oidc import require

__all__ = ["HttpOidcProvider"]

_MAX_BYTES = 1 << 20
_KEPT_SECONDS = 3600
_AFRESH_SECONDS = 30  # at most: whoever sends tokens with unknown keys must not make us ask each time
_AT_ONCE = 2  # a provider that hangs must not hold the threads that everybody else's requests need
_FAILED_SECONDS = 5.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class HttpOidcProvider:
    """Safe to share between threads."""

    def __init__(self, issuer: str, client_id: str, client_secret: str | None, ca_file: str = "") -> None:
        """Raises Invalid for an issuer without TLS that is not on this machine, and for a CA file that is none."""
        parts = urlsplit(issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise Invalid("oidc.issuer: an https:// address; plain HTTP is taken from this machine alone")
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        builder = SyncClientBuilder().user_agent("vallum").timeout(timedelta(seconds=5)).follow_redirects(False)
        if ca_file:
            try:
                builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
            except OSError as e:
                raise Invalid(f"oidc.ca_file cannot be read: {e.strerror}") from e
        self._client: SyncClient = builder.build()
        self._places = BoundedSemaphore(_AT_ONCE)
        self._failed_until = 0.0
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, list[Mapping[str, Any]]] | None = None

    def metadata(self) -> Mapping[str, Any]:
        kept = self._metadata
        if kept is None or monotonic() - kept[0] > _KEPT_SECONDS:
            found = self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
            kept = self._metadata = (monotonic(), require(found, self._issuer))
        return kept[1]

    def keys(self, *, afresh: bool = False) -> list[Mapping[str, Any]]:
        uri, kept = str(self.metadata()["jwks_uri"]), self._keys
        if kept is None or monotonic() - kept[0] > (_AFRESH_SECONDS if afresh else _KEPT_SECONDS):
            found = self._get(uri).get("keys")
            if not isinstance(found, list):
                raise Unavailable("the single sign-on provider's keys cannot be read")
            keys: list[Mapping[str, Any]] = [key for key in found if isinstance(key, dict)]
            kept = self._keys = (monotonic(), keys[:50])
        return kept[1]

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }  # fmt: skip
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if self._client_secret is None:
            form["client_id"] = self._client_id
        else:  # RFC 6749, section 2.3.1: each part is form-encoded first
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
        url = str(self.metadata()["token_endpoint"])
        status, answer = self._send("POST", url, headers, urlencode(form).encode())
        if 400 <= status < 500:
            raise Invalid("the provider refused the code")
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise Unavailable("the single sign-on provider gave no ID token")
        return token

    def _get(self, url: str) -> dict[str, Any]:
        status, answer = self._send("GET", url, {"accept": "application/json"}, None)
        if status != 200:
            raise Unavailable(f"the single sign-on provider answered with status {status}")
        return answer

    def _send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, dict[str, Any]]:
        if monotonic() < self._failed_until or not self._places.acquire(blocking=False):
            raise Unavailable("the single sign-on provider does not answer, or is busy: try again in some seconds")
        try:
            return self._ask(method, url, headers, body)
        except Unavailable:
            self._failed_until = monotonic() + _FAILED_SECONDS
            raise
        finally:
            self._places.release()

    def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> tuple[int, dict[str, Any]]:
        request = self._client.request(method, url).headers(headers)
        if body is not None:
            request = request.body_bytes(body)
        try:
            with request.build_streamed() as response:
                raw = b""
                while (chunk := response.body_reader.read_chunk()) is not None:
                    raw += bytes(chunk)
                    if len(raw) > _MAX_BYTES:
                        raise Unavailable("the single sign-on provider's answer is too large")
                answer = json.loads(raw)
                status = int(response.status)
        except PyreqwestError as e:
            raise Unavailable("the single sign-on provider did not answer") from e
        except (ValueError, RecursionError) as e:
            raise Unavailable("the single sign-on provider's answer cannot be read") from e
        if not isinstance(answer, dict):
            raise Unavailable("the single sign-on provider's answer cannot be read")
        return status, answer
