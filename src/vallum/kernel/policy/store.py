"""Which policies are in force: the shipped set until another was applied. Earlier sets stay, for replay."""

import json
from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, select

from vallum.kernel.actions import Action
from vallum.kernel.cedar.syntax import PolicyRefused
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import IntegrityError, NotFound
from vallum.kernel.keys.model import DEFAULT_TENANT
from vallum.kernel.policy import records
from vallum.kernel.policy.engine import decide
from vallum.kernel.policy.policy_set import (
    PolicySet,
    check_policies,
    completed,
    digest_of,
    shipped_schema,
    shipped_set,
)
from vallum.kernel.policy.rehearse import typical_request
from vallum.kernel.store.epochs import bump_epoch
from vallum.kernel.store.upsert import upsert
from vallum.kernel.values import AssetRef, Subject, SubjectKind

__all__ = ["PolicyStore"]

EPOCH = "policy"


class PolicyStore:
    """Applies and loads policy sets; the schema is always the shipped one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shipped = shipped_set()

    def load(self, conn: Connection) -> PolicySet:
        """The set in force. Raises IntegrityError when what is stored is not what its digest names."""
        digest = conn.execute(select(records.active.c.digest)).scalar_one_or_none()
        if digest is None:
            return self._shipped
        try:
            return self.version(conn, digest)
        except NotFound as e:
            raise IntegrityError("the policies in force are not among those that were applied") from e

    def in_force(self, conn: Connection) -> str:
        """The digest of the set in force, as this transaction sees it."""
        return conn.execute(select(records.active.c.digest)).scalar_one_or_none() or self._shipped.digest

    def version(self, conn: Connection, digest: str) -> PolicySet:
        """A set that was in force once, for replaying a logged decision. Raises NotFound."""
        if digest == self._shipped.digest:
            return self._shipped
        row = conn.execute(select(records.policy_sets).where(records.policy_sets.c.digest == digest)).one_or_none()
        if row is None:
            raise NotFound("no policy set with that digest was applied here")
        try:
            files = msgspec.json.decode(row.files, type=dict[str, str])
        except msgspec.DecodeError as e:
            raise IntegrityError("the stored policies are not those that were applied") from e
        if digest_of(files, row.schema_text) != digest:  # before the parser meets them: nobody checked these
            raise IntegrityError("the stored policies are not those that were applied")
        return PolicySet.parse(files, row.schema_text)

    def remember_shipped(self, conn: Connection) -> None:
        """Keep this release's set by its digest, so that its decisions can be replayed after an upgrade, too."""
        self._keep(conn, self._shipped, "release")

    def check(self, files: Mapping[str, str]) -> PolicySet:
        """Try `files` in a child process, which takes a moment. Raises PolicyRefused, also for a set without return.

        The shipped bounds (no crossing of tenants, a fresh second factor for what is sensitive) are part of every set:
        whoever may write policies may not thereby lift what no permission overrides.
        """
        schema_text = shipped_schema()
        files = completed(files)
        check_policies(files, schema_text)
        policy_set = PolicySet.parse(files, schema_text)
        local = Subject(SubjectKind.SYSTEM, "vallum", DEFAULT_TENANT)
        undo = typical_request(local, Action.POLICY_APPLY, AssetRef("System", "vallum"), mfa_fresh=True)
        if decide(policy_set, undo).effect != "allow":
            raise PolicyRefused("nobody could change policies again: keep a permit for local administration (System)")
        return policy_set

    def apply(self, conn: Connection, policy_set: PolicySet, applied_by: str) -> None:
        """Put a checked set in force."""
        self._keep(conn, policy_set, applied_by)
        in_force = upsert(conn, records.active).values(id=1, digest=policy_set.digest)
        conn.execute(in_force.on_conflict_do_update(index_elements=["id"], set_={"digest": policy_set.digest}))
        bump_epoch(conn, EPOCH)

    def _keep(self, conn: Connection, policy_set: PolicySet, applied_by: str) -> None:
        conn.execute(
            upsert(conn, records.policy_sets)
            .values(
                digest=policy_set.digest,
                files=json.dumps(dict(policy_set.files)),
                schema_text=policy_set.schema_text,
                applied_at=format_time(self._clock.now()),
                applied_by=applied_by,
            )
            .on_conflict_do_nothing()
        )
