"""How a command reaches the control plane: over HTTP as who is signed in, or in process with the root key.

Both perform the same routes through the same gate; heavy imports wait until one is opened.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from vallum.kernel.errors import Invalid, Unauthenticated

__all__ = [
    "Transport",
    "credentials_file",
    "keep_credential",
    "load_credentials",
    "local_settings",
    "moved_keys",
    "opened",
    "save_credentials",
]


class Transport(Protocol):
    def perform(self, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Any:
        """A route's answer as plain dictionaries and lists. A download is an iterator of bytes, and so is a file."""
        ...


@contextmanager
def opened(data: Path | None, url: str | None, config: Path | None = None) -> Iterator[Transport]:
    """With `data` (or a settings file) the folder itself, else the server signed in to. Raises Invalid, Unavailable."""
    if data is not None or config is not None:
        if url is not None:
            raise Invalid("--data and --url: give one of them")
        from vallum.compose import Platform

        platform = Platform.open_for_one(local_settings(data, config))
        platform.start()
        try:
            yield _Local(platform)
        finally:
            platform.close()
        return
    from vallum.client import Client

    kept = load_credentials()
    if kept is None or (url is not None and url.rstrip("/") != kept["url"]):
        raise Unauthenticated("sign in first: vallum login --url URL; or administer a folder with --data DIR")
    with Client(kept["url"], credential=kept["credential"], ca_file=kept.get("ca_file")) as client:
        yield _Remote(client)


def local_settings(data: Path | None, config: Path | None, overrides: Mapping[str, object] | None = None) -> Any:
    """Settings from the file, the environment and the command line. Raises InvalidSettings."""
    from vallum.settings import load_settings

    given: dict[str, object] = {**(overrides or {})}
    if data is not None:
        given["data"] = str(data)
    return load_settings(config, os.environ, given)


def moved_keys(file: Path) -> Any:
    """The [keys] section of `file` alone: what the environment says of keys is said of the root in use."""
    from vallum.settings import load_settings

    return load_settings(file, {}).keys


def credentials_file() -> Path:
    return Path(os.environ.get("VALLUM_CREDENTIALS", "~/.config/vallum/credentials.json")).expanduser()


def load_credentials() -> dict[str, Any] | None:
    file = credentials_file()
    try:
        kept = json.loads(file.read_text())
        return kept if isinstance(kept, dict) and {"url", "credential"} <= kept.keys() else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise Invalid(f"{file} cannot be read: remove it and sign in again") from e


def save_credentials(url: str, credential: str, ca_file: Path | None) -> Path:
    """Readable by this user alone, from its first byte."""
    file = credentials_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    kept = {"url": url.rstrip("/"), "credential": credential, "ca_file": str(ca_file.resolve()) if ca_file else None}
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(kept, out)
    fresh.replace(file)
    return file


def keep_credential(credential: str) -> None:
    """In place of the one that was used: a session's secret changes with step-up."""
    kept = load_credentials()
    if kept is not None:
        ca_file = kept.get("ca_file")
        save_credentials(kept["url"], credential, Path(ca_file) if ca_file else None)


class _Local:
    def __init__(self, platform: Any) -> None:
        self._platform = platform

    def perform(self, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Any:
        import msgspec

        from vallum.api import Call, Download, RawBody, find_route

        route = find_route(name)
        if route.body is RawBody:
            given = self._platform.perform(route, Call(path=path or {}, body=RawBody(iter(body)))).value
            return msgspec.to_builtins(given)
        try:
            call = Call(
                path=path or {},
                query=msgspec.convert(query or {}, route.query, strict=False) if route.query else None,
                body=msgspec.convert(body, route.body) if route.body else None,
            )
        except msgspec.ValidationError as e:
            raise Invalid(str(e)) from None
        value = self._platform.perform(route, call).value
        return value.chunks if isinstance(value, Download) else msgspec.to_builtins(value)


class _Remote:
    def __init__(self, client: Any) -> None:
        self._client = client

    def perform(self, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Any:
        from urllib.parse import quote

        from vallum.api import Download, RawBody, find_route

        route = find_route(name)
        target = route.path.replace("...}", "}")
        for parameter, value in (path or {}).items():
            rest = "{" + parameter + "...}" in route.path
            target = target.replace("{" + parameter + "}", quote(value, safe="/" if rest else ""))
        if route.answer is Download:
            return self._client.download(target, {k: v for k, v in (query or {}).items() if v is not None})
        if route.body is RawBody:
            return self._client.send_file(route.method, target, body)
        given = {k: v for k, v in (query or {}).items() if v is not None}
        return self._client.request(route.method, target, body, query=given, takes_long=route.takes_long)
