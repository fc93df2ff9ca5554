"""Values of dependency scanning: what was found, what could not be told, and the verdict of both together.

"Cannot tell" is not a pass: a dependency without a version, a source that no advisory names, an old database and an
absent one all end in a verdict of their own.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from vallum.kernel.errors import Invalid

__all__ = [
    "AdvisoriesRefused",
    "CannotTell",
    "DependencyVerdict",
    "Level",
    "ScanReport",
    "Severity",
    "VulnerabilityFinding",
    "new_findings",
]


class AdvisoriesRefused(Invalid):
    """What was to be imported is no export of OSV advisories, or less than what is here already."""

    code = "advisories_refused"


class DependencyVerdict(StrEnum):
    VULNERABLE = "vulnerable"
    CANNOT_TELL = "cannot-tell"
    CLEAR = "clear"


class Level(StrEnum):
    """CVSS's qualitative scale; `unknown` where no severity is published in a form that is read here."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class Severity(msgspec.Struct, frozen=True):
    """`score` is the CVSS base score, None for a vector whose formula is not computed here (4.0), or none at all."""

    level: Level = Level.UNKNOWN
    score: float | None = None
    vector: str = ""


class VulnerabilityFinding(msgspec.Struct, frozen=True):
    """`id` and `aliases` name one weakness. `affected` says which versions, `fixed_in` where it ends, oldest first."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    severity: Severity
    affected: str
    fixed_in: tuple[str, ...] = ()
    summary: str = ""
    declared_in: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.id, *self.aliases))


class CannotTell(msgspec.Struct, frozen=True, order=True):
    """`about` is a package, a line or a file; `reason` says what would make it tellable."""

    about: str
    reason: str
    declared_in: str = ""


class ScanReport(msgspec.Struct, frozen=True):
    """`database_at` is how new the advisories are, None without a database. `checked` counts packages."""

    findings: tuple[VulnerabilityFinding, ...]
    cannot_tell: tuple[CannotTell, ...]
    checked: int
    database_at: datetime | None = None

    @property
    def verdict(self) -> DependencyVerdict:
        if self.findings:
            return DependencyVerdict.VULNERABLE
        if self.cannot_tell or self.database_at is None:
            return DependencyVerdict.CANNOT_TELL
        return DependencyVerdict.CLEAR


def new_findings(before: ScanReport | None, after: ScanReport) -> tuple[VulnerabilityFinding, ...]:
    """Those of `after` that nobody was told of: a weakness of a package, under any of its names, that `before` lacks.

    Another version of the package with the same weakness is not new; a weakness that got another id is not either.
    """
    known: set[tuple[str, str]] = set()
    for finding in before.findings if before is not None else ():
        known |= {(finding.package, name) for name in finding.names}
    return tuple(one for one in after.findings if known.isdisjoint((one.package, name) for name in one.names))


def merge_aliases(findings: Sequence[VulnerabilityFinding]) -> list[VulnerabilityFinding]:
    """One finding a weakness: advisories that share a name are one, under the first id, with all others as aliases."""
    found: dict[tuple[str, str], list[list[VulnerabilityFinding]]] = {}
    for finding in findings:
        groups = found.setdefault((finding.package, finding.version), [])
        same = [group for group in groups if any(one.names & finding.names for one in group)]
        for group in same:
            groups.remove(group)
        groups.append([*(one for group in same for one in group), finding])
    merged = [_merged(group) for groups in found.values() for group in groups]
    return sorted(merged, key=lambda one: (one.package, one.version, one.id))


def _merged(group: Sequence[VulnerabilityFinding]) -> VulnerabilityFinding:
    first = min(group, key=lambda one: (_rank(one.id), one.id))
    worst = max((one.severity for one in group), key=lambda one: (one.score or 0.0, list(Level).index(one.level) % 5))
    return msgspec.structs.replace(
        first,
        aliases=tuple(sorted({name for one in group for name in one.names} - {first.id})),
        severity=worst,
        affected="; ".join(dict.fromkeys(one.affected for one in group)),
        fixed_in=tuple(dict.fromkeys(version for one in group for version in one.fixed_in)),
        summary=next((one.summary for one in [first, *group] if one.summary), ""),
    )


def _rank(name: str) -> int:
    """Malice first, then the names that people look up."""
    return next((rank for rank, prefix in enumerate(("MAL-", "GHSA-", "PYSEC-", "CVE-")) if name.startswith(prefix)), 9)
