"""Promotions: asking that a release runs in an environment, the checks, and the approval by somebody else.

Answers an engineer alone who puts their own work in production, and approval of something else than was asked for: the
checks run when it is asked and again when it is approved, and what is approved names an immutable manifest. The last
approval and the deployment are one transaction, so that a crash between them cannot be.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError as RowExists

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict, NotFound
from vallum.kernel.ids import new_id
from vallum.kernel.policy import AssetFacts, OwnRequest
from vallum.kernel.policy.changes import check_note, check_reason
from vallum.kernel.store.records import Records
from vallum.kernel.values import Subject
from vallum.releases import records as table
from vallum.releases.catalogue import Catalogue, check_parts
from vallum.releases.checks import Checks
from vallum.releases.environments import Environments
from vallum.releases.errors import PromotionRefused
from vallum.releases.model import CheckResult, HistoryEntry, Promotion
from vallum.releases.ports import ModelRegistry
from vallum.releases.trials import Trials

__all__ = ["Promotions", "Wanted"]

_MAX_WAITING = 200


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: the whole of an environment's requests, or a share of them beside what runs."""

    release: str
    environment: str
    reason: str
    mode: Literal["whole", "canary", "shadow"] = "whole"
    percent: int = 100
    slow_milliseconds: int = 0


class Promotions:
    """Safe to share between threads."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        catalogue: Catalogue,
        environments: Environments,
        trials: Trials,
        checks: Checks,
        registry: ModelRegistry,
    ) -> None:
        self._records = records
        self._clock = clock
        self._catalogue = catalogue
        self._environments = environments
        self._trials = trials
        self._checks = checks
        self._registry = registry

    # What may be, without changing anything.

    def check(self, conn: Connection, release_id: str, environment: str) -> tuple[CheckResult, ...]:
        """What `environment` demands of a release, and how it stands. Raises NotFound, ReleaseBroken."""
        self._environments.require(environment)
        release, manifest = self._catalogue.manifest(conn, release_id)
        evidence = self._catalogue.evidence(conn, release_id)
        return self._checks.run(conn, release, manifest, evidence, environment)

    def request(self, conn: Connection, wanted: Wanted, by: Subject) -> Promotion:
        """Done at once where no approval is needed. Raises PromotionRefused naming each check that does not pass."""
        reason = check_reason(wanted.reason)
        checks = self._admitted(conn, wanted)
        needed = self._needed(wanted.environment)
        c = table.promotions.c
        waiting = conn.execute(select(c.id, c.release, c.environment, c.mode).where(c.state == "waiting")).all()
        if len(waiting) >= _MAX_WAITING:
            raise Conflict(f"{_MAX_WAITING} promotions wait already: have some decided first")
        for other in waiting:
            if (other.release, other.environment, other.mode) == (wanted.release, wanted.environment, wanted.mode):
                raise Conflict(f"{other.id} asks for the same and waits for approval")
        now = format_time(self._clock.now())
        release = self._catalogue.release(conn, wanted.release)
        values: dict[str, Any] = {
            **msgspec.structs.asdict(wanted),
            "id": new_id("prm"),
            "tenant": by.tenant,
            "product": release.product,
            "state": "waiting" if needed else "approved",
            "reason": reason,
            "requested_by": by.render(),
            "holder": by.holder or by.render(),
            "requested_at": now,
            "checks": msgspec.json.encode(checks).decode(),
            "decided_by": None if needed else by.render(),
            "decided_at": None if needed else now,
            "note": "",
        }
        conn.execute(insert(table.promotions).values(values))
        if not needed:
            self._carry_out(conn, values, by)
        return self.one(conn, values["id"])

    def approve(self, conn: Connection, promotion_id: str, by: Subject, note: str = "") -> Promotion:
        """The last approval that is needed deploys. Raises NotFound, OwnRequest, Conflict, PromotionRefused."""
        note = check_note(note)
        row = self._row(conn, promotion_id, lock=True)
        self._require_somebody_else(conn, row, by)
        self._require_waiting(row)
        self._admitted(conn, _wanted(row))
        now = format_time(self._clock.now())
        given = {"promotion": promotion_id, "holder": by.holder, "approved_by": by.render(), "at": now}
        if any(approval.holder == by.holder for approval in self._approvals(conn, promotion_id)):
            raise Conflict("you have approved this already: somebody else is needed, too")
        try:
            conn.execute(insert(table.approvals).values(given))
        except RowExists as e:
            raise Conflict("you have approved this already: somebody else is needed, too") from e
        if len(self._approvals(conn, promotion_id)) >= self._needed(row.environment):
            self._decide(conn, promotion_id, "approved", by, note)
            self._carry_out(conn, row._mapping, by)
        return self.one(conn, promotion_id)

    def deny(self, conn: Connection, promotion_id: str, by: Subject, note: str = "") -> Promotion:
        """Raises NotFound, OwnRequest, Conflict."""
        note = check_note(note)
        row = self._row(conn, promotion_id, lock=True)
        self._require_somebody_else(conn, row, by)
        self._decide(conn, promotion_id, "denied", by, note)
        return self.one(conn, promotion_id)

    def cancel(self, conn: Connection, promotion_id: str, by: Subject) -> Promotion:
        """One's own. Raises NotFound for another's, Conflict for one that was decided."""
        row = self._row(conn, promotion_id, lock=True)
        if row.holder not in (by.holder, by.render()):
            raise NotFound("there is no such promotion of yours")
        self._decide(conn, promotion_id, "cancelled", by, "")
        return self.one(conn, promotion_id)

    def adopt(self, conn: Connection, environment: str, product: str, by: Subject) -> HistoryEntry:
        """Run for every request what was approved as a trial, once its checks pass anew.

        Raises NotFound, PromotionRefused, ReleaseRevoked, ReleaseBroken.
        """
        trial = self._trials.find(conn, environment, product)
        if trial is None:
            raise NotFound(f"there is no trial of {product} in {environment}")
        self._admitted(conn, Wanted(release=trial.release, environment=environment, reason=""))
        return self._environments.deploy(conn, environment, trial.release, "promotion", by)

    # Reading.

    def one(self, conn: Connection, promotion_id: str) -> Promotion:
        """As this transaction sees it. Raises NotFound."""
        return self._promotion(conn, self._row(conn, promotion_id))

    def list(self, state: str | None = None, limit: int = 200) -> list[Promotion]:
        """Newest first."""
        query = select(table.promotions).order_by(table.promotions.c.requested_at.desc()).limit(limit)
        if state is not None:
            query = query.where(table.promotions.c.state == state)
        with self._records.read() as conn:
            return [self._promotion(conn, row) for row in conn.execute(query).all()]

    def facts(self, promotion_id: str) -> AssetFacts | None:
        """What policy knows of a request: who asked and who built, as human beings, and for where."""
        with self._records.read() as conn:
            try:
                row = self._row(conn, promotion_id)
                release = self._catalogue.release(conn, row.release)
                builder = self._catalogue.builder(conn, row.release)
            except NotFound:
                return None
        return AssetFacts(
            {
                "tenant": row.tenant,
                "holder": row.holder,
                "builder": builder,
                "environment": row.environment,
                "classification": release.classification,
            }
        )

    def approved_by(self, conn: Connection, promotion_id: str | None) -> tuple[str, ...]:
        if promotion_id is None:
            return ()
        return tuple(approval.approved_by for approval in self._approvals(conn, promotion_id))

    def approved_for(self, conn: Connection, release_id: str, environment: str) -> tuple[str, ...]:
        """Who let this release into the environment, by whatever way it came to run: going back to it, say."""
        c = table.promotions.c
        asked = select(c.id).where(c.release == release_id, c.environment == environment, c.state == "approved")
        return self.approved_by(conn, conn.execute(asked.order_by(c.decided_at.desc()).limit(1)).scalar())

    # Within.

    def _admitted(self, conn: Connection, wanted: Wanted) -> tuple[CheckResult, ...]:
        """Raises NotFound, ReleaseRevoked, ReleaseBroken, PromotionRefused, Conflict."""
        self._environments.require(wanted.environment)
        release, manifest = self._catalogue.manifest(conn, wanted.release, lock=True)
        check_parts(conn, self._registry, release, manifest)
        self._catalogue.indexes.check(conn, manifest)
        running = self._environments.running(conn, wanted.environment, release.product)
        if running is not None and running.release == release.id:
            raise Conflict(f"{release.id} runs in {wanted.environment} already")
        if wanted.mode != "whole" and running is None:
            raise Conflict(f"nothing of {release.product} runs in {wanted.environment}: promote it whole")
        before = self._environments.rules.before(wanted.environment)
        if before is not None and not self._environments.was_in(conn, before, release.id):
            raise PromotionRefused(
                f"{release.id} has not run in {before}, which comes before {wanted.environment}: "
                f'vallum release promote {release.id} --to {before} --reason "…"'
            )
        evidence = self._catalogue.evidence(conn, release.id)
        checks = self._checks.run(conn, release, manifest, evidence, wanted.environment)
        failed = [check for check in checks if not check.passed]
        if failed:
            raise PromotionRefused(_refusal(wanted, failed))
        return checks

    def _carry_out(self, conn: Connection, row: Any, by: Subject) -> None:
        if row["mode"] == "whole":
            self._environments.deploy(conn, row["environment"], row["release"], "promotion", by, promotion=row["id"])
            return
        self._trials.start(
            conn, row["environment"], row["release"], row["mode"], row["percent"], row["slow_milliseconds"], by
        )

    def _needed(self, environment: str) -> int:
        rule = self._environments.rules.find(environment)
        if rule is None:
            raise NotFound(f"there is no environment {environment}")
        return rule.approvals

    def _require_somebody_else(self, conn: Connection, row: Any, by: Subject) -> None:
        """Neither who asked nor who built, from whatever account; and a human being, for nothing else has a holder."""
        mine = {by.holder, by.render()}
        if not by.holder:
            raise OwnRequest("a person decides about a promotion, and no program")
        if row.holder in mine or row.requested_by in mine:
            raise OwnRequest("you asked for this yourself: somebody else decides")
        if self._catalogue.builder(conn, row.release) in mine:
            raise OwnRequest("you built this release yourself: somebody else decides")

    def _decide(self, conn: Connection, promotion_id: str, state: str, by: Subject, note: str) -> None:
        c = table.promotions.c
        done = conn.execute(
            update(table.promotions)
            .where(c.id == promotion_id, c.state == "waiting")
            .values(state=state, decided_by=by.render(), decided_at=format_time(self._clock.now()), note=note)
        )
        if done.rowcount != 1:
            self._require_waiting(self._row(conn, promotion_id))

    def _require_waiting(self, row: Any) -> None:
        if row.state != "waiting":
            raise Conflict(f"this promotion is {row.state} already")

    def _approvals(self, conn: Connection, promotion_id: str) -> Sequence[Any]:
        c = table.approvals.c
        return conn.execute(select(table.approvals).where(c.promotion == promotion_id).order_by(c.at)).all()

    def _row(self, conn: Connection, promotion_id: str, *, lock: bool = False) -> Any:
        query = select(table.promotions).where(table.promotions.c.id == promotion_id)
        row = conn.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NotFound("there is no such promotion")
        return row

    def _promotion(self, conn: Connection, row: Any) -> Promotion:
        values = {name: row._mapping[name] for name in Promotion.__struct_fields__ if name in row._mapping}
        values["checks"] = msgspec.json.decode(row.checks, type=tuple[CheckResult, ...])
        values["approvals"] = self.approved_by(conn, row.id)
        rule = self._environments.rules.find(row.environment)
        return Promotion(**values, approvals_needed=rule.approvals if rule is not None else 0)


def _wanted(row: Any) -> Wanted:
    return Wanted(**{name: row._mapping[name] for name in Wanted.__struct_fields__})


def _refusal(wanted: Wanted, failed: Sequence[CheckResult]) -> str:
    lines = [f"{wanted.environment} does not take {wanted.release}: {len(failed)} of its checks do not pass"]
    for check in failed:
        lines.append(f"  - {check.check}: {check.found}" + (f"; {check.remedy}" if check.remedy else ""))
    return "\n".join(lines)
