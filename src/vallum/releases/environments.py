"""Environments: which release runs of each product, how it came to, and going back.

What runs is one row of an append-only history. Moving on ends that row and writes the next in one transaction with the
ledger's entry, the aliases and the application's policy, so a crash leaves all of it or nothing. Each row carries a
statement signed by the environment's own key: a row that somebody else wrote into the database does not deploy.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as RowExists

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, IntegrityError, NotFound, VallumError
from vallum.kernel.policy import AssetFacts
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject as Who
from vallum.releases import records as table
from vallum.releases.catalogue import Catalogue, check_parts
from vallum.releases.errors import NothingToRollBackTo, ReleaseBroken
from vallum.releases.manifest import ApplicationPolicy, Manifest
from vallum.releases.model import HistoryEntry, Release
from vallum.releases.ports import Applications, ModelRegistry
from vallum.releases.rules import ReleaseRules
from vallum.releases.statements import DEPLOYMENT, Statements, Subject, predicate_of, stored_number

__all__ = ["EPOCH", "Environments", "have_looked_at"]

EPOCH = "releases"

Kind = Literal["promotion", "rollback", "revocation", "healing"]
Ended = Literal["replaced", "rolled_back", "revoked"]


class _Deployed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an environment's key signs."""

    environment: str
    product: str
    sequence: int
    release: str
    kind: str


class Environments:
    """Safe to share between threads. Every change is on the caller's transaction."""

    def __init__(
        self,
        records: Records,
        statements: Statements,
        clock: Clock,
        rules: ReleaseRules,
        catalogue: Catalogue,
        registry: ModelRegistry,
        applications: Applications,
    ) -> None:
        self._records = records
        self._statements = statements
        self._clock = clock
        self.rules = rules
        self._catalogue = catalogue
        self._registry = registry
        self._applications = applications

    # What runs.

    def running(self, conn: Connection, environment: str, product: str) -> Any | None:
        """The row that says so, as it stands; None when nothing runs."""
        return next(iter(self.rows_that_run(conn, environment, product)), None)

    def rows_that_run(self, conn: Connection, environment: str, product: str) -> Sequence[Any]:
        """One, the newest first: more than that when somebody brought an ended one back into the database."""
        c = table.deployments.c
        query = select(table.deployments).where(c.environment == environment, c.product == product, c.ended.is_(None))
        return conn.execute(query.order_by(c.sequence.desc())).all()

    def all_running(self, conn: Connection, environment: str | None = None) -> list[Any]:
        """As `running`, of every product."""
        c = table.deployments.c
        query = select(table.deployments).where(c.ended.is_(None)).order_by(c.environment, c.product, c.sequence)
        rows = conn.execute(query.where(c.environment == environment) if environment else query)
        return list({(row.environment, row.product): row for row in rows}.values())

    def history(self, conn: Connection, environment: str, product: str) -> list[HistoryEntry]:
        """Newest first."""
        c = table.deployments.c
        query = select(table.deployments).where(c.environment == environment, c.product == product)
        return [
            HistoryEntry(row.product, stored_number(row.sequence), row.release, row.kind, row.by, row.at, row.ended)
            for row in conn.execute(query.order_by(c.sequence.desc()))
        ]

    def newest(self, conn: Connection, environment: str, product: str) -> int:
        """The number of the last deployment, ended or not; 0 for none."""
        return self._next_sequence(conn, environment, product) - 1

    def verify_row(self, conn: Connection, row: Any) -> tuple[Release, Manifest]:
        """What a row of the history deploys. Raises ReleaseBroken unless the environment's key signed just that."""
        statement = self._statements.verify(conn, _signer(row.environment), DEPLOYMENT, row.envelope)
        said: _Deployed = predicate_of(statement, _Deployed)
        stands = _Deployed(row.environment, row.product, stored_number(row.sequence), row.release, row.kind)
        try:
            release, manifest = self._catalogue.manifest(conn, row.release)
        except NotFound as e:
            raise ReleaseBroken(f"what was deployed of {row.product} in {row.environment} is there no more") from e
        if said != stands or statement.subject != (_subject(release),) or manifest.product != row.product:
            raise ReleaseBroken(f"what runs of {row.product} in {row.environment} is not what was deployed there")
        return release, manifest

    def was_in(self, conn: Connection, environment: str, release_id: str) -> bool:
        """Whether the release ran there, and was not taken back from there since."""
        c = table.deployments.c
        query = select(c.ended).where(c.environment == environment, c.release == release_id).order_by(c.sequence.desc())
        ended = conn.execute(query.limit(1)).one_or_none()
        return ended is not None and ended.ended in (None, "replaced")

    def require(self, name: str) -> None:
        """Raises NotFound."""
        if self.rules.find(name) is None:
            raise NotFound(f"there is no environment {name}: there are {', '.join(self.rules.names())}")

    def facts(self, name: str, tenant: str) -> AssetFacts | None:
        if self.rules.find(name) is None:
            return None
        return AssetFacts({"tenant": tenant, "name": name, "last": name == self.rules.names()[-1]})

    # Moving on.

    def deploy(
        self,
        conn: Connection,
        environment: str,
        release_id: str,
        kind: Kind,
        by: Who,
        *,
        promotion: str | None = None,
        ended: Ended = "replaced",
    ) -> HistoryEntry:
        """Run a release, in place of what runs of its product.

        Raises NotFound, ReleaseRevoked, ReleaseBroken, Conflict. Whether it may is the caller's to have asked; that
        nothing in it was revoked is held here once more.
        """
        self.require(environment)
        release, manifest = self._catalogue.manifest(conn, release_id, lock=True)
        check_parts(conn, self._registry, release, manifest)
        self._catalogue.indexes.check(conn, manifest)
        self._hold_apart(conn, environment, manifest)
        present = self.running(conn, environment, manifest.product)
        sequence = self._next_sequence(conn, environment, manifest.product)
        if present is not None:
            self._end(conn, present, ended)
        values = self._signed_row(conn, environment, release, sequence, kind, by)
        try:
            conn.execute(insert(table.deployments).values(**values, promotion=promotion, ended=None))
        except RowExists as e:
            raise Conflict(f"something else was deployed in {environment} just now: look and try again") from e
        for model in manifest.models:
            self._registry.set_alias(conn, model.name, environment, model.version)
        if manifest.application is not None and self.governs(conn, environment, manifest):
            self._applications.put(conn, manifest.application)
        c = table.trials.c
        conn.execute(delete(table.trials).where(c.environment == environment, c.product == manifest.product))
        have_looked_at(conn, environment)
        return HistoryEntry(manifest.product, sequence, release_id, kind, by.render(), values["at"], None)

    def roll_back(
        self,
        conn: Connection,
        environment: str,
        product: str,
        by: Who,
        to: str | None = None,
        *,
        kind: Kind = "rollback",
        ended: Ended = "rolled_back",
    ) -> HistoryEntry:
        """Run the last good release again, or the earlier one that `to` names.

        Good is what was replaced by a promotion and not taken back since, and has nothing revoked in it. Raises
        NothingToRollBackTo, NotFound, ReleaseRevoked, ReleaseBroken.
        """
        self.require(environment)
        present = self.running(conn, environment, product)
        if to is not None:
            if not any(row.release == to for row in self._rows(conn, environment, product)):
                raise NotFound(f"{to} never ran in {environment}: vallum release promote {to} --to {environment}")
            if present is not None and present.release == to:
                raise Conflict(f"{to} runs in {environment} already")
            return self.deploy(conn, environment, to, kind, by, ended=ended)
        last = self.last_good(conn, environment, product)
        if last is None:
            raise NothingToRollBackTo(f"no earlier release of {product} in {environment} is good: promote another")
        return self.deploy(conn, environment, last, kind, by, ended=ended)

    def last_good(self, conn: Connection, environment: str, product: str) -> str | None:
        """The id of the release that rolling back leads to."""
        rows = list(self._rows(conn, environment, product))
        seen: set[str] = set()
        for row in rows:  # newest first, so that each release is judged by how it ended the last time
            if row.release in seen:
                continue
            seen.add(row.release)
            if row.ended != "replaced":
                continue
            try:
                release, manifest = self.verify_row(conn, row)
                check_parts(conn, self._registry, release, manifest)
                self._catalogue.indexes.check(conn, manifest)
            except VallumError:
                continue  # this one is not good, for whatever reason
            return str(row.release)
        return None

    def signed_last(self, conn: Connection, environment: str, product: str) -> str | None:
        """The release that the environment's key signed for the newest deployment, whatever the row says by now."""
        newest = next(iter(self._rows(conn, environment, product)), None)
        if newest is None:
            return None
        try:
            statement = self._statements.verify(conn, _signer(environment), DEPLOYMENT, newest.envelope)
            said: _Deployed = predicate_of(statement, _Deployed)
            release, manifest = self._catalogue.manifest(conn, said.release)
            check_parts(conn, self._registry, release, manifest)
            self._catalogue.indexes.check(conn, manifest)
            place = (environment, product, stored_number(newest.sequence))
        except VallumError:
            return None
        return said.release if (said.environment, said.product, said.sequence) == place else None

    def withdraw(self, conn: Connection, environment: str, product: str, ended: Ended) -> None:
        """Run nothing of a product."""
        present = self.running(conn, environment, product)
        if present is None:
            raise NotFound(f"nothing of {product} runs in {environment}")
        self._end(conn, present, ended)
        c = table.trials.c
        conn.execute(delete(table.trials).where(c.environment == environment, c.product == product))
        have_looked_at(conn, environment)

    def revoke(self, conn: Connection, release_id: str, by: Who) -> list[str]:
        """Take a revoked release out everywhere: the last good one runs in its place, or nothing does.

        Returns the environments it ran in.
        """
        c = table.deployments.c
        rows = conn.execute(
            select(c.environment, c.product).where(c.release == release_id, c.ended.is_(None)).order_by(c.environment)
        ).all()
        for row in rows:
            self.step_back(conn, row.environment, row.product, by, kind="revocation")
        trials = table.trials.c
        for (environment,) in conn.execute(select(trials.environment).where(trials.release == release_id)).all():
            have_looked_at(conn, environment)
        conn.execute(delete(table.trials).where(trials.release == release_id))
        bump_epoch(conn, EPOCH)
        return [row.environment for row in rows]

    def revoke_version(self, conn: Connection, model: str, number: int, by: Who) -> list[str]:
        """Take what holds a revoked model version out everywhere, as `revoke` does for a release.

        Returns the environments it ran in. What cannot be read is left to the watch, and does not answer either.
        """
        left = []
        for row in self.all_running(conn):
            try:
                held = self._catalogue.manifest(conn, row.release)[1].model(model)
            except (IntegrityError, NotFound):
                continue
            if held is not None and held.version == number:
                self.step_back(conn, row.environment, row.product, by, kind="revocation")
                left.append(row.environment)
        bump_epoch(conn, EPOCH)
        return left

    def step_back(self, conn: Connection, environment: str, product: str, by: Who, *, kind: Kind) -> str | None:
        """From what must not run to the last good release, or to nothing. Returns what runs then."""
        if self.last_good(conn, environment, product) is None:
            self.withdraw(conn, environment, product, "revoked")
            return None
        return self.roll_back(conn, environment, product, by, kind=kind, ended="revoked").release

    def governing(self, conn: Connection, application: str) -> tuple[str, str, ApplicationPolicy] | None:
        """Which environment's release an application's policy is held to, and that policy; None where none is.

        The last environment of those that may and run one. What does not verify governs nobody, and answers nobody.
        """
        found, governing = None, self._governing()
        running = [row for row in self.all_running(conn) if row.environment in governing]
        for row in sorted(running, key=lambda row: governing.index(row.environment)):
            try:
                policy = self.verify_row(conn, row)[1].application
            except IntegrityError:
                continue
            if policy is not None and policy.name == application:
                found = (str(row.environment), str(row.release), policy)
        return found

    def _governing(self) -> list[str]:
        """In their order. Not those that take a release without anybody's approval, but for the last: or who may build
        could put an application's guards of some earlier day in force, for all of its requests and all by themselves.
        """
        *earlier, last = self.rules.environment
        return [*(rule.name for rule in earlier if rule.approvals), last.name]

    def governs(self, conn: Connection, environment: str, manifest: Manifest) -> bool:
        """Whether the application's policy is this environment's to say: of those that may and run it, the last one."""
        if manifest.application is None or environment not in self._governing():
            return False
        governing = self._governing()
        later = governing[governing.index(environment) + 1 :]
        for row in self.all_running(conn):
            if row.environment in later:
                _, other = self._catalogue.manifest(conn, row.release)
                if other.application is not None and other.application.name == manifest.application.name:
                    return False
        return True

    def _hold_apart(self, conn: Connection, environment: str, manifest: Manifest) -> None:
        """A name leads to one product, or nobody could say which release answered."""
        for row in self.all_running(conn, environment):
            if row.product == manifest.product:
                continue
            _, other = self._catalogue.manifest(conn, row.release)
            shared = {m.name for m in other.models} & {m.name for m in manifest.models}
            if shared:
                raise Conflict(f"model {min(shared)} is served in {environment} by product {row.product} already")
            mine, theirs = manifest.application, other.application
            if mine is not None and theirs is not None and mine.name == theirs.name:
                raise Conflict(f"application {mine.name} is governed in {environment} by product {row.product} already")

    def _end(self, conn: Connection, row: Any, ended: Ended) -> None:
        c = table.deployments.c
        here = (c.environment == row.environment, c.product == row.product, c.sequence == row.sequence)
        done = conn.execute(update(table.deployments).where(*here, c.ended.is_(None)).values(ended=ended))
        if done.rowcount != 1:
            raise Conflict(f"something else was deployed in {row.environment} just now: look and try again")
        # What somebody brought back beside it has ended, too, and in no good way.
        strays = update(table.deployments).where(*here[:2], c.ended.is_(None))
        conn.execute(strays.values(ended="rolled_back"))

    def _rows(self, conn: Connection, environment: str, product: str) -> Iterable[Any]:
        c = table.deployments.c
        query = select(table.deployments).where(c.environment == environment, c.product == product)
        return conn.execute(query.order_by(c.sequence.desc())).all()

    def _next_sequence(self, conn: Connection, environment: str, product: str) -> int:
        newest = next(iter(self._rows(conn, environment, product)), None)
        return 1 if newest is None else stored_number(newest.sequence) + 1

    def _signed_row(
        self, conn: Connection, environment: str, release: Release, sequence: int, kind: Kind, by: Who
    ) -> dict[str, Any]:
        said = _Deployed(environment, release.product, sequence, release.id, kind)
        envelope = self._statements.sign(conn, _signer(environment), DEPLOYMENT, [_subject(release)], said)
        at = format_time(self._clock.now())
        return {**msgspec.structs.asdict(said), "envelope": envelope, "by": by.render(), "at": at}


def have_looked_at(conn: Connection, environment: str) -> None:
    """Every process looks again at what runs there. What they said they serve was of the time before, and is forgotten;
    one that does not follow says it anew."""
    conn.execute(delete(table.served).where(table.served.c.environment == environment))
    bump_epoch(conn, EPOCH)


def _signer(environment: str) -> str:
    return f"environment/{environment}"


def _subject(release: Release) -> Subject:
    return Subject(f"release:{release.product}", {"sha256": release.digest})
