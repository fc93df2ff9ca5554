"""Watching what runs: every few minutes each running release is verified again, and put right where it drifted.

Looked at are the signatures of deployment and manifest, the bytes of every model and of every retrieval index, what was
revoked, erased or quarantined since, the application's policy in force, the policies of the platform, and what serving
processes say they have loaded. What differs is one entry of kind `alert`, so that people are told; what a deployment
can put right is deployed again. A look that could not be taken (no database, no blob store) changes nothing, and the
time of the last one stays where it was.
"""

import logging
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from vallum.kernel.actions import Action
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, IntegrityError, NotFound, VallumError
from vallum.kernel.gate import Gate
from vallum.kernel.policy import PolicyStore
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import AssetRef, Subject
from vallum.releases import records as table
from vallum.releases.catalogue import Catalogue, check_parts
from vallum.releases.environments import EPOCH, Environments
from vallum.releases.manifest import Manifest, same_policy
from vallum.releases.model import Problem, Release, Verification
from vallum.releases.ports import Applications, ModelRegistry, Serving
from vallum.releases.trials import Trials

__all__ = ["Watch"]

_log = logging.getLogger("vallum.releases")

_TOLD_AGAIN_SECONDS = 86_400
_MUST_NOT_RUN = frozenset({"signature", "deployment", "revoked"})


class Watch:
    """Safe to share between threads; `run` is one process's work."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        gate: Gate,
        subject: Subject,
        catalogue: Catalogue,
        environments: Environments,
        trials: Trials,
        registry: ModelRegistry,
        applications: Applications,
        policies: PolicyStore,
        serving: Serving,
        *,
        heals: bool,
    ) -> None:
        """`subject` is Vallum itself; with `heals`, it deploys again what drifted."""
        self._records = records
        self._clock = clock
        self._gate = gate
        self._subject = subject
        self._catalogue = catalogue
        self._environments = environments
        self._trials = trials
        self._registry = registry
        self._applications = applications
        self._policies = policies
        self._serving = serving
        self._heals = heals

    def run(self) -> None:
        """Verify everything that runs. One product that fails keeps no other from being looked at."""
        with self._records.read() as conn:
            running = [(row.environment, row.product) for row in self._environments.all_running(conn)]
        for environment, product in running:
            try:
                problems = self.look(environment, product)
                with self._records.write() as conn:
                    told = self._told(conn, environment, product)
                    self.keep(conn, environment, product, problems)
                if problems:
                    self._tell(environment, product, problems, told)
                    self._heal(environment, product, problems)
            except VallumError as e:
                _log.error("%s in %s could not be verified or put right: %s", product, environment, e)

    def run_trials(self) -> None:
        """Weigh every canary's outcomes, and stop what they speak against, or what must not run any more."""
        with self._records.read() as conn:
            trials = self._trials.all(conn)
        for trial in trials:
            try:
                with self._records.write() as conn:
                    failed = self._trials.judge(conn, trial.environment, trial.product)
                reason = self._must_stop(trial.release)
                if failed is None and not reason:
                    continue
                context: dict[str, str | int] = {"product": trial.product, "release": trial.release}
                if failed is not None:
                    context |= {"signal": failed.signal, "evidence": int(failed.evidence), "limit": int(failed.limit)}
                    context |= {
                        "canary": "{} of {}".format(*failed.canary),
                        "stable": "{} of {}".format(*failed.stable),
                    }
                else:
                    context["problem"] = reason
                asset = AssetRef("Environment", trial.environment)
                with self._gate.change(self._subject, Action.CANARY_FAIL, asset, context, kind="alert") as change:
                    if self._trials.stop(change.conn, trial.environment, trial.product).release != trial.release:
                        raise Conflict("another trial was begun meanwhile")
            except VallumError as e:
                _log.error("the trial of %s in %s could not be judged: %s", trial.product, trial.environment, e)

    # Looking.

    def look(self, environment: str, product: str) -> tuple[Problem, ...]:
        """Everything that is not as the manifest says. Takes as long as reading the models does.

        Raises NotFound when nothing runs, Unavailable when it could not be looked at.
        """
        with self._records.read() as conn:
            row = self._environments.running(conn, environment, product)
            if row is None:
                raise NotFound(f"nothing of {product} runs in {environment}")
            others = self._environments.rows_that_run(conn, environment, product)[1:]
            if others:
                found_twice = f"{len(others)} deployments that ended run beside the newest"
                return (Problem("deployment", found_twice, True),)
            try:
                newest = self._environments.history(conn, environment, product)[0].sequence
                if newest != row.sequence:
                    return (Problem("deployment", f"deployment {row.sequence} runs, and {newest} is newer", True),)
                release, manifest = self._environments.verify_row(conn, row)
            except IntegrityError as e:
                return (Problem("deployment", str(e), True),)
            found = self._parts(conn, release, manifest)
            indexes = self._indexes(conn, release, manifest)
            found += indexes
            found += self._drift(conn, environment, manifest)
            found += self._serving_drift(conn, environment, release, manifest)
        if not any(problem.kind == "revoked" for problem in found):
            found += self._bytes(manifest)
        if not indexes:
            found += self._index_bytes(manifest)
        return tuple(found)

    def verify_bytes(self, release_id: str) -> None:
        """Read every model and index of a release and hold it against the manifest.

        Raises NotFound, IntegrityError, Conflict.
        """
        with self._records.read() as conn:
            _, manifest = self._catalogue.manifest(conn, release_id)
        for model in manifest.models:
            self._registry.verify(model.name, model.version)
        self._catalogue.indexes.verify(manifest)

    def keep(self, conn: Connection, environment: str, product: str, problems: tuple[Problem, ...]) -> Verification:
        """Remember what a look found."""
        seen = Verification(format_time(self._clock.now()), problems)
        said = msgspec.json.encode(problems).decode()
        self._put(conn, environment, product, {"at": seen.at, "problems": said})
        return seen

    def last(self, conn: Connection, environment: str, product: str) -> Verification | None:
        c = table.verifications.c
        query = select(c.at, c.problems).where(c.environment == environment, c.product == product)
        row = conn.execute(query).one_or_none()
        return (
            None if row is None else Verification(row.at, msgspec.json.decode(row.problems, type=tuple[Problem, ...]))
        )

    def _parts(self, conn: Connection, release: Release, manifest: Manifest) -> list[Problem]:
        try:
            check_parts(conn, self._registry, release, manifest)
        except Conflict as e:
            return [Problem("revoked", str(e), True)]
        except IntegrityError as e:
            return [Problem("model", str(e), True)]
        return []

    def _indexes(self, conn: Connection, release: Release, manifest: Manifest) -> list[Problem]:
        """Told, and not put right from here: an index that one person was erased from is no reason to stop answering,
        and which other version to retrieve from is somebody's decision."""
        try:
            self._catalogue.indexes.check(conn, manifest)
        except (Conflict, IntegrityError) as e:
            return [Problem("index", str(e), False)]
        held = self._catalogue.indexes.held(conn, manifest, release.id)
        what = f"rows that it retrieves from were quarantined with {', '.join(held)}: build a release without them"
        return [Problem("index", what, False)] if held else []

    def _index_bytes(self, manifest: Manifest) -> list[Problem]:
        try:
            self._catalogue.indexes.verify(manifest)
        except (Conflict, IntegrityError, NotFound) as e:
            return [Problem("index", str(e), False)]
        return []

    def _bytes(self, manifest: Manifest) -> list[Problem]:
        found = []
        for model in manifest.models:
            try:
                self._registry.verify(model.name, model.version)
            except (IntegrityError, NotFound) as e:
                found.append(Problem("model", f"{model.name}/{model.version}: {e}", True))
            except Conflict as e:
                found.append(Problem("revoked", f"{model.name}/{model.version}: {e}", True))
        return found

    def _drift(self, conn: Connection, environment: str, manifest: Manifest) -> list[Problem]:
        found = []
        wanted = manifest.application
        if wanted is not None and self._environments.governs(conn, environment, manifest):
            present = self._applications.policy(conn, wanted.name)
            if present is None:
                found.append(Problem("application", f"application {wanted.name} is not declared any more", False))
            elif not same_policy(present, wanted):
                fields = ", ".join(f for f in wanted.__struct_fields__ if getattr(present, f) != getattr(wanted, f))
                found.append(Problem("application", f"application {wanted.name}: {fields} differ", True))
        in_force = self._policies.in_force(conn)
        if in_force != manifest.policy:
            # People changed these, two of them, for the whole platform: that is told, and never undone from here.
            what = f"policy set {in_force[:16]} is in force, and the release was built under {manifest.policy[:16]}"
            found.append(Problem("policy", what, False))
        return found

    def _serving_drift(self, conn: Connection, environment: str, release: Release, manifest: Manifest) -> list[Problem]:
        trial = self._trials.find(conn, environment, manifest.product)
        wanted = {(release.id, model.name): model.digest for model in manifest.models}
        if trial is not None:
            _, other = self._catalogue.manifest(conn, trial.release)
            wanted |= {(trial.release, model.name): model.digest for model in other.models}
        names = {name for _, name in wanted}
        found = []
        for one in self._serving.loaded(conn, environment):
            if one.model in names and wanted.get((one.release, one.model)) != one.digest:
                what = f"{one.process} serves {one.model} of {one.release}, which does not run here"
                found.append(Problem("serving", what, True))
            elif one.model in names and one.trouble:
                found.append(Problem("serving", f"{one.process} has not loaded {one.model}: {one.trouble}", False))
        return found

    def _must_stop(self, release_id: str) -> str:
        with self._records.read() as conn:
            try:
                release, manifest = self._catalogue.manifest(conn, release_id)
                check_parts(conn, self._registry, release, manifest)
            except (Conflict, IntegrityError, NotFound) as e:
                return str(e)
        return ""

    # Telling and putting right.

    def _told(self, conn: Connection, environment: str, product: str) -> tuple[str, int]:
        c = table.verifications.c
        query = select(c.alerted, c.alerted_at_seconds).where(c.environment == environment, c.product == product)
        row = conn.execute(query).one_or_none()
        return ("", 0) if row is None else (row.alerted, int(row.alerted_at_seconds))

    def _tell(self, environment: str, product: str, problems: tuple[Problem, ...], told: tuple[str, int]) -> None:
        """Once, and once a day for as long as it lasts."""
        digest = sha256(msgspec.json.encode(problems)).hexdigest()
        now = int(self._clock.now().timestamp())
        if told[0] == digest and now - told[1] < _TOLD_AGAIN_SECONDS:
            return
        context: dict[str, str | int] = {
            "product": product,
            "problems": " ".join(sorted({problem.kind for problem in problems})),
            "found": "; ".join(problem.what for problem in problems)[:2000],
        }
        asset = AssetRef("Environment", environment)
        with self._gate.change(self._subject, Action.ENVIRONMENT_DRIFT, asset, context, kind="alert") as change:
            self._put(change.conn, environment, product, {"alerted": digest, "alerted_at_seconds": now})

    def _heal(self, environment: str, product: str, problems: tuple[Problem, ...]) -> None:
        kinds: set[str] = {problem.kind for problem in problems if problem.heals}
        if not kinds or not self._heals:
            return
        context = {"product": product, "problems": " ".join(sorted(kinds))}
        asset = AssetRef("Environment", environment)
        with self._gate.change(self._subject, Action.ENVIRONMENT_HEAL, asset, context) as change:
            self._put_right(change.conn, environment, product, kinds)

    def _put_right(self, conn: Connection, environment: str, product: str, kinds: set[str]) -> None:
        environments = self._environments
        if kinds & _MUST_NOT_RUN:
            signed = environments.signed_last(conn, environment, product) if "deployment" in kinds else None
            if signed is not None:
                environments.deploy(conn, environment, signed, "healing", self._subject)
            else:
                environments.step_back(conn, environment, product, self._subject, kind="healing")
            return
        if "model" in kinds and environments.last_good(conn, environment, product) is not None:
            # Without another one it goes on with the bytes that were verified when it was loaded.
            environments.roll_back(conn, environment, product, self._subject, kind="healing")
            return
        row = environments.running(conn, environment, product)
        if row is None:
            return
        _, manifest = environments.verify_row(conn, row)
        if "application" in kinds and manifest.application is not None:
            self._applications.put(conn, manifest.application)
        if "serving" in kinds:
            bump_epoch(conn, EPOCH)  # they look again at what runs here, and load that

    def _put(self, conn: Connection, environment: str, product: str, changed: dict[str, Any]) -> None:
        fresh = upsert(conn, table.verifications)
        values = {"at": "", "problems": "[]", "alerted": "", "alerted_at_seconds": 0, **changed}
        fresh = fresh.values(environment=environment, product=product, **values)
        conn.execute(fresh.on_conflict_do_update(index_elements=["environment", "product"], set_=changed))
