"""A contract's bytes to its value. Every problem is found and named with its line and place, together.

A contract may come from whoever delivers the data, so it is read as an attack: unknown fields are problems (a `qualty`
that nobody reads lets everything pass), and rules that are code, in SQL or for another engine, are refused, not run
and not passed over.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vallum.data.contracts.model import (
    API_VERSION,
    Contract,
    ContractTable,
    Metric,
    Options,
    Property,
    Rule,
    ServiceLevel,
    TeamMember,
)
from vallum.data.contracts.patterns import BadPattern, portable_pattern
from vallum.data.contracts.yaml import Document, Path, parse_yaml
from vallum.data.table import Kind
from vallum.kernel.errors import Invalid

__all__ = ["OPERATORS", "BadContract", "Problem", "parse_contract"]

OPERATORS = (
    "mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo",
    "mustBeBetween", "mustNotBeBetween",
)  # fmt: skip
_ELEMENT = ("id", "physicalType", "businessName", "authoritativeDefinitions", "tags", "customProperties")
_ROOT_CARRIED = (
    "tenant", "tags", "servers", "dataProduct", "domain", "support", "price", "roles", "slaDefaultElement",
    "authoritativeDefinitions", "contractCreatedTs",
)  # fmt: skip
_PROPERTY_CARRIED = (
    *_ELEMENT, "physicalName", "primaryKeyPosition", "partitioned", "partitionKeyPosition", "encryptedName",
    "transformSourceObjects", "transformLogic", "transformDescription", "criticalDataElement", "examples", "items",
    "properties",
)  # fmt: skip
_RULE_CARRIED = (
    "id", "name", "description", "dimension", "severity", "businessImpact", "method", "tags", "schedule", "scheduler",
    "authoritativeDefinitions", "customProperties",
)  # fmt: skip
_OPTIONS_CARRIED = (
    "format", "multipleOf", "timezone", "defaultTimezone", "maxProperties", "minProperties", "required", "maxItems",
    "minItems", "uniqueItems",
)  # fmt: skip
_API_VERSION = re.compile(r"v3\.[01]\.[0-9]\Z")


class Problem(str):
    """One line: where, and what to change."""

    __slots__ = ()


class BadContract(Invalid):
    """A contract that cannot be used. `problems` are all that were found."""

    code = "bad_contract"

    def __init__(self, problems: Sequence[str]) -> None:
        shown = "\n".join(f"  {problem}" for problem in problems[:50])
        more = f"\n  and {len(problems) - 50} more" if len(problems) > 50 else ""
        super().__init__(f"the contract cannot be used:\n{shown}{more}")
        self.problems = tuple(problems)


def parse_contract(raw: bytes) -> Contract:
    """The contract in ODCS YAML or JSON. Raises BadYaml or BadContract."""
    document = parse_yaml(raw)
    reader = _Reader(document)
    root = reader.map((), document.value)
    contract = _contract(reader, root)
    if reader.problems:
        raise BadContract(reader.problems)
    return contract


class _Reader:
    """Takes fields of the types that are due, and notes what is not as it should be."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems: list[Problem] = []

    def problem(self, path: Path, text: str) -> None:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in path).lstrip(".")
        said = f"{place}: {text}" if place else text
        self.problems.append(Problem(f"line {self._document.line(path)}: {said}"))

    def map(self, path: Path, value: Any) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.problem(path, "a map is due")
        return {}

    def known(self, path: Path, value: Mapping[str, Any], fields: Iterable[str]) -> None:
        allowed = set(fields)
        for key in value:
            if key not in allowed:
                self.problem((*path, key), "the standard has no such field here")

    def text(self, path: Path, value: Mapping[str, Any], key: str, *, due: bool = False) -> str:
        found = value.get(key)
        if found is None and not due:
            return ""
        if isinstance(found, int | float) and not isinstance(found, bool):
            found = str(found)  # version: 1.0
        if isinstance(found, str) and (found.strip() or not due):
            return found
        self.problem((*path, key), "a text is due")
        return ""

    def flag(self, path: Path, value: Mapping[str, Any], key: str) -> bool:
        found = value.get(key, False)
        if not isinstance(found, bool) and found is not None:
            self.problem((*path, key), "true or false is due")
        return found is True

    def items(self, path: Path, value: Mapping[str, Any], key: str) -> list[tuple[Path, Any]]:
        found = value.get(key)
        if found is None:
            return []
        if isinstance(found, list):
            return [((*path, key, at), item) for at, item in enumerate(found)]
        self.problem((*path, key), "a list is due")
        return []

    def whole(self, path: Path, value: Mapping[str, Any], key: str) -> int | None:
        found = value.get(key)
        if found is None or (isinstance(found, int) and not isinstance(found, bool) and found >= 0):
            return found
        self.problem((*path, key), "a whole number from 0 is due")
        return None


def _carried(value: Mapping[str, Any], keys: Iterable[str]) -> Mapping[str, Any]:
    return MappingProxyType({key: value[key] for key in keys if value.get(key) is not None})


def _contract(r: _Reader, root: Mapping[str, Any]) -> Contract:
    own = ("apiVersion", "kind", "id", "version", "status", "name", "description", "schema", "team", "slaProperties")
    r.known((), root, (*own, *_ROOT_CARRIED, "customProperties"))
    api = r.text((), root, "apiVersion", due=True)
    if api and not _API_VERSION.match(api):
        r.problem(("apiVersion",), f"{API_VERSION} is read here, and v3.0")
    if r.text((), root, "kind", due=True) not in ("DataContract", ""):
        r.problem(("kind",), "DataContract is due")
    described = r.map(("description",), root.get("description") or {})
    r.known(
        ("description",), described,
        ("purpose", "usage", "limitations", "authoritativeDefinitions", "customProperties"),
    )  # fmt: skip
    tables = tuple(_table(r, path, r.map(path, item)) for path, item in r.items((), root, "schema"))
    if not tables:
        r.problem(("schema",), "at least one table is due")
    _unique(r, ("schema",), [table.name for table in tables])
    custom, licence = _licence(r, root)
    owner, members, team = _team(r, root)
    carried = dict(_carried(root, _ROOT_CARRIED)) | custom | team
    kept = _carried(described, ("authoritativeDefinitions", "customProperties"))
    return Contract(
        id=r.text((), root, "id", due=True), version=r.text((), root, "version", due=True),
        status=r.text((), root, "status", due=True), tables=tables, name=r.text((), root, "name"),
        purpose=r.text(("description",), described, "purpose"), usage=r.text(("description",), described, "usage"),
        limitations=r.text(("description",), described, "limitations"), owner=owner, members=members,
        service_levels=tuple(_level(r, path, r.map(path, item)) for path, item in r.items((), root, "slaProperties")),
        licence=licence, carried=MappingProxyType(carried | ({"description": dict(kept)} if kept else {})),
    )  # fmt: skip


def _licence(r: _Reader, root: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    licence, others = "", []
    for path, item in r.items((), root, "customProperties"):
        entry = r.map(path, item)
        r.known(path, entry, ("id", "property", "value", "description"))
        if r.text(path, entry, "property", due=True).lower() in ("licence", "license"):
            licence = r.text(path, entry, "value", due=True)
        else:
            others.append(item)
    return ({"customProperties": others} if others else {}), licence


def _team(r: _Reader, root: Mapping[str, Any]) -> tuple[str, tuple[TeamMember, ...], dict[str, Any]]:
    """The standard's team, and the list of members that it was before 3.1."""
    team = root.get("team")
    if team is None:
        return "", (), {}
    if isinstance(team, list):
        listed, name, carried = r.items((), root, "team"), "", {}
    else:
        entry = r.map(("team",), team)
        others = ("id", "description", "tags", "customProperties", "authoritativeDefinitions")
        r.known(("team",), entry, ("name", "members", *others))
        listed, name = r.items(("team",), entry, "members"), r.text(("team",), entry, "name")
        carried = dict(_carried(entry, others))
    members = []
    for path, item in listed:
        entry = r.map(path, item)
        details = (
            "id", "name", "description", "dateIn", "dateOut", "replacedByUsername", "tags", "customProperties",
            "authoritativeDefinitions",
        )  # fmt: skip
        r.known(path, entry, ("username", "role", *details))
        username = r.text(path, entry, "username", due=True)
        members.append(TeamMember(username, r.text(path, entry, "role"), _carried(entry, details)))
    owner = name or next((m.username for m in members if m.role.lower() in ("owner", "data owner")), "")
    return owner, tuple(members), {"team": carried} if carried else {}


def _level(r: _Reader, path: Path, value: Mapping[str, Any]) -> ServiceLevel:
    others = ("id", "valueExt", "driver", "description", "scheduler", "schedule")
    r.known(path, value, ("property", "value", "unit", "element", *others))
    found = value.get("value")
    if "value" not in value or isinstance(found, dict | list):
        r.problem((*path, "value"), "a value is due")
    level = ServiceLevel(
        r.text(path, value, "property", due=True), found, r.text(path, value, "unit"), r.text(path, value, "element"),
        _carried(value, others),
    )  # fmt: skip
    if level.property.lower() in ("retention", "freshness", "latency") and level.duration() is None:
        r.problem((*path, "value"), "a number is due, and a unit: s, m, h, d, w or y")
    return level


def _table(r: _Reader, path: Path, value: Mapping[str, Any]) -> ContractTable:
    others = (*_ELEMENT, "logicalType", "physicalName", "dataGranularityDescription")
    r.known(path, value, ("name", "description", "properties", "quality", "relationships", *others))
    if value.get("relationships"):
        r.problem((*path, "relationships"), "say it at the property: `relationships: [{to: table.column}]`")
    properties = tuple(_property(r, at, r.map(at, item)) for at, item in r.items(path, value, "properties"))
    if not properties:
        r.problem((*path, "properties"), "at least one property is due")
    _unique(r, (*path, "properties"), [p.name for p in properties])
    names = {p.name for p in properties}
    quality = tuple(
        rule for at, item in r.items(path, value, "quality") if (rule := _rule(r, at, r.map(at, item), names, None))
    )
    return ContractTable(
        r.text(path, value, "name", due=True), properties, r.text(path, value, "description"), quality,
        _carried(value, others),
    )  # fmt: skip


def _property(r: _Reader, path: Path, value: Mapping[str, Any]) -> Property:
    own = (
        "name", "logicalType", "logicalTypeOptions", "required", "unique", "primaryKey", "classification",
        "description", "quality", "relationships",
    )  # fmt: skip
    r.known(path, value, (*own, *_PROPERTY_CARRIED))
    named = r.text(path, value, "logicalType") or "string"
    kinds = {kind.value: kind for kind in Kind if kind is not Kind.OTHER}
    if named not in kinds:
        r.problem((*path, "logicalType"), f"one of {', '.join(kinds)} is due")
    kind = kinds.get(named, Kind.STRING)
    refers_to = ""
    for at, item in r.items(path, value, "relationships"):
        entry = r.map(at, item)
        r.known(at, entry, ("to", "type", "customProperties"))
        target = r.text(at, entry, "to", due=True)
        if target and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*", target):
            r.problem((*at, "to"), "table.column is due")
        if refers_to:
            r.problem(at, "one relationship of a property is checked here")
        refers_to = target
    return Property(
        name=r.text(path, value, "name", due=True), kind=kind, required=r.flag(path, value, "required"),
        unique=r.flag(path, value, "unique"), primary_key=r.flag(path, value, "primaryKey"),
        classification=r.text(path, value, "classification"), description=r.text(path, value, "description"),
        options=_options(r, (*path, "logicalTypeOptions"), value.get("logicalTypeOptions"), kind),
        quality=tuple(
            rule for at, item in r.items(path, value, "quality") if (rule := _rule(r, at, r.map(at, item), None, kind))
        ),
        refers_to=refers_to, carried=_carried(value, _PROPERTY_CARRIED),
    )  # fmt: skip


def _options(r: _Reader, path: Path, value: Any, kind: Kind) -> Options:
    if value is None:
        return Options()
    entry = r.map(path, value)
    own = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern")
    r.known(path, entry, (*own, *_OPTIONS_CARRIED))

    def bound(key: str) -> Any:
        found = entry.get(key)
        if found is None:
            return None
        if kind in (Kind.INTEGER, Kind.NUMBER) and isinstance(found, int | float) and not isinstance(found, bool):
            return found
        if kind in (Kind.DATE, Kind.TIMESTAMP) and isinstance(found, str):
            try:
                return dt.date.fromisoformat(found) if kind is Kind.DATE else dt.datetime.fromisoformat(found)
            except ValueError:
                pass
        r.problem((*path, key), f"a {kind} is due" if kind is not Kind.STRING else "a string has no such bound")
        return None

    pattern = r.text(path, entry, "pattern") or None
    if pattern is not None:
        _check_pattern(r, (*path, "pattern"), pattern)
    if kind is not Kind.STRING and any(entry.get(key) is not None for key in ("minLength", "maxLength", "pattern")):
        r.problem(path, f"lengths and patterns are for strings, and this is {kind}")
    return Options(
        bound("minimum"), bound("maximum"), bound("exclusiveMinimum"), bound("exclusiveMaximum"),
        r.whole(path, entry, "minLength"), r.whole(path, entry, "maxLength"), pattern,
        _carried(entry, _OPTIONS_CARRIED),
    )  # fmt: skip


def _check_pattern(r: _Reader, path: Path, pattern: Any) -> None:
    if not isinstance(pattern, str):
        r.problem(path, "a text is due")
        return
    try:
        portable_pattern(pattern)
    except BadPattern as e:
        r.problem(path, str(e))


_LIBRARY = tuple(metric.value for metric in Metric if not metric.is_own and metric is not Metric.TEXT)
_OWN = tuple(metric.value for metric in Metric if metric.is_own)
_OF_TABLES = (Metric.ROW_COUNT, Metric.DUPLICATE_VALUES, Metric.GROUP_RATES, Metric.LEAKAGE, Metric.ANONYMITY)
_ARGUMENTS: dict[Metric, tuple[str, ...]] = {
    Metric.INVALID_VALUES: ("validValues", "pattern"), Metric.MISSING_VALUES: ("missingValues",),
    Metric.DUPLICATE_VALUES: ("properties",), Metric.NULL_VALUES: (), Metric.ROW_COUNT: (),
    Metric.NULL_SPIKE: ("budget", "floor"), Metric.LABEL_DRIFT: ("budget", "floor", "method", "limit"),
    Metric.FEATURE_DRIFT: ("budget", "floor", "method", "limit"),
    Metric.GROUP_RATES: ("label", "positive", "group", "groups", "minRatio"),
    Metric.LEAKAGE: ("properties",), Metric.ANONYMITY: ("quasiIdentifiers", "k", "sensitive", "l"),
}  # fmt: skip


def _rule(r: _Reader, path: Path, value: Mapping[str, Any], names: set[str] | None, kind: Kind | None) -> Rule | None:
    """A rule of a table (`names` are its properties) or of a property (`kind` is its)."""
    type_ = r.text(path, value, "type") or "library"
    fields = {
        "library": ("metric", "rule", "arguments", "unit", *OPERATORS), "text": (), "sql": tuple(value),
        "custom": ("engine", "implementation"),
    }  # fmt: skip
    if type_ not in fields:
        r.problem((*path, "type"), "library, text, sql or custom is due")
        return None
    r.known(path, value, ("type", *fields[type_], *_RULE_CARRIED))
    carried = _carried(value, _RULE_CARRIED)
    if type_ == "text":
        return Rule(Metric.TEXT, carried=carried)
    if type_ == "sql":
        r.problem(path, "a rule in SQL is code, which is not run here: say it by a metric of the library")
        return None
    if type_ == "custom":
        return _own_rule(r, path, value, names, carried)
    named = r.text(path, value, "metric") or r.text(path, value, "rule")
    if named not in _LIBRARY:
        r.problem((*path, "metric"), f"one of {', '.join(_LIBRARY)} is due")
        return None
    metric = Metric(named)
    if (names is None) and metric is Metric.ROW_COUNT:
        r.problem(path, "rowCount is a rule of a table")
    if names is not None and metric not in _OF_TABLES:
        r.problem(path, f"{metric} is a rule of a property")
    used = [operator for operator in OPERATORS if value.get(operator) is not None]
    if len(used) != 1:
        r.problem(path, f"one of {', '.join(OPERATORS)} is due")
        return None
    unit = r.text(path, value, "unit") or "rows"
    if unit not in ("rows", "percent"):
        r.problem((*path, "unit"), "rows or percent is due")
    bound = value[used[0]]
    if not _is_bound(used[0], bound):
        r.problem((*path, used[0]), "two ascending numbers are due" if "etween" in used[0] else "a number is due")
        return None
    arguments = _arguments(r, (*path, "arguments"), value.get("arguments"), metric, names, kind)
    return Rule(metric, used[0], tuple(bound) if isinstance(bound, list) else bound, unit, arguments, carried)


def _own_rule(
    r: _Reader, path: Path, value: Mapping[str, Any], names: set[str] | None, carried: Mapping[str, Any]
) -> Rule | None:
    if r.text(path, value, "engine", due=True) != "vallum":
        r.problem((*path, "engine"), "a rule for another engine is code, which is not run here")
        return None
    entry = r.map((*path, "implementation"), value.get("implementation"))
    r.known((*path, "implementation"), entry, ("check", "arguments"))
    named = r.text((*path, "implementation"), entry, "check", due=True)
    if named not in _OWN:
        r.problem((*path, "implementation", "check"), f"one of {', '.join(_OWN)} is due")
        return None
    metric = Metric(named)
    if (metric in _OF_TABLES) != (names is not None):
        r.problem(path, f"{metric} is a rule of a {'table' if metric in _OF_TABLES else 'property'}")
    at = (*path, "implementation", "arguments")
    return Rule(metric, arguments=_arguments(r, at, entry.get("arguments"), metric, names, None), carried=carried)


def _arguments(
    r: _Reader, path: Path, value: Any, metric: Metric, names: set[str] | None, kind: Kind | None
) -> Mapping[str, Any]:
    entry = r.map(path, value) if value is not None else {}
    r.known(path, entry, _ARGUMENTS[metric])
    for key, found in entry.items():
        at = (*path, key)
        match key:
            case "pattern":
                _check_pattern(r, at, found)
                if kind is not None and kind is not Kind.STRING:
                    r.problem(at, f"patterns are for strings, and this is {kind}")
            case "properties" | "quasiIdentifiers":
                listed = found if isinstance(found, list) else []
                if not listed or not all(isinstance(item, str) and item in (names or ()) for item in listed):
                    r.problem(at, "a list of the table's properties is due")
            case "label" | "group" | "sensitive" if not isinstance(found, str) or found not in (names or ()):
                r.problem(at, "one of the table's properties is due")
            case "k" | "l" if not isinstance(found, int) or isinstance(found, bool) or not 2 <= found <= 1_000_000:
                r.problem(at, "a whole number from 2 on is due: everybody is alike with themselves")
            case "validValues" | "missingValues" | "groups":
                if not isinstance(found, list) or not found or any(isinstance(i, dict | list) for i in found):
                    r.problem(at, "a list of values is due")
            case "budget" | "floor" | "limit" | "minRatio":
                number = isinstance(found, int | float) and not isinstance(found, bool)
                if not number or not (0 < found < 1 if key in ("budget", "minRatio") else 0 <= found <= 100):
                    r.problem(at, "a number is due" + (" between 0 and 1" if key in ("budget", "minRatio") else ""))
            case "method" if found not in ("learned", "psi", "chi_square"):
                r.problem(at, "learned, psi or chi_square is due")
    if metric is Metric.INVALID_VALUES and not entry:
        r.problem(path, "validValues or a pattern is due")
    for key in ("label", "positive", "group", "groups") if metric is Metric.GROUP_RATES else ():
        if key not in entry:
            r.problem(path, f"{key} is due")
    if metric is Metric.ANONYMITY:
        _check_anonymity(r, path, entry)
    return MappingProxyType(dict(entry))


def _check_anonymity(r: _Reader, path: Path, entry: Mapping[str, Any]) -> None:
    for key in ("quasiIdentifiers", "k"):
        if key not in entry:
            r.problem(path, f"{key} is due")
    if ("sensitive" in entry) != ("l" in entry):
        r.problem(path, "sensitive and l are due together: of which column, and how many values")
    quasi = entry.get("quasiIdentifiers")
    if isinstance(quasi, list) and all(isinstance(name, str) for name in quasi):
        if len(set(quasi)) != len(quasi):
            r.problem((*path, "quasiIdentifiers"), "one stands twice")
        if entry.get("sensitive") in quasi:
            r.problem((*path, "sensitive"), "it is a quasi-identifier too: rows alike in it have one value of it")


def _is_bound(operator: str, bound: Any) -> bool:
    pair = bound if isinstance(bound, list) else [bound]
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in pair)
    if "etween" in operator:
        return isinstance(bound, list) and len(pair) == 2 and numbers and pair[0] < pair[1]
    return numbers and not isinstance(bound, list)


def _unique(r: _Reader, path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for at, name in enumerate(names):
        if name in seen:
            r.problem((*path, at, "name"), "stands twice")
        seen.add(name)
