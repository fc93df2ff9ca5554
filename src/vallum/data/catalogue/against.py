"""Other governed versions that a source is held against: the tables it refers to, and the set it is evaluated on.

What such a check answers tells of the other version's values: whoever asks must be allowed to read those columns. A
column that lies treated over there would match nothing, and a check that matches nothing passes everything: refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from sqlalchemy import Connection, Row, select

from vallum.data.catalogue import records as table
from vallum.data.catalogue.model import Against, VersionColumn
from vallum.data.catalogue.versions import columns_of, require_available, row_of
from vallum.data.contracts import ContractTable, Rule
from vallum.data.contracts.model import Metric
from vallum.kernel.errors import Denied, Invalid, NotFound

__all__ = ["Wanted", "needed_columns", "resolved", "with_leakage"]

Wanted = Callable[[str, VersionColumn], bool]
"""Whether the decision has this column of this version (NAME/NUMBER)."""


def resolved(
    conn: Connection, of: ContractTable, parents: Mapping[str, str], evaluation: str, allowed: Wanted
) -> Against:
    """The versions that are meant, the newest available where none is named, pinned from here on.

    Raises Invalid, NotFound, DataUnavailable; Denied for a column that the caller may not read.
    """
    referred = {p.refers_to.partition(".")[0] for p in of.properties if p.refers_to}
    for name in parents:
        if name not in referred:
            raise Invalid(f"parents: the contract refers to no table {name[:80]!r}")
    pinned = {name: _pinned(conn, text) for name, text in parents.items()}
    against = Against(
        {name: f"{row.dataset}/{row.number}" for name, row in pinned.items()},
        "" if not evaluation else _name(found := _pinned(conn, evaluation)),
    )
    for name, row in pinned.items():
        _require(row, needed_columns(of, name), allowed)
    if evaluation:
        _require(found, evaluated_columns(of, columns_of(found)), allowed)
    return against


def needed_columns(of: ContractTable, parent: str) -> list[str]:
    """Of the table that the contract calls `parent`."""
    pairs = [p.refers_to.partition(".") for p in of.properties if p.refers_to]
    return list(dict.fromkeys(column for name, _, column in pairs if name == parent))


def evaluated_columns(of: ContractTable, there: Sequence[VersionColumn]) -> list[str]:
    """The columns that rows are compared by: what the contract's rule says, or all that both have as they came."""
    said = [r.arguments["properties"] for r in of.quality if r.metric is Metric.LEAKAGE and "properties" in r.arguments]
    if said:
        return list(dict.fromkeys(name for names in said for name in names))
    plain = {column.name for column in there if not column.treatment}
    common = [p.name for p in of.properties if p.name in plain]
    if not common:
        raise Invalid("evaluation: no column stands in both as it came: nothing can be compared")
    return common


def with_leakage(of: ContractTable, columns: Sequence[str]) -> ContractTable:
    """An evaluation set that was given is held against, whether the contract thought of it or not."""
    rules = [r for r in of.quality if r.metric is Metric.LEAKAGE]
    asked = [r if "properties" in r.arguments else replace(r, arguments=_properties(columns)) for r in rules]
    asked = asked or [Rule(Metric.LEAKAGE, arguments=_properties(columns))]
    return replace(of, quality=(*(r for r in of.quality if r.metric is not Metric.LEAKAGE), *asked))


def _properties(columns: Sequence[str]) -> Mapping[str, list[str]]:
    return MappingProxyType({"properties": list(columns)})


def _require(row: Row, columns: Sequence[str], allowed: Wanted) -> None:  # type: ignore[type-arg]
    there = {column.name: column for column in columns_of(row)}
    for name in columns:
        if name not in there:
            raise Invalid(f"{_name(row)} has no column {name[:100]!r} to compare with")
        if there[name].treatment:
            raise Invalid(f"{_name(row)}: column {name!r} lies treated there: nothing would match, and all would pass")
        if not allowed(_name(row), there[name]):
            raise Denied(f"{_name(row)}: you may not read column {name!r}, and the answer would tell of it")


def _pinned(conn: Connection, text: str) -> Row:  # type: ignore[type-arg]
    dataset, slash, number = text.partition("/")
    if slash:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise Invalid("name a version as NAME/NUMBER, or a data set for its newest")
        row = row_of(conn, dataset, int(number))
        require_available(row)
        return row
    v = table.versions.c
    newest = select(table.versions).where(v.dataset == dataset, v.state == "available").order_by(v.number.desc())
    found = conn.execute(newest.limit(1)).one_or_none()
    if found is None:
        raise NotFound(f"there is no available version of {dataset[:128]}")
    return found


def _name(row: Row) -> str:  # type: ignore[type-arg]
    return f"{row.dataset}/{row.number}"
