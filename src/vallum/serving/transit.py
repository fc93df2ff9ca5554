"""Vault's or OpenBao's HTTP API, for a root key there: signing in, and asking within a bound on time.

The token goes in a header, over TLS whose certificate is verified, and no redirect is followed with it. It is read
from its file each time (what renews it replaces the file), or, by AppRole or Kubernetes, got for the service's own
credential and held until four fifths of its life are over. A refused token is got anew once: it may have been revoked.
"""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlsplit

from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.keys import RootKeyRefused, TransitAnswer

__all__ = ["HttpTransit"]

_TIMEOUT, _CONNECT_TIMEOUT = timedelta(seconds=5), timedelta(seconds=3)
_ATTEMPTS = 2  # of a request that got no answer: encrypting or decrypting twice changes nothing
_MAX_ANSWER_BYTES = 262_144  # a key's description with thousands of versions
_LEAST_LIFE_SECONDS = 1.0

Login = Literal["token", "approle", "kubernetes"]


class HttpTransit:
    """A `Transit`. Safe to share between threads; makes no request before the first that is asked of it."""

    def __init__(
        self, url: str, login: Login, role: str, credential: Callable[[], str], *,
        login_mount: str = "", namespace: str = "", ca_file: str = "",
    ) -> None:  # fmt: skip
        """`credential` reads the file. Raises Invalid for a CA file that is none."""
        self._url = url.rstrip("/") + "/v1/"
        self._login, self._role, self._credential = login, role, credential
        self._login_path = f"auth/{login_mount or login}/login"
        self._headers = {"x-vault-request": "true", "accept": "application/json"}
        if namespace:
            self._headers["x-vault-namespace"] = namespace
        self._client = _client(url, ca_file)
        self._guard = Lock()
        self._token, self._until = "", 0.0

    def read(self, path: str) -> TransitAnswer:
        return self._signed_in("GET", path, None)

    def write(self, path: str, body: Mapping[str, str]) -> TransitAnswer:
        return self._signed_in("POST", path, body)

    def _signed_in(self, method: str, path: str, body: Mapping[str, str] | None) -> TransitAnswer:
        token = self._current_token()
        answer = self._asked(method, path, body, token)
        if answer.status == 403:
            self._forget(token)
            answer = self._asked(method, path, body, self._current_token())
        return answer

    def _current_token(self) -> str:
        if self._login == "token":
            return self._credential()
        with self._guard:
            if monotonic() >= self._until:
                self._token, life = self._signed_in_anew()
                self._until = monotonic() + max(life * 0.8, _LEAST_LIFE_SECONDS)
            return self._token

    def _forget(self, token: str) -> None:
        with self._guard:
            if token == self._token:
                self._until = 0.0

    def _signed_in_anew(self) -> tuple[str, float]:
        names = ("role_id", "secret_id") if self._login == "approle" else ("role", "jwt")
        answer = self._asked("POST", self._login_path, dict(zip(names, (self._role, self._credential()), strict=True)))
        if answer.status in (400, 401, 403, 404):
            raise RootKeyRefused(
                f"Vault refused the {self._login} login: see keys.vault_role, keys.vault_credential_file, "
                "keys.vault_login_mount"
            )
        auth = answer.body.get("auth")
        if answer.status != 200 or not isinstance(auth, dict) or not isinstance(auth.get("client_token"), str):
            raise Unavailable(f"Vault answered the {self._login} login with status {answer.status}")
        lease = auth.get("lease_duration")
        return auth["client_token"], float(lease) if isinstance(lease, int) else 0.0

    def _asked(self, method: str, path: str, body: Mapping[str, str] | None, token: str = "") -> TransitAnswer:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._ask(method, path, body, token)
            except PyreqwestError as e:
                if attempt == _ATTEMPTS:
                    raise Unavailable(
                        f"Vault did not answer at {self._url} ({type(e).__name__}); see keys.vault_url, vault_ca_file"
                    ) from e
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None, token: str) -> TransitAnswer:
        headers = {**self._headers, "x-vault-token": token} if token else self._headers
        request = self._client.request(method, self._url + path).headers(headers)
        if body is not None:
            request = request.body_bytes(json.dumps(body).encode())
        with request.build_streamed() as response:
            raw = b""
            while (chunk := response.body_reader.read_chunk()) is not None:
                raw += bytes(chunk)
                if len(raw) > _MAX_ANSWER_BYTES:
                    raise Unavailable("Vault's answer is too large")
            return TransitAnswer(int(response.status), _parsed(raw))


def _client(url: str, ca_file: str) -> SyncClient:
    builder = SyncClientBuilder().user_agent("vallum").timeout(_TIMEOUT).connect_timeout(_CONNECT_TIMEOUT)
    builder = builder.follow_redirects(False)
    if urlsplit(url).scheme == "http":
        builder = builder.no_proxy()  # loopback: the token must not leave this machine in the clear
    if ca_file:
        try:
            pem = Path(ca_file).read_bytes()
        except OSError as e:
            raise Invalid(f"keys.vault_ca_file cannot be read: {e.strerror}") from e
        if b"-----BEGIN CERTIFICATE-----" not in pem:  # which the client takes without a word
            raise Invalid("keys.vault_ca_file holds no PEM certificate")
        builder = builder.add_root_certificate_pem(pem)
    return builder.build()


def _parsed(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
