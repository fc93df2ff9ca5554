"""Asking policies: who may, what may they, was that decision right, and which rights lie unused."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from vallum.api.assets import system
from vallum.api.control import Call, Services
from vallum.api.resources.policy import subject_of
from vallum.api.routing import Route
from vallum.kernel.actions import Action
from vallum.kernel.clock import format_time
from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.policy import (
    Answer,
    AssetFacts,
    Replay,
    droppable,
    replay,
    unused,
    what_may,
    who_may,
)
from vallum.kernel.values import AssetRef, Subject, SubjectKind, TenantId

__all__ = ["ROUTES", "everybody"]

Text = Annotated[str, Meta(max_length=256)]

_PAGE = 1000
_MAX_READ = 50_000  # entries of one subject: some seconds of reading


class WhoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: Text
    asset: Text


class WhatQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subject: Text


class AdviceQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1, le=3650)] = 90


class Advice(msgspec.Struct, frozen=True):
    """Standing rights of one subject. `unused` were not used in `days`; without `droppable_roles`, everything that
    was used could still be done. `complete` is False where there were too many entries to read them all."""

    subject: str
    name: str
    roles: tuple[str, ...]
    last_seen: str | None
    unused: tuple[str, ...]
    droppable_roles: tuple[str, ...]
    complete: bool


def who_can(services: Services, call: Call) -> list[Answer]:
    asset = _asset(call.query.asset)
    if call.query.action not in set(Action):
        raise Invalid(f"action: there are {', '.join(Action)}")
    facts = services.directory.facts(asset)
    if facts is None:
        raise NotFound(f"there is no {asset.render()}")
    return who_may(services.policy.policy_set, everybody(services), call.query.action, asset, facts)


def what_can(services: Services, call: Call) -> list[Answer]:
    subject = subject_of(services, call.query.subject, mfa_fresh=False)
    facts = None
    if subject.kind is SubjectKind.APPLICATION:
        facts = services.directory.facts(AssetRef("Application", subject.id))
        if facts is None:
            raise NotFound(f"there is no application {subject.id}")
    return what_may(services.policy.policy_set, subject, facts)


def replay_entry(services: Services, call: Call) -> Replay:
    with services.records.read() as conn:
        entry = services.ledger.entry(conn, call.path["id"])
        policy_set = services.policy_store.version(conn, entry.policy_set)
    return replay(
        entry.entry_id, policy_set, (entry.effect, entry.policies), entry.subject, entry.tenant, entry.action,
        entry.asset, str(entry.context.get("basis", "")),
    )  # fmt: skip


def advise(services: Services, call: Call) -> list[Advice]:
    now = services.clock.now()
    since = format_time(now - timedelta(days=call.query.days))
    policy_set, advice = services.policy.policy_set, []
    for name, subject in _standing(services):
        allowed = tuple(answer.action for answer in what_may(policy_set, subject))
        used, last_seen, complete = _used(services, subject.render(), since)
        roles = tuple(sorted(subject.roles))
        without = droppable(policy_set, roles, used & set(allowed)) if complete else ()
        advice.append(Advice(subject.render(), name, roles, last_seen, unused(allowed, used), without, complete))
    return advice


def _used(services: Services, subject: str, since: str) -> tuple[set[str], str | None, bool]:
    used: set[str] = set()
    before = last_seen = None
    read = 0
    with services.records.read() as conn:
        while read < _MAX_READ:
            page = services.ledger.entries(conn, subject=subject, before=before, limit=_PAGE, newest_first=True)
            for entry in page:
                last_seen = last_seen or entry.time
                if entry.time < since:
                    return used, last_seen, True
                if entry.effect == "allow":
                    used.add(entry.action)
            if len(page) < _PAGE:
                return used, last_seen, True
            read += len(page)
            before = page[-1].index
    return used, last_seen, False


def _standing(services: Services) -> Iterator[tuple[str, Subject]]:
    for person in services.identity.people.persons():
        if person.disabled_at is None:
            roles = frozenset(person.roles)
            yield (
                person.name,
                Subject(SubjectKind.PERSON, person.id, TenantId(person.tenant), roles, holder=person.holder),
            )
    for service in services.identity.services.list():
        if service.disabled_at is None:
            yield (
                service.name,
                Subject(SubjectKind.SERVICE, service.id, TenantId(service.tenant), frozenset(service.roles)),
            )


def everybody(services: Services) -> Iterator[tuple[Subject, AssetFacts | None]]:
    for _, subject in _standing(services):
        yield subject, None
    for name in services.inventory.configuration.applications:
        subject = Subject(SubjectKind.APPLICATION, name, TenantId(DEFAULT_TENANT), frozenset({"application"}))
        yield subject, services.directory.facts(AssetRef("Application", name))


def _asset(text: str) -> AssetRef:
    kind, _, asset_id = text.partition(":")
    if not kind or not asset_id:
        raise Invalid("asset: write KIND:ID, as in Model:handbook")
    return AssetRef(kind, asset_id)


ROUTES = (
    Route(
        method="GET", path="/policy/who", name="who_can", summary="Who can do this action on this asset",
        access="read", action=Action.POLICY_EXPLAIN, asset=system, perform=who_can, query=WhoQuery, answer=list[Answer],
    ),
    Route(
        method="GET", path="/policy/what", name="what_can", summary="What this subject can do",
        access="read", action=Action.POLICY_EXPLAIN, asset=system, perform=what_can, query=WhatQuery,
        answer=list[Answer],
    ),
    Route(
        method="GET", path="/policy/replays/{id}", name="replay_entry", summary="Decide a logged decision again",
        access="read", action=Action.POLICY_EXPLAIN, asset=system, perform=replay_entry, answer=Replay,
    ),
    Route(
        method="GET", path="/policy/advice", name="advise", summary="Standing rights that nobody used",
        access="read", action=Action.POLICY_EXPLAIN, asset=system, perform=advise, query=AdviceQuery,
        answer=list[Advice],
    ),
)  # fmt: skip
