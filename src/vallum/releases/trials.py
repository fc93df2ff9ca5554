"""Trials: another release beside the one that runs, as a canary that answers a share or a shadow that only hears it.

Which side a request meets is decided by a hash of its key, so that one user stays on one side. Outcomes of both sides
are counted, and `sequential` says when they speak against the canary enough; then it is stopped, and every request
meets the stable release again.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import Subject
from vallum.releases import records as table
from vallum.releases.catalogue import Catalogue, check_parts
from vallum.releases.environments import EPOCH, Environments, have_looked_at
from vallum.releases.manifest import same_policy
from vallum.releases.model import Trial, TrialSignal
from vallum.releases.ports import ModelRegistry
from vallum.releases.sequential import Block, Evidence, evidence_limit, updated

__all__ = ["SIGNALS", "Counts", "Trials", "meets_trial"]

Signal = Literal["failures", "slow", "findings"]
SIGNALS: tuple[Signal, ...] = ("failures", "slow", "findings")
_BUCKETS = 10_000


class Counts(msgspec.Struct, frozen=True):
    """Of `requests`, how many failed by the model's fault, took too long, or had a guard's finding in their answer."""

    requests: int = 0
    failures: int = 0
    slow: int = 0
    findings: int = 0


class Trials:
    """Safe to share between threads."""

    def __init__(
        self, clock: Clock, catalogue: Catalogue, environments: Environments, registry: ModelRegistry,
        false_alarms: float,
    ) -> None:  # fmt: skip
        """`false_alarms` is the chance that a canary no worse than the stable release is ever stopped."""
        self._clock = clock
        self._catalogue = catalogue
        self._environments = environments
        self._registry = registry
        self._limit = evidence_limit(false_alarms / len(SIGNALS))  # the budget is shared by the three signals

    def start(
        self, conn: Connection, environment: str, release_id: str, kind: str, percent: int, slow_milliseconds: int,
        by: Subject,
    ) -> Trial:  # fmt: skip
        """Raises NotFound, Conflict, Invalid, ReleaseRevoked, ReleaseBroken."""
        if not 1 <= percent <= (99 if kind == "canary" else 100):
            raise Invalid("a canary answers 1 to 99 percent, a shadow hears 1 to 100")
        release, manifest = self._catalogue.manifest(conn, release_id, lock=True)
        check_parts(conn, self._registry, release, manifest)
        present = self._environments.running(conn, environment, release.product)
        if present is None:
            raise Conflict(f"nothing of {release.product} runs in {environment}: promote it whole")
        _, running = self._environments.verify_row(conn, present)
        same = same_policy(manifest.application, running.application)
        wanted, runs = ((one.prompts, one.tools, one.indexes) for one in (manifest, running))
        if not same or wanted != runs:
            raise Conflict(
                "a trial is of models, and an application's policy, prompts, tools and indexes are not enforceable for "
                "a share of its requests: promote it whole, or build it with those of the release that runs"
            )
        if self.find(conn, environment, release.product) is not None:
            raise Conflict(f"there is a trial of {release.product} in {environment} already: stop or adopt that first")
        values = {
            "environment": environment,
            "product": release.product,
            "kind": kind,
            "release": release_id,
            "stable": present.release,
            "percent": percent,
            "slow_milliseconds": slow_milliseconds,
            "started_by": by.render(),
            "started_at": format_time(self._clock.now()),
            "evidence": _encoded({signal: Evidence() for signal in SIGNALS}),
        }
        conn.execute(insert(table.trials).values(values))
        c = table.outcomes.c
        conn.execute(delete(table.outcomes).where(c.environment == environment, c.product == release.product))
        bump_epoch(conn, EPOCH)
        return self._trial(self._row(conn, environment, release.product))

    def stop(self, conn: Connection, environment: str, product: str) -> Trial:
        """Every request meets the stable release again. Raises NotFound."""
        trial = self._trial(self._row(conn, environment, product))
        c = table.trials.c
        conn.execute(delete(table.trials).where(c.environment == environment, c.product == product))
        have_looked_at(conn, environment)
        return trial

    def find(self, conn: Connection, environment: str, product: str) -> Trial | None:
        c = table.trials.c
        query = select(table.trials).where(c.environment == environment, c.product == product)
        row = conn.execute(query).one_or_none()
        return None if row is None else self._trial(row)

    def all(self, conn: Connection) -> list[Trial]:
        return [self._trial(row) for row in conn.execute(select(table.trials))]

    # What comes of it.

    def count(self, conn: Connection, environment: str, product: str, release: str, counts: Counts) -> None:
        """Add outcomes of a release on either side."""
        t = table.outcomes
        fresh = upsert(conn, t)
        fresh = fresh.values(
            environment=environment, product=product, release=release, **msgspec.structs.asdict(counts)
        )
        added = {name: t.c[name] + fresh.excluded[name] for name in Counts.__struct_fields__}
        conn.execute(fresh.on_conflict_do_update(index_elements=["environment", "product", "release"], set_=added))

    def judge(self, conn: Connection, environment: str, product: str) -> TrialSignal | None:
        """Weigh what came since the last time; the signal that speaks against the canary enough, if one does."""
        row = self._row(conn, environment, product)
        if row.kind != "canary":
            return None
        canary = self._counts(conn, environment, product, row.release)
        stable = self._counts(conn, environment, product, row.stable)
        weighed = {}
        for signal, known in _decoded(row.evidence).items():
            block = Block(
                getattr(canary, signal) - known.canary_yes, canary.requests - known.canary_all,
                getattr(stable, signal) - known.stable_yes, stable.requests - known.stable_all,
            )  # fmt: skip
            # One side alone waits for the other: together they are a block that says something.
            weighed[signal] = updated(known, block) if block.canary_all and block.stable_all else known
        c = table.trials.c
        here = (c.environment == environment, c.product == product)
        conn.execute(update(table.trials).where(*here).values(evidence=_encoded(weighed)))
        trial = self._trial(self._row(conn, environment, product))
        return next((one for one in trial.signals if one.evidence >= one.limit), None)

    def _counts(self, conn: Connection, environment: str, product: str, release: str) -> Counts:
        c = table.outcomes.c
        query = select(c.requests, c.failures, c.slow, c.findings).where(
            c.environment == environment, c.product == product, c.release == release
        )
        row = conn.execute(query).one_or_none()
        return Counts() if row is None else Counts(*(int(one) for one in row))

    def _row(self, conn: Connection, environment: str, product: str) -> Any:
        c = table.trials.c
        query = select(table.trials).where(c.environment == environment, c.product == product)
        row = conn.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no trial of {product} in {environment}")
        return row

    def _trial(self, row: Any) -> Trial:
        signals = tuple(
            TrialSignal(
                signal, known.value, self._limit,
                (known.canary_yes, known.canary_all), (known.stable_yes, known.stable_all),
            )
            for signal, known in _decoded(row.evidence).items()
        )  # fmt: skip
        values = {name: row._mapping[name] for name in Trial.__struct_fields__ if name in row._mapping}
        return Trial(**values, signals=signals)


def meets_trial(trial_release: str, percent: int, key: str) -> bool:
    """Whether a request with this key meets the release on trial; without a key, never.

    The release is in the hash, so that it is not the same users who meet every canary.
    """
    if not key:
        return False
    digest = sha256(f"{trial_release}\x00{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % _BUCKETS < percent * (_BUCKETS // 100)


def _encoded(evidence: Mapping[Signal, Evidence]) -> str:
    return msgspec.json.encode(evidence, order="sorted").decode()


def _decoded(text: str) -> dict[Signal, Evidence]:
    return msgspec.json.decode(text, type=dict[Signal, Evidence])
