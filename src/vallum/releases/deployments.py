"""What serving asks: which release answers for a model now, and the bytes of it that were verified.

Answers from memory, made anew when the epoch `releases` moves, so that a rollback reaches every process within the
second. Only what verifies is in it: a deployment that its environment's key did not sign, one older than a process has
seen already, or one with something revoked in it answers nobody.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, delete, select

from vallum.kernel.clock import Clock
from vallum.kernel.errors import Conflict, IntegrityError, NotFound, Unavailable
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.models.runtime.ports import Deployment
from vallum.releases import records as table
from vallum.releases.catalogue import Catalogue, check_parts
from vallum.releases.environments import Environments
from vallum.releases.errors import ReleaseBroken
from vallum.releases.manifest import SYSTEM_PROMPT, ApplicationPolicy, Manifest
from vallum.releases.model import Release, Trial
from vallum.releases.ports import ModelRegistry, Served
from vallum.releases.statements import stored_number
from vallum.releases.trials import Counts, Trials, meets_trial

__all__ = ["ReleaseDeployments", "ReleasedApplication", "ServedModels"]

_log = logging.getLogger("vallum.releases")

_SERVED_SECONDS = 600  # a process that has said nothing for so long is not there any more


@dataclass(frozen=True, slots=True)
class ReleasedApplication:
    """What a verified release says of an application. `prompt` is empty for none; `tools` are all that it may use."""

    release: str
    policy: ApplicationPolicy
    prompt: str
    tools: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Side:
    stable: Deployment | None
    trial: Trial | None = None
    other: Deployment | None = None


class ReleaseDeployments:
    """Implements `vallum.models.runtime.ports.Deployments`. Subscribe `refresh` to the epoch; safe between threads."""

    def __init__(
        self, records: Records, catalogue: Catalogue, environments: Environments, trials: Trials,
        registry: ModelRegistry,
    ) -> None:  # fmt: skip
        self._records = records
        self._catalogue = catalogue
        self._environments = environments
        self._trials = trials
        self._registry = registry
        self._sides: Mapping[tuple[str, str], _Side] | None = None
        self._applications: Mapping[tuple[str, str], ReleasedApplication | None] = {}  # None: it does not verify
        self._bound: dict[tuple[str, str], str] = {}  # by environment and product: whose application it was
        self._sequences: dict[tuple[str, str], int] = {}
        self._lock = Lock()
        self._counted: dict[tuple[str, str, str], Counts] = {}

    def current(self, environment: str, model: str, key: str) -> Deployment | None:
        side = self._side(environment, model)
        if side is None:
            return None
        trial = side.trial
        if trial is None or trial.kind != "canary" or side.other is None:
            return side.stable
        return side.other if meets_trial(trial.release, trial.percent, key) else side.stable

    def shadow(self, environment: str, model: str, key: str) -> Deployment | None:
        """What hears this request, too, and whose answer nobody gets; None for most."""
        side = self._side(environment, model)
        if side is None or side.trial is None or side.trial.kind != "shadow":
            return None
        return side.other if meets_trial(side.trial.release, side.trial.percent, key) else None

    def deployed(self, environment: str, model: str) -> tuple[Deployment, ...]:
        """All that answer or hear requests for a model now, the one that runs before the one on trial."""
        side = self._side(environment, model)
        return () if side is None else tuple(one for one in (side.stable, side.other) if one is not None)

    def application(self, environment: str, name: str) -> ReleasedApplication | None:
        """What runs of an application here; None where no release says. From memory.

        Raises ReleaseBroken where one does, or did while this process ran, and nothing of it can be believed.
        """
        if self._sides is None:
            self.refresh()
        place = (environment, name)
        if place not in self._applications:
            return None
        released = self._applications[place]
        if released is None:
            raise ReleaseBroken("the release that governs this application does not verify: its operator must look")
        return released

    def checkout(self, deployment: Deployment, folder: Path) -> None:
        """Verified when it is loaded: the release, the version's state, and every byte, while it is written."""
        with self._records.read() as conn:
            release, manifest = self._catalogue.manifest(conn, deployment.release)
            check_parts(conn, self._registry, release, manifest)
        model = manifest.model(deployment.model)
        if model is None or (model.version, model.digest) != (deployment.version, deployment.digest):
            raise ReleaseBroken(f"{deployment.model} of {deployment.release} is not what was deployed")
        self._registry.checkout(model.name, model.version, folder)

    def observe(self, deployment: Deployment, *, failed: bool, seconds: float, findings: int = 0) -> None:
        """Count one answer, where a trial waits for it. `failed` is the model's fault alone, never the request's."""
        side = self._side(deployment.environment, deployment.model)
        if side is None or side.trial is None:
            return
        slow = 0 < side.trial.slow_milliseconds < seconds * 1000
        key = (deployment.environment, deployment.product, deployment.release)
        with self._lock:
            known = self._counted.get(key, Counts())
            self._counted[key] = Counts(
                known.requests + 1, known.failures + failed, known.slow + slow, known.findings + (findings > 0)
            )

    def flush(self) -> None:
        """Bring what was counted into the database; what could not be is kept for the next time."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            with self._records.write() as conn:
                for (environment, product, release), counts in sorted(counted.items()):
                    self._trials.count(conn, environment, product, release, counts)
        except Unavailable:
            with self._lock:
                for key, counts in counted.items():
                    since = self._counted.get(key, Counts())
                    self._counted[key] = Counts(
                        counts.requests + since.requests, counts.failures + since.failures,
                        counts.slow + since.slow, counts.findings + since.findings,
                    )  # fmt: skip
            raise

    def sequence(self, environment: str, product: str) -> int:
        """The newest deployment that this process has followed; 0 for none."""
        return self._sequences.get((environment, product), 0)

    def refresh(self) -> None:
        """Read what runs, and verify it; subscribe to the epoch `releases`."""
        sides: dict[tuple[str, str], _Side] = {}
        applications: dict[tuple[str, str], ReleasedApplication | None] = {}
        bound: dict[tuple[str, str], str] = {}
        with self._records.read() as conn:
            for row in self._environments.all_running(conn):
                place = (row.environment, row.product)
                try:
                    newest = max(self._environments.newest(conn, *place), self._sequences.get(place, 0))
                    if stored_number(row.sequence) < newest:
                        raise ReleaseBroken(f"{row.product} in {row.environment} went back to a deployment that ended")
                    release, manifest = self._environments.verify_row(conn, row)
                    check_parts(conn, self._registry, release, manifest)
                    released = self._released(conn, release, manifest)
                    sides |= self._sides_of(conn, row.environment, row.release, manifest)
                except (IntegrityError, NotFound, Conflict) as e:
                    _log.error("%s in %s does not answer: %s", row.product, row.environment, e)
                    for name in (self._bound.get(place), self._catalogue.claimed_application(conn, row.release)):
                        if name is not None:
                            bound[place] = name
                            applications[row.environment, name] = None
                    continue
                self._sequences[place] = int(row.sequence)
                if released is not None:
                    bound[place] = released.policy.name
                    applications[row.environment, released.policy.name] = released
        self._sides, self._applications, self._bound = sides, applications, bound

    def _released(self, conn: Connection, release: Release, manifest: Manifest) -> ReleasedApplication | None:
        if manifest.application is None:
            return None
        prompts = self._catalogue.prompts_of(conn, release, manifest)
        return ReleasedApplication(
            release.id, manifest.application, prompts.get(SYSTEM_PROMPT, ""), frozenset(manifest.tools)
        )  # fmt: skip

    def _sides_of(
        self, conn: Connection, environment: str, release_id: str, manifest: Manifest
    ) -> dict[tuple[str, str], _Side]:
        stable = _deployments(environment, release_id, manifest)
        trial = self._trials.find(conn, environment, manifest.product)
        other: Mapping[str, Deployment] = {}
        if trial is not None:
            try:
                release, tried = self._catalogue.manifest(conn, trial.release)
                check_parts(conn, self._registry, release, tried)
                other = _deployments(environment, trial.release, tried)
            except (IntegrityError, NotFound, Conflict) as e:
                _log.error("the trial of %s in %s hears nothing: %s", manifest.product, environment, e)
                trial = None
        return {(environment, name): _Side(one, trial, other.get(name)) for name, one in stable.items()}

    def _side(self, environment: str, model: str) -> _Side | None:
        if self._sides is None:
            self.refresh()
        sides = self._sides
        return None if sides is None else sides.get((environment, model))


class ServedModels:
    """What serving processes say they have loaded. Implements `Serving`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def say(self, conn: Connection, process: str, deployments: list[tuple[Deployment, str]]) -> None:
        """All that this process serves now, in place of what it said before; each with why it is not loaded, or ""."""
        t, now = table.served, int(self._clock.now().timestamp())
        conn.execute(delete(t).where((t.c.process == process) | (t.c.seen_at_seconds < now - _SERVED_SECONDS)))
        for one, trouble in deployments:
            fresh = upsert(conn, t)
            values = {
                "process": process, "environment": one.environment, "model": one.model, "release": one.release,
                "digest": one.digest, "seen_at_seconds": now, "trouble": trouble,
            }  # fmt: skip
            conn.execute(fresh.values(values).on_conflict_do_nothing())

    def loaded(self, conn: Connection, environment: str) -> list[Served]:
        t, now = table.served, int(self._clock.now().timestamp())
        query = select(t).where(t.c.environment == environment, t.c.seen_at_seconds >= now - _SERVED_SECONDS)
        return [
            Served(row.process, row.environment, row.model, row.release, row.digest, row.trouble)
            for row in conn.execute(query.order_by(t.c.model, t.c.process))
        ]


def _deployments(environment: str, release_id: str, manifest: Manifest) -> dict[str, Deployment]:
    return {
        model.name: Deployment(
            environment, manifest.product, release_id, model.name, model.version, model.digest, model.serving
        )
        for model in manifest.models
        if model.serving is not None
    }
