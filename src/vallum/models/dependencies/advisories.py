"""OSV documents as values, and whether one affects a version.

Reads the OSV schema's members that matter here, by type; the rest is skipped. Versions compare as PEP 440 says,
names as PEP 503. Answers documents that would make a match look like none: odd versions, and ranges that only Git
understands come out as "cannot tell", and a local version (`2.0.0+cu118`) is judged as the release that
it is built from.
"""

from typing import Any, Literal

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from vallum.models.dependencies.cvss import base_score
from vallum.models.dependencies.model import AdvisoriesRefused, Level, Severity

__all__ = ["Advisory", "AffectedPackage", "Event", "Outcome", "parse_advisory", "severity_of"]

ECOSYSTEM = "PyPI"
_KINDS = ("introduced", "fixed", "last_affected", "limit")
_LEVELS = {
    "LOW": Level.LOW, "MODERATE": Level.MEDIUM, "MEDIUM": Level.MEDIUM, "HIGH": Level.HIGH, "CRITICAL": Level.CRITICAL
}  # fmt: skip

Event = tuple[str, str]  # kind, version
Outcome = Literal["affected", "not-affected", "unknown"]


class AffectedPackage(msgspec.Struct, frozen=True, array_like=True):
    """One package's part of an advisory. `vague` when nothing here says which versions."""

    name: str
    ranges: tuple[tuple[Event, ...], ...]
    versions: tuple[str, ...]
    severities: tuple[str, ...] = ()
    vague: bool = False

    @property
    def all_versions(self) -> bool:
        """Whatever the version is, it is affected."""
        return any(len(events) == 1 and events[0] == ("introduced", "0") for events in self.ranges)

    @property
    def fixed_in(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(version for events in self.ranges for kind, version in events if kind == "fixed"))

    def describe(self) -> str:
        """Its ranges, or how many versions it lists, for people."""
        if not self.ranges:
            return f"{len(self.versions)} versions" if self.versions else "versions not stated"
        return "; ".join(", ".join(f"{kind} {version}" for kind, version in events[:8]) for events in self.ranges[:8])

    def outcome(self, version: str) -> Outcome:
        """The OSV schema's evaluation. Never raises."""
        if self.all_versions or version in self.versions:
            return "affected"
        parsed = _parsed(version)
        if parsed is None:
            return "unknown"
        if any(_parsed(one) == parsed for one in self.versions):
            return "affected"
        outcomes = [_in_range(parsed, events) for events in self.ranges]
        if "affected" in outcomes:
            return "affected"
        if "unknown" in outcomes or (self.vague and not self.versions):
            return "unknown"
        return "not-affected"


class Advisory(msgspec.Struct, frozen=True):
    """`modified` is as written, RFC 3339. A withdrawn one counts for nothing."""

    id: str
    modified: str
    aliases: tuple[str, ...]
    summary: str
    withdrawn: bool
    severities: tuple[str, ...]
    level: str
    affected: tuple[AffectedPackage, ...]


class _Package(msgspec.Struct):
    ecosystem: str
    name: str


class _Range(msgspec.Struct):
    type: str
    events: list[dict[str, Any]]


class _Severity(msgspec.Struct):
    type: str
    score: str


class _Affected(msgspec.Struct):
    package: _Package | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    severity: list[_Severity] | None = None


class _Document(msgspec.Struct):
    id: str
    modified: str
    withdrawn: str | None = None
    aliases: list[str] | None = None
    summary: str | None = None
    severity: list[_Severity] | None = None
    affected: list[_Affected] | None = None
    database_specific: dict[str, Any] | msgspec.Raw | None = None


_DECODER = msgspec.json.Decoder(_Document)


def parse_advisory(raw: bytes) -> Advisory:
    """One OSV document. Raises AdvisoriesRefused, whatever the bytes are."""
    try:
        said = _DECODER.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise AdvisoriesRefused("it is no OSV document") from e
    if not 0 < len(said.id) <= 256 or not said.id.isprintable() or len(said.modified) > 64:
        raise AdvisoriesRefused("it is no OSV document: it has no id")
    specific = said.database_specific
    level = specific.get("severity") if isinstance(specific, dict) else ""
    return Advisory(
        id=said.id,
        modified=said.modified,
        aliases=tuple(said.aliases or ()),
        summary=(said.summary or "")[:500],
        withdrawn=bool(said.withdrawn),
        severities=tuple(one.score for one in said.severity or ()),
        level=level if isinstance(level, str) else "",
        affected=tuple(_affected(one) for one in said.affected or () if _is_ours(one)),
    )


def severity_of(advisory: Advisory, affected: AffectedPackage) -> Severity:
    """The worst of the vectors that can be computed, the package's own first; else the database's word for it."""
    vectors = affected.severities or advisory.severities
    scored = [(score, vector) for vector in vectors if (score := base_score(vector)) is not None]
    if scored:
        score, vector = max(scored)
        return Severity(_level(score), score, vector)
    return Severity(_LEVELS.get(advisory.level.upper(), Level.UNKNOWN), None, vectors[0] if vectors else "")


def _level(score: float) -> Level:
    bounds = ((9.0, Level.CRITICAL), (7.0, Level.HIGH), (4.0, Level.MEDIUM), (0.1, Level.LOW))
    return next((level for bound, level in bounds if score >= bound), Level.NONE)


def _is_ours(affected: _Affected) -> bool:
    return affected.package is not None and affected.package.ecosystem.partition(":")[0] == ECOSYSTEM


def _affected(said: _Affected) -> AffectedPackage:
    assert said.package is not None
    ranges = tuple(_events(one) for one in said.ranges or () if one.type in ("ECOSYSTEM", "SEMVER"))
    versions = tuple(said.versions or ())
    return AffectedPackage(
        name=canonicalize_name(said.package.name),
        ranges=ranges,
        versions=versions,
        severities=tuple(one.score for one in said.severity or ()),
        vague=not ranges and not versions,
    )


def _events(said: _Range) -> tuple[Event, ...]:
    """As they are written: sorting needs versions that parse, and those that do not are found when one is asked for."""
    found: list[Event] = []
    for event in said.events:
        kinds = [(kind, event[kind]) for kind in _KINDS if kind in event]
        if len(kinds) != 1 or not isinstance(kinds[0][1], str):
            raise AdvisoriesRefused("it is no OSV document: an event of a range says not one thing")
        found.append((kinds[0][0], kinds[0][1]))
    return tuple(found)


def _in_range(version: Version, events: tuple[Event, ...]) -> Outcome:
    if all(kind != "introduced" for kind, _ in events):
        return "unknown"  # against the schema; read to the letter it would affect nothing
    ordered: list[tuple[Version | None, str]] = []
    limits: list[Version] = []
    for kind, text in events:
        if kind == "limit":
            if text == "*":
                continue
            bound = _parsed(text)
            if bound is None:
                return "unknown"
            limits.append(bound)
        elif kind == "introduced" and text == "0":
            ordered.append((None, kind))  # before every version, also before 0.dev0
        else:
            bound = _parsed(text)
            if bound is None:
                return "unknown"
            ordered.append((bound, kind))
    # At the same version `introduced` comes last: fixed there, and broken there again, is broken.
    ordered.sort(key=lambda one: (one[0] is not None, one[0] or version, one[1] == "introduced"))
    affected = False
    for at, kind in ordered:
        if kind == "introduced":
            affected = affected or at is None or version >= at
        elif at is not None and (version >= at if kind == "fixed" else version > at):
            affected = False
    if affected and limits and not any(version < limit for limit in limits):
        return "not-affected"
    return "affected" if affected else "not-affected"


def _parsed(text: str) -> Version | None:
    """Without its local part: `+cu118` names how a release was built, and not another release."""
    if len(text) > 256:
        return None
    try:
        return Version(Version(text).public)
    except InvalidVersion:
        return None
