"""A contract's value to ODCS v3.1 YAML. What was read is written again, but for the old form of a team."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from vallum.data.contracts.model import API_VERSION, Contract, ContractTable, Metric, Options, Property, Rule
from vallum.data.contracts.yaml import render_yaml

__all__ = ["contract_as_json", "render_contract"]


def render_contract(contract: Contract) -> bytes:
    return render_yaml(contract_as_json(contract))


def contract_as_json(contract: Contract) -> dict[str, Any]:
    """As the standard's JSON schema describes it."""
    carried = _plain(contract.carried)
    described = {"purpose": contract.purpose, "usage": contract.usage, "limitations": contract.limitations}
    custom = carried.pop("customProperties", [])
    if contract.licence:
        custom = [{"property": "licence", "value": contract.licence}, *custom]
    members = [_some(username=m.username, role=m.role) | _plain(m.carried) for m in contract.members]
    owner_is_member = any(m.username == contract.owner for m in contract.members)
    team = _some(name="" if owner_is_member else contract.owner, members=members) | carried.pop("team", {})
    levels = [
        {"property": s.property, "value": s.value} | _some(unit=s.unit, element=s.element) | _plain(s.carried)
        for s in contract.service_levels
    ]
    return {
        "apiVersion": API_VERSION, "kind": "DataContract", "id": contract.id, "version": contract.version,
        "status": contract.status,
        **_some(
            name=contract.name, description=_some(**described) | carried.pop("description", {}), team=team,
            customProperties=custom, slaProperties=levels,
        ),
        **carried, "schema": [_table(table) for table in contract.tables],
    }  # fmt: skip


def _table(table: ContractTable) -> dict[str, Any]:
    return {
        "name": table.name, **_some(description=table.description), **_plain(table.carried),
        "properties": [_property(p) for p in table.properties],
        **_some(quality=[_rule(rule) for rule in table.quality]),
    }  # fmt: skip


def _property(p: Property) -> dict[str, Any]:
    return {
        "name": p.name, "logicalType": p.kind.value,
        **_some(
            description=p.description, classification=p.classification, required=p.required, unique=p.unique,
            primaryKey=p.primary_key, logicalTypeOptions=_options(p.options),
            relationships=[{"to": p.refers_to}] if p.refers_to else [], quality=[_rule(rule) for rule in p.quality],
        ),
        **_plain(p.carried),
    }  # fmt: skip


def _options(options: Options) -> dict[str, Any]:
    bounds = {
        "minimum": options.minimum, "maximum": options.maximum, "exclusiveMinimum": options.above,
        "exclusiveMaximum": options.below, "minLength": options.min_length, "maxLength": options.max_length,
        "pattern": options.pattern,
    }  # fmt: skip
    shown = {k: v.isoformat() if isinstance(v, dt.date) else v for k, v in bounds.items() if v is not None}
    return shown | _plain(options.carried)


def _rule(rule: Rule) -> dict[str, Any]:
    carried = _plain(rule.carried)
    arguments = _plain(rule.arguments)
    if rule.metric is Metric.TEXT:
        return {"type": "text", **carried}
    if rule.metric.is_own:
        implementation = {"check": rule.metric.value, **_some(arguments=arguments)}
        return {"type": "custom", "engine": "vallum", "implementation": implementation, **carried}
    bound = list(rule.bound) if isinstance(rule.bound, tuple) else rule.bound
    unit = {} if rule.unit == "rows" else {"unit": rule.unit}
    return {"metric": rule.metric.value, **_some(arguments=arguments), rule.operator: bound, **unit, **carried}


def _some(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None, [], {}, False)}


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    return dict(value)
