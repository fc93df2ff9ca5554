"""The inventory in force: held in memory, changed by plan and apply, followed by epoch.

A plan is what applying would change, with a digest of both sides; applying names the digest, so that nobody
applies what they did not see. What a file does not name is kept, unless the plan was asked to prune.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from vallum.inventory.model import Application, Configuration, Model, Provider
from vallum.inventory.parse import ConfigurationRefused
from vallum.inventory.records import declarations as table
from vallum.kernel.clock import Clock, format_time
from vallum.kernel.errors import Conflict
from vallum.kernel.keys import DEFAULT_TENANT
from vallum.kernel.policy.directory import AssetFacts
from vallum.kernel.store.epochs import bump_epoch, read_epochs
from vallum.kernel.store.records import Records
from vallum.kernel.values import AssetRef

__all__ = ["EPOCH", "Change", "Inventory", "Plan", "PlanMoved", "render_plan"]

EPOCH = "inventory"


class PlanMoved(Conflict):
    """The configuration changed after the plan was made: plan again."""

    code = "plan_moved"


class Change(msgspec.Struct, frozen=True):
    """One thing that applying would add, change or remove. `fields` are dotted names with their old and new values."""

    action: Literal["add", "change", "remove"]
    kind: str
    name: str
    fields: dict[str, tuple[Any, Any]] = {}


class Plan(msgspec.Struct, frozen=True):
    """`digest` binds what is in force to what is wanted. `kept` are things in force that the files do not name.
    `warnings` say which of the changes will not last, and what would."""

    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    digest: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Everything in force, replaced as a whole."""

    configuration: Configuration
    facts: Mapping[tuple[str, str], AssetFacts]


class Inventory:
    """Safe to share between threads."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._snapshot = _Snapshot(Configuration(), {})

    # What is in force.

    @property
    def configuration(self) -> Configuration:
        return self._snapshot.configuration

    def application(self, name: str) -> Application | None:
        return self._snapshot.configuration.applications.get(name)

    def model(self, name: str) -> Model | None:
        return self._snapshot.configuration.models.get(name)

    def provider(self, name: str) -> Provider | None:
        return self._snapshot.configuration.providers.get(name)

    def facts(self, ref: AssetRef) -> AssetFacts | None:
        """What policy knows of an application, model or provider; None for one that is not declared."""
        return self._snapshot.facts.get((ref.kind, ref.id))

    def refresh(self) -> None:
        """Read what is in force; subscribe to the epoch `inventory`."""
        with self._records.read() as conn:
            rows = conn.execute(select(table)).all()
        configuration = _configuration((row.kind, row.name, row.document) for row in rows)
        facts = {}
        for row in rows:
            kind, attributes = _facts(row.kind, row.name, row.tenant, configuration)
            facts[kind, row.name] = AssetFacts(attributes, row.version)
        self._snapshot = _Snapshot(configuration, facts)

    def declared(self, conn: Connection) -> Configuration:
        """What is in force as this transaction sees it."""
        return _configuration((row.kind, row.name, row.document) for row in conn.execute(select(table)))

    # Changing it.

    def plan(self, conn: Connection, desired: Configuration, *, prune: bool = False) -> Plan:
        """What applying `desired` would change. Raises ConfigurationRefused when the whole would not fit together."""
        return self._prepare(conn, desired, prune)[0]

    def apply(
        self, conn: Connection, desired: Configuration, digest: str | None = None, *, prune: bool = False
    ) -> Plan:
        """Make it so. Raises PlanMoved when `digest` is not this plan's, ConfigurationRefused as `plan` does."""
        plan, documents = self._prepare(conn, desired, prune)
        if digest is not None and digest != plan.digest:
            raise PlanMoved("what is in force, or the files, changed since that plan was made: plan again")
        now = format_time(self._clock.now())
        for change in plan.changes:
            here = (table.c.kind == change.kind, table.c.name == change.name)
            match change.action:
                case "add":
                    document = documents[change.kind, change.name]
                    conn.execute(
                        insert(table).values(
                            kind=change.kind, name=change.name, tenant=DEFAULT_TENANT, document=document,
                            version=_next_version(conn), updated_at=now,
                        )
                    )  # fmt: skip
                case "change":
                    document = documents[change.kind, change.name]
                    version = _next_version(conn)
                    conn.execute(update(table).where(*here).values(document=document, version=version, updated_at=now))
                case "remove":
                    conn.execute(delete(table).where(*here))
        if plan.changes:
            bump_epoch(conn, EPOCH)
        return plan

    def _prepare(
        self, conn: Connection, desired: Configuration, prune: bool
    ) -> tuple[Plan, Mapping[tuple[str, str], str]]:
        present = {(row.kind, row.name): row.document for row in conn.execute(select(table))}
        wanted = _documents(desired)
        unnamed = sorted(key for key in present if key not in wanted)
        result = dict(wanted) if prune else {**present, **wanted}
        whole = _configuration((kind, name, text) for (kind, name), text in result.items())
        problems = list(whole.problems())
        if problems:
            raise ConfigurationRefused(problems)
        changes = [
            Change("change" if key in present else "add", *key, fields=_differences(present.get(key), text))
            for key, text in sorted(wanted.items())
            if present.get(key) != text
        ]
        if prune:
            changes += [Change("remove", *key) for key in unnamed]
        kept = () if prune else tuple(".".join(key) for key in unnamed)
        digest = sha256(msgspec.json.encode([sorted(present.items()), sorted(wanted.items()), prune])).hexdigest()
        return Plan(tuple(changes), kept, digest), wanted


def render_plan(plan: Plan) -> str:
    """The plan for people, one line a thing and one a field."""
    marks = {"add": "+", "change": "~", "remove": "-"}
    lines = []
    for change in plan.changes:
        lines.append(f"{marks[change.action]} {change.kind}.{change.name}")
        for field, (old, new) in change.fields.items():
            lines.append(
                f"    {field}: {_shown(new)}" if old is None else f"    {field}: {_shown(old)} -> {_shown(new)}"
            )
    if not plan.changes:
        lines.append("nothing to change")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _next_version(conn: Connection) -> int:
    """Higher than any before, removed things included: a name declared again must not meet old cached decisions."""
    bump_epoch(conn, EPOCH + ":version")
    return read_epochs(conn)[EPOCH + ":version"]


_TYPES: Mapping[str, Any] = {"providers": Provider, "models": Model, "applications": Application}


def _documents(configuration: Configuration) -> dict[tuple[str, str], str]:
    encode = msgspec.json.Encoder(order="sorted").encode
    return {
        (kind, name): encode(value).decode() for kind in _TYPES for name, value in getattr(configuration, kind).items()
    }


def _configuration(rows: Iterator[tuple[str, str, str]]) -> Configuration:
    built: dict[str, dict[str, Any]] = {kind: {} for kind in _TYPES}
    for kind, name, document in sorted(rows):
        built[kind][name] = msgspec.json.decode(document, type=_TYPES[kind])
    return Configuration(**built)


def _facts(kind: str, name: str, tenant: str, configuration: Configuration) -> tuple[str, dict[str, Any]]:
    if kind == "applications":
        application = configuration.applications[name]
        return "Application", {
            "tenant": tenant,
            "owner": application.owner,
            "classification": application.classification,
            "enabled": application.enabled,
            "models": list(application.models),
        }
    if kind == "models":
        model = configuration.models[name]
        attributes = {"name": name, "provider": model.provider, "classification": model.classification}
        return "Model", {"tenant": tenant, **attributes}
    return "Provider", {"tenant": tenant}


def _differences(old: str | None, new: str) -> dict[str, tuple[Any, Any]]:
    before = dict(_flat(msgspec.json.decode(old))) if old is not None else {}
    after = dict(_flat(msgspec.json.decode(new)))
    names = [*after, *(name for name in before if name not in after)]
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner
