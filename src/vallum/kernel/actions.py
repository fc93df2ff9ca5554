"""Every action the gate knows, as `area:resource:action`. A route or command names one; policies name them all.

Actions on a collection (list, create) are asked on the collection's own asset (`System`, `Ledger`, …); actions
on one thing are asked on that thing.
"""

from enum import StrEnum

__all__ = ["Action"]


class Action(StrEnum):
    MODEL_INVOKE = "gateway:model:invoke"
    MODEL_LIST = "gateway:model:list"

    APPLICATION_READ = "inventory:application:read"
    PROVIDER_READ = "inventory:provider:read"
    CONFIGURATION_PLAN = "inventory:configuration:plan"
    CONFIGURATION_APPLY = "inventory:configuration:apply"

    KEY_READ = "identity:key:read"
    KEY_ISSUE = "identity:key:issue"
    KEY_REVOKE = "identity:key:revoke"
    PERSON_READ = "identity:person:read"
    PERSON_INVITE = "identity:person:invite"
    PERSON_DISABLE = "identity:person:disable"
    PERSON_UNLOCK = "identity:person:unlock"
    SERVICE_READ = "identity:service:read"
    SERVICE_CREATE = "identity:service:create"
    SERVICE_DISABLE = "identity:service:disable"
    CERTIFICATE_ISSUE = "identity:certificate:issue"
    CERTIFICATE_WITHDRAW = "identity:certificate:withdraw"
    SESSION_READ = "identity:session:read"
    SESSION_PROVE = "identity:session:prove"
    SESSION_SHARE = "identity:session:share"
    SESSION_END = "identity:session:end"

    GRANT_REQUEST = "identity:grant:request"
    GRANT_READ = "identity:grant:read"
    GRANT_APPROVE = "identity:grant:approve"
    GRANT_DENY = "identity:grant:deny"
    GRANT_REVOKE = "identity:grant:revoke"

    DELEGATION_CREATE = "identity:delegation:create"
    DELEGATION_END = "identity:delegation:end"

    ACCOUNT_READ = "identity:account:read"
    ACCOUNT_CHANGE = "identity:account:change"

    POLICY_READ = "policy:set:read"
    POLICY_APPLY = "policy:set:apply"
    POLICY_EXPLAIN = "policy:decision:explain"
    POLICY_PROPOSE = "policy:change:propose"
    POLICY_APPROVE = "policy:change:approve"
    POLICY_DENY = "policy:change:deny"

    ENTRY_READ = "ledger:entry:read"
    CONTENT_READ = "ledger:content:read"
    CONTENT_EXPIRE = "ledger:content:expire"
    CONTENT_ERASE = "ledger:content:erase"
    LEDGER_EXPORT = "ledger:export:create"
    CONTENT_HOLD = "ledger:hold:set"
    CONTENT_HOLD_READ = "ledger:hold:read"
    CONTENT_HOLD_END = "ledger:hold:end"

    FINDING_REVIEW = "guards:finding:review"
    CASE_READ = "guards:case:read"

    KEYSET_READ = "keys:keyset:read"
    KEYSET_ROTATE = "keys:keyset:rotate"
    KEYSET_SCHEDULE = "keys:keyset:schedule"
    KEYSET_DESTROY = "keys:keyset:destroy"
    ROTATION_OVERDUE = "keys:rotation:overdue"
    SECRET_LIST = "vault:secret:list"  # noqa: S105  an action's name
    SECRET_PUT = "vault:secret:put"  # noqa: S105
    SECRET_ROLLBACK = "vault:secret:rollback"  # noqa: S105
    SECRET_DELETE = "vault:secret:delete"  # noqa: S105
    SECRET_EXPIRE = "vault:secret:expire"  # noqa: S105

    ALERT_RAISE = "monitor:alert:raise"
    ALERT_READ = "monitor:alert:read"
    ALERT_DECIDE = "monitor:alert:decide"

    INCIDENT_OPEN = "respond:incident:open"

    REGISTERED_MODEL_READ = "models:model:read"
    REGISTERED_MODEL_CREATE = "models:model:create"
    VERSION_READ = "models:version:read"
    VERSION_UPLOAD = "models:version:upload"
    VERSION_DOWNLOAD = "models:version:download"
    VERSION_REVIEW = "models:version:review"
    VERSION_REVOKE = "models:version:revoke"
    VERSION_ATTEST = "models:version:attest"
    VERSION_DAMAGED = "models:version:damaged"
    SIGNING_KEY_ROTATE = "models:key:rotate"
    SIGNING_KEY_REVOKE = "models:key:revoke"
    UPLOAD_EXPIRE = "models:upload:expire"
    EGRESS_READ = "models:egress:read"
    DEPENDENCY_ALERT = "models:dependency:alert"
    # Releases.
    RELEASE_READ = "releases:release:read"
    RELEASE_BUILD = "releases:release:build"
    RELEASE_REVOKE = "releases:release:revoke"
    EVIDENCE_DATA = "releases:evidence:data"
    EVIDENCE_TESTS = "releases:evidence:tests"
    EVIDENCE_THREATS = "releases:evidence:threats"
    PROMOTION_REQUEST = "releases:promotion:request"
    PROMOTION_APPROVE = "releases:promotion:approve"
    PROMOTION_DENY = "releases:promotion:deny"
    PROMOTION_CANCEL = "releases:promotion:cancel"
    ENVIRONMENT_READ = "releases:environment:read"
    ENVIRONMENT_ROLLBACK = "releases:environment:rollback"
    ENVIRONMENT_VERIFY = "releases:environment:verify"
    ENVIRONMENT_DRIFT = "releases:environment:drift"
    ENVIRONMENT_HEAL = "releases:environment:heal"
    CANARY_ADOPT = "releases:canary:adopt"
    CANARY_STOP = "releases:canary:stop"
    CANARY_FAIL = "releases:canary:fail"

    # Data sets.
    DATA_SET_READ = "data:dataset:read"
    DATA_SET_CREATE = "data:dataset:create"
    DATA_INTAKE = "data:version:intake"
    DATA_READ = "data:version:read"
    DATA_EXPORT = "data:version:export"
    DATA_APPROVE = "data:version:approve"
    DATA_USE = "data:version:use"
    DATA_EXPIRE = "data:version:expire"
    DATA_OVERDUE = "data:version:overdue"
    DATA_RETIRE = "data:version:retire"
    COLUMN_READ = "data:column:read"
    QUARANTINE_READ = "data:quarantine:read"
    QUARANTINE_RELEASE = "data:quarantine:release"
    QUARANTINE_DESTROY = "data:quarantine:destroy"
    SUBJECT_ERASE = "data:subject:erase"
    ERASURE_READ = "data:erasure:read"
    ERASURE_REQUEST = "data:erasure:request"
    ERASURE_APPROVE = "data:erasure:approve"
    ERASURE_CANCEL = "data:erasure:cancel"
    ERASURE_FINISH = "data:erasure:finish"
    ERASURE_READMIT = "data:erasure:readmit"
    HOLD_SET = "data:hold:set"
    HOLD_RELEASE = "data:hold:release"
    DATA_EGRESS_READ = "data:egress:read"
    TOKEN_REVEAL = "data:token:reveal"  # noqa: S105  an action
    DATA_KEY_ROTATE = "data:key:rotate"
    BUDGET_SET = "data:budget:set"
    STATISTICS_RELEASE = "data:statistics:release"

    STATUS_READ = "system:status:read"
