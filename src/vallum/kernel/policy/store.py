"""Which policies are in force: the shipped set until another was applied. Earlier sets stay, for replay."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import IntegrityError, NotFound
from vallum.kernel.policy import records
from vallum.kernel.policy.policy_set import PolicySet, check_policies, shipped_policies, shipped_schema
from vallum.kernel.store.epochs import bump_epoch

__all__ = ["PolicyStore"]

EPOCH = "policy"


class PolicyStore:
    """Applies and loads policy sets; the schema is always the shipped one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shipped = PolicySet.parse(shipped_policies(), shipped_schema())

    def load(self, conn: Connection) -> PolicySet:
        """The set in force. Raises IntegrityError when what is stored is not what its digest names."""
        digest = conn.execute(select(records.active.c.digest)).scalar_one_or_none()
        return self._shipped if digest is None else self.version(conn, digest)

    def version(self, conn: Connection, digest: str) -> PolicySet:
        """A set that was in force once, for replaying a logged decision. Raises NotFound."""
        if digest == self._shipped.digest:
            return self._shipped
        row = conn.execute(select(records.policy_sets).where(records.policy_sets.c.digest == digest)).one_or_none()
        if row is None:
            raise NotFound("no policy set with that digest was applied here")
        loaded = PolicySet.parse(json.loads(row.files), row.schema_text)
        if loaded.digest != digest:
            raise IntegrityError("the stored policies are not those that were applied")
        return loaded

    def apply(self, conn: Connection, files: Mapping[str, str], applied_by: str) -> PolicySet:
        """Check `files` in a child process and put them in force. Raises PolicyRefused, and changes nothing then."""
        schema_text = shipped_schema()
        check_policies(files, schema_text)
        policy_set = PolicySet.parse(files, schema_text)
        known = select(records.policy_sets.c.digest).where(records.policy_sets.c.digest == policy_set.digest)
        if conn.execute(known).one_or_none() is None:
            conn.execute(
                insert(records.policy_sets).values(
                    digest=policy_set.digest,
                    files=json.dumps(dict(files)),
                    schema_text=schema_text,
                    applied_at=format_time(self._clock.now()),
                    applied_by=applied_by,
                )
            )
        conn.execute(delete(records.active))
        conn.execute(insert(records.active).values(id=1, digest=policy_set.digest))
        bump_epoch(conn, EPOCH)
        return policy_set
