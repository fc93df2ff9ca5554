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
    LEDGER_EXPORT = "ledger:export:create"

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

    STATUS_READ = "system:status:read"
