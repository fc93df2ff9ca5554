"""Every model that this process serves, by deployment: started when it is deployed, closed when it is no more."""

import asyncio
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import monotonic

from vallum.models.runtime.errors import ModelUnavailable
from vallum.models.runtime.ports import Deployment, Deployments
from vallum.models.runtime.server import WORK_PREFIX, ModelServer

__all__ = ["ModelServers"]

_IDLE_SECONDS = 600.0  # after which what is deployed no more is closed: until then, rolling back finds it loaded
_SWEEP_SECONDS = 30.0
_MAX_SERVERS = 64  # processes; one more is refused rather than one that answers being stopped

_Key = tuple[str, str, str, int, str]


class ModelServers:
    """For one event loop."""

    def __init__(
        self, deployments: Deployments, environment: str, work: Path | None, *, sandboxed: bool = True
    ) -> None:
        self._deployments = deployments
        self._environment = environment
        self._work = work
        self._sandboxed = sandboxed
        self._servers: dict[_Key, tuple[ModelServer, list[float], Deployment]] = {}
        self._next_sweep = 0.0
        self._closing: set[asyncio.Task[None]] = set()
        self.tell: Callable[[], None] = lambda: None  # that a model could not be loaded, or is now
        if work is not None:
            _forget_left_behind(work)

    def current(self, model: str, key: str) -> Deployment | None:
        return self._deployments.current(self._environment, model, key)

    def shadow(self, model: str, key: str) -> Deployment | None:
        return self._deployments.shadow(self._environment, model, key)

    def observe(self, deployment: Deployment, *, failed: bool, seconds: float, findings: int = 0) -> None:
        self._deployments.observe(deployment, failed=failed, seconds=seconds, findings=findings)

    def loaded(self) -> list[tuple[Deployment, str]]:
        """What this process serves now, as far as it knows what is deployed, each with why it is not loaded, or
        nothing; from any thread."""
        held = list(self._servers.values())
        return [(deployment, server.trouble) for server, _, deployment in held if self._is_deployed(deployment)]

    def server(self, deployment: Deployment) -> ModelServer:
        """Started on first use. Raises ModelUnavailable where there are as many as there may be."""
        now = monotonic()
        if now >= self._next_sweep:
            self._sweep(now)
        key = _key(deployment)
        known = self._servers.get(key)
        if known is not None:
            known[1][0] = now
            return known[0]
        if len(self._servers) >= _MAX_SERVERS:
            self._make_room(now)
        if len(self._servers) >= _MAX_SERVERS:
            raise ModelUnavailable("as many models are loaded as may be: try again later")
        checkout = partial(self._deployments.checkout, deployment)
        name = f"{deployment.model}/{deployment.version}"
        server = ModelServer(
            name, deployment.serving, checkout, self._work, sandboxed=self._sandboxed, tell=lambda: self.tell()
        )  # fmt: skip
        self._servers[key] = (server, [now], deployment)
        server.start()
        return server

    def warm(self, models: Iterable[str]) -> None:
        """Begin to load what is deployed of these, what is on trial too; and let go of what is deployed no more."""
        for model in models:
            for deployment in self._deployments.deployed(self._environment, model):
                if len(self._servers) < _MAX_SERVERS:
                    self.server(deployment)
        self._sweep(monotonic())

    async def close(self) -> None:
        for server, _, _ in self._servers.values():
            await server.close()
        self._servers = {}
        for task in list(self._closing):
            await task

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + _SWEEP_SECONDS
        for key, (_, used, deployment) in list(self._servers.items()):
            if now - used[0] > _IDLE_SECONDS and not self._is_deployed(deployment):
                self._let_go(key)

    def _make_room(self, now: float) -> None:
        """What nobody has asked for long is loaded again when somebody does."""
        for key, (_, used, _) in list(self._servers.items()):
            if now - used[0] > _IDLE_SECONDS:
                self._let_go(key)

    def _let_go(self, key: _Key) -> None:
        server, _, _ = self._servers.pop(key)
        task = asyncio.create_task(server.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _is_deployed(self, deployment: Deployment) -> bool:
        return deployment in self._deployments.deployed(self._environment, deployment.model)


def _forget_left_behind(work: Path) -> None:
    """Files that a killed process was loading from: decrypted, and nobody's any more."""
    for folder in work.glob(f"{WORK_PREFIX}*"):
        pid = folder.name.removeprefix(WORK_PREFIX).partition("-")[0]
        if not (pid.isdecimal() and Path("/proc", pid).exists()):
            shutil.rmtree(folder, ignore_errors=True)


def _key(deployment: Deployment) -> _Key:
    """A release is immutable, so its name stands for its configuration."""
    return deployment.environment, deployment.release, deployment.model, deployment.version, deployment.digest
