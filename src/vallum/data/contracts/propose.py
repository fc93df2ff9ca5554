"""A contract proposed from a profile: what the table was like this once, for a person to correct.

It is a draft and says so: no owner, purpose or licence is invented, and bounds are those that were seen.
"""

import re
from typing import Any

from vallum.data.contracts.model import Contract, ContractTable, Metric, Options, Property, Rule
from vallum.data.profile.model import ColumnProfile, TableProfile
from vallum.data.table import Kind

__all__ = ["propose_contract"]

_SET = 30  # so few values in so many rows are a set, not a coincidence
_ROWS_PER_VALUE = 20


def propose_contract(profile: TableProfile, *, id: str, label: str | None = None) -> Contract:
    """A draft: types, required where no null was, unique where no repeat was, bounds of numbers, sets of few values,
    null spikes of columns with some, and the drift of `label`.

    Masked columns get no set and no bounds: a contract is read by more people than the data. Raises nothing.
    """
    properties = tuple(_property(column, profile.rows, label) for column in profile.columns)
    rule = Rule(Metric.ROW_COUNT, "mustBeGreaterOrEqualTo", max(1, profile.rows // 2))
    name = re.sub(r"[^A-Za-z0-9_]", "_", profile.table.partition(".")[0]) or "table"
    return Contract(id, "0.1.0", "draft", (ContractTable(name, properties, quality=(rule,)),), name=name)


def _property(column: ColumnProfile, rows: int, label: str | None) -> Property:
    kind = Kind.STRING if column.kind is Kind.OTHER else column.kind
    quality: list[Rule] = []
    few = column.distinct is not None and 0 < column.distinct <= min(_SET, rows // _ROWS_PER_VALUE)
    if few and kind in (Kind.STRING, Kind.INTEGER) and len(column.top) == column.distinct:
        values = tuple(sorted((value for value, _ in column.top), key=str))
        quality.append(Rule(Metric.INVALID_VALUES, "mustBe", 0, arguments={"validValues": list(values)}))
    if column.nulls and rows:
        quality.append(Rule(Metric.NULL_SPIKE))
    if column.name == label:
        quality.append(Rule(Metric.LABEL_DRIFT))
    unique = bool(rows > 1 and not column.nulls and column.distinct == rows and kind in _KEYS)
    options = Options() if few and quality else _bounds(column, kind)
    return Property(
        column.name, kind, required=bool(rows) and not column.nulls, unique=unique,
        classification="restricted" if column.masked else "", options=options, quality=tuple(quality),
    )  # fmt: skip


_KEYS = (Kind.STRING, Kind.INTEGER)


def _bounds(column: ColumnProfile, kind: Kind) -> Options:
    if kind not in (Kind.INTEGER, Kind.NUMBER) or column.masked:
        return Options()
    low, high = _number(column.minimum), _number(column.maximum)
    # what was never negative is not to become so; the upper bound of what was seen is nobody's promise
    return Options(minimum=0) if low is not None and low >= 0 and high is not None else Options()


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
