"""What a contract says, as values. Field names of the standard stand beside what has a name of its own here."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from vallum.data.table import Kind

__all__ = [
    "API_VERSION",
    "Contract",
    "ContractTable",
    "Metric",
    "Options",
    "Property",
    "Rule",
    "ServiceLevel",
    "TeamMember",
]

API_VERSION = "v3.1.0"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Metric(StrEnum):
    """The standard's library of metrics, and Vallum's own, which stand in rules of `type: custom, engine: vallum`."""

    NULL_VALUES = "nullValues"
    MISSING_VALUES = "missingValues"
    INVALID_VALUES = "invalidValues"
    DUPLICATE_VALUES = "duplicateValues"
    ROW_COUNT = "rowCount"
    NULL_SPIKE = "nullSpike"
    LABEL_DRIFT = "labelDrift"
    FEATURE_DRIFT = "featureDrift"
    GROUP_RATES = "groupRates"
    LEAKAGE = "leakage"
    ANONYMITY = "anonymity"
    TEXT = "text"  # for people: no check

    @property
    def is_own(self) -> bool:
        return self in (
            Metric.NULL_SPIKE, Metric.LABEL_DRIFT, Metric.FEATURE_DRIFT, Metric.GROUP_RATES, Metric.LEAKAGE,
            Metric.ANONYMITY,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A quality rule. `operator` is the standard's mustBe…; `bound` its number or pair; `carried` is kept as it was."""

    metric: Metric
    operator: str = ""
    bound: Any = None
    unit: str = "rows"
    arguments: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Options:
    """`logicalTypeOptions`. Bounds of dates are dates."""

    minimum: int | float | dt.date | None = None
    maximum: int | float | dt.date | None = None
    above: int | float | dt.date | None = None
    below: int | float | dt.date | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Property:
    name: str
    kind: Kind
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    classification: str = ""
    description: str = ""
    options: Options = field(default_factory=Options)
    quality: tuple[Rule, ...] = ()
    refers_to: str = ""  # table.column
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class ContractTable:
    name: str
    properties: tuple[Property, ...]
    description: str = ""
    quality: tuple[Rule, ...] = ()
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    property: str
    value: Any
    unit: str = ""
    element: str = ""
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def duration(self) -> dt.timedelta | None:
        """The value as time, or None where it is none."""
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}  # a year of 365.25 days
        unit = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w", "year": "y"}.get(
            self.unit.lower().rstrip("s") or "s", self.unit.lower()
        )
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or unit not in seconds:
            return None
        try:
            return dt.timedelta(seconds=self.value * seconds[unit])
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class TeamMember:
    username: str
    role: str = ""
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Contract:
    """`owner` is the team's name (without one, the member whose role is owner). `licence` is a custom property of that
    name (or `license`): the standard has no field for it.
    """

    id: str
    version: str
    status: str
    tables: tuple[ContractTable, ...]
    name: str = ""
    purpose: str = ""
    usage: str = ""
    limitations: str = ""
    owner: str = ""
    members: tuple[TeamMember, ...] = ()
    service_levels: tuple[ServiceLevel, ...] = ()
    licence: str = ""
    carried: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @property
    def retention(self) -> dt.timedelta | None:
        found = (level.duration() for level in self.service_levels if level.property.lower() == "retention")
        return next((duration for duration in found if duration is not None), None)

    def table(self, name: str | None = None) -> ContractTable | None:
        """The named table; without a name, the only one."""
        if name is None:
            return self.tables[0] if len(self.tables) == 1 else None
        return next((table for table in self.tables if table.name == name), None)
