"""The gateway's share of the composition root: the pipeline, its providers, and the models served here.

A module of its own, so that a process without a gateway imports none of it.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from threading import Lock
from typing import TYPE_CHECKING

from vallum.demo import demo_documents
from vallum.gateway.app import GatewayApp
from vallum.gateway.authentication import Authenticator
from vallum.gateway.guarding import Guarding
from vallum.gateway.limits import Limiter
from vallum.gateway.models import ModelList
from vallum.gateway.open_inference import OpenInferenceFace
from vallum.gateway.pipeline import Pipeline
from vallum.gateway.providers import ProviderPool
from vallum.gateway.providers.predictive import PredictiveUpstream
from vallum.gateway.released import Released
from vallum.gateway.telemetry import Telemetry, open_tracing
from vallum.inventory import EPOCH as INVENTORY_EPOCH
from vallum.kernel.errors import Invalid, Unavailable
from vallum.kernel.ids import new_id
from vallum.kernel.keys import EPOCH as KEYS_EPOCH
from vallum.kernel.keys import Lease, Vault
from vallum.kernel.store.counters import open_counters
from vallum.models.runtime.folder import UnsafeFolderDeployments
from vallum.models.runtime.ports import Deployments
from vallum.models.runtime.servers import ModelServers
from vallum.models.runtime.suspicions import Suspicions
from vallum.models.signing import TrustedKey, TrustPolicy
from vallum.releases import EPOCH as RELEASES_EPOCH
from vallum.retrieval import PassageIndex
from vallum.settings import Settings

if TYPE_CHECKING:
    from vallum.compose import Platform

__all__ = ["open_gateway"]

_log = logging.getLogger("vallum")

_SAY_LOADED_SECONDS = 30
_FOLLOW_SECONDS = 60


def open_gateway(platform: "Platform") -> GatewayApp:
    """On the event loop that will run it."""
    settings = platform.settings
    leases = _VaultLeases(platform.vault)
    counters = open_counters(settings.counters.url or "memory:")
    servers = _model_servers(platform)
    suspicions = Suspicions(Random(), counters)  # noqa: S311  statistics, no secret
    predictive = PredictiveUpstream(servers, counters, suspicions)
    pool = ProviderPool(
        platform.inventory, leases, lambda: PassageIndex(demo_documents()), platform.clock, predictive
    )  # fmt: skip
    platform.epochs.subscribe(KEYS_EPOCH, pool.forget)
    authenticator = Authenticator(platform.identity.api_keys, platform.identity.delegations, platform.writer)
    endpoint = settings.telemetry.otlp_endpoint
    telemetry = Telemetry(open_tracing(endpoint) if endpoint else None)
    platform.writer.under_way = lambda: telemetry.in_flight
    guarding = Guarding()
    guarding.warm(platform.inventory.configuration.applications.values())
    released = Released(
        partial(platform.control.services.releases.deployments.application, settings.served_environment)
    )
    pipeline = Pipeline(
        authenticator=authenticator,
        gate=platform.gate,
        writer=platform.writer,
        inventory=platform.inventory,
        released=released,
        limiter=Limiter(counters, open_counters("memory:")),
        guarding=guarding,
        pool=pool,
        telemetry=telemetry,
        max_body_bytes=settings.gateway.max_body_bytes,
        read_timeout_seconds=settings.gateway.read_timeout_seconds,
        max_stream_chars=settings.gateway.max_stream_chars,
    )
    models = ModelList(authenticator, platform.gate, platform.writer, platform.inventory, released)
    closing = (pipeline.close, authenticator.close, pool.close, counters.close)
    face = OpenInferenceFace(models, platform.inventory, servers)
    return GatewayApp(pipeline, models, face, telemetry, closing)


def _model_servers(platform: "Platform") -> ModelServers:
    """What releases deploy, or a folder for local development. Raises Invalid for one that cannot be served."""
    settings = platform.settings
    work = settings.data_path / "serving"
    work.mkdir(mode=0o700, exist_ok=True)
    releases = platform.control.services.releases
    deployments: Deployments = releases.deployments
    if settings.models.unsafe_folder:
        deployments = _folder_deployments(settings)
    servers = ModelServers(
        deployments, settings.served_environment, work, sandboxed=not settings.models.unsafe_no_sandbox
    )  # fmt: skip
    servers.warm(_own_models(platform))
    if not settings.models.unsafe_folder:
        _follow_releases(platform, servers)
    return servers


def _own_models(platform: "Platform") -> list[str]:
    """Registered models that are asked for here, under whatever name."""
    configuration = platform.inventory.configuration
    own = {name for name, provider in configuration.providers.items() if provider.kind == "releases"}
    return [model.upstream_name or name for name, model in configuration.models.items() if model.provider in own]


def _follow_releases(platform: "Platform", servers: ModelServers) -> None:
    """What is deployed is loaded at once, and not when somebody already waits for it; and what is loaded is said."""
    loop, served, process = asyncio.get_running_loop(), platform.control.services.releases.served, new_id("process")
    said, one_at_a_time = False, Lock()

    def say_loaded() -> None:
        nonlocal said
        with one_at_a_time:
            loaded = servers.loaded()
            if loaded or said:
                with platform.records.write() as conn:
                    served.say(conn, process, loaded)
            said = bool(loaded)

    def say_now() -> None:
        with suppress(Unavailable):  # the chore says it again
            say_loaded()

    def follow() -> None:
        with suppress(RuntimeError):  # the loop is closed: so is this process
            loop.call_soon_threadsafe(lambda: servers.warm(_own_models(platform)))

    def say_beside() -> None:
        """Whoever looks at the environment sees it at once."""
        loop.run_in_executor(None, say_now)

    servers.tell = say_beside
    platform.chores.every(_SAY_LOADED_SECONDS, say_loaded)
    platform.chores.every(_FOLLOW_SECONDS, follow)
    platform.epochs.subscribe(RELEASES_EPOCH, follow)
    platform.epochs.subscribe(INVENTORY_EPOCH, follow)


def _folder_deployments(settings: Settings) -> UnsafeFolderDeployments:
    try:
        pem = Path(settings.models.unsafe_folder_key).read_bytes()
        folder = Path(settings.models.unsafe_folder)
        _log.warning("models in %s are served without a release: for local development", folder)
        trust = TrustPolicy((TrustedKey("models.unsafe_folder_key", pem),))
        return UnsafeFolderDeployments(folder, trust, environment=settings.served_environment)
    except OSError as e:
        raise Invalid("models.unsafe_folder and unsafe_folder_key: a folder and a PEM file that can be read") from e


class _VaultLeases:
    """The vault, beside the event loop."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def current(self, name: str, consumer: str) -> Lease:
        return await asyncio.to_thread(self._vault.reveal, name, consumer)

    async def other(self, name: str, consumer: str) -> Lease | None:
        return await asyncio.to_thread(self._vault.reveal_other, name, consumer)
