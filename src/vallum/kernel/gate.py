"""The gate: every AI action passes here, and leaves its proof.

One idea in three shapes. `decide` answers without recording, for the gateway, which writes one entry with the
outcome. `require` decides and records, and raises when the answer is no. `change` does so around a change of
state, whose transaction holds its entry too. A decision that cannot be made is a deny.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy import Connection

from vallum.kernel.errors import Denied
from vallum.kernel.ledger.entry import EntryDraft, Receipt
from vallum.kernel.policy.engine import FORBIDDEN, PolicyEngine
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef, Decision, Obligation, Subject

__all__ = ["AccessDenied", "Admission", "Change", "Gate", "Recorder"]


class Recorder(Protocol):
    """Where entries go: with the caller's change, or by themselves."""

    def append(self, conn: Connection, drafts: Sequence[EntryDraft]) -> list[Receipt]: ...


class GrantBook(Protocol):
    def confirm(self, conn: Connection, grant_ids: Sequence[str]) -> None:
        """Raises Denied unless all of them are in force, and stay so until the transaction ends."""
        ...


class DurableRecorder(Protocol):
    def record_sync(self, draft: EntryDraft) -> Receipt:
        """Return once durable. Raises Unavailable."""
        ...


class AccessDenied(Denied):
    """Policy said no; `entry_id` is the entry that recorded it, `obligations` what would change the answer."""

    def __init__(self, reason: str, entry_id: str, obligations: frozenset[Obligation]) -> None:
        super().__init__(reason)
        self.entry_id = entry_id
        self.obligations = obligations


@dataclass(frozen=True, slots=True)
class Admission:
    """A decision and the durable entry that records it."""

    decision: Decision
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Change:
    """An allowed change in progress: `conn` is the transaction that holds both it and its entry."""

    conn: Connection
    receipt: Receipt
    grants: tuple[str, ...] = ()  # without which it would have been denied


class Gate:
    """Safe to share between threads."""

    def __init__(
        self, policy: PolicyEngine, ledger: Recorder, writer: DurableRecorder, records: Records, grants: GrantBook
    ) -> None:
        self._policy = policy
        self._ledger = ledger
        self._writer = writer
        self._records = records
        self._grants = grants

    def decide(self, subject: Subject, action: str, asset: AssetRef) -> Decision:
        """The answer alone. Whoever calls this records the outcome."""
        return self._policy.decide(subject, action, asset)

    def admit(self, subject: Subject, action: str, asset: AssetRef, context: Mapping[str, str | int]) -> Admission:
        """Decide and record, whatever the answer. Raises Unavailable when it cannot be recorded."""
        decision = self.decide(subject, action, asset)
        outcome = "ok" if decision.effect == "allow" else "denied"
        receipt = self._writer.record_sync(_draft("decision", subject, action, asset, decision, outcome, context))
        return Admission(decision, receipt)

    def require(self, subject: Subject, action: str, asset: AssetRef, context: Mapping[str, str | int]) -> Admission:
        """`admit`, and raise AccessDenied unless allowed."""
        admission = self.admit(subject, action, asset, context)
        if admission.decision.effect != "allow":
            _refuse(admission)
        return admission

    @contextmanager
    def change(
        self,
        subject: Subject,
        action: str,
        asset: AssetRef,
        context: Mapping[str, str | int],
        contents: Mapping[str, bytes] | None = None,
        retention_seconds: int | None = None,
        *,
        kind: str = "change",
    ) -> Iterator[Change]:
        """Admit a change; the block's writes and the entry commit together or not at all.

        `contents` are sealed beside the entry, and go after `retention_seconds`; `kind` is the entry's.

        Raises AccessDenied, recorded, before the block runs. When the block raises, nothing of it is left and an
        entry of its own says that the attempt failed.
        """
        decision = self.decide(subject, action, asset)
        if decision.effect != "allow":
            draft = _draft(kind, subject, action, asset, decision, "denied", context)
            _refuse(Admission(decision, self._writer.record_sync(draft)))
        try:
            draft = _draft(kind, subject, action, asset, decision, "ok", context)
            draft = replace(draft, contents=contents or {}, retention_seconds=retention_seconds)
            with self._records.write() as conn:
                (receipt,) = self._ledger.append(conn, [draft])
                yield Change(conn, receipt, decision.grants)
                if decision.grants:  # last, so that nothing is done under a grant that ended meanwhile
                    self._grants.confirm(conn, decision.grants)
        except Exception as e:
            failed = {**context, "error": getattr(e, "code", "internal")}
            self._writer.record_sync(_draft(kind, subject, action, asset, decision, "error", failed))
            raise


def _refuse(admission: Admission) -> None:
    decision = admission.decision
    reason = decision.reason
    if reason == FORBIDDEN:  # which one says what would help; of another tenant's asset nothing is said
        reason = f"{reason} {', '.join(decision.policies)}"
    raise AccessDenied(reason, admission.receipt.entry_id, decision.obligations)


def _draft(
    kind: str,
    subject: Subject,
    action: str,
    asset: AssetRef,
    decision: Decision,
    outcome: str,
    context: Mapping[str, str | int],
) -> EntryDraft:
    if decision.grants:
        context = {**context, "grants": " ".join(decision.grants)}
    if decision.basis:
        context = {**context, "basis": decision.basis}
    return EntryDraft(
        tenant=subject.tenant,
        kind=kind,
        subject=subject.render(),
        credential=subject.credential,
        action=str(action),
        asset=asset.render(),
        effect=decision.effect,
        outcome=outcome,
        policies=decision.policies,
        policy_set=decision.policy_set,
        reason=decision.reason,
        context=context,
    )
