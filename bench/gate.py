"""What a gate decision costs beside the bare policy engine, as JSON.

    .venv/bin/python bench/gate.py [SECONDS]

`miss` is a decision nobody asked for before; `bare` is `cedarpy.is_authorized` with the same parsed policies,
schema and entities, already put together. `hit` is one that was asked before. Miss and bare take turns, so that a
busy machine slows both; each figure is the best of several rounds, and wants at most 1.3 (ratio) and 10 (hit).
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import cedarpy

from vallum.kernel.actions import Action
from vallum.kernel.policy import AssetFacts, Directory, PolicyEngine, PolicySet, shipped_policies, shipped_schema
from vallum.kernel.values import AssetRef, Subject, SubjectKind, TenantId

ROUNDS = 9
PER_ROUND = 300
HITS_PER_ROUND = 20_000


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def application_facts(ref: AssetRef) -> AssetFacts:
    return AssetFacts(
        {
            "tenant": "default",
            "owner": "owner",
            "classification": "internal",
            "enabled": True,
            "models": ["demo/extractive", "demo/other", "demo/third"],
        },
        1,
    )


def model_facts(ref: AssetRef) -> AssetFacts:
    return AssetFacts(
        {"tenant": "default", "name": ref.id, "provider": "demo", "classification": "internal"}, ref.version
    )


def system_facts(ref: AssetRef) -> AssetFacts:
    return AssetFacts({"tenant": "default"}, 1)


def bare_question(kind: str, subject: Subject, action: str, asset: AssetRef, facts: dict[str, AssetFacts], fresh: bool):
    roles = [{"type": "Vallum::Role", "id": role} for role in sorted(subject.roles)]
    principal = {"type": f"Vallum::{kind}", "id": subject.id}
    resource = {"type": f"Vallum::{asset.kind}", "id": asset.id}
    attributes = dict(facts["principal"].attributes)
    entities = [{"uid": role, "attrs": {}, "parents": []} for role in roles]
    entities.append({"uid": principal, "attrs": attributes, "parents": roles})
    entities.append({"uid": resource, "attrs": dict(facts["resource"].attributes), "parents": []})
    action_uid = {"type": "Vallum::Action", "id": str(action)}
    context = {"mfa_fresh": fresh, "by_grant": False}
    request = {"principal": principal, "action": action_uid, "resource": resource, "context": context}
    return request, json.dumps(entities)


def seconds_each(call: Callable[[int], object], times: int) -> float:
    start = time.perf_counter()
    for number in range(times):
        call(number)
    return (time.perf_counter() - start) / times


def measure(
    engine: PolicyEngine, subject: Subject, kind: str, action: Action, asset_kind: str, facts: dict[str, AssetFacts]
) -> dict[str, float | str]:
    policy_set = engine.policy_set
    fresh = False
    counter = 0

    def miss(_: int) -> object:
        nonlocal counter
        counter += 1
        changed = Subject(subject.kind, subject.id, subject.tenant, subject.roles, version=counter)
        return engine.decide(changed, action, AssetRef(asset_kind, "demo/extractive"))

    asset = AssetRef(asset_kind, "demo/extractive")
    request, entities = bare_question(kind, subject, action, asset, facts, fresh)

    def bare(_: int) -> object:
        return cedarpy.is_authorized(request, policy_set.policies, entities, policy_set.schema)

    def hit(_: int) -> object:
        return engine.decide(subject, action, asset)

    expected = str(engine.decide(subject, action, asset).effect)
    assert bare(0).decision.value.lower() == expected
    misses, bares, hits = [], [], []
    for _ in range(ROUNDS):
        bares.append(seconds_each(bare, PER_ROUND))
        misses.append(seconds_each(miss, PER_ROUND))
        hits.append(seconds_each(hit, HITS_PER_ROUND))
    return {
        "effect": expected,
        "bare_us": round(min(bares) * 1e6, 1),
        "miss_us": round(min(misses) * 1e6, 1),
        "miss_ratio": round(min(misses) / min(bares), 3),
        "hit_us": round(min(hits) * 1e6, 2),
    }


def main() -> None:
    directory = Directory(
        {"Application": application_facts, "Model": model_facts, "System": system_facts, "Ledger": system_facts}
    )
    engine = PolicyEngine(PolicySet.parse(shipped_policies(), shipped_schema()), directory, FixedClock())
    tenant = TenantId("default")
    application = Subject(SubjectKind.APPLICATION, "app", tenant)
    auditor = Subject(SubjectKind.PERSON, "somebody", tenant, frozenset({"auditor", "approver"}))
    app_facts = {
        "principal": application_facts(AssetRef("Application", "app")),
        "resource": model_facts(AssetRef("Model", "demo/extractive")),
    }
    somebody = AssetFacts({"tenant": "default", "holder": ""})
    person_facts = {"principal": somebody, "resource": system_facts(AssetRef("Ledger", "x"))}
    figures = {
        "python": platform.python_version(),
        "cedarpy": cedarpy.__dict__.get("__version__", "unknown"),
        "wanted": {"miss_ratio": 1.3, "hit_us": 10},
        "application_invokes_model": measure(
            engine, application, "Application", Action.MODEL_INVOKE, "Model", app_facts
        ),
        "person_reads_ledger": measure(engine, auditor, "Person", Action.ENTRY_READ, "Ledger", person_facts),
        "person_is_denied": measure(engine, auditor, "Person", Action.POLICY_APPLY, "System", person_facts),
    }
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
