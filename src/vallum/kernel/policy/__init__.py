"""Policy: Cedar in process, deny by default, allow only when nothing went wrong."""

from vallum.kernel.cedar.syntax import PolicyRefused
from vallum.kernel.policy.changes import OwnRequest, PolicyChangeRequest, PolicyChanges
from vallum.kernel.policy.directory import AssetDirectory, AssetFacts, Directory
from vallum.kernel.policy.engine import PolicyEngine, PolicyRequest, decide
from vallum.kernel.policy.policy_set import PolicySet, check_policies, shipped_policies, shipped_schema
from vallum.kernel.policy.questions import (
    Answer,
    Replay,
    SubjectChange,
    TextChange,
    changed_for,
    changed_texts,
    droppable,
    replay,
    unused,
    what_may,
    who_may,
)
from vallum.kernel.policy.rehearse import (
    ROLES,
    CaseResult,
    PolicyChange,
    check_cases,
    diff_policies,
    permitted,
    typical_kind,
    typical_request,
)
from vallum.kernel.policy.store import PolicyStore

__all__ = [
    "ROLES",
    "Answer",
    "AssetDirectory",
    "AssetFacts",
    "CaseResult",
    "Directory",
    "OwnRequest",
    "PolicyChange",
    "PolicyChangeRequest",
    "PolicyChanges",
    "PolicyEngine",
    "PolicyRefused",
    "PolicyRequest",
    "PolicySet",
    "PolicyStore",
    "Replay",
    "SubjectChange",
    "TextChange",
    "changed_for",
    "changed_texts",
    "check_cases",
    "check_policies",
    "decide",
    "diff_policies",
    "droppable",
    "permitted",
    "replay",
    "shipped_policies",
    "shipped_schema",
    "typical_kind",
    "typical_request",
    "unused",
    "what_may",
    "who_may",
]
