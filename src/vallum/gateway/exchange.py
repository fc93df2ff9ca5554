"""One request on its way through the pipeline: what each stage learned, and what the entry will say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from vallum.gateway.document import Place
from vallum.gateway.limits import Held
from vallum.gateway.protocols import Usage, WireProtocol
from vallum.gateway.providers import Candidate
from vallum.guards import Counted, GuardRunner, Tokens
from vallum.inventory import Application
from vallum.kernel.actions import Action
from vallum.kernel.ids import new_id
from vallum.kernel.ledger.entry import EntryDraft, FindingRecord
from vallum.kernel.values import AssetRef, Decision, Subject
from vallum.releases import ReleasedApplication

__all__ = ["Exchange"]

_DAY_SECONDS = 86_400


@dataclass(slots=True)
class Exchange:
    """Filled in from top to bottom as the stages pass; what a stage has not reached keeps its default."""

    protocol: WireProtocol
    headers: Mapping[str, str]
    entry_id: str = field(default_factory=lambda: new_id("ent"))
    started: float = field(default_factory=monotonic)

    # authenticate
    subject: Subject | None = None
    application: Application | None = None  # as it is to be: a release's, where one holds it
    released: ReleasedApplication | None = None
    # read
    document: dict[str, Any] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    chars: int = 0
    # authorise
    model_name: str = ""
    model_is_known: bool = False  # a name nobody declared is a stranger's text, and stays out of the ledger
    decision: Decision | None = None
    # limit
    held: Held | None = None
    # inspect input, inspect output
    findings: list[Counted] = field(default_factory=list)
    inspected: bool = False
    blocked: bool = False
    tokens: Tokens = field(default_factory=Tokens)  # stand-ins for what the caller sent and the provider must not see
    structure: GuardRunner | None = None  # what the answer is to look like
    # route, call
    candidates: list[Candidate] = field(default_factory=list)
    answered_by: Candidate | None = None
    served: dict[str, str | int] = field(default_factory=dict)  # which release of which model of ours answered
    usage: Usage | None = None
    answer: bytes = b""
    # record
    status: int = 200
    outcome: str = "ok"
    recorded: bool = False
    has_entry: bool = True  # False: counted into another one
    # a watcher of the connection sets this
    client_gone: bool = False

    @property
    def streams(self) -> bool:
        return bool(self.document.get("stream"))

    @property
    def seconds(self) -> float:
        return monotonic() - self.started

    def draft(self, request: bytes) -> EntryDraft:
        """The entry. `request` is the inspected document; it and the answer are kept only where nothing was blocked."""
        subject, decision = self.subject, self.decision
        if subject is None:
            raise ValueError("an entry names its subject")
        keep_days = self.application.keep_content_days if self.application is not None else 0
        contents: dict[str, bytes] = {}
        if keep_days and self.inspected and not self.blocked:
            contents = {"request": request}
            if self.answer:
                contents["answer"] = self.answer
        return EntryDraft(
            entry_id=self.entry_id,
            tenant=subject.tenant,
            kind="inference",
            subject=subject.render(),
            credential=subject.credential,
            action=Action.MODEL_INVOKE.value,
            asset=AssetRef("Model", self.model_name if self.model_is_known else "unknown").render(),
            effect=decision.effect if decision is not None else "deny",
            outcome=self.outcome,
            policies=decision.policies if decision is not None else (),
            policy_set=decision.policy_set if decision is not None else "",
            reason=decision.reason if decision is not None else "the request was refused before a decision",
            findings=tuple(
                FindingRecord(f.guard, f.version, f.kind, f.action, f.count) for f in _merged(self.findings)
            ),
            context=self._context() | ({"keep_days": keep_days} if contents else {}),
            contents=contents,
            retention_seconds=keep_days * _DAY_SECONDS if contents else None,
        )

    def _context(self) -> dict[str, str | int]:
        context: dict[str, str | int] = {
            "endpoint": self.protocol.name,
            "status": self.status,
            "milliseconds": round(self.seconds * 1000),
            "stream": int(self.streams),
        }
        if self.subject is not None and self.subject.on_behalf_of is not None:
            context["on_behalf_of"] = self.subject.on_behalf_of.render()
        if self.answered_by is not None:
            context["provider"] = self.answered_by.provider_name
            if self.answered_by.model_name != self.model_name:
                context["answered_by"] = self.answered_by.model_name
        if self.decision is not None and self.decision.basis:
            context["basis"] = self.decision.basis
        if self.released is not None:
            context["application_release"] = self.released.release
        context |= self.served
        if self.usage is not None:
            context["input_tokens"] = self.usage.input_tokens
            context["output_tokens"] = self.usage.output_tokens
        return context


def _merged(findings: list[Counted]) -> tuple[FindingRecord, ...]:
    """One record a kind: a stream finds piece by piece."""
    total: dict[tuple[str, str, str, str], int] = {}
    for f in findings:
        key = (f.guard, f.version, f.kind, f.action)
        total[key] = total.get(key, 0) + f.count
    return tuple(FindingRecord(*key, count=count) for key, count in sorted(total.items()))
