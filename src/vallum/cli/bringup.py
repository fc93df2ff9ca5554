"""Bringing a server up: the first run, the demonstration, the certificate, and the line that says it is ready."""

import json
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vallum.api import ROUTES, Call
from vallum.background import Background
from vallum.cli.output import say
from vallum.compose import Platform, Role, load_app, open_mutual_tls, prepare
from vallum.demo import DEMO_APPLICATION, DEMO_MODEL, demo_configuration
from vallum.kernel.clock import SystemClock
from vallum.kernel.errors import Invalid, Unavailable
from vallum.serving.local_ca import ServerCertificate, ensure_server_certificate
from vallum.serving.logs import configure_logging
from vallum.serving.server import serve
from vallum.settings import Settings

__all__ = ["bring_up", "serve_role"]

_QUICK_LABEL = "made by vallum up"
_UPSTREAM = "upstream"
_QUICK_APPLICATION = "quickstart"
_UPSTREAM_TIMEOUT_SECONDS = 10
_ROLES: Mapping[str, Role] = {"gateway": "gateway", "control": "control", "worker": "worker"}


@dataclass(frozen=True, slots=True)
class Ready:
    """What `vallum up --json` prints once it answers. Scripts rely on these names."""

    url: str
    ca_file: str | None
    api_key: str | None
    application: str | None
    enrol_url: str | None
    mtls_url: str | None = None


def bring_up(
    settings: Settings, *, demo: bool, upstream: str | None, upstream_key_file: Path | None, as_json: bool
) -> None:
    """Serve until stopped. Raises Invalid for what is wrong before anything listens."""
    configure_logging(settings.log)
    if demo and settings.environment == "prod":
        raise Invalid("--demo: not in prod; a demonstration answers whoever has its key")
    _check_port(settings)
    prepare(settings)
    platform = Platform.open(settings)
    background = Background(platform)
    background.check()
    platform.start()
    closing = ExitStack()
    closing.callback(platform.close)
    closing.callback(background.stop)
    with closing:
        enrol_token = _first_run(platform)
        application, api_key, model = _quick_start(platform, demo, upstream, upstream_key_file)
        certificate = _certificate(settings)
        ready = Ready(
            url=settings.url,
            ca_file=str(certificate.ca_file) if certificate and certificate.ca_file else None,
            api_key=api_key,
            application=application,
            enrol_url=f"{settings.url}/console/enrol#{enrol_token}" if enrol_token else None,
            mtls_url=settings.mtls_url if settings.server.mtls_port else None,
        )
        background.start()
        mutual_tls = open_mutual_tls(platform, certificate)
        if mutual_tls is not None:
            closing.callback(mutual_tls.stop)
            mutual_tls.start()
        _warn(settings)
        announce = partial(_print_json, ready) if as_json else partial(_print_welcome, ready, model)
        _serve(settings, certificate, "all", announce)


def serve_role(settings: Settings, role: str) -> None:
    """One role of an installation on several machines. Raises Invalid for a role that there is not."""
    chosen = _ROLES.get(role)
    if chosen is None:
        raise Invalid(f"--role: {', '.join(_ROLES)}")
    configure_logging(settings.log)
    _check_port(settings)
    platform = Platform.open(settings)
    background = Background(platform) if chosen == "worker" else None
    if background is not None:
        background.check()
    platform.start()
    with ExitStack() as closing:
        closing.callback(platform.close)
        if background is not None:
            closing.callback(background.stop)
            background.start()
        certificate = _certificate(settings)
        mutual_tls = open_mutual_tls(platform, certificate) if chosen == "control" else None
        if mutual_tls is not None:
            closing.callback(mutual_tls.stop)
            mutual_tls.start()
        _warn(settings)
        _serve(settings, certificate, chosen, partial(say, f"vallum {role} is ready at {settings.url}"))


def _serve(settings: Settings, certificate: ServerCertificate | None, role: Role, announce: Callable[[], None]) -> None:
    serve(settings.server, certificate, partial(load_app, settings, role), announce, settings.log.level)


def _first_run(platform: Platform) -> str | None:
    """The token of a fresh enrolment link, while nobody has enrolled."""
    with platform.records.write() as conn:
        return platform.identity.people.begin_first_run(conn)


def _quick_start(
    platform: Platform, demo: bool, upstream: str | None, key_file: Path | None
) -> tuple[str | None, str | None, str | None]:
    """An application with a fresh key, where one was asked for: its name, the key's secret, and a model of it."""
    files: dict[str, str] = {}
    application = model = None
    if demo:
        files |= demo_configuration()
        application, model = DEMO_APPLICATION, DEMO_MODEL
    if upstream is not None:
        secret = _first_line(key_file) if key_file is not None else ""
        models = _upstream_models(upstream, secret)
        if secret:
            body = {"value": secret, "consumers": [f"provider:{_UPSTREAM}"], "overlap_seconds": 0}
            _perform(platform, "put_secret", path={"name": _UPSTREAM}, body=body)
        files["upstream.toml"] = _upstream_configuration(upstream, models, bool(secret))
        application, model = _QUICK_APPLICATION, models[0]
    if application is None:
        return None, None, None
    for warning in _perform(platform, "apply", body={"files": files}).warnings:
        say(f"warning: {warning}")
    for key in _perform(platform, "list_keys", query={"application_id": application}):
        if key.label == _QUICK_LABEL and key.revoked_at is None:  # its secret was shown once, and is lost
            _perform(platform, "revoke_key", path={"id": key.id})
    issued = _perform(platform, "issue_key", body={"application_id": application, "label": _QUICK_LABEL})
    return application, issued.secret, model


def _perform(
    platform: Platform, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None
) -> Any:
    import msgspec

    route = next(route for route in ROUTES if route.name == name)
    call = Call(
        path=path or {},
        query=msgspec.convert(query or {}, route.query) if route.query else None,
        body=msgspec.convert(body, route.body) if route.body else None,
    )
    return platform.perform(route, call).value


def _upstream_models(url: str, secret: str) -> list[str]:
    """What the server says it has. Raises Unavailable, and Invalid for a server that speaks something else."""
    from datetime import timedelta

    from pyreqwest.client import SyncClientBuilder
    from pyreqwest.exceptions import PyreqwestError

    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    timeout = timedelta(seconds=_UPSTREAM_TIMEOUT_SECONDS)
    client = SyncClientBuilder().timeout(timeout).follow_redirects(False).no_proxy().build()
    try:
        response = client.get(url.rstrip("/") + "/models").headers(headers).build().send()
        listed = json.loads(bytes(response.bytes()))
        names = [str(model["id"]) for model in listed["data"]]
    except PyreqwestError as e:
        raise Unavailable(f"--upstream: {url} does not answer") from e
    except (ValueError, KeyError, TypeError) as e:
        raise Invalid(f"--upstream: {url}/models is no list of models; does the URL end in /v1?") from e
    finally:
        client.close()
    if not names:
        raise Invalid(f"--upstream: {url} has no models")
    return names


def _upstream_configuration(url: str, models: list[str], has_secret: bool) -> str:
    quote = json.dumps  # a JSON string is a TOML string
    lines = [
        "[providers.upstream]",
        'kind = "openai"',
        f"url = {quote(url)}",
        *(['secret = "upstream"'] if has_secret else []),
        *(["unsafe_plain_http = true"] if url.startswith("http://") else []),
        *(f'[models.{quote(name)}]\nprovider = "upstream"' for name in models),
        f"[applications.{_QUICK_APPLICATION}]",
        'owner = "vallum up"',
        f"models = {quote(models)}",
    ]
    return "\n".join(lines) + "\n"


def _certificate(settings: Settings) -> ServerCertificate | None:
    server = settings.server
    if server.unsafe_plain_http:
        return None
    if server.certificate_file:
        return ServerCertificate(Path(server.certificate_file), Path(server.key_file), None)
    names = (server.host,) if server.host not in ("0.0.0.0", "::") else (socket.gethostname(),)  # noqa: S104
    return ensure_server_certificate(settings.data_path / "tls", names, SystemClock())


def _check_port(settings: Settings) -> None:
    """Say so now: the server's own words for a port in use come late and do not name it."""
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server.host, settings.server.port))
        except OSError as e:
            reason = e.strerror or "it cannot be used"
            raise Invalid(f"{settings.server.host}:{settings.server.port}: {reason}; choose another --port") from e


def _warn(settings: Settings) -> None:
    if settings.server.unsafe_plain_http:
        say(
            "WARNING: PLAIN HTTP. Keys and prompts travel unencrypted on this machine's loopback (--unsafe-plain-http)."
        )


def _first_line(file: Path) -> str:
    try:
        with file.open() as opened:
            return opened.readline().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid(f"--upstream-key-file: {file} cannot be read") from e


def _print_json(ready: Ready) -> None:
    print(json.dumps(asdict(ready)), flush=True)


def _print_welcome(ready: Ready, model: str | None) -> None:
    print(_welcome(ready, model), flush=True)
    sys.stdout.flush()


def _welcome(ready: Ready, model: str | None) -> str:
    parts = [f"Vallum is ready at {ready.url}   (console: {ready.url}/console)"]
    if ready.enrol_url:
        parts.append(f"First run. Enrol yourself, once, within a day:\n  {ready.enrol_url}")
    if ready.api_key and model:
        ca = f" --cacert {ready.ca_file}" if ready.ca_file else ""
        question = "How do I report a lost laptop?"
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": question}]})
        parts.append(
            f"Try it with curl:\n\n  curl{ca} {ready.url}/v1/chat/completions \\\n"
            f"    -H 'Authorization: Bearer {ready.api_key}' -H 'Content-Type: application/json' \\\n    -d '{body}'"
        )
        tls = (
            "  import ssl\n  from openai import DefaultHttpxClient, OpenAI\n\n"
            f'  tls = ssl.create_default_context(cafile="{ready.ca_file}")\n'
        )
        http = ", http_client=DefaultHttpxClient(verify=tls)" if ready.ca_file else ""
        parts.append(
            "or with Python (pip install openai):\n\n"
            + (tls if ready.ca_file else "  from openai import OpenAI\n\n")
            + f'  client = OpenAI(base_url="{ready.url}/v1", api_key="{ready.api_key}"{http})\n'
            f'  question = {{"role": "user", "content": "{question}"}}\n'
            f'  for chunk in client.chat.completions.create(model="{model}", messages=[question], stream=True):\n'
            f'      print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")'
        )
    elif not ready.api_key:
        parts.append("No application is declared yet: run vallum apply DIR, then vallum keys issue APPLICATION.")
    return "\n\n".join(parts) + "\n\nStop with Ctrl-C."
